"""Runs → incidents: what belongs to one problem becomes one incident, told apart by who, where and which code.

Everything is decided in the order in which a scheduled scan would have met it, from what was logged until then; what
comes later may extend an incident but never changes which incidents there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.runs import HINT_EXCESS, QUIET, Profile, Run

#: The same code on the same endpoint again within this time is the same incident that flapped; within half a day where it is as bad, by so
#: much: what comes every six hours is no new problem each time.
FLAP, AS_BAD_FLAP, AS_BAD = 4 * HOUR, DAY // 2, 2.0
#: Two endpoints that fail with the same code within one bin of each other have one cause; with a shared upstream
#: within two hours.
SAME_MOMENT = 1
SAME_UPSTREAM = 2 * HOUR
SIDE_EFFECT = HOUR
TOGETHER = HOUR // 2
#: So many upstreams slower (busier) at once are no longer their own matter.
EVERYWHERE = 3
#: An incident whose like was seen at this hour on two of the eight days before is the next occurrence of a recurring one; on one, where
#: that was yesterday, or with the same status code two days or a week ago. Other slowness two days later is another problem.
RECURRING_DAYS, YESTERDAY, SAME_CODE = 2, {1}, {1, 2, 7}
#: What a gateway answers to one client by nature. For others (422 of an app with all its users) the rule of habits.py lost faults.
REFUSALS = (401, 403, 429)


@dataclass(slots=True)
class Incident:
    """Runs with one cause; the first one names it."""

    runs: list[Run]
    profile: Profile
    consumer: str | None = None  # fixed when the incident opens
    node: str | None = None
    upstream: str | None = None
    repeats: list[int] = field(default_factory=list)  # start bins of later occurrences folded into this one

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def start(self) -> int:
        return min(run.start for run in self.runs if run.known == self.first.known)

    @property
    def begin(self) -> int:
        """The bin in which it began, as is told."""
        return min(run.begin for run in self.runs if run.known == self.first.known)

    def last(self, upto: int) -> int:
        """Last abnormal bin of its own signal, known at the end of minute `upto`; side effects do not prolong it."""
        return max(run.last(upto) for run in self.runs if run.signal == self.first.signal)


def group(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> list[Incident]:
    """Incidents from runs, each with the runs that share its cause; in the order in which they were raised."""
    spans = []
    for run in runs:
        start, end = run.start * MINUTES, run.known
        spans.append((run.endpoint, start, end))
        spans.append((run.endpoint, max(end - HOUR * MINUTES, start), end))
        spans.append((run.endpoint, max(start - DAY * MINUTES, 0), max(end - DAY * MINUTES, MINUTES)))
    parts = breakdown(windows_frame(spans, fleet)) if spans else schema.BREAKDOWN.to_frame()
    by_window = {int(key[0]): part for key, part in parts.group_by("window_id")}
    nothing = schema.BREAKDOWN.to_frame()
    incidents: list[Incident] = []
    for number, run in enumerate(runs):
        whole, recent, before = (by_window.get(3 * number + part, nothing) for part in range(3))
        run.profile, run.recent = (profile_of(run, part, before, run.at_open) for part in (whole, recent))
        latest = incidents[::-1]
        home = next((incident for incident in latest if _goes_on(run, incident)), None)
        home = home or next((incident for incident in latest if _belongs(run, incident, fleet.launch)), None)
        if home is not None:
            home.runs.append(run)
            home.profile = home.profile.plus(run.profile) if run.signal == home.first.signal else home.profile
        else:
            home = Incident([run], run.profile)
            incidents.append(home)
        if run.known == home.first.known:
            _name(home)
    return _fold(incidents, fleet)


def _name(incident: Incident) -> None:
    """Fix what the incident is about, from what was known in the minute in which it opened."""
    profile = incident.profile
    incident.consumer = profile.carrier("consumer")
    incident.node = None if incident.consumer else profile.carrier("node") or incident.first.node
    upstream, share, _ = profile.top("upstream")
    shared = len({run.endpoint for run in incident.runs}) > 1 or incident.first.status in (502, 503, 504)
    free = incident.consumer is None and incident.node is None
    incident.upstream = upstream if free and shared and share > HINT_EXCESS and upstream else None


def _goes_on(run: Run, incident: Incident) -> bool:
    """Whether the run is the same endpoint, signal and code again, shortly after."""
    mine = [other for other in incident.runs if other.series == run.series]
    last = max((other.last_strong(run.known) for other in mine), default=None)
    if last is None or not _compatible(run, incident):
        return False
    lasts = max((other.last(run.known) for other in mine if _still_going(run, other)), default=last)
    flap = AS_BAD_FLAP if run.status is not None and _as_bad(run, mine[-1]) else FLAP
    return run.start <= max(last, lasts) + max(flap, 2 * (incident.first.opened - incident.first.start))


def _as_bad(run: Run, other: Run) -> bool:
    """Whether both opened with about the same share of failed calls."""
    shares = [float(one.at_open["observed"]) for one in (run, other)]
    return max(shares) <= AS_BAD * min(shares)


def _still_going(run: Run, other: Run) -> bool:
    """Whether run is what `other` found, which has not recovered; of latency not the next step on top of it, one as large as the first.

    Where a share of the calls is slow and then most of them, or the other way round, that is the same slowness.
    """
    if run.status is not None:
        return False
    if run.signal == "latency" and "ratio" in (run.at_open["unit"], other.at_open["unit"]):
        return True
    if not other.watched:
        return False
    if run.signal == "traffic":
        return True
    now, observed = float(run.at_open["observed"]), float(other.at_open["observed"])
    return run.at_open["unit"] == "ms" and now / observed <= observed / float(other.at_open["expected"])


def _belongs(run: Run, incident: Incident, launch: int) -> bool:
    """Whether a run that just opened has the incident's cause: who, then where, then the same moment, then a side
    effect."""
    last = incident.last(run.known)
    if min(run.start, run.opened - HOUR) > last + QUIET:
        return False
    first = incident.first
    near = abs(run.start - incident.start)
    endpoints = {other.endpoint for other in incident.runs}
    if run.status is not None and first.status is not None:
        if run.status == first.status:
            for profile in (run.profile, run.recent):
                if any(_shared(profile, incident.profile, dimension) for dimension in ("consumer", "node")):
                    return True
            own = run.profile.carrier("consumer") or run.profile.carrier("node")
            client = _same_client(run, incident)
            if own is not None and own not in (incident.consumer, incident.node) and not client:
                return False
            # What is bad since the launch began with it: that is no moment to have in common.
            at_once = near <= SAME_MOMENT and not launch <= run.start < launch + SAME_UPSTREAM
            behind = _same_upstream(run, incident) and not _was_well(run, incident)
            alike = client or behind or _everywhere(run, incident)
            return at_once or (near <= SAME_UPSTREAM and alike)
        if near > SIDE_EFFECT:
            return False
        if run.endpoint in endpoints and len(endpoints) <= 3:
            return True
        both_failures = min(run.status, first.status) >= 500
        behind = _same_upstream(run, incident) and not _was_well(run, incident)
        return both_failures and (behind or _shared(run.profile, incident.profile, "node"))
    if run.signal == first.signal == "latency":
        slowly = run.lasts_a_day and first.lasts_a_day
        # Days have no moment in common: they open when enough of them was slow.
        if _everywhere_at_once(run, incident) or (not slowly and _same_moment(run, incident)):
            return True
        together = _same_upstream(run, incident) or _shared(run.profile, incident.profile, "node")
        # The window of a day may have begun anywhere in it; and what gets slower for days shows on each endpoint when it may.
        at_once = near <= SAME_UPSTREAM and not (run.lasts_a_day or first.lasts_a_day)
        inside = run.start <= incident.start and run.opened <= first.opened + SAME_UPSTREAM
        return (at_once or inside or slowly) and together
    if run.signal == first.signal == "traffic":
        if run.direction != first.direction:
            return run.endpoint in endpoints and run.start <= last + SIDE_EFFECT
        alike = _shared(run.profile, incident.profile, "consumer") or (
            run.profile.carrier("consumer") is None and _same_upstream(run, incident)
        )
        at_once = _same_moment(run, incident) or _everywhere_at_once(run, incident)
        return at_once or (near <= SIDE_EFFECT and alike)
    # Side effects: failures that are slow, retried or abandoned. A slow drift began too long ago to be one.
    same = [other for other in incident.runs if other.endpoint == run.endpoint]
    if not same or max(run.opened - run.start, first.opened - first.start) >= DAY - 1:
        return False
    begin, end = min(other.start for other in same), max(other.last(run.known) for other in same)
    if run.status is not None or first.status is None:
        return abs(run.start - begin) <= SIDE_EFFECT
    # What fails for days is not the cause of all that happens there meanwhile.
    fresh = run.start <= max(other.start for other in same) + FLAP
    return fresh and begin - SIDE_EFFECT <= run.start <= end + SIDE_EFFECT // 2 and run.opened <= end + SIDE_EFFECT


def _was_well(run: Run, incident: Incident) -> bool:
    """One of them would have shown by its calls while the other had begun: they have no cause in common."""
    return incident.start + SAME_MOMENT < run.well or run.start + SAME_MOMENT < incident.first.well


def _compatible(run: Run, incident: Incident) -> bool:
    """Nothing says that the run is about another consumer or node than the incident."""
    for dimension, named in (("consumer", incident.consumer), ("node", incident.node)):
        value, share, _ = run.recent.top(dimension)
        if named is not None and value != named and share >= HINT_EXCESS:
            return False
    return True


def _same_moment(run: Run, incident: Incident) -> bool:
    """Both set in at once."""
    gap = abs(run.opened - incident.first.opened)
    return gap <= SAME_MOMENT and abs(run.start - incident.first.start) <= SAME_MOMENT


def _everywhere_at_once(run: Run, incident: Incident) -> bool:
    """The incident is the whole gateway's already, and endpoints with few calls show it later."""
    return abs(run.opened - incident.first.opened) <= TOGETHER and _everywhere(run, incident)


def _everywhere(run: Run, incident: Incident) -> bool:
    """The incident is the whole gateway's already: it shows behind several upstreams (on several endpoints, where no upstream is
    named), and no consumer or node carries it."""
    free = incident.consumer is None and incident.node is None
    same = [other for other in incident.runs if other.signal == run.signal]
    hit = {other.profile.top("upstream")[0] or other.endpoint for other in same}
    return free and len(hit) >= EVERYWHERE


def _same_client(run: Run, incident: Incident) -> bool:
    """Both are the same client's refusals, though it has most of the calls as well, or too few were refused to tell that from chance."""
    mine, my_share, _ = run.profile.top("consumer")
    theirs, their_share, _ = incident.profile.top("consumer")
    return run.status in REFUSALS and bool(mine) and mine == theirs and min(my_share, their_share) >= HINT_EXCESS


def _shared(mine: Profile, theirs: Profile, dimension: str) -> bool:
    """Both are carried by the same value, the smaller one perhaps not beyond chance by itself."""
    value, share, _ = mine.top(dimension)
    return bool(value) and share >= HINT_EXCESS and mine.plus(theirs).carrier(dimension) == value


def _same_upstream(run: Run, incident: Incident) -> bool:
    """Both run into the same upstream (or the same machines of one that has no name), which is no matter of one consumer or node, nor of
    one endpoint alone."""
    free = incident.consumer is None and incident.node is None and not (run.alone or incident.first.alone)
    mine, theirs = (profile.shares("upstream") for profile in (run.profile, incident.profile))
    common = (mine.keys() & theirs.keys()) - {""}
    return free and all(sum(of[value] for value in common) > HINT_EXCESS for of in (mine, theirs))


def _fold(incidents: list[Incident], fleet: Fleet) -> list[Incident]:
    """Incidents without those that repeat a known one: same endpoint, detector and code at the same hour of earlier days
    (RECURRING_DAYS), and not another consumer's."""
    kept: list[Incident] = []
    seen: dict[tuple[int, str, int | None, int], list[tuple[int, Incident]]] = {}
    for incident in incidents:
        earlier = [
            (start, home)
            for start, home in seen.get(incident.first.series, [])
            if not incident.first.lasts_a_day  # whose window has no hour
            and 0 < incident.start - start <= 8 * DAY
            and abs((incident.start - start + DAY // 2) % DAY - DAY // 2) <= HOUR
            and (home.consumer == incident.consumer or None in (home.consumer, incident.consumer))
        ]
        days = {round((incident.start - start) / DAY) for start, _ in earlier}
        if len(days) >= RECURRING_DAYS or days & (YESTERDAY if incident.first.status is None else SAME_CODE):
            home = earlier[-1][1]
            home.repeats.append(incident.start)
            home.runs += incident.runs
        else:
            home = incident
            kept.append(incident)
        seen.setdefault(incident.first.series, []).append((incident.start, home))
    return kept
