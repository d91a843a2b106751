"""Paths become routes by rules; what the rules cannot know is learned."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import LakeError
from apilens.routes import Merge, RouteMerges, learn, template
from apilens.routes.learned import ROUTES_PER_SERVICE
from naive import naive_template

CASES = [
    tuple(line.split("\t")) for line in (Path(__file__).parent / "cases" / "routes.tsv").read_text("utf-8").splitlines()
]

# Texts that look like paths, so that rules meet each other; plain text() almost never does.
_WORDS = ["api", "rest", "v1", "v1.41", "beta", "alpha", "sha", "x", "usr", "get", "send", "how", "to", "a", "Qw", "é"]
_NUMBERS = ["2", "2.0", "0", "7", "12", "123", "4567", "f", "ab", "dead8eef"]
_SIGNS = ["/", "//", "-", "_", ".", ":", ";", "@", "%", "~", "$", "=", "*", "\n", "\x1f", "http://h"]
_BITS = st.sampled_from(
    [*_WORDS, *_NUMBERS, *_SIGNS, *_SIGNS, "{id}", "{rest}", "{userId}", ".json", ".png", ":cancel"]
)
PATHS = st.one_of(
    st.text(max_size=60),
    st.lists(_BITS, max_size=12).map(lambda bits: "/" + "".join(bits)),
    st.lists(st.text("ab1/-.:", max_size=9), max_size=22).map(lambda parts: "/" + "/".join(parts)),
)


def routes_of(*paths: str | None) -> list[str | None]:
    return template(pl.Series("path", paths, dtype=pl.String)).to_list()


@pytest.mark.parametrize(("path", "route"), CASES)
def test_path_becomes_the_route_in_the_table(path: str, route: str) -> None:
    assert routes_of(path) == [route]


@settings(max_examples=500, deadline=None)
@given(st.lists(PATHS, min_size=1, max_size=40))
def test_rules_agree_with_the_slow_obvious_reference(paths: list[str]) -> None:
    assert routes_of(*paths) == [naive_template(path) for path in paths]


@settings(max_examples=300, deadline=None)
@given(st.lists(PATHS, min_size=1, max_size=40))
def test_a_route_is_its_own_route_and_never_longer(paths: list[str]) -> None:
    routes = routes_of(*paths)
    assert routes_of(*routes) == routes
    for path, route in zip(paths, routes, strict=True):
        assert route is not None
        assert route.count("/") <= max(path.count("/"), 1)
        assert route.count("/") <= 16
        assert all(len(segment) <= 40 for segment in route.split("/"))


def test_null_stays_null_and_the_name_stays() -> None:
    assert template(pl.Series("p", [None, "/a/1", None])).to_list() == [None, "/a/{id}", None]
    assert template(pl.Series("p", ["/a/1"])).name == "p"
    assert template(pl.Series("p", [], dtype=pl.String)).to_list() == []


def test_input_is_not_changed_in_place() -> None:
    paths = pl.Series("path", ["no path", "/a;x=1", "//a", "/a/", "/2/b/1.json"])
    before = paths.to_list()
    template(paths)
    assert paths.to_list() == before


def test_many_repeated_paths_give_the_same_routes_as_each_alone() -> None:
    paths = [path for path, _ in CASES]
    assert routes_of(*(paths * 20)) == [route for _, route in CASES] * 20


def test_random_ids_of_each_kind_make_one_route() -> None:
    r = random.Random(11)
    kinds: dict[str, Callable[[], str]] = {
        "number": lambda: str(r.randint(0, 10**9)),
        "uuid": lambda: str(uuid.UUID(int=r.getrandbits(128))),
        "hex": lambda: f"{r.getrandbits(96):024x}",
        "ulid": lambda: "01" + "".join(r.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24)),
        "email": lambda: f"{word(r)}{r.randint(1, 99)}%40example.com",
        "date": lambda: f"20{r.randint(10, 30)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
        "mixed": lambda: f"eW-CM{r.randint(10**8, 10**9)}",
        "slug": lambda: "-".join(word(r) for _ in range(3)) + f"-{r.randint(1, 2026)}",
    }
    for kind, make in kinds.items():
        routes = routes_of(*(f"/v1/{kind}s/{make()}" for _ in range(2_000)))
        assert set(routes) == {f"/v1/{kind}s/{{id}}"}


# Learning


def word(r: random.Random) -> str:
    return "".join(r.choice("bcdfglmnprstvz") + r.choice("aeiou") for _ in range(r.randint(2, 4)))


def api(seed: int, *, zipf: bool, calls: int = 40_000) -> pl.DataFrame:
    """Calls of an API with random vocabulary: path, and truth (the number of the template they were rendered from)."""
    r = random.Random(seed)

    def drawn(make: Callable[[], str]) -> Callable[[], str]:
        pool = [make() for _ in range(r.choice([12, 30, 60, 150, 500, 3_000, 20_000]))]
        return lambda: r.choice(pool)

    variables: list[Callable[[], Callable[[], str]]] = [
        lambda: lambda: str(r.randint(1, 10**7)),
        lambda: lambda: str(uuid.UUID(int=r.getrandbits(128))),
        lambda: lambda: f"{word(r)}{r.randint(1, 99)}%40example.com",
        lambda: lambda: f"{word(r).upper()[:3]}-{r.randint(1, 99_999)}",
        lambda: lambda: "".join(r.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", k=11)),
        lambda: drawn(lambda: word(r) + word(r)),
        lambda: drawn(lambda: "-".join(word(r) for _ in range(r.randint(2, 3)))),
    ]
    templates: list[list[str | Callable[[], str]]] = []
    for _ in range(r.randint(12, 30)):
        base, variable = f"/v1/{word(r)}s", r.choice(variables)()
        templates += [[base], [base, variable], *([base, variable, word(r)] for _ in range(r.randint(0, 4)))]
        if r.random() < 0.4:
            below = word(r) + "s"
            templates += [[base, variable, below], [base, variable, below, r.choice(variables)()]]
        if r.random() < 0.4:
            templates.append([base, r.choice(["search", "export", "summary"])])
    r.shuffle(templates)
    weights = [1 / (rank + 1) if zipf else 1 for rank in range(len(templates))]
    rows = [
        ("/".join(part if isinstance(part, str) else part() for part in templates[truth]), truth)
        for truth in r.choices(range(len(templates)), weights, k=calls)
    ]
    return pl.DataFrame(rows, schema=["path", "truth"], orient="row").with_columns(service=pl.lit("shop"))


def counted(calls: pl.DataFrame) -> pl.DataFrame:
    routed = calls.with_columns(route=template(calls["path"]))
    return routed.group_by("service", "route").agg(calls=pl.len())


def pairwise_f1(calls: pl.DataFrame, found: str) -> float:
    """F1 over pairs of calls: together in `found` against together in truth."""

    def pairs(*by: str) -> float:
        return float(
            calls.group_by(by).agg(n=pl.len().cast(pl.Float64)).select((pl.col("n") * (pl.col("n") - 1)).sum()).item()
        )

    return 2 * pairs("truth", found) / (pairs("truth") + pairs(found))


def plain(*routes: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"service": "shop", "route": [r for r, _ in routes], "calls": [n for _, n in routes]})


def after(merges: RouteMerges, routes: pl.DataFrame) -> list[str]:
    return sorted(set(merges.mapping(routes)["merged_route"]))


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("seed", range(900, 906))
def test_calls_are_grouped_as_the_api_was_written(seed: int, zipf: bool) -> None:
    calls = api(seed, zipf=zipf)
    routes = counted(calls)
    routed = calls.with_columns(route=template(calls["path"]))
    merged = routed.join(learn(routes).mapping(routes), on=["service", "route"])
    assert pairwise_f1(merged, "merged_route") >= 0.98
    assert merged["merged_route"].n_unique() <= 1.2 * merged["truth"].n_unique()


def test_learning_again_adds_nothing() -> None:
    routes = counted(api(7, zipf=True))
    once = learn(routes)
    assert once.version == 1
    assert once.merges
    assert learn(routes, once) is once
    merged = routes.join(once.mapping(routes), on=["service", "route"]).select("service", "calls", route="merged_route")
    assert learn(merged, once) is once


def test_learning_from_more_data_keeps_every_merge() -> None:
    calls = api(8, zipf=True)
    early = learn(counted(calls.head(10_000)))
    late = learn(counted(calls), early)
    assert late.merges[: len(early.merges)] == early.merges
    assert late.version >= early.version


def test_order_of_rows_does_not_change_what_is_learned() -> None:
    routes = counted(api(9, zipf=False))
    assert learn(routes.sort("route")) == learn(routes.sort("calls", "route"))


def test_merging_puts_what_is_below_together() -> None:
    users = [(f"/u/{word(random.Random(n))}x/{below}", 3) for n in range(60) for below in ("cart", "orders")]
    routes = plain(*users, ("/health", 5_000), ("/stock", 5_000))
    assert after(learn(routes), routes) == ["/health", "/stock", "/u/{id}/cart", "/u/{id}/orders"]


def test_a_value_never_seen_before_falls_into_the_merge() -> None:
    routes = plain(*[(f"/u/{'abcdefghij'[n // 10]}{'klmnopqrst'[n % 10]}", 1) for n in range(100)], ("/a", 99_999))
    merges = learn(routes)
    assert after(merges, plain(("/u/zoe", 1), ("/a", 1), ("/", 1), ("*", 1))) == ["*", "/", "/a", "/u/{id}"]


def test_reserved_and_heavy_names_beside_a_variable_stay() -> None:
    names = [(f"/users/{word(random.Random(n))}", 2) for n in range(300)]
    routes = plain(*names, ("/users/me", 900), ("/users/search", 4), ("/users/directory", 8_000), ("/a", 50_000))
    assert after(learn(routes), routes) == ["/a", "/users/directory", "/users/me", "/users/search", "/users/{id}"]


@pytest.mark.parametrize("size", [30, 60, 100])
@pytest.mark.parametrize("zipf", [False, True])
def test_a_collection_of_resources_is_not_merged(size: int, zipf: bool) -> None:
    r = random.Random(size)
    names = sorted({word(r) + "s" for _ in range(size)})
    routes = plain(
        *[
            (f"/v1/{name}{below}", 40_000 // (rank + 1) if zipf else r.randint(900, 1_100))
            for rank, name in enumerate(names)
            for below in ("", "/{id}", "/search", "/{id}/history")
        ]
    )
    assert learn(routes) == RouteMerges()


@pytest.mark.parametrize("calls", [500, 3_000, 30_000])
@pytest.mark.parametrize("size", [30, 100])
@pytest.mark.parametrize("skew", [0.0, 1.0, 1.3])
def test_rarely_called_resources_are_not_merged_however_short_the_log(calls: int, size: int, skew: float) -> None:
    r = random.Random(size)
    names = sorted({word(r) + "s" for _ in range(size)})
    below = ["", "/{id}", "/search", "/{id}/" + word(r), "/" + word(r)]
    routes = [f"/v1/{name}{path}" for name in names for path in r.sample(below, r.randint(1, 4))]
    r.shuffle(routes)
    weights = [1 / (rank + 1) ** skew for rank in range(len(routes))]
    assert learn(plain(*Counter(r.choices(routes, weights, k=calls)).items())) == RouteMerges()


def test_names_of_two_letters_with_things_of_their_own_below_are_no_codes() -> None:
    own = {"hr": "people", "it": "tickets", "qa": "runs", "pm": "boards", "tv": "shows", "ai": "models"}
    departments = plain(*[(f"/{name}/{below}", 900) for name, below in own.items()], ("/health", 5_000))
    assert learn(departments) == RouteMerges()
    languages = plain(*[(f"/{name}/docs", 900) for name in ("en", "de", "fr", "pt-BR", "ja", "it")], ("/health", 5_000))
    assert after(learn(languages), languages) == ["/health", "/{id}/docs"]


def test_scanner_paths_at_the_root_do_not_take_the_api_with_them() -> None:
    junk = [(f"/{word(random.Random(n))}.php", 1) for n in range(200)]
    routes = plain(*junk, ("/orders/{id}", 40_000), ("/carts/{id}", 9_000), ("/health", 20_000))
    assert after(learn(routes), routes) == ["/carts/{id}", "/health", "/orders/{id}", "/{id}"]


def test_no_service_keeps_more_routes_than_the_bound() -> None:
    r = random.Random(3)
    hostile = {
        "/" + "/".join(word(r) + r.choice(["", ":get", ".json"]) for _ in range(r.randint(1, 20)))
        for _ in range(20_000)
    }
    routes = counted(pl.DataFrame({"path": sorted(hostile), "service": "shop"})).with_columns(calls=pl.lit(500))
    calm = routes.head(30).with_columns(service=pl.lit(None, dtype=pl.String))
    merges = learn(pl.concat([routes, calm]))
    assert merges.mapping(routes)["merged_route"].n_unique() <= ROUTES_PER_SERVICE
    assert merges.mapping(calm)["merged_route"].to_list() == calm["route"].to_list()
    assert learn(pl.concat([routes, calm]), merges) is merges


def test_services_learn_apart() -> None:
    names = plain(*[(f"/u/{word(random.Random(n))}", 1) for n in range(200)], ("/a", 99_999))
    other = plain(("/u/ann", 5)).with_columns(service=pl.lit("other"))
    merges = learn(pl.concat([names, other]))
    assert after(merges, other) == ["/u/ann"]


def test_merges_survive_a_round_trip_through_text() -> None:
    merges = RouteMerges(3, (Merge(None, ""), Merge('a"b\x1b', "/u/{id}", ("me", "é"))))
    assert RouteMerges.from_json(merges.to_json()) == merges


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1, "merges": [{}]}', '{"version": "x", "merges": []}', "[" * 9_999]
)
def test_damaged_merges_are_refused_with_an_explanation(text: str) -> None:
    with pytest.raises(LakeError, match="learned routes cannot be read"):
        RouteMerges.from_json(text)
