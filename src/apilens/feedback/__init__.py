"""What people reported: channels that read it, and what can be said about an item by its text alone."""

from __future__ import annotations

from apilens.errors import FormatError
from apilens.feedback import (
    alertmanager,
    csv,
    github,
    gitlab,
    jira,
    mail,
    ndjson,
    notes,
    pagerduty,
    servicenow,
    slack,
    survey,
    teams,
    zendesk,
)
from apilens.feedback.api import Pull
from apilens.feedback.export import Export
from apilens.feedback.records import Channel

#: name -> how that kind of file is read; the first that recognises a file reads it, so the general ones come last.
CHANNELS: dict[str, Channel] = {
    "slack": slack.Slack(),
    "teams": teams.Teams(),
    "jira": jira.Jira(),
    "pagerduty": pagerduty.PagerDuty(),
    "servicenow": servicenow.ServiceNow(),
    "zendesk": zendesk.Zendesk(),
    "gitlab": gitlab.GitLab(),
    "github": github.GitHub(),
    "alertmanager": alertmanager.Alertmanager(),
    "mail": mail.Mail(),
    "notes": notes.Notes(),
    "ndjson": ndjson.Ndjson(),
    "survey": survey.Survey(),
    "csv": csv.Csv(),
}

#: What can be asked for news -> (channel of its items, how it is asked). IMAP is no REST and stands in `pull`.
PULLS: dict[str, tuple[str, Pull]] = {
    "jira_cloud": ("jira", jira.pull_cloud),
    "jira_data_center": ("jira", jira.pull_data_center),
    "servicenow": ("servicenow", servicenow.pull),
    "zendesk": ("zendesk", zendesk.pull),
    "github": ("github", github.pull),
    "gitlab": ("gitlab", gitlab.pull),
    "slack": ("slack", slack.pull),
}


def recognise(export: Export) -> Channel:
    """The channel that reads this file, told by its content. Raises FormatError, which says what was found."""
    for channel in CHANNELS.values():
        if channel.recognises(export):
            return channel
    head = "a zip archive" if export.is_zip else repr(export.text.lstrip()[:60])
    known = ", ".join(name for name in CHANNELS if name not in ("csv", "ndjson"))
    raise FormatError(
        f"{export.name}: begins with {head}; expected an export of {known}, or NDJSON, CSV, XLSX or Parquet with columns "
        "named as in apilens feedback import --help, among them id and created_at; name other columns with --mapping FILE"
    )


__all__ = ["CHANNELS", "PULLS", "Channel", "Export", "recognise"]
