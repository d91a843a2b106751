"""Calls no person or application waited for: bots, scanners, health checks. Kept in the lake, out of baselines."""

from __future__ import annotations

import polars as pl

_HEALTH_AGENT = (
    r"(?i)kube-probe|healthcheck|health-check|googlehc|consul health|envoy/hc|haproxy|pingdom|uptimerobot|statuscake"
    r"|site24x7|newrelicsynthetics|datadog/?synthetics|blackbox.exporter|checkmk|nagios|zabbix|elb-health|route ?53"
)
_SCANNER_AGENT = (
    r"(?i)sqlmap|nikto|nmap|masscan|zgrab|nuclei|wpscan|dirbuster|gobuster|feroxbuster|ffuf|acunetix|nessus|openvas|qualys"
    r"|censysinspect|expanse|l9explore|projectdiscovery|burp"
)
#: "bot" as a word or a word's end (Googlebot, AhrefsBot/7.0), not "robotics" or "cubot" phones.
_BOT_AGENT = (
    r"(?i)(?:[a-z]bot|\bbot)(?:[^a-z]|$)|crawler|spider|slurp|facebookexternalhit|facebot|ia_archiver|mediapartners|bingpreview"
    r"|feedfetcher|headlesschrome|petalsearch|yandex(?:images|favicons)|lighthouse"
)
#: Paths only a scanner asks an API for.
_PROBED_PATH = (
    r"(?i)^/(?:wp-(?:login|admin|content|includes)|xmlrpc\.php|\.env|\.git/|\.aws/|\.svn/|phpmyadmin|pma/|cgi-bin/|vendor/phpunit"
    r"|boaform|actuator/(?:env|heapdump|gateway)|solr/admin|manager/html|\.well-known/security\.txt\.bak|owa/|autodiscover)"
)


def synthetic_type(user_agent: pl.Series, path: pl.Series) -> pl.Series:
    """bot, scanner or health_check per call; null: taken for real use.

    Judged by the user agent's words (once per distinct agent) and by probed paths.
    """
    agents = user_agent.drop_nulls().unique()
    kinds = agents.to_frame("agent").select(
        pl.when(pl.col("agent").str.contains(_HEALTH_AGENT)).then(pl.lit("health_check"))
        .when(pl.col("agent").str.contains(_SCANNER_AGENT)).then(pl.lit("scanner"))
        .when(pl.col("agent").str.contains(_BOT_AGENT)).then(pl.lit("bot"))
    ).to_series()  # fmt: skip
    by_agent = user_agent.replace_strict(agents, kinds, default=None, return_dtype=pl.String)
    probed = path.str.contains(_PROBED_PATH)
    return pl.select(
        pl.when(probed & (by_agent != "health_check").fill_null(True)).then(pl.lit("scanner")).otherwise(by_agent)
    ).to_series()
