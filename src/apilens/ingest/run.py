"""One ingest run: inputs are cut into pieces, new pieces become units, units are committed in batches."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.config import Config, Source
from apilens.errors import (
    ApilensError,
    ConflictError,
    Exit,
    InputError,
    LakeError,
    LockedError,
    NoCallsError,
    UsageError,
    worst,
)
from apilens.formats import Detection, FoundLayout, Options, check_options, detect, doubts
from apilens.formats.block import Block, Reader
from apilens.ingest.cut_short import is_beginning, may_be_beginning
from apilens.ingest.enrich import Declared
from apilens.ingest.forget import finish_forgetting, tombstone
from apilens.ingest.layout_files import layouts_from
from apilens.ingest.pieces import BLOCK_BYTES, Cut, Known, Origin, cut, reads_differently
from apilens.ingest.rollup import finish_rollups
from apilens.ingest.sources import MAX_LINE_BYTES, Input, LastRun, Look, expand, look_of, open_input, sizes
from apilens.ingest.unit import Counts
from apilens.ingest.workers import Answer, Hire, Task, Workers, Written, threads
from apilens.lake import Lake
from apilens.progress import Progress, unseen
from apilens.schema import INGESTS

#: Units of one commit, and bytes of which fewer are enough. Fewer commits are quicker (of small files at 16 units each they took a
#: tenth of the CPU); a killed run repeats at most this much work.
BATCH, BATCH_BYTES = 64, 15 * BLOCK_BYTES
#: Attempts to commit an input that other writers keep taking away from us.
_RETRIES = 5


@dataclass
class InputReport:
    """What became of one input. format: that of most of its head; formats: stored calls by the format that read them. form: what was turned into lines, so that offsets count in those; None: the input has lines.
    problem: why some of it is missing; None: all of it was read. no_calls: known to hold none, and passed over. doubts: see
    formats.doubts and Detection.doubts."""

    name: str
    format: str | None = None
    formats: Counter[str] = field(default_factory=Counter)
    why: str | None = None
    log_format: str | None = None
    compression: str | None = None
    form: str | None = None
    counts: Counts = field(default_factory=Counts)
    waiting_bytes: int = 0
    problem: str | None = None
    usable: bool = True
    no_calls: bool = False
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What the user asked for. source, environment: None: as configured, else undeclared.

    lookback: leave out inputs that did not change since this long before the last complete run; None: read all.
    """

    paths: Sequence[str]
    options: Options = field(default_factory=Options)
    source: str | None = None
    environment: str | None = None
    final: bool = False
    replace: bool = False
    lookback: timedelta | None = None


@dataclass(frozen=True)
class _Job:
    """A new piece on its way through the workers."""

    item: Input
    origin: Origin
    report: InputReport
    head_sha256: str
    longer: tuple[Known, ...]
    future: Answer


@dataclass(frozen=True)
class _Done:
    """The same when its files are written."""

    job: _Job
    made: Written


class _LookFirst(Exception):  # noqa: N818 - no error: what to do before the lock is taken once more
    """Other runs committed units that begin like some of ours; alike: each of ours, and those."""

    def __init__(self, alike: Sequence[tuple[_Done, Sequence[Mapping[str, Any]]]]) -> None:
        super().__init__()
        self.alike = alike


class IngestRun:
    """Reads inputs into a lake. Use once; `reports` says what happened, input by input."""

    def __init__(
        self,
        lake: Lake,
        request: Request,
        config: Config,
        *,
        now: datetime,
        progress: Progress = unseen,
        hire: Hire = threads,
        last: LastRun | None = None,
    ) -> None:
        """last: what it has read is left out; None: nothing is."""
        self.lake = lake
        self.request = request
        self.config = config
        self.now = now
        self.progress = progress
        self.reports: list[InputReport] = []
        self._hire, self._last = hire, last
        self.looks: list[Look] = []  # of the files that there are, read or left out
        self.unchanged = 0
        self._layout_files: dict[str, tuple[FoundLayout, ...]] = {}
        self._own: dict[str, str] = {}  # unit -> the input of this run that brought it
        self._begun: set[str] = set()  # units that this run has, or that a worker still makes for it
        self._counted: set[str] = set()  # those of its own that are in the reports already
        self._remember(lake.ledger())

    @property
    def totals(self) -> Counts:
        """The counts of all inputs together."""
        return sum((report.counts for report in self.reports), Counts())

    def exit_code(self) -> Exit:
        """INPUT when no input was usable, PARTIAL when some was not or too much was rejected, else DONE."""
        usable = [report for report in self.reports if report.usable]
        if self.reports and not usable:
            return Exit.INPUT
        codes = [Exit.PARTIAL for report in self.reports if report.problem is not None and not report.no_calls]
        for report in self.reports:
            # Of what is new in this input: neither old data nor other inputs excuse a format that has changed.
            counts = report.counts
            new = counts.stored + counts.rejected + counts.filtered
            if counts.rejected > self.config.max_reject_ratio * new:
                codes.append(Exit.PARTIAL)
        return worst(*codes)

    def run(self) -> None:
        """Read every input. Raises UsageError and LakeError; what is wrong with an input goes into its report."""
        if tombstone(self.lake).unfinished or self.lake.unfinished_rollups():
            with self.lake.lock("commit"):
                finish_forgetting(self.lake)
                finish_rollups(self.lake)
        work = [(item, InputReport(item.name)) for item in self._inputs()]
        self._passed, self._size = 0, sizes([item for item, _ in work])
        self.reports += [report for _, report in work]
        for _ in range(_RETRIES):
            self._contested: set[str] = set()
            self._begun, self._counted = set(self._own), set[str]()
            self._read_all(work)
            self._contested |= {report.name for _, report in self._late}
            if not self._contested:
                return
            # Another writer committed a piece that begins like ours: with its ledger in hand the input reads differently.
            self._remember(self.lake.ledger())
            work = [(item, report) for item, report in work if report.name in self._contested]
            for item, _ in work:
                if item.comes_once:
                    raise LockedError(
                        f"{item.name}: another run committed what begins alike meanwhile, and a pipe cannot be read twice;"
                        " what was committed stays, feed it again"
                    )
            for _, report in work:
                report.counts = Counts()
                report.formats.clear()
        raise LockedError(f"{', '.join(sorted(self._contested))}: other runs keep ingesting the same; run again later")

    def _read_all(self, work: Sequence[tuple[Input, InputReport]]) -> None:
        self._forgotten = tombstone(self.lake)  # before the workers look it up
        with self._hire(self.lake) as workers:
            batch, batch_bytes = max(BATCH, workers.ahead), max(BATCH_BYTES, workers.ahead * BLOCK_BYTES)
            jobs: deque[_Job] = deque()
            done: list[_Done] = []

            def take() -> None:
                job = jobs.popleft()
                made = job.future.result()
                if self._may_be_beginning(job, made, done):
                    self._commit(done)  # what it may be the beginning of
                    done.clear()
                    if self._is_beginning(job, made):
                        return
                done.append(_Done(job, made))

            for item, report in work:
                try:
                    for job in self._read(item, report, workers):
                        jobs.append(job)
                        while len(jobs) > workers.ahead:
                            take()
                        if len(done) >= batch or sum(each.made.counts.bytes for each in done) >= batch_bytes:
                            self._commit(done)
                            done.clear()
                except (UsageError, LakeError, LockedError):
                    raise
                except ApilensError as error:
                    report.problem, report.usable = str(error), False
                    report.no_calls = isinstance(error, NoCallsError)
            while jobs:
                take()
            self._commit(done)

    # -- inputs --------------------------------------------------------------------------------------------------

    def _inputs(self) -> list[Input]:
        found = list(expand(self.request.paths))
        for item in found:
            if isinstance(item, InputError):
                self.reports.append(InputReport(str(item).rsplit(": ", 1)[0], problem=str(item), usable=False))
        items = [item for item in found if isinstance(item, Input)]
        declared = {item: self._declared(item) for item in items}
        # In a folder for which sources are declared, other files (notes, configuration) are not meant.
        strict = any(item.found_in_folder and source is not None for item, source in declared.items())
        meant = [item for item in items if not (strict and item.found_in_folder and declared[item] is None)]
        looks = {
            item: look_of(item) for item in meant
        }  # before they are read: what comes meanwhile is new to the next run
        self.looks = sorted({look for look in looks.values() if look is not None})
        last = self._last
        if last is None:
            return meant
        changed = [item for item in meant if not last.has_read(item, looks[item])]
        self.unchanged = len(meant) - len(changed)
        return changed

    def _declared(self, item: Input) -> Source | None:
        where = item.path or item.url
        return None if where is None else self.config.source_of(where)

    def _read(self, item: Input, report: InputReport, workers: Workers) -> Iterator[_Job]:
        """Jobs for the new pieces of an input; known ones are accounted for at once."""
        source = self._declared(item) or Source(match="")
        options = self._options(source)
        origin = Origin(
            self.request.source if self.request.source is not None else source.source,
            self.request.environment or source.environment,
        )
        declared = Declared(item.name, origin.environment, origin.source or None)
        check_options(options)
        if options.log_format != self.request.options.log_format or options.layouts != self.request.options.layouts:
            report.doubts = doubts(options)
        stream = open_input(item)
        report.compression = stream.compression
        state, head, reader, said, cut_lines = Cut(), None, None, b"", list[int]()
        try:
            for piece in cut(stream, origin, self._known, state, final=self.request.final):
                # Of the input, known or not: that is where a table names its columns.
                if head is None and piece.block.has_records:
                    head = piece.block.head
                self.progress(self._passed + stream.position, self._size, piece.block.line_count)
                known = piece.known is not None and (not self.request.replace or piece.unit_id in self._begun)
                if reader is None and head is not None and not known:
                    detection = detect(head, options, item.name)
                    _describe(report, detection)
                    reader = detection.reader.after(Block(said))
                if reader is None:  # it remembers what blocks say once there is one
                    said = Block(said + piece.block.directives).directives
                # This run met it, also where it reads the input once more after another writer.
                if piece.block.cut and (not known or piece.unit_id in self._own):
                    cut_lines.append(piece.block.line)
                if known:
                    self._count_duplicate(piece.unit_id, report)
                    continue
                entry = self._entries.get(piece.unit_id)
                attempt = 1 if entry is None else int(entry["attempt"]) + 1
                self._begun.add(piece.unit_id)
                self._by_head.setdefault(piece.head_sha256, []).append(Known(piece.unit_id, piece.block.size))
                file = item.path if stream.as_it_is else None
                task = Task(piece, origin, declared, attempt, self.now, file)
                future = workers.submit(task, reader or Reader())
                yield _Job(item, origin, report, piece.head_sha256, piece.longer, future)
                reader = reader and reader.after(piece.block)
        finally:
            self._passed += stream.position
            stream.close()
            report.form = stream.form
            report.waiting_bytes = state.waiting
            if state.problem is not None:
                report.problem = f"{item.name}: {state.problem}; kept what came before"
            elif cut_lines:
                more = f" (and {len(cut_lines) - 1} more)" if len(cut_lines) > 1 else ""
                report.problem = (
                    f"{item.name}: line {cut_lines[0]}{more} is longer than {MAX_LINE_BYTES >> 20} MiB and was cut; its beginning is among the"
                    " rejects, and what follows it was read. See: apilens rejects"
                )
            else:
                report.problem = None

    def _options(self, source: Source) -> Options:
        """What the user asked for; where that names no format, what is declared about the input."""
        asked = self.request.options
        named = asked.format or asked.log_format or asked.layouts
        tz = asked.tz if source.tz is None or asked.tz != "UTC" else source.tz
        if named:
            return replace(asked, tz=tz, columns=asked.columns or source.columns)
        file = source.log_format_from
        layouts = self._layouts(str(self.config.folder / file)) if file is not None else ()
        return Options(source.format, source.log_format, tz, asked.columns or source.columns, layouts)

    def _layouts(self, file: str) -> tuple[FoundLayout, ...]:
        if file not in self._layout_files:
            self._layout_files[file] = layouts_from(file)
        return self._layout_files[file]

    # -- identity ------------------------------------------------------------------------------------------------

    def _remember(self, ledger: pl.DataFrame) -> None:
        """Take over what the ledger knows."""
        self._entries = {row["unit_id"]: row for row in ledger.iter_rows(named=True)}
        self._by_head: dict[str, list[Known]] = {}
        for unit_id, row in self._entries.items():
            self._by_head.setdefault(row["head_sha256"], []).append(Known(unit_id, row["bytes"]))
        self._late: list[tuple[str, InputReport]] = []  # duplicates of units that a worker still has

    def _known(self, head_sha256: str) -> list[Known]:
        return self._by_head.get(head_sha256, [])

    def _count_duplicate(self, unit_id: str, report: InputReport) -> None:
        entry = self._entries.get(unit_id)
        if entry is None or (unit_id in self._begun and unit_id not in self._own):
            self._late.append((unit_id, report))
            return
        report.format = report.format or str(entry["format"])
        report.why = report.why or "known: ingested before"
        # Read once more after another writer got in between; what an input holds twice it has stored once.
        again = self._own.get(unit_id) == report.name and unit_id not in self._counted
        if again:
            self._counted.add(unit_id)
        report.counts += _counts_of(entry) if again else _as_duplicate(_counts_of(entry))

    def _may_be_beginning(self, job: _Job, made: Written, done: Sequence[_Done]) -> bool:
        """Whether to look into the lake for a longer unit that begins with a piece: not for each of many tables with the same header."""
        if not job.longer:
            return False
        entries = {each.made.unit.unit_id: each.made.unit.entry for each in done}
        known = [self._entries.get(one.unit_id) or entries.get(one.unit_id) for one in job.longer]
        return any(entry is not None and may_be_beginning(made.unit.entry, entry) for entry in known)

    def _is_beginning(self, job: _Job, made: Written) -> bool:
        """Whether the lake holds a piece already, as the beginning of a longer one; it is accounted for then."""
        known = [self._entries[one.unit_id] for one in job.longer if one.unit_id in self._entries]
        if not any(is_beginning(self.lake, made.unit, entry) for entry in known):
            return False
        job.report.counts += _as_duplicate(made.counts)
        # Met once more in this run it is known; another run finds out by itself.
        self._entries[made.unit.unit_id] = made.unit.entry
        self._begun.discard(made.unit.unit_id)
        return True

    def _commit(self, done: Sequence[_Done]) -> None:
        """Commit what the workers made, except pieces that another writer has taken meanwhile."""
        left, committed = _RETRIES, None
        differs: dict[tuple[str, str], bool] = {}
        while committed is None:
            try:
                committed = self._commit_ours(done, differs, again=left < _RETRIES)
            except _LookFirst as first:  # outside of the lock: inputs are opened for it
                for each, theirs in first.alike:
                    found = self._reads_differently(each, theirs)
                    differs |= {_pair(each, entry): found for entry in theirs}
            except ConflictError:
                left -= 1
                if not left:
                    raise
        others, ours = committed
        same = set(others["unit_id"])
        for row in others.iter_rows(named=True):
            self._entries[row["unit_id"]] = row
        for each in ours:
            unit, report = each.made.unit, each.job.report
            self._entries[unit.unit_id] = unit.entry
            self._own[unit.unit_id] = report.name
            self._counted.add(unit.unit_id)
            report.counts += each.made.counts
            report.formats.update(each.made.formats)
        for each in done:
            if each.made.unit.unit_id in same and each.job.report.name not in self._contested:
                self._count_duplicate(each.made.unit.unit_id, each.job.report)
        late, self._late = self._late, []
        for unit_id, report in late:
            self._count_duplicate(unit_id, report)

    def _commit_ours(
        self, done: Sequence[_Done], differs: Mapping[tuple[str, str], bool], *, again: bool
    ) -> tuple[pl.DataFrame, list[_Done]]:
        """What others brought into the ledger meanwhile, and what of `done` was committed beside it.

        differs: of a unit of ours and one of theirs that begins alike, whether an input may have to be read again for it. Raises
        _LookFirst, and commits nothing, when others brought units of which that is not known.
        again: a commit of the same met a conflict, which may have been with itself: a bucket wrote it, and the answer was lost.
        """
        with self.lake.lock("commit"):
            if done and tombstone(self.lake) != self._forgotten:
                raise LockedError(
                    f"{self.lake.root}: was told to forget meanwhile what this run may hold; what was committed stays, run it again"
                )
            fresh = self.lake.ledger() if done else INGESTS.to_frame()
            ours: list[_Done] = []
            if again:
                finish_rollups(self.lake)
                entries = {each.made.unit.unit_id: each.made.unit.entry for each in done}
                met = fresh.filter(pl.col("unit_id").is_in(list(entries)))
                written = [row["unit_id"] for row in met.iter_rows(named=True) if row == entries[row["unit_id"]]]
                ours = [each for each in done if each.made.unit.unit_id in written]
                done = [each for each in done if each.made.unit.unit_id not in written]
                fresh = fresh.filter(~pl.col("unit_id").is_in(written))
            others = fresh.filter(~pl.col("unit_id").is_in(list(self._entries)))
            by_head = {str(head): rows.to_dicts() for (head,), rows in others.group_by("head_sha256")}
            same = set(others["unit_id"])
            alike = [
                (each, by_head.get(each.job.head_sha256, [])) for each in done if each.made.unit.unit_id not in same
            ]
            unseen = [(each, [one for one in theirs if _pair(each, one) not in differs]) for each, theirs in alike]
            if unseen := [(each, theirs) for each, theirs in unseen if theirs]:
                raise _LookFirst(unseen)
            reads_differently = {
                each.made.unit.unit_id for each, theirs in alike if any(differs[_pair(each, one)] for one in theirs)
            }
            at_hand = fresh.filter(pl.col("unit_id").is_in([each.made.unit.unit_id for each in done]))
            attempts = dict(at_hand.select("unit_id", "attempt").iter_rows())
            new = []
            for each in done:
                unit = each.made.unit
                taken = unit.unit_id in same
                replaced = not taken and attempts.get(unit.unit_id, 0) >= unit.attempt
                if replaced or unit.unit_id in reads_differently:
                    self._contested.add(each.job.report.name)
                if each.job.report.name not in self._contested and not taken:
                    new.append(each)
            self.lake.commit([each.made.unit for each in new])
        return others, [*ours, *new]

    def _reads_differently(self, each: _Done, theirs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether an input may have to be read again, since other runs committed units that begin like a piece of it.

        Tables and W3C logs all begin with the same line: most often the units are other ones.
        """
        job, unit = each.job, each.made.unit
        if unit.entry["offset"] or job.item.comes_once:
            return True
        longer = [entry for entry in theirs if entry["bytes"] > unit.entry["bytes"]]
        if any(is_beginning(self.lake, unit, entry) for entry in longer):
            return True
        others = [Known(entry["unit_id"], entry["bytes"]) for entry in theirs]
        try:
            stream = open_input(job.item)
        except InputError:
            return True  # it went away; who reads it again says so
        try:
            return reads_differently(stream, job.origin, Known(unit.unit_id, unit.entry["bytes"]), others)
        finally:
            stream.close()


def _pair(ours: _Done, theirs: Mapping[str, Any]) -> tuple[str, str]:
    return ours.made.unit.unit_id, str(theirs["unit_id"])


def _counts_of(entry: Mapping[str, object]) -> Counts:
    """The counts of a unit as the ledger has them."""
    names = ("read", "stored", "rejected", "filtered", "record_lines", "header", "blank", "lines", "bytes")
    return Counts(**{name: int(str(entry[name])) for name in names}, units=1)


def _as_duplicate(counts: Counts) -> Counts:
    """The same lines, none of which was stored again."""
    return replace(counts, stored=0, rejected=0, filtered=0, duplicate=counts.read, units=0)


def _describe(report: InputReport, detection: Detection) -> None:
    report.format, report.why, report.log_format = detection.format, detection.why, detection.layout
    report.doubts += [f"{report.name}: {doubt}" for doubt in detection.doubts]
