"""Sums and maxima over windows of bins.

Time is counted in bins since the first one; a *window* of w bins that ends with bin b covers bins b-w+1 .. b.
"""

from __future__ import annotations

from copy import copy

import numpy as np
import numpy.typing as npt

from apilens import schema

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

DAY = 86_400 // schema.BIN_S
HOUR = 3_600 // schema.BIN_S
#: Minutes of a bin.
MINUTES = schema.BIN_S // 60
#: Trailing baseline: a week holds every hour of the week once (DETECTION: trailing 7 days).
WEEK_DAYS = 7


class Sums:
    """A matrix (endpoints, bins) whose sums over windows are asked for more than once."""

    def __init__(self, matrix: Floats, since: int = 0) -> None:
        """since: sums are returned for this bin and the later ones; what lies before it counts all the same."""
        self._total = np.cumsum(matrix, axis=-1)
        self._since = since

    def tail(self, since: int) -> Sums:
        """The same sums, returned from another bin on."""
        other = copy(self)
        other._since = since
        return other

    def window(self, width: int) -> Floats:
        """See window_sum."""
        return self.past(width, 0)

    def past(self, width: int, skip: int) -> Floats:
        """Sum over the `width` bins that end `skip` bins before each bin; 0.0 where there is no past."""
        total, since, bins = self._total, self._since, self._total.shape[-1]
        out = np.zeros((*total.shape[:-1], bins - since))
        # Columns whose window begins with the series, and those whose window lies inside it.
        first = min(max(skip - since, 0), bins - since)
        inside = min(max(skip + width - since, 0), bins - since)
        out[..., first:inside] = total[..., since + first - skip : since + inside - skip]
        if inside < bins - since:
            end, low = bins - skip, since + inside - skip
            np.subtract(total[..., low:end], total[..., low - width : end - width], out=out[..., inside:])
        return out


def so_far(calls: Floats) -> Floats:
    """Sums of what is before each place, and of all: one more than there are calls."""
    sums: Floats = np.r_[0.0, np.cumsum(calls)]
    return sums


def window_sum(matrix: Floats, width: int) -> Floats:
    """Sum over the window of `width` bins that ends with each bin; shorter where the series begins."""
    return Sums(matrix).window(width)


def window_max(matrix: Floats, width: int) -> Floats:
    """Highest value in the window of `width` bins that ends with each bin; shorter where the series begins."""
    # Windows twice as wide at each step: half the time of scipy.ndimage, which takes 0.2 s to import.
    highest, span = matrix, 1
    while span < width:
        step = min(span, width - span)
        wider = highest.copy()
        np.maximum(highest[..., step:], highest[..., :-step], out=wider[..., step:])
        highest, span = wider, span + step
    return highest


def around_max(matrix: Floats, reach: int) -> Floats:
    """Highest value within `reach` bins of each bin."""
    padded = np.concatenate([matrix, np.repeat(matrix[..., -1:], reach, axis=-1)], axis=-1)
    return window_max(padded, 2 * reach + 1)[..., reach:]


def back(matrix: Floats, bins: int, fill: float) -> Floats:
    """Each bin's value `bins` earlier; `fill` where there is none."""
    out = np.empty_like(matrix)
    out[..., :bins] = fill
    if bins < matrix.shape[-1]:
        out[..., bins:] = matrix[..., : matrix.shape[-1] - bins]
    return out


def same_time(matrix: Floats, ahead: int = 0) -> Floats:
    """Sum over the same time, or `ahead` bins later (less than a day), of the seven days before each bin."""
    rows, bins = matrix.shape
    days = -(-(bins + ahead) // DAY)
    total = np.zeros((rows, (days + 1) * DAY))
    total[:, DAY : DAY + bins] = matrix
    total = total.reshape(rows, days + 1, DAY)
    np.cumsum(total, axis=1, out=total)
    out = total[:, :days].copy()
    out[:, WEEK_DAYS:] -= total[:, : max(days - WEEK_DAYS, 0)]
    return out.reshape(rows, days * DAY)[:, ahead : ahead + bins]
