"""The pages in docs/ name what there is: every command and option, column, key and exit code, and nothing else."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl
import pytest
import yaml

from apilens.cli import cli
from apilens.config import Config, Detect, Maintenance, Mark, MetricRule, Mute, Objective, Sensitivity, Source
from apilens.errors import Exit
from apilens.formats import FORMATS
from apilens.lake.tables import TABLES
from apilens.triage.context import Account, Context, Endpoint

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Text under each `## ` heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        if group.invoke_without_command:
            yield " ".join(words), group
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None
            yield from commands(found, (*words, name))
    else:
        yield " ".join(words), group


COMMANDS = dict(commands(cli, ("apilens",)))


def options(command: click.Command) -> set[str]:
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


def described(text: str) -> str:
    """What is said about a command, without the examples that only use it."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_command_has_its_section() -> None:
    found = [name for name in sections(page("commands.md")) if name.startswith("apilens")]
    assert sorted(found) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_every_option_of_its_command_and_no_other(name: str) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", described(sections(page("commands.md"))[name])))
    assert named <= options(COMMANDS[name]), "options the command does not have"
    assert options(COMMANDS[name]) <= named, "options that are not described"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_every_form_of_output(name: str) -> None:
    for option in COMMANDS[name].params:
        if isinstance(option.type, click.Choice):
            text = described(sections(page("commands.md"))[name])
            assert [choice for choice in option.type.choices if choice not in text] == []


def test_shared_options_are_described_with_their_environment() -> None:
    text = sections(page("commands.md"))["Options that mean the same everywhere"]
    variables = {
        option.envvar
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option, click.Option) and option.envvar
    }
    assert variables == set(re.findall(r"`(APILENS_\w+)`", text))


@pytest.mark.parametrize("name", TABLES)
def test_the_lake_page_lists_the_columns_of_each_table_in_order_with_their_types(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", sections(page("lake.md"))[f"`{name}`"], re.MULTILINE)
    assert [(column, dtype) for column, dtype, _ in rows] == [(c, words(d)) for c, d in TABLES[name].items()]


def words(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return f"List of {words(dtype.inner)}"  # type: ignore[arg-type]  # the schema holds instances or classes alike
    if isinstance(dtype, pl.Map):
        return "Map of String, String"
    return "time" if dtype == pl.Datetime else str(dtype)


@pytest.mark.parametrize(
    "model",
    [Config, Source, Mark, Objective, MetricRule, Detect, Sensitivity, Maintenance, Mute, Context, Account, Endpoint],
    ids=lambda model: model.__name__,
)
def test_the_configuration_page_names_every_key(model: type[Config]) -> None:
    keys = set(model.model_fields) - {"folder"}  # where the file lies: no key
    text = described(page("configuration.md"))
    assert [key for key in keys if not re.search(rf"`\[{{0,2}}{key}\]{{0,2}}`", text)] == []


def test_the_readme_explains_every_exit_code_once() -> None:
    assert re.findall(r"^\| (\d+) \|", README, re.MULTILINE) == [str(int(code)) for code in Exit]


def test_every_gateway_of_the_registry_is_named_in_the_readme() -> None:
    families = {name.split("_")[0] for name in FORMATS}
    assert [family for family in families if family not in sections(README)["Formats"].lower()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_a_new_format_as_described_is_detected_and_read() -> None:
    """The file of docs/adding-a-format.md, on a call as that gateway writes it."""
    source = next(iter(re.findall(r"^```text\n(\"\"\".*?)^```", page("adding-a-format.md"), re.MULTILINE | re.DOTALL)))
    names: dict[str, object] = {}
    exec(compile(source, "acme.py", "exec"), names)
    line = (
        '{"level":"info","ts":1773064800.25,"request":{"client_ip":"203.0.113.9","method":"GET","host":"api.example",'
        '"uri":"/v1/carts/80?full=1"},"duration":0.012,"size":512,"status":200}'
    )
    read = names["LAYOUT"].read(pl.DataFrame({"line": [line]}).with_row_index("row"))  # type: ignore[attr-defined]  # a JsonLayout of the page
    assert read.rejects.is_empty()
    call = read.calls.row(0, named=True)
    assert f"{call['timestamp']:%Y-%m-%d %H:%M:%S.%f}" == "2026-03-09 14:00:00.250000"
    assert (call["duration_ms"], call["status_code"], call["path"]) == (12.0, 200, "/v1/carts/80")


def _examples(heading: str) -> str:
    """The block of text below a heading of docs/scheduling.md."""
    return page("scheduling.md").split(f"## {heading}\n")[1].split("```text\n")[1].split("```")[0]


def test_every_command_of_a_schedule_can_be_given() -> None:
    cron = [line for line in _examples("cron").splitlines() if "=" not in line.split()[0]]
    for line in cron:
        assert re.match(r"(?:[\d*,/-]+ ){5} ", line), line
        assert "%" not in line  # which cron takes for a line end
    systemd = re.findall(r"^ExecStart=\S*/(apilens .*)", _examples("systemd"), re.MULTILINE)
    job = yaml.safe_load(_examples("Kubernetes"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    commands = [shlex.split(part) for line in (*cron, *systemd) for part in re.findall(r"apilens [^>&]+", line)]
    assert len(commands) == 6
    for _, name, *args in (*commands, container["command"]):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), args.pop(0))
            assert command is not None
        command.make_context(name, args)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a machine without systemd")
def test_the_units_for_systemd_are_in_order(tmp_path: Path) -> None:
    service, timer = _examples("systemd").split("# /etc/systemd/system/apilens.timer\n")
    (tmp_path / "apilens.service").write_text(service.replace("/opt/apilens/bin/apilens", sys.executable))
    (tmp_path / "apilens.timer").write_text(timer)
    ran = subprocess.run(["systemd-analyze", "verify", *tmp_path.iterdir()], capture_output=True, text=True)
    # Other units of the machine are read as well, and warned of.
    said = [line for line in ran.stderr.splitlines() if "apilens" in line]
    assert (ran.returncode, said) == (0, [])
