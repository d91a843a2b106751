"""From items and candidates to the ranked queue, and what people decide on the way."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from apilens.config import load_config
from apilens.errors import ConfigError, InputError
from apilens.feedback.category import DECIDED, Rule, categories
from apilens.feedback.completeness import completeness
from apilens.feedback.duplicates import duplicates
from apilens.feedback.model import predict, train
from apilens.lens import Lens, escalated
from apilens.store import Store, open_state
from apilens.triage import CALLS_NAMED, Context, Told, beside, inherit, link, read_context, related, request_ids
from apilens.triage import queue as rank
from apilens.triage.priority import OVERRIDES, RANKING
from apilens.window import Window


def reported(*, lake: str, state: str | None, config: str | None = None) -> pl.DataFrame:
    """schema.ITEMS with category, why it is that category, what a report lacks (missing) and questions to send back."""
    with open_state(lake, state, create=False) as store:
        items = store.items()
        kinds = _decided(store, items, config).rename({"reason": "category_reason"})
    complete = completeness(items)
    return items.join(kinds, on=["channel", "id"], maintain_order="left").join(
        complete, on=["channel", "id"], maintain_order="left"
    )


def related_problems(*, lake: str, state: str | None) -> pl.DataFrame:
    """triage.related.RELATED of the candidates that stand."""
    with open_state(lake, state, create=False) as store:
        return related(store.candidates(), store.decisions("caused_by", "blocks"))


def decide_related(
    candidate: str,
    kind: str,
    other: str,
    verdict: str,
    *,
    lake: str,
    state: str | None,
    who: str,
    why: str | None,
    now: datetime,
) -> None:
    """Keep that a problem is, or is not, caused by or blocking another one. Raises InputError for one that is not there."""
    with open_state(lake, state, create=False) as store:
        of = dict(store.candidates().select("id", "fingerprint").rows())
        for name in (candidate, other):
            _known_candidate(name, list(of))
        store.decide(kind, of[candidate], verdict, of=of[other], who=who, why=why, now=now)


def to_escalate(*, lake: str, state: str | None, config: str | None = None) -> pl.DataFrame:
    """triage.escalation.ESCALATIONS as the last triage linked; what talk is about and should be a ticket."""
    with open_state(lake, state, create=False) as store:
        return escalated(store, rules_of(store, config))


@dataclass(frozen=True)
class Triaged:
    """links: schema.LINKS, one row per item; duplicates: DUPLICATES; changed: items whose candidate is another now."""

    links: pl.DataFrame
    duplicates: pl.DataFrame
    categories: pl.DataFrame
    changed: int
    now: datetime

    def counts(self) -> dict[str, int]:
        """items = linked + to_confirm + no_trace; beside them merged (certain repeats) and questions without trace."""
        bands = dict(self.links["band"].value_counts().rows())
        loose = self.links.filter(pl.col("candidate_id").is_null()).select("channel", id="feedback_id")
        kinds = loose.join(self.categories, on=["channel", "id"])["category"]
        return {
            "items": self.links.height,
            "merged": self.duplicates.filter(pl.col("band") == "auto").height,
            "linked": bands.get("auto", 0),
            "to_confirm": bands.get("suggested", 0),
            "no_trace": bands.get("none", 0),
            "questions": kinds.is_in(["question", "enhancement"]).sum(),
        }


def triage(
    *, lake: str, state: str | None, context: str | None, now: datetime | None, config: str | None = None
) -> Triaged:
    """Join what people reported with the candidates, find repeats, and keep both with context and rules for `queue`.

    config: file of the rules; None: as in load_config, and where that has none those of the last triage. context: file of the business context; None: the one of the last triage. now: None: the end of the logged data.
    """
    lens = Lens(lake)
    with open_state(lake, state) as store:
        store.save_settings({"rules": rules_of(store, config)})
        text = _context_text(context) if context is not None else store.settings().get("context", "")
        meaning = read_context(text, context or "the context of the last triage")
        items = store.items()
        kinds = _decided(store, items, config)
        told = linkable(lens, items, store.candidates(), meaning, kinds)
        moment = now or lens.data_end or datetime.now(UTC)
        known = request_ids(told.items).join(told.calls, on="request_id")
        repeats = duplicates(told.items, known.select("channel", "id", "request_id").unique(maintain_order=True))
        verdicts = _verdicts(store)
        links = inherit(link(told, verdicts), repeats, verdicts)
        changed = store.save_links(links, repeats, _speakers(known), moment)
        stamp = _stamp(told.items, told.candidates)
        kept: dict[str, Any] = {
            "context": text,
            "population": told.population,
            "now": moment.isoformat(),
            "as_of": now and now.isoformat(),
            "linked": stamp,
        }
        store.save_settings(kept)
        _, order = _ranked(store, None, moment, store.settings().get("ranking", {}), kinds)
        store.save_ranking({row.pop("id"): row for row in order.head(_MOST_KEPT).to_dicts()}, moment)
    return Triaged(links, repeats, kinds, changed, moment)


def _speakers(known: pl.DataFrame) -> pl.DataFrame:
    """store.SPEAKERS: items and the consumer whose calls they name. A list of calls of several consumers is nobody's own report."""
    one = known.drop_nulls("consumer").group_by("channel", "id").agg(pl.col("consumer").unique())
    return one.filter(pl.col("consumer").list.len() == 1).with_columns(pl.col("consumer").list.first())


def _verdicts(store: Store) -> pl.DataFrame:
    """triage.VERDICTS of the state."""
    subject = pl.col("subject").str.splitn(":", 2)
    return (
        store.decisions("link")
        .select(
            channel=subject.struct.field("field_0"),
            feedback_id=subject.struct.field("field_1"),
            candidate_id=pl.when(pl.col("object") != "").then("object"),
            verdict="verdict",
            who="who",
        )
        .filter(pl.col("verdict") != "withdrawn")
    )


def links(*, lake: str, state: str | None, config: str | None = None) -> tuple[pl.DataFrame, bool]:
    """schema.LINKS, and whether they had to be made: where items, candidates or rules came since the last triage, one is run."""
    with open_state(lake, state, create=False) as store:
        found, items, candidates = store.links(), store.items(), store.candidates()
        kept = store.settings()
        same_rules = rules_of(store, config) == kept.get("rules", [])
    if same_rules and kept.get("linked") == _stamp(items, candidates):
        return found, False
    return triage(lake=lake, state=state, context=None, now=_as_of(kept), config=config).links, True


def _as_of(kept: Mapping[str, Any]) -> datetime | None:
    """The moment the last triage was told to judge by; None: it took the end of the data."""
    return datetime.fromisoformat(kept["as_of"]) if kept.get("as_of") else None


def _stamp(items: pl.DataFrame, candidates: pl.DataFrame) -> str:
    """What links were made from, as a word that changes with it."""
    rows = pl.concat([items.hash_rows(seed=1), candidates.select("id", "end", "state").hash_rows(seed=1)])
    return f"{rows.len()}-{rows.sort().hash(seed=1).sum() or 0}"


def decide_link(
    item: str,
    candidate: str | None,
    verdict: str,
    *,
    lake: str,
    state: str | None,
    who: str,
    why: str | None,
    now: datetime,
) -> Triaged:
    """Keep that an item (CHANNEL:ID) is, or is not, about a candidate (None: about any), and link anew, as of the moment of the
    last triage where it was given one.

    verdict: confirmed | rejected. Raises InputError for an item or candidate that is not there.
    """
    with open_state(lake, state, create=False) as store:
        _known_item(store, item)
        if candidate is not None:
            _known_candidate(candidate, store.candidates()["id"].to_list())
        if verdict == "confirmed":
            # One item is about one problem: an earlier decision for another one, or for none, is over.
            for other in store.decisions("link").filter(pl.col("subject") == item).to_dicts():
                if other["object"] != (candidate or "") and (other["verdict"] == "confirmed" or other["object"] == ""):
                    store.decide("link", item, "withdrawn", of=other["object"], who=who, why=why, now=now)
        store.decide("link", item, verdict, of=candidate or "", who=who, why=why, now=now)
        as_of = _as_of(store.settings())
    return triage(lake=lake, state=state, context=None, now=as_of)


def _known_candidate(name: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "list them with: apilens scan"
        raise InputError(f"{name}: no such candidate; {hint}")


def _known_item(store: Store, item: str) -> None:
    if item not in store.items().select(pl.format("{}:{}", "channel", "id")).to_series().to_list():
        raise InputError(f"{item}: no such item; list them with: apilens feedback list")


def _decided(store: Store, items: pl.DataFrame, config: str | None) -> pl.DataFrame:
    """feedback.category.categories by what people set, the configuration's rules and the trained model."""
    rules = [Rule(**rule) for rule in rules_of(store, config)]
    return categories(items, rules, store.decisions(*DECIDED), store.settings().get("category_model"))


def rules_of(store: Store, config: str | None) -> list[dict[str, Any]]:
    """The [[rules]] that hold: of a configuration that is named or has any, else of the one the last triage was given."""
    own = [rule.model_dump() for rule in load_config(config).rules]
    return own if own or config is not None else store.settings().get("rules", [])


def set_item(
    item: str, values: dict[str, str], *, lake: str, state: str | None, who: str, why: str | None, now: datetime
) -> None:
    """Keep what a person says an item is (DECIDED -> value); rules and model do not change it. Raises InputError."""
    with open_state(lake, state, create=False) as store:
        _known_item(store, item)
        for name, value in values.items():
            store.decide(name, item, value, who=who, why=why, now=now)


def train_categories(*, lake: str, state: str | None) -> tuple[int, float]:
    """Train the model on what people set and on the types of trackers; examples, and macro-F1 in five-fold validation.

    Raises InputError for too few examples.
    """
    from sklearn.metrics import f1_score

    with open_state(lake, state, create=False) as store:
        items = store.items()
        said = categories(items, (), store.decisions(*DECIDED))
        text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
        known = said["reason"].str.contains("^its type says | says so$").fill_null(False)
        rows = (
            items.select(text=text).with_columns(said["category"]).filter(known & (pl.col("text").str.len_chars() > 0))
        )
        texts, labels = rows["text"].to_list(), rows["category"].to_list()
        model = train(texts, labels)
        guesses: list[str | None] = [None] * len(texts)
        for fold in range(5):
            held = range(fold, len(texts), 5)
            rest = [place for place in range(len(texts)) if place % 5 != fold]
            try:
                part = train([texts[place] for place in rest], [labels[place] for place in rest])
            except InputError:
                continue
            for place, guess in zip(held, predict(part, [texts[place] for place in held])["category"], strict=True):
                guesses[place] = guess
        store.save_settings({"category_model": model})
    return len(texts), float(
        f1_score(labels, [guess or "abstains" for guess in guesses], labels=sorted(set(labels)), average="macro")
    )


def linkable(
    lens: Lens, items: pl.DataFrame, candidates: pl.DataFrame, context: Context, kinds: pl.DataFrame | None = None
) -> Told:
    """What triage.link is given: the items and candidates, and what the logs say about them."""
    return Told(
        items=items,
        candidates=candidates,
        calls=_calls_named(lens, request_ids(items)["request_id"].unique()),
        categories=categories(items) if kinds is None else kinds,
        context=context.with_features(lens.openapi.features),
        logged=Window(lens.period[0], lens.data_end) if lens.period else Window(),
        population=_population(lens),
        endpoints=_endpoints(lens),
    )


def queue(
    *, lake: str, state: str | None, context: str | None, now: datetime | None, config: str | None = None
) -> pl.DataFrame:
    """triage.queue.beside of candidates and reports ranked together, as the last triage linked them.

    context: None: the one of the last triage. now: None: the moment of the last triage. config: as for triage.
    """
    with open_state(lake, state, create=False) as store:
        return beside(
            ranked(store, context, now, config),
            related(store.candidates(), store.decisions("caused_by", "blocks")),
            escalated(store, rules_of(store, config)),
        )


def is_triaged(*, lake: str, state: str | None) -> bool:
    """Whether a triage has ever been kept: without one nothing that people reported is linked, and how many consumers there are
    at all is not known."""
    with open_state(lake, state, create=False) as store:
        return "now" in store.settings()


_MOST_KEPT = 5000  # problems of a ranking that the next triage compares with


def ranked(store: Store, context: str | None, now: datetime | None, config: str | None = None) -> pl.DataFrame:
    """schema.QUEUE of an opened store; see queue."""
    kinds = _decided(store, store.items(), config)
    return _ranked(store, context, now, store.settings().get("ranking_before", {}), kinds)[0]


def override(
    problem: str,
    values: dict[str, str],
    *,
    lake: str,
    state: str | None,
    who: str,
    why: str | None,
    until: datetime | None,
    now: datetime,
) -> None:
    """Keep the priority or effort (values: kind -> verdict) people give a candidate, by id, or an item (CHANNEL:ID).

    It holds for every occurrence of the candidate's fingerprint. Raises InputError for a problem that is not there.
    """
    with open_state(lake, state, create=False) as store:
        of = dict(store.candidates().select("id", "fingerprint").rows())
        if ":" in problem:
            _known_item(store, problem)
        else:
            _known_candidate(problem, list(of))
        for kind, verdict in values.items():
            store.decide(kind, of.get(problem, problem), verdict, who=who, why=why, now=now, until=until)


def _ranked(
    store: Store, context: str | None, now: datetime | None, before: dict[str, Any], kinds: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """schema.QUEUE and RANKING of an opened store. before: the ranking that moves and hysteresis are told from. kinds: of its
    items, as _decided makes them."""
    kept = store.settings()
    text = _context_text(context) if context is not None else kept.get("context", "")
    meaning = read_context(text, context or "the context of the last triage")
    items, candidates = store.items(), store.candidates()
    last = datetime.fromisoformat(kept["now"]) if "now" in kept else None
    moment = now or last or candidates.select(pl.col("end").max()).item() or datetime.now(UTC)
    links, repeats = store.links(), store.duplicates()
    return rank(
        candidates,
        items,
        links,
        repeats,
        kinds,
        meaning,
        moment,
        kept.get("population"),
        speaks_for=dict(store.speakers().select(pl.format("{}:{}", "channel", "id"), "consumer").rows()),
        before=pl.DataFrame([{"id": key, **row} for key, row in before.items()], schema=RANKING, orient="row"),
        overrides=store.decisions("priority", "effort").select(OVERRIDES.names()),
    )


def _context_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}; expected a context.toml") from None


def _calls_named(lens: Lens, ids: pl.Series) -> pl.DataFrame:
    """CALLS_NAMED: the calls whose request or trace id is among `ids`."""
    calls = lens.calls()
    return pl.concat(
        [
            calls.filter(pl.col(column).is_in(ids.implode()))
            .select(
                pl.col(column).alias("request_id"),
                pl.format("{} {}", pl.col("method").fill_null("?"), pl.col("route").fill_null("?")).alias("endpoint"),
                "start_time",
                "consumer",
                "status_code",
                "duration_ms",
            )
            .collect()
            for column in ("request_id", "trace_id")
        ]
    ).select(CALLS_NAMED.names())


_MOST_ENDPOINTS = 5000  # of a lake whose routes are not learned yet: more of them only cost time


def _endpoints(lens: Lens) -> list[str]:
    """`METHOD /route` of every endpoint in the logs, the busiest first."""
    name = pl.format("{} {}", pl.col("method").fill_null("?"), pl.col("route").fill_null("?"))
    called = (
        lens.rollups().filter(pl.col("synthetic_type").is_null()).group_by(endpoint=name).agg(pl.col("calls").sum())
    )
    return (
        called.sort("calls", "endpoint", descending=[True, False]).head(_MOST_ENDPOINTS).collect()["endpoint"].to_list()
    )


def _population(lens: Lens) -> int:
    """Consumers seen in the logs, bots and health checks left out."""
    calls = lens.lake.scan("calls").filter(pl.col("synthetic_type").is_null())
    return int(calls.select(pl.col("consumer").drop_nulls().n_unique()).collect().item())
