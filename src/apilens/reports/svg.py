"""Small charts as inline SVG: they need no script and print well. Colours come from the classes in report.css.

Nothing but numbers and our own words goes in; labels are escaped all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

Values = Sequence[float | None]

_FRAME = Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>')


def sparkline(
    values: Values,
    *,
    label: str,
    expected: float | None = None,
    abnormal: tuple[float, float] | None = None,
    beside: Values = (),
) -> Markup:
    """A line over time with an optional expected level, the abnormal stretch (shares 0..1 of the width) shaded, and the same of
    others in grey behind it, on one scale from zero."""
    width, height = 300, 60
    top = max([value for value in [*values, *beside] if value is not None] + [expected or 0.0, 1e-9]) * 1.08
    parts = []
    if abnormal is not None:
        left, right = (width * min(1, max(0, share)) for share in abnormal)
        parts.append(
            Markup('<rect class="abnormal" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(
                left, max(right - left, 2), height
            )
        )
    if expected is not None:
        y = height * (1 - expected / top)
        parts.append(Markup('<path class="expected" d="M0 {:.1f}H{}"/>').format(y, width))
    if any(value is not None for value in beside):
        parts.append(Markup('<path class="line grey" d="{}"/>').format(_path(beside, width, height, top)))
    parts.append(Markup('<path class="line" d="{}"/>').format(_path(values, width, height, top)))
    return _FRAME.format("spark", width, height, label, Markup("").join(parts))


def _path(values: Values, width: float, height: float, top: float) -> str:
    """Line segments over the known values, broken where one is missing; a lone value becomes a short dash."""
    step = width / max(len(values) - 1, 1)
    drawn, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        drawn.append(f"{pen}{place * step:.1f} {height * (1 - min(value, top) / top):.1f}")
        lone = pen == "M" and (place + 1 == len(values) or values[place + 1] is None)
        if lone:
            drawn.append("h1.5")
        pen = "L"
    return "".join(drawn)


def bar(value: float, most: float, *, kind: str) -> Markup:
    """One horizontal bar, `most` being the full width; hidden from readers since the number stands beside it."""
    width = 100 * min(1.0, value / most) if most > 0 else 0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="{}" width="{:.1f}" height="8"/></svg>'
    ).format(kind, max(width, 1.0) if value > 0 else 0)


def traffic(calls: Sequence[int], errors: Sequence[int], *, label: str) -> Markup:
    """Calls per bin as a grey area, the error ratio of the bin as bars in front; full height is 10 % or the largest."""
    width, height = 120, 22
    most = max([*calls, 1])
    step = width / max(len(calls), 1)
    area = f"M0 {height}" + "".join(
        f"L{place * step:.0f} {height * (1 - number / most):.1f}H{(place + 1) * step:.0f}"
        for place, number in enumerate(calls)
    )
    ratios = [failed / number if number else 0.0 for failed, number in zip(errors, calls, strict=True)]
    full = max([*ratios, 0.1])
    failing = "".join(
        f"M{(place + 0.5) * step:.0f} {height}V{height * (1 - ratio / full):.1f}"
        for place, ratio in enumerate(ratios)
        if ratio > 0
    )
    inside = Markup('<path class="area" d="{}V{}Z"/><path class="failing" d="{}"/>').format(area, height, failing)
    return _FRAME.format("traffic", width, height, label, inside)


def lines(
    series: Sequence[tuple[str, str, Values]],
    *,
    label: str,
    ticks: Sequence[tuple[float, str]],
    span: tuple[str, str],
    band: tuple[Values, Values] | None = None,
) -> Markup:
    """A chart with a vertical scale: (class, name, values) per line, `ticks` as (share of height, text), `span` below.

    Values are shares 0..1 of the height. Stands in for the interactive chart where scripts do not run.
    """
    width, height, left = 960, 200, 60
    drawn = []
    for share, text in ticks:
        y = height * (1 - share)
        drawn.append(
            Markup(
                '<path class="grid" d="M{0} {1:.1f}H{2}"/><text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
            ).format(left, y, width, left - 6, y + 4, text)
        )
    plot = width - left
    if band is not None:
        low, high = band
        known = [(i, a, b) for i, (a, b) in enumerate(zip(low, high, strict=True)) if a is not None and b is not None]
        step = plot / max(len(low) - 1, 1)
        if known:
            up = "L".join(f"{i * step:.1f} {height * (1 - min(b, 1)):.1f}" for i, _, b in known)
            down = "L".join(f"{i * step:.1f} {height * (1 - a):.1f}" for i, a, _ in reversed(known))
            drawn.append(Markup('<path class="band" transform="translate({} 0)" d="M{}L{}Z"/>').format(left, up, down))
    for place, (kind, name, values) in enumerate(series):
        path = _path(values, plot, height, 1.0)
        drawn.append(Markup('<path class="line {}" transform="translate({} 0)" d="{}"/>').format(kind, left, path))
        drawn.append(
            Markup('<text class="name {}" x="{}" y="{}">{}</text>').format(kind, 260 + 80 * place, height + 18, name)
        )
    drawn.append(
        Markup('<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
            left, height + 18, span[0], width, height + 18, span[1]
        )
    )
    return Markup('<svg class="still" viewBox="0 -8 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height + 32, label, Markup("").join(drawn)
    )


def heat(cells: Sequence[tuple[int, int, float]], *, columns: int, rows: Sequence[str], label: str) -> Markup:
    """A grid of (column, row from the bottom, share 0..1), the darker the larger, with row names at the left."""
    width, height, left = 960, 16 * len(rows), 110
    most = max((share for _, _, share in cells), default=1.0)
    wide = (width - left) / max(columns, 1)
    drawn = [
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(left - 6, height - 16 * row - 4, name)
        for row, name in enumerate(rows)
    ]
    drawn += [
        Markup('<rect class="heat" x="{:.1f}" y="{}" width="{:.1f}" height="16" fill-opacity="{:.2f}"/>').format(
            left + column * wide, height - 16 * (row + 1), wide, share / most
        )
        for column, row, share in cells
        if share >= 0.005
    ]
    return Markup('<svg class="still" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, max(height, 1), label, Markup("").join(drawn)
    )
