"""Routes named by OpenAPI documents: what of a document is read, which path a call is matched with, and what is listed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilens.documents import documents
from apilens.errors import ConfigError, LakeError
from apilens.lens import Lens, load_openapi
from apilens.routes import OpenApi, read_openapi
from apilens.routes.rules import template
from commands import apilens, ingest

SHOP = """
openapi: 3.1.0
servers:
  - url: https://api.shop.example/{edition}
    variables: {edition: {default: v1, enum: [v1, v2]}}
paths:
  /orders:
    get: {operationId: listOrders}
    post: {operationId: placeOrder}
  /orders/{orderId}:
    parameters: [{name: orderId, in: path}]
    get: {operationId: getOrder}
  /orders/latest:
    get: {operationId: latestOrder}
  /orders/{orderId}/invoice.{format}:
    get: {operationId: invoice}
  /customers/{name}:
    get: {operationId: getCustomer}
  /customers/{handle}:
    delete: {operationId: dropCustomer}
  /reports/{kind}/daily: {get: {operationId: dailyReport}}
  /reports/sales/{period}: {get: {operationId: salesReport}}
  /status:
    servers: [{url: /}]
    get: {operationId: status}
  /unused: {put: {}}
"""


def read(text: str) -> OpenApi:
    return read_openapi([(next(iter(documents(text, "x.yaml")), None), "x.yaml")])


def mapped(api: OpenApi, *routes: str) -> list[str | None]:
    frame = pl.DataFrame({"service": pl.Series([None] * len(routes), dtype=pl.String), "route": routes})
    found = dict(api.mapping(frame).select("route", "merged_route").rows())
    return [found.get(route) for route in routes]


@pytest.mark.parametrize(
    ("route", "documented"),
    [
        ("/v1/orders", "/v1/orders"),
        ("/v2/orders/{id}", "/v2/orders/{id}"),
        ("/v1/orders/latest", "/v1/orders/latest"),  # a name before a variable
        ("/v1/orders/abc", "/v1/orders/{id}"),  # a word that the rules left
        ("/v1/orders/{id}/invoice.pdf", "/v1/orders/{id}/invoice.{id}"),
        ("/v1/customers/alice", "/v1/customers/{id}"),
        ("/v1/reports/sales/daily", "/v1/reports/sales/{id}"),  # ambiguous: from the left, a name first
        ("/v1/reports/stock/daily", "/v1/reports/{id}/daily"),
        ("/v1/reports/{id}/daily", "/v1/reports/{id}/daily"),
        ("/status", "/status"),
        ("/orders/{id}", "/orders/{id}"),  # the gateway cut the base path off
        ("/v3/orders", None),
        ("/v1/orders/{id}/other", None),
        ("/v1/orders/{id}/invoice", None),
        ("/v1", None),
        ("/", None),
        ("*", None),
        ("{id}", None),
        ("/{id}", None),
    ],
)
def test_a_route_is_matched_with_the_documented_path_it_is_a_call_of(route: str, documented: str | None) -> None:
    assert mapped(read(SHOP), route) == [documented]


def test_what_the_rules_took_for_a_variable_is_found_again_as_the_name_it_is() -> None:
    api = read("openapi: 3.0.0\npaths: {/api/2024-report: {get: {operationId: report}}, '/api/{x}/y': {get: {}}}")
    assert template(pl.Series(["/api/2024-report"])).to_list() == ["/api/{id}"]
    assert mapped(api, "/api/{id}", "/api/{id}/y") == ["/api/2024-report", "/api/{id}/y"]


@pytest.mark.parametrize(
    ("path", "calls", "route"),
    [
        ("/u/{id:[0-9]+}", ["/u/17"], "/u/{id}"),
        (r"/d/{day:\d{4}-\d{2}}/x", ["/d/2024-05/x"], "/d/{id}/x"),
        ("/files/{proxy+}", ["/files/a", "/files/a/b/17"], "/files/{rest}"),
        ("/w/{+path}/raw", ["/w/a/raw", "/w/a/b/c/raw"], "/w/{rest}/raw"),
        ("/p/{path:.*}", ["/p/a/b", "/p/" + "x/" * 20], "/p/{rest}"),
        ("/v1/{name=shelves/*}:read", ["/v1/shelves/7:read"], "/v1/shelves/{id}:read"),
        ("/x/{a}-{b}", ["/x/foo-bar", "/x/12-34"], "/x/{id}-{id}"),
        ("/x/{a}{b}", ["/x/foo"], "/x/{id}"),
        ("/t/{z}/{y}.png", ["/t/1/2.png", "/t/1/2@2x.png"], "/t/{id}/{id}.png"),
        ("/cars;color={c}/parts", ["/cars;color=red/parts", "/cars/parts"], "/cars/parts"),
        ("/search{?q,page}", ["/search"], "/search"),
        ("/s?q={q}", ["/s"], "/s"),
        ("/items#create", ["/items/"], "/items"),
        ("/a/{id", ["/a/17"], "/a/{id}"),
        ("/" + "-".join(f"{{v{i}}}" for i in range(20)) + "y", ["/" + "-" * 40 + "y"], "/" + "-".join(["{id}"] * 20) + "y"),
    ],
)  # fmt: skip
def test_a_path_is_read_however_its_variables_are_written(path: str, calls: list[str], route: str) -> None:
    api = read(json.dumps({"openapi": "3.0.0", "paths": {path: {"get": {}}, "/other": {"get": {}}}}))
    assert mapped(api, *template(pl.Series(calls)).to_list()) == [route] * len(calls)


@pytest.mark.parametrize(
    ("servers", "paths"),
    [
        ("", ["/a"]),
        ("servers: []", ["/a"]),
        ("servers: [{url: /}]", ["/a"]),
        ("servers: [{url: 'https://h.example/base/'}]", ["/base/a"]),
        ("servers: [{url: api}, {url: //h/two}]", ["/api/a", "/two/a"]),
        ("servers: [{url: 'https://{h}/{v}', variables: {h: {default: x}, v: {default: '1'}}}]", ["/1/a"]),
        ("servers: [{url: 'http://[::1'}]", ["/a"]),
        ("servers: [7, {}, {url: null}]", ["/a"]),
        ("servers: [{url: ./v1}, {url: '../v2'}, {url: 'https://h/%7Bx%7D'}]", ["/v1/a", "/v2/a", "/{x}/a"]),
        (
            f"servers: [{{url: '/{{a}}/{{b}}', variables: {{a: {{enum: {[*range(11)]}}}, b: {{enum: {[*range(11)]}}}}}}}]",
            ["/{a}/{b}/a"],
        ),
    ],
)
def test_base_paths_are_those_of_the_servers(servers: str, paths: list[str]) -> None:
    api = read(f"openapi: 3.0.1\n{servers}\npaths: {{/a: {{get: {{}}}}}}")
    assert [one.path for one in api.operations] == paths


def test_swagger_2_has_a_base_path_and_json_is_read_as_well() -> None:
    body = {"swagger": "2.0", "basePath": "/v9", "paths": {"/x/{id}/": {"get": {"operationId": "x"}, "parameters": []}}}
    (one,) = read("\ufeff" + json.dumps(body, indent="\t")).operations
    assert (one.method, one.path, one.id, one.bare_route) == ("GET", "/v9/x/{id}", "x", "/x/{id}")


def test_a_path_item_may_stand_elsewhere_in_the_document() -> None:
    api = read(
        "openapi: 3.1.0\npaths:\n  /a: {$ref: '#/components/pathItems/A'}\n  /b/{x}: {$ref: '#/paths/~1a'}\n  /c: {$ref: '#/none'}\n"
        "components: {pathItems: {A: {get: {operationId: a}}}}"
    )
    assert [(one.path, one.id) for one in api.operations] == [("/a", "a"), ("/b/{x}", "a")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.yaml: is no OpenAPI document; found NoneType"),
        ("[]", "found list"),
        ("asyncapi: 2.0.0\nchannels: {}", "found asyncapi, channels, expected openapi: 3.x or swagger: 2.0"),
        ("openapi: 3.0.0\npaths: []", "describes no operation"),
        ("openapi: 3.0.0\npaths: [1]", "paths is list, expected a mapping"),
        ("openapi: 3.0.0\npaths:\n  orders: {get: {}}", "x.yaml:3: path 'orders' begins with no /"),
        ("openapi: 3.0.0\npaths: {/a: {$ref: other.yaml}}", "leads out of the files here; expected #/… or a file beside it. Bundle"),
        ("openapi: 3.0.0\npaths: }", "x.yaml:2: is neither YAML nor JSON"),
        ("a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
         "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g]",
         "more than 2,000,000 values"),
        ("[" * 5_000, "is neither YAML nor JSON"),
        ('{"a":' * 5_000, "is neither YAML nor JSON"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(text)


def test_paths_that_differ_in_names_only_and_paths_that_overlap_are_conflicts() -> None:
    found = [(one.kind, one.paths) for one in read(SHOP).conflicts if not one.paths[0].startswith("/v2")]
    assert found == [
        ("identical", ("/v1/customers/{name}", "/v1/customers/{handle}")),
        ("ambiguous", ("/v1/reports/{kind}/daily", "/v1/reports/sales/{period}")),
    ]


def naive_conflict(left: str, right: str) -> str | None:
    """Segment by segment: which path takes more."""
    a, b = left.split("/"), right.split("/")
    if [re.sub("{.*?}", "{}", part) for part in a] == [re.sub("{.*?}", "{}", part) for part in b]:
        return "identical"
    if len(a) != len(b) or any("{" not in x + y and x != y for x, y in zip(a, b, strict=True)):
        return None
    wider = ["{" in x for x in a], ["{" in y for y in b]
    ahead = any(x and not y for x, y in zip(*wider, strict=True))
    return "ambiguous" if ahead and any(y and not x for x, y in zip(*wider, strict=True)) else None


SEGMENT = st.one_of(st.sampled_from(["orders", "latest", "v1", "items", "me"]), st.sampled_from(["{a}", "{b}"]))
PATHS = st.lists(
    st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)), min_size=1, max_size=8
)


@given(PATHS)
def test_conflicts_are_those_that_the_slow_reference_finds(paths: list[str]) -> None:
    paths = list(dict.fromkeys(paths))
    api = read(json.dumps({"openapi": "3.0.0", "paths": {path: {"get": {}} for path in paths}}))
    first: dict[str, str] = {}
    same = [(first.setdefault(re.sub("{.*?}", "{}", path), path), path) for path in paths]
    wanted = {("identical", one, path) for one, path in same if one != path}
    for i, left in enumerate(first.values()):
        for right in list(first.values())[i + 1 :]:
            if kind := naive_conflict(left, right):
                wanted.add((kind, left, right))
    assert {(one.kind, *one.paths) for one in api.conflicts} == wanted


def test_names_that_ingest_takes_for_values_are_conflicts_where_nothing_else_tells_them_apart() -> None:
    paths = ["/api/2024-01/p", "/api/2024-04/p", "/api/2024-04/q", "/api/v1/p", "/api/2024-07/p/{x}"]
    api = read(json.dumps({"openapi": "3.0.0", "paths": {path: {"get": {}} for path in paths}}))
    assert [(one.kind, one.paths) for one in api.conflicts] == [("alike", ("/api/2024-01/p", "/api/2024-04/p"))]


def test_a_path_item_may_stand_in_a_file_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "paths").mkdir()
    (tmp_path / "paths" / "a b.yaml").write_text("get: {operationId: a}\nx: [{$ref: '../more.json#/one~1two'}]")
    (tmp_path / "more.json").write_text('{"one/two": {"post": {"operationId": "b"}}}')
    (tmp_path / "api.yaml").write_text(
        "openapi: 3.1.0\npaths:\n  /a: {$ref: 'paths/a%20b.yaml'}\n  /b: {$ref: './paths/a%20b.yaml#/x/0'}\n"
    )
    api = load_openapi([str(tmp_path / "api.yaml")])
    assert [(one.method, one.path, one.id) for one in api.operations] == [("GET", "/a", "a"), ("POST", "/b", "b")]
    (tmp_path / "api.yaml").write_text("openapi: 3.1.0\npaths: {/a: {$ref: gone.yaml}}")
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load_openapi([str(tmp_path / "api.yaml")])


def test_a_mapping_is_stored_and_read_back_whole() -> None:
    api = read(SHOP)
    assert OpenApi.from_json(api.to_json()) == api
    for text in ("", "[]", '{"version": 1}', '{"version": 1, "operations": [["GET"]]}', "[" * 100_000):
        with pytest.raises(LakeError, match="apilens routes --openapi"):
            OpenApi.from_json(text)


@given(PATHS, st.lists(st.sampled_from(["17", "alice", "orders", "latest", "me", "v1"]), min_size=4, max_size=4))
def test_a_call_rendered_from_a_document_is_matched_as_the_slow_reference_says(
    paths: list[str], values: list[str]
) -> None:
    api = read(json.dumps({"openapi": "3.0.0", "paths": {path: {"get": {}} for path in paths}}))
    for path in paths:
        rendered = "/" + "/".join(
            value if "{" in part else part for part, value in zip(path[1:].split("/"), values, strict=False)
        )
        (route,) = template(pl.Series([rendered])).to_list()
        assert mapped(api, route) == [naive_match(paths, route)]


def naive_match(paths: list[str], route: str) -> str | None:
    """Of the paths that fit segment by segment the one that is literal furthest to the left."""
    parts = route[1:].split("/")
    fitting = [
        [name if "{" not in name else "{id}" for name in path[1:].split("/")]
        for path in paths
        if len(path[1:].split("/")) == len(parts)
        and all("{" in name or name == part for name, part in zip(path[1:].split("/"), parts, strict=True))
    ]
    best = min(fitting, key=lambda names: [name == "{id}" for name in names], default=None)
    return None if best is None else "/" + "/".join(best)


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Calls of the shop, and its document beside them."""
    (tmp_path / "shop.yaml").write_text(SHOP)
    asked = ["GET /v1/orders"] * 4 + ["GET /v1/orders/latest"] * 3 + [f"GET /v1/orders/{n}" for n in (17, 18)]
    asked += ["GET /v1/customers/alice", "GET /v1/customers/bob", "PATCH /v1/orders/17", "GET /legacy"]
    rows = [
        {"timestamp": "2026-03-09T14:00:00Z", "method": method, "path": path, "status": 200}
        for method, _, path in (one.partition(" ") for one in asked)
    ]
    (tmp_path / "x.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(tmp_path / "lake", tmp_path / "x.json")
    return tmp_path / "lake"


def rows(ran: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in ran.json()["endpoints"]]


def test_routes_lists_what_was_matched_what_not_what_never_and_what_conflicts(lake: Path) -> None:
    assert apilens("routes", "--lake", lake, "--output", "json").json()["openapi"] is None
    ran = apilens("routes", "--lake", lake, "--openapi", lake.parent / "shop.yaml", "--output", "json")
    found = ran.json()["openapi"]
    assert [(row["operation_id"], row["path"], row["calls"]) for row in found["matched"]] == [
        ("listOrders", "/v1/orders", 4),
        ("latestOrder", "/v1/orders/latest", 3),
        ("getCustomer", "/v1/customers/{name}", 2),
        ("getOrder", "/v1/orders/{orderId}", 2),
    ]
    assert found["other_method"] == [{"method": "PATCH", "route": "/v1/orders/{id}", "calls": 1}]
    assert found["unmatched"] == [{"service": None, "method": "GET", "route": "/legacy", "calls": 1}]
    never = {(row["method"], row["path"]) for row in found["never_called"]}
    assert {("POST", "/v1/orders"), ("DELETE", "/v1/customers/{handle}"), ("PUT", "/v2/unused")} <= never
    assert ("GET", "/v1/orders") not in never
    assert {"kind": "identical", "paths": ["/v1/customers/{name}", "/v1/customers/{handle}"]} in found["conflicts"]
    shown = apilens("routes", "--lake", lake, "--openapi", lake.parent / "shop.yaml").out
    assert [title for title in ("matched", "method not documented", "unmatched", "never called", "conflicts") if title not in shown] == []  # fmt: skip


def test_a_document_given_once_names_the_routes_wherever_they_are_read(lake: Path) -> None:
    before = rows(apilens("endpoints", "--lake", lake, "--output", "json"), "route", "operation_id")
    assert ("/v1/customers/alice", None) in before
    apilens("routes", "--lake", lake, "--openapi", lake.parent / "shop.yaml")
    after = rows(apilens("endpoints", "--lake", lake, "--output", "json"), "method", "route", "operation_id", "calls")
    assert ("GET", "/v1/customers/{id}", "getCustomer", 2) in after
    assert ("PATCH", "/v1/orders/{id}", None, 1) in after
    assert ("GET", "/legacy", None, 1) in after
    lens = Lens(str(lake))
    assert lens.openapi.version == 1
    counted = lens.sql("SELECT count(*) AS n FROM calls WHERE route = '/v1/customers/{id}'")["n"].item()
    assert counted == lens.calls().filter(pl.col("route") == "/v1/customers/{id}").collect().height == 2
    apilens("routes", "--lake", lake, "--openapi", lake.parent / "shop.yaml")
    assert Lens(str(lake)).openapi.version == 1
    (lake / "_apilens" / "openapi.json").unlink()
    assert rows(apilens("endpoints", "--lake", lake, "--output", "json"), "route", "operation_id") == before


@pytest.mark.parametrize("name", ["endpoints", "scan", "report"])
def test_a_document_given_to_another_command_names_the_routes_of_this_run_only(name: str, lake: Path) -> None:
    out = ["--out", lake.parent / "r.html"] if name == "report" else []
    ran = apilens(name, "--lake", lake, "--openapi", lake.parent / "shop.yaml", *out)
    assert ran.code == 0, ran.err
    if name == "endpoints":
        assert "/v1/customers/{id}" in ran.out
    if name == "report":
        assert "/v1/customers/{id}" in (lake.parent / "r.html").read_text()
    assert Lens(str(lake)).openapi.operations == ()


@pytest.mark.parametrize("name", ["endpoints", "scan", "report", "routes"])
def test_a_document_that_cannot_be_read_is_a_usage_error_and_changes_nothing(name: str, lake: Path) -> None:
    (lake.parent / "bad.yaml").write_bytes(b"openapi: \xff")
    for file, said in ((lake.parent / "none.yaml", "cannot be read"), (lake.parent / "bad.yaml", "is no UTF-8 text")):
        ran = apilens(name, "--lake", lake, "--openapi", file)
        assert (ran.code, ran.out) == (2, "")
        assert f"{file}: {said}" in ran.err
    assert not (lake / "_apilens" / "openapi.json").exists()


def test_several_documents_are_kept_together_and_a_damaged_mapping_is_replaced(lake: Path) -> None:
    (lake.parent / "legacy.json").write_text('{"swagger":"2.0","paths":{"/legacy":{"get":{"operationId":"old"}}}}')
    (lake / "_apilens" / "openapi.json").write_text("{")
    assert "apilens routes --openapi" in apilens("endpoints", "--lake", lake).err
    ran = apilens("routes", "--lake", lake, "--openapi", lake.parent / "shop.yaml", "--openapi", lake.parent / "legacy.json", "--output", "json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json()["openapi"]["unmatched"] == []
