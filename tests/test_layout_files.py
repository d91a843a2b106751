"""Layouts read from a gateway's configuration: which ones are found, which one is taken, and what is said of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilens.errors import ConfigError
from apilens.formats import FoundLayout, Options, detect
from apilens.formats.block import Block, parse
from apilens.formats.configs import read_layouts
from apilens.ingest.layout_files import layouts_from
from commands import apilens, ingest

NGINX = r"""
http {
    include mime.types;
    # log_format old '$remote_addr "don't"';
    log_format main '$remote_addr - $remote_user [$time_local] "$request" '  # the usual
                    '$status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time';
    log_format api escape=json '{"at":"$time_iso8601","code":"$status","uri":"$request_uri",'
                               '"took":"$request_time","agent":"$http_user_agent"}';
    log_format piped $time_iso8601|$status|$request_uri;
    access_log /var/log/nginx/access.log main buffer=16k;
    server {
        location /lua { content_by_lua_block { ngx.say("it's }") -- don't
        } }
        access_log /var/log/nginx/api.log api;
    }
    include conf.d/*.conf;
}
"""
SITE = (
    'server { log_format site "[$time_local] $status \\"$request\\""; access_log logs/site.log site; access_log off; }'
)
MAIN_LINE = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5" 0.042\n'
API_LINE = '{"at":"2026-03-09T14:00:00+00:00","code":"200","uri":"/v1/carts","took":"0.042","agent":"c\\"url"}\n'
PIPED_LINE = "2026-03-09T14:00:00+00:00|204|/v1/carts\n"
SITE_LINE = '[09/Mar/2026:14:00:00 +0000] 201 "GET /v1/carts HTTP/1.1"\n'

HTTPD = r"""
ServerRoot "/etc/httpd"
LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D" timed
  logformat "%t \"%r\" \
%>s" short
CustomLog "logs/access_log" timed
CustomLog logs/ssl_request_log "%t %h %{SSL_PROTOCOL}x \"%r\" %b" env=ssl
# CustomLog logs/none "%h"
IncludeOptional conf.d/*.conf
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "site.conf").write_text(SITE)
    (tmp_path / "nginx.conf").write_text(NGINX)
    return tmp_path / "nginx.conf"


def found(text: str) -> list[tuple[str, str]]:
    return [(layout.gateway, layout.text) for layout in read_layouts(text, "x", lambda pattern, inside: [])]


@pytest.mark.parametrize(("line", "status"), [(MAIN_LINE, 200), (API_LINE, 200), (PIPED_LINE, 204), (SITE_LINE, 201)])
def test_the_layout_that_fits_is_taken_among_all_of_nginx_conf(line: str, status: int, nginx: Path) -> None:
    (nginx.parent / "x.log").write_text(line)
    ran = apilens("parse", nginx.parent / "x.log", "--log-format-from", nginx)
    assert (ran.code, ran.err) == (0, "")
    assert [(row["gateway"], row["status_code"]) for row in ran.rows()] == [("nginx_log_format", status)]


def test_lines_of_several_layouts_in_one_log_are_all_read(nginx: Path) -> None:
    (nginx.parent / "x.log").write_text(MAIN_LINE * 3 + API_LINE + SITE_LINE + "no call\n")
    ran = apilens("parse", nginx.parent / "x.log", "--log-format-from", nginx)
    assert [row["status_code"] for row in ran.rows()] == [200, 200, 200, 200, 201]
    assert ran.rows()[3]["user_agent"] == 'c"url'
    assert "line 6: does not fit the layout: after remote_addr found" in ran.err


def test_the_layouts_know_their_place_their_name_and_their_logs(nginx: Path) -> None:
    layouts = {layout.name: layout for layout in layouts_from(str(nginx))}
    assert list(layouts) == ["main", "api", "piped", "site"]
    assert [layout.where.rpartition("/")[2] for layout in layouts.values()] == [
        "nginx.conf:5", "nginx.conf:7", "nginx.conf:9", "site.conf:1"
    ]  # fmt: skip
    assert layouts["main"].logs == ("/var/log/nginx/access.log",)
    assert layouts["site"].logs == ("logs/site.log",)


def test_squid_conf_has_its_layouts_by_name_and_the_logs_that_use_them() -> None:
    text = (
        'http_port 3128\nlogformat timed %ts.%03tu %6tr %>a %>Hs %ru\nlogformat api [%tl] %>a "%rm %ru" %>Hs %<st\n'
        "access_log daemon:/var/log/squid/access.log timed\naccess_log stdio:/var/log/squid/api.log logformat=api !local\n"
    )
    layouts = read_layouts(text, "squid.conf", lambda pattern, inside: [])
    assert [(one.where, one.name, one.logs, one.gateway) for one in layouts] == [
        ("squid.conf:2", "timed", ("/var/log/squid/access.log",), "squid"),
        ("squid.conf:3", "api", ("/var/log/squid/api.log",), "squid"),
    ]
    line = b'[09/Mar/2026:14:00:00 +0000] 203.0.113.7 "GET http://api.example/v1" 200 512\n'
    block = Block(line)
    calls = parse(block, detect(block, Options(layouts=layouts), "api.log").reader).calls
    assert calls.select("gateway", "path", "status_code").rows() == [("squid_native", "/v1", 200)]


def test_of_layouts_that_fit_alike_the_one_in_use_for_this_log_is_taken(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(
        "log_format a '$msec $request_time'; log_format b '$msec $upstream_response_time';"
        "access_log /var/log/a.log a; access_log /var/log/b.log b;"
    )
    for name, column in (("a.log", "duration_ms"), ("b.log.1", "upstream_duration_ms")):
        (tmp_path / name).write_text("1773064800.125 0.042\n")
        (row,) = apilens("parse", tmp_path / name, "--log-format-from", tmp_path / "nginx.conf").rows()
        assert {key for key in row if key.endswith("duration_ms") and row[key] is not None} == {column}


def test_httpd_conf_gives_its_log_formats_and_the_logs_they_are_for(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.conf").write_text('LogFormat "%t %s" more\n')
    (tmp_path / "httpd.conf").write_text(HTTPD)
    layouts = layouts_from(str(tmp_path / "httpd.conf"))
    assert [(one.name, one.where.rpartition(":")[2], one.logs) for one in layouts] == [
        ("timed", "3", ("logs/access_log",)), ("short", "4", ()), ("", "7", ("logs/ssl_request_log",)), ("more", "1", ())
    ]  # fmt: skip
    (tmp_path / "x.log").write_text(
        '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5 "-" "c" 42113\n'
    )
    (row,) = apilens("parse", tmp_path / "x.log", "--log-format-from", tmp_path / "httpd.conf").rows()
    assert (row["gateway"], row["duration_ms"]) == ("apache_logformat", 42.113)


@pytest.mark.parametrize(
    ("text", "layouts"),
    [
        (
            'access_log:\n- name: x\n  typed_config:\n    log_format:\n      text_format_source:\n        inline_string: "[%START_TIME%] %RESPONSE_CODE%\\n"\n',
            [("envoy", "[%START_TIME%] %RESPONSE_CODE%")],
        ),
        (
            '{"access_log":[{"typed_config":{"log_format":{"json_format":{"at":"%START_TIME%","code":"%RESPONSE_CODE%"}}}}]}',
            [("envoy_json", '{"at": "%START_TIME%", "code": "%RESPONSE_CODE%"}')],
        ),
        (
            "kind: ConfigMap\ndata:\n  mesh: |-\n    accessLogFile: /dev/stdout\n    accessLogFormat: |\n      [%START_TIME%] %DURATION%\n",
            [("envoy", "[%START_TIME%] %DURATION%")],
        ),
        (
            "Resources:\n  Stage:\n    Properties:\n      Name: !Sub x\n      AccessLogSetting:\n        Format: '$context.requestTime $context.status'\n",
            [("aws", "$context.requestTime $context.status")],
        ),
        ("data:\n  log-format-upstream: '[$time_local] $status'\n", [("nginx", "[$time_local] $status")]),
        ("frontend x\n  log-format \"%ci [%tr] \\\"%r\\\" %ST\"\n", [("haproxy", '%ci [%tr] "%r" %ST')]),
        ("  log-format %ci\\ %ST # why\n  log-format '%ci \"%r\"'\n", [("haproxy", "%ci %ST"), ("haproxy", '%ci "%r"')]),
        ("defaults\n  option tcplog # why\n", [("haproxy", "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq")]),
        ("[%START_TIME%] %RESPONSE_CODE%\\n\n", [("envoy", "[%START_TIME%] %RESPONSE_CODE%")]),
        ('{\n "id": "$context.requestId",\n "code": $context.status\n}\n', [("aws", '{ "id": "$context.requestId", "code": $context.status }')]),
        ("$remote_addr [$time_local] $status\n", [("", "$remote_addr [$time_local] $status")]),
        ('log_format x "it\'s $status";', [("nginx", "it's $status")]),
        ('#accesslog.format = "%a"\naccesslog.filename = "/x"\naccesslog.format = "%h %t \\"%r\\" %s"\n', [("apache", '%h %t \\"%r\\" %s')]),
        ("[uwsgi]\nlog-format = %(addr) [%(ltime)] %(status)\n", [("uwsgi", "%(addr) [%(ltime)] %(status)")]),
        ('<Valve pattern="%h %t &quot;%r&quot;" className="x.AccessLogValve"/><Valve className="x.RemoteIpValve"/><Valve className="x.JsonAccessLogValve" pattern="%t"/>', [("apache", '%h %t "%r"')]),
        ("<Valve className='x.AccessLogValve' pattern='common' />", [("apache", '%h %l %u %t "%r" %>s %b')]),
        ('listen: 80\naccess-log:\n  path: /x\n  format: "%h %t %{duration}x"\n', [("apache", "%h %t %{duration}x")]),
        ("http_port 3128\naccess_log daemon:/x squid\n", [("squid", "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt")]),
        ("access_log stdio:/x buffer-size=1KB\n", [("squid", "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt")]),
        ("access_log /var/log/x.log;", [("nginx", '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"')]),
    ],
)  # fmt: skip
def test_every_kind_of_configuration_gives_its_layouts(text: str, layouts: list[tuple[str, str]]) -> None:
    assert found(text) == layouts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x: no layout found; expected log_format (nginx.conf), LogFormat"),
        ("logging:\n  formats:\n  - format: '%<cqtq> %<ttms>'\n", "x: no layout found; expected log_format"),
        ("\n\nlog_format main '$remote_addr", "x:3: log_format has a quote that is never closed; expected '"),
        ("log_format main '$remote_addr'\n", "x:1: log_format main is cut off; expected ;"),
        ("log_format main '$remote_addr'\n}", "x:1: log_format is followed by '}'; expected ;"),
        ("\nlog_format main;", "x:2: log_format has 1 words; expected a name and a layout"),
        ('LogFormat "%h', 'x:1: LogFormat "%h: expected a text in double quotes'),
        ("#\nCustomLog logs/x", "x:2: customlog has one argument; expected a file and a format"),
        ('  log-format "%ci', 'x:1: log-format has a quote that is never closed; expected "'),
        ("inline_string: [\n]]", "x:2: is neither YAML nor JSON"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        found(text)
    assert str(error.value).startswith(said)


@given(st.text(st.sampled_from("log_format '\"\\\n;{}#$a %LogFormat:-"), max_size=60))
def test_no_configuration_however_broken_is_more_than_an_error(text: str) -> None:
    for start in ("", "log_format x '$msec'; ", 'LogFormat "%t" x\n', "  log-format ", "inline_string: "):
        try:
            assert found(start + text)
        except ConfigError as error:
            assert str(error).startswith("x:")


def test_when_no_layout_fits_each_says_where_it_fails(nginx: Path) -> None:
    nginx.write_text(nginx.read_text() + "log_format untimed '$remote_addr $status';")
    (nginx.parent / "x.log").write_text("hello\n")
    ran = apilens("parse", nginx.parent / "x.log", "--log-format-from", nginx)
    assert (ran.code, ran.out) == (3, "")
    assert "none of the 5 layouts given reads a line" in ran.err
    assert (
        f"{nginx}:5: main: line 1: does not fit the layout: after remote_addr the line ends, expected ' - '" in ran.err
    )
    assert "untimed: log_format '$remote_addr $status' has no time" in ran.err


def test_objects_that_a_format_does_not_know_by_name_are_told_as_without_a_configuration() -> None:
    json_of_kong = FoundLayout('{"code": "%RESPONSE_CODE%"}', "envoy.yaml:3", gateway="kong_json")
    head = Block(b'{"timestamp":"2026-03-09T14:00:00Z","path":"/v1/carts","status":200}\n')
    assert detect(head, Options(layouts=(json_of_kong,)), "x").format == "table_json"


def test_layouts_of_which_none_has_a_time_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("log_format a '$status';")
    (tmp_path / "x.log").write_text(MAIN_LINE)
    ran = apilens("parse", tmp_path / "x.log", "--log-format-from", tmp_path / "nginx.conf")
    assert ran.code == 2
    assert f"{tmp_path / 'nginx.conf'}:1: a: log_format '$status' has no time" in ran.err


@pytest.mark.parametrize("other", [["--format", "kong_json"], ["--log-format", "$msec"]])
def test_two_options_that_name_the_layout_contradict_each_other(other: list[str], nginx: Path) -> None:
    ran = apilens("parse", nginx, "--log-format-from", nginx, *other)
    assert ran.code == 2
    assert f"--log-format-from and {other[0]}" in ran.err


def test_a_source_names_its_configuration_from_the_folder_of_apilens_toml(nginx: Path) -> None:
    (nginx.parent / "logs").mkdir()
    (nginx.parent / "logs" / "x.log").write_text(PIPED_LINE)
    (nginx.parent / "apilens.toml").write_text('[[sources]]\nmatch = "logs/*"\nlog_format_from = "nginx.conf"\n')
    done = ingest(nginx.parent / "lake", nginx.parent / "logs", "--config", nginx.parent / "apilens.toml")
    assert [(report["stored"], report["log_format"]) for report in done["inputs"]] == [
        (1, "$time_iso8601|$status|$request_uri")
    ]


def test_rejects_are_fed_again_with_the_layouts_of_a_configuration(nginx: Path) -> None:
    lake = nginx.parent / "lake"
    (nginx.parent / "x.log").write_text(MAIN_LINE * 9 + SITE_LINE)
    assert ingest(lake, nginx.parent / "x.log")["rejected"] == 1
    ran = apilens("rejects", "--lake", lake, "--refeed", "--log-format-from", nginx)
    assert (ran.code, ran.out) == (0, "read 1 rejects = stored 1 + filtered 0 + still rejected 0\n")


def test_detection_explains_the_choice_among_the_layouts_of_a_configuration(nginx: Path) -> None:
    (nginx.parent / "x.log").write_text(SITE_LINE)
    ran = apilens("formats", "--detect", nginx.parent / "x.log", "--log-format-from", nginx)
    assert f"1 of the first 1 records fit the layout at {nginx.parent}/conf.d/site.conf:1: site" in ran.out
    as_json: Any = apilens(
        "formats", "--detect", nginx.parent / "x.log", "--log-format-from", nginx, "--output", "json"
    ).json()
    assert as_json["layout"] == '[$time_local] $status "$request"'


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("$remot_addr $msec", "log_format has $remot_addr; did you mean $remote_addr?"),
        ("$msec $stauts", "did you mean $status?"),
        ('$msec "$http_referrer"', "did you mean $http_referer?"),
        ('%t "%{User-Agnet}i"', "did you mean %{user-agent}i?"),
        ("%t %Z", "%Z, which is no directive of httpd"),
    ],
)
def test_a_misspelt_variable_is_said_and_its_values_are_kept(layout: str, said: str, tmp_path: Path) -> None:
    values = {"$msec": "1773064800.125", "%t": "[09/Mar/2026:14:00:00 +0000]"}
    line = " ".join(values.get(word, '"v"' if '"' in word else "v") for word in layout.split(" "))
    (tmp_path / "x.log").write_text(line + "\n")
    ran = apilens("parse", tmp_path / "x.log", "--log-format", layout)
    assert ran.code == 0
    assert said in ran.err
    (row,) = ran.rows()
    assert list(dict(row["attributes"]).values()) == ["v"] if isinstance(row["attributes"], dict) else row["attributes"]


NGINX_NAMES = (
    "arg_x binary_remote_addr bytes_received connection connection_requests connection_time content_type cookie_x geoip_city"
    " gzip_ratio http_accept http_x_forwarded_host http_x_forwarded_port http_x_forwarded_proto http_x_real_ip http_cf_ray"
    " https is_args nginx_version pid pipe proxy_host proxy_port proxy_protocol_addr proxy_protocol_port realip_remote_port"
    " request_body request_completion request_filename request_id sent_http_content_type server_addr ssl_cipher ssl_ciphers"
    " ssl_client_s_dn ssl_curves ssl_server_name ssl_session_id ssl_session_reused tcpinfo_rtt upstream_cache_key"
    " upstream_http_x upstream_last_addr upstream_queue_time service_name service_port namespace ingress_name"
)


def test_variables_that_nginx_has_are_no_slips(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("1\n")
    layout = " ".join(f"${name}" for name in ("msec", *NGINX_NAMES.split()))
    assert "did you mean" not in apilens("parse", tmp_path / "x.log", "--log-format", layout).err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('1773064800.125 2OO "x" 1', 'status is "2OO", expected a number 100..999'),
        ('1773064800.125 099 "x" 1', 'status is "099", expected a number 100..999'),
        ('yesterday 200 "x" 1', 'msec is "yesterday", expected a time as seconds since 1970'),
        ('1773064800.125 200 "x', "after http_user_agent the line ends, expected '\" '"),
        ('1773064800.125 200 "x" ten', 'request_time is "ten", expected seconds below a year'),
        ('1773064800.125 200 "x" 33000000', 'request_time is "33000000", expected seconds below a year'),
        ('1773064800.125 200 "x" 1 2', 'the layout ends before " 2"'),
        ('1773064800.125 200 x 1', 'after status found " x 1", expected'),
        (f'1773064800.125 {"z" * 90} "x" 1', f'status is "{"z" * 40}…", expected a number'),
    ],
)  # fmt: skip
def test_a_line_that_nearly_fits_says_where_it_departs_and_what_was_expected(
    line: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "x.log").write_text(line + "\n")
    ran = apilens("parse", tmp_path / "x.log", "--log-format", '$msec $status "$http_user_agent" $request_time')
    assert reason in ran.err


def test_a_stored_reason_quotes_no_secret(tmp_path: Path) -> None:
    good = '1773064800.125 200 "x"\n'
    secret = "hunter2hunter2"
    lines = [
        f'1773064800.125 200 "x" "{secret}&password={secret}"',
        f'1773064800.125 password={secret} "x"',
        f"1773064800.125 Bearer {secret}",
        f'{"x" * 30}?token={secret}{secret} 200 "x"',
    ]
    (tmp_path / "x.log").write_text(good * 9 + "\n".join(lines) + "\n")
    assert (
        ingest(tmp_path / "lake", tmp_path / "x.log", "--log-format", '$msec $status "$http_user_agent"')["rejected"]
        == 4
    )
    ran = apilens("rejects", "--lake", tmp_path / "lake", "--output", "ndjson")
    assert [row["reason"] for row in ran.rows() if secret[:6] in row["reason"]] == []
    assert all("expected" in row["reason"] or "ends before" in row["reason"] for row in ran.rows())


ENVOY = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %DURATION% '
    '"%REQ(X-FORWARDED-FOR)%" %HOSTNAME%'
)
ENVOY_LINE = '[2026-03-09T14:00:00.125Z] "GET /v1/carts HTTP/2" 200 42 "203.0.113.7" edge-1\n'
QUOTED = ENVOY.replace('"', '\\"')
OBJECT = '{"at": "%START_TIME%", "took": "%DURATION%", "path": "%REQ(:PATH)%", "pod": "%HOSTNAME%"}'
OBJECT_LINE = '{"at":"2026-03-09T14:00:00.125Z","took":42,"path":"/v1/carts","pod":"edge-1"}\n'
GATEWAY = "spec:\n  telemetry:\n    accessLog:\n      settings:\n        - format:\n            type: "
#: How Envoy's own documentation, and what configures Envoy, write a layout.
ENVOYS = {
    "alone": (ENVOY, ENVOY_LINE),
    "with its line feed": (f"{ENVOY}\\n", ENVOY_LINE),
    "broken as in documentation": (f"{ENVOY}\\n".replace(" %RESPONSE", "\n  %RESPONSE"), ENVOY_LINE),
    "inline_string": (f'text_format_source:\n  inline_string: "{QUOTED}\\n"\n', ENVOY_LINE),
    "a line of YAML": (f'inline_string: "{QUOTED}\\n"', ENVOY_LINE),
    "a block": (f"log_format:\n  text_format_source:\n    inline_string: |\n      {ENVOY}\n", ENVOY_LINE),
    "a folded block": (f"text_format_source:\n  inline_string: >\n    {ENVOY.replace(' %DUR', chr(10) + '    %DUR')}\n", ENVOY_LINE),
    "json_format": (f"log_format:\n  json_format: {OBJECT}\n", OBJECT_LINE),
    "typed_json_format": (f'{{"typed_json_format": {OBJECT}}}', OBJECT_LINE),
}  # fmt: skip
#: What only the configuration of another product has.
CONFIGURED = {
    "Envoy Gateway": (f"{GATEWAY}Text\n            text: |\n              {ENVOY}\n", ENVOY_LINE),
    "Envoy Gateway's JSON": (f"{GATEWAY}JSON\n            json: {OBJECT}\n", OBJECT_LINE),
    "Contour": (f"accesslog-format: envoy\naccesslog-format-string: '{ENVOY}\\n'\n", ENVOY_LINE),
    "Emissary": (f"config:\n  envoy_log_format: '{ENVOY}'\n", ENVOY_LINE),
    "Gloo": (f"fileSink:\n  path: /dev/stdout\n  stringFormat: '{ENVOY}'\n", ENVOY_LINE),
    "Consul": (f"accessLogs:\n  enabled: true\n  jsonFormat: '{OBJECT}'\n", OBJECT_LINE),
    "App Mesh": (
        "file:\n  format:\n    json:\n      - {key: at, value: '%START_TIME%'}\n      - {key: took, value: '%DURATION%'}\n"
        "      - {key: path, value: '%REQ(:PATH)%'}\n      - {key: pod, value: '%HOSTNAME%'}\n", OBJECT_LINE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", [*ENVOYS, *CONFIGURED])
def test_a_layout_of_envoy_is_read_however_it_is_written_down(how: str, tmp_path: Path) -> None:
    text, line = (ENVOYS | CONFIGURED)[how]
    log, configuration = tmp_path / "access.log", tmp_path / "envoy.yaml"
    log.write_text(line)
    configuration.write_text(text)
    # A file with several lines that is no configuration is another program's.
    given = [] if how.startswith("broken") else [("--log-format-from", configuration)]
    for option, value in [*given, *([("--log-format", text)] if how in ENVOYS else [])]:
        (row,) = apilens("parse", log, option, value).rows()
        assert (row["duration_ms"], row["path"], row["node"]) == (42.0, "/v1/carts", "edge-1")


def test_squid_conf_and_server_xml_say_which_log_has_which_layout() -> None:
    squid = read_layouts("access_log /x/a.log combined\naccess_log /x/b.log squid\n", "x", lambda pattern, inside: [])
    assert [(one.name, one.logs, one.gateway) for one in squid] == [
        ("combined", ("/x/a.log",), "apache_combined"), ("squid", ("/x/b.log",), "squid")
    ]  # fmt: skip
    valves = "".join(
        f"<Valve className='x.AccessLogValve' prefix='{name}' pattern='%t %{letter}'/>"
        for name, letter in (("d", "D"), ("t", "T"))
    )
    layouts = read_layouts(valves, "server.xml", lambda pattern, inside: [])
    for name, ms in (("d.2026-03-09", 0.003), ("t.2026-03-09", 3000.0)):
        block = Block(b"[09/Mar/2026:14:00:00 +0000] 3\n")
        assert parse(block, detect(block, Options(layouts=layouts), name).reader).calls["duration_ms"].to_list() == [ms]
