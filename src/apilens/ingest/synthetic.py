"""Calls no person or application waited for: bots, scanners, health checks. Kept in the lake, out of baselines.

Three signs: the words of the user agent, paths that only a scanner asks for, and the rhythm of a client without identity.
"""

from __future__ import annotations

import polars as pl

from apilens.distinct import Distinct

_HEALTH_AGENT = (
    r"(?i)kube-probe|healthcheck|health[-_ ]check|googlehc|googlestackdrivermonitoring|consul health|envoy/hc|haproxy|elb-health|route ?53"
    r"|pingdom|uptimerobot|uptime[-_ ]?kuma|^uptime/|statuscake|site24x7|newrelicsynthetics|newrelicpinger|datadog/?synthetics"
    r"|blackbox.exporter|^prometheus/|checkmk|check_http/|nagios|icinga|zabbix|better ?uptime|better ?stack|freshping|hetrixtools|nodeping"
    r"|cronitor|hyperping|updown\.io|alertra|dotcom-?monitor|gomezagent|catchpoint|edge health probe|cloudflare-traffic-manager|uptrends"
    r"|ruxitsynthetic|panopta|^gatus/"
)
_SCANNER_AGENT = (
    r"(?i)sqlmap|nikto|nmap|masscan|zgrab|nuclei|wpscan|dirbuster|gobuster|feroxbuster|ffuf|fuzz faster|acunetix|nessus|openvas|qualys"
    r"|censysinspect|expanse|l9explore|l9tcpid|projectdiscovery|burp|zmeu|morfeus|jorgee|w3af|arachni|wfuzz|^dirb/|dirsearch|whatweb"
    r"|netsparker|invicti|detectify|internet-?measurement|netsystemsresearch|leakix|shodan|binaryedge|zaproxy|havij|skipfish|joomscan"
)
#: "bot" as a word or a word's end (Googlebot, AhrefsBot/7.0), not "robotics" or "cubot" phones.
_BOT_AGENT = (
    r"(?i)(?:[a-z][a-tv-z]bot|[abd-z]ubot|\bbot)(?:[^a-z]|$)|crawler|spider|slurp|facebookexternalhit|facebot|ia_archiver|mediapartners|bingpreview"
    r"|feedfetcher|headlesschrome|phantomjs|petalsearch|yandex(?:images|favicons|metrika)|lighthouse|gtmetrix|embedly|skypeuripreview"
    r"|slack-imgproxy|google-(?:read-aloud|inspectiontool|extended)|apis-google|chatgpt-user|claude-(?:user|web)|perplexity-user"
    r"|mistralai-user|cohere-(?:ai|training)|anthropic-ai|meta-external(?:agent|fetcher)|scrapy|nutch|heritrix|httrack|archive\.org"
    r"|dataforseo|screaming frog|omgili|diffbot|img2dataset"
)
#: Paths only a scanner asks an API for.
_PROBED_PATH = (
    r"(?i)^/(?:wp-(?:login|admin|content|includes)|xmlrpc\.php|\.env|\.git/|\.aws/|\.svn/|phpmyadmin|pma/|cgi-bin/|vendor/phpunit"
    r"|boaform|actuator/(?:env|heapdump|gateway)|solr/admin|manager/html|\.well-known/security\.txt\.bak|owa/|autodiscover"
    r"|\.ds_store|\.vscode/|\.ssh/|\.htpasswd|web-inf/|hnap1|setup\.cgi|telescope/requests|_ignition/|server-status$|debug/default/view)"
)
#: Paths that are asked for to learn whether somebody is there, at most behind words that every API has.
_ALIVE_PATH = (
    r"(?i)^/(?:(?:api|actuator|internal|management|manage|admin|system|-|_|v\d{1,2})/){0,3}"
    r"(?:_?health(?:[-_]?check)?z?|ping|status|alive|live(?:z|ness)?|ready(?:z|ness)?|heartbeat|up|probe|nginx_status)"
    r"(?:/(?:live(?:ness)?|ready|readiness|ping))?(?:\.(?:json|txt|html|php))?/?$"
)

# What counts as a rhythm. Picked: with exponential gaps (callers that know nothing of each other) about one gap in four lies
# this near the median at five seconds, and fewer at longer ones; nine of ten in ten or more do not happen by chance.
_GAPS = 10
_STEADY = 0.9
_LEAST_GAP_S = 5.0
_LEAST_SPAN_S = 300.0
#: Logged seconds are whole in most formats, so a steady gap may read a second longer or shorter.
_SLACK_S, _SLACK = 1.0, 0.1


def synthetic_type(user_agent: Distinct, path: Distinct) -> pl.Series:
    """bot, scanner or health_check per call by its user agent and path; null: taken for real use."""
    by_agent = user_agent.map(_of_agent)
    probed = path.map(lambda paths: paths.str.contains(_PROBED_PATH))
    if not probed.any():
        return by_agent
    by_agent = by_agent.cast(pl.String)
    return pl.select(
        pl.when(probed & (by_agent != "health_check").fill_null(True)).then(pl.lit("scanner")).otherwise(by_agent)
    ).to_series()


def _of_agent(user_agent: pl.Series) -> pl.Series:
    return user_agent.to_frame("agent").select(
        pl.when(pl.col("agent").str.contains(_HEALTH_AGENT)).then(pl.lit("health_check"))
        .when(pl.col("agent").str.contains(_SCANNER_AGENT)).then(pl.lit("scanner"))
        .when(pl.col("agent").str.contains(_BOT_AGENT)).then(pl.lit("bot"))
    ).to_series()  # fmt: skip


def rhythmic(calls: pl.DataFrame, path: Distinct) -> pl.Series:
    """Whether each call is one of a health check by its rhythm.

    calls: start_time, client_ip, method, path, user_agent, consumer; path: the same as its distinct values. That is: one client without identity asks for one path
    again and again at a steady interval, either without a user agent where others have one, or at a path that is there for
    nothing else. An identified consumer that polls is real use. Judged on the calls given alone (a piece of a log), so the
    same piece always gives the same answer.
    """
    logged = calls["user_agent"].null_count() < calls.height
    nameless = pl.col("user_agent").is_null() if logged else pl.lit(False)
    own = ["client_ip", "method", "path"]
    alive = path.map(lambda paths: paths.str.contains(_ALIVE_PATH)).alias("alive")
    asked = calls.select(
        (pl.col("consumer").is_null() & pl.col("client_ip").is_not_null() & (nameless | alive)).arg_true()
    ).to_series()
    found = pl.repeat(False, calls.height, dtype=pl.Boolean, eager=True)
    if len(asked) <= _GAPS:
        return found
    candidates = calls.select(pl.col(*own, "start_time").gather(asked)).with_columns(at=asked).lazy()
    gap = pl.col("start_time").diff().over(own).dt.total_microseconds() / 1e6
    usual = pl.col("gap").median().over(own)
    near = (pl.col("gap") - usual).abs() <= pl.max_horizontal(pl.lit(_SLACK_S), _SLACK * usual)
    steady = (
        candidates.sort(*own, "start_time")
        .with_columns(gap=gap)
        .with_columns(near=near)
        .group_by(own)
        .agg(
            pl.col("at"),
            gaps=pl.col("gap").count(),
            usual=pl.col("gap").median(),
            span=pl.col("gap").sum(),
            steady=pl.col("near").mean(),
        )
        .filter(
            (pl.col("gaps") >= _GAPS)
            & (pl.col("usual") >= _LEAST_GAP_S)
            & (pl.col("span") >= _LEAST_SPAN_S)
            & (pl.col("steady") >= _STEADY)
        )
        .collect(engine="in-memory")
    )
    return found.scatter(steady["at"].explode(), True) if steady.height else found
