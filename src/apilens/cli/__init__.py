"""The command line: options in, one pipeline call, results out.

Each command lives in a module of its own and is imported when it is called, so that `apilens --help` costs click alone.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TextIO, cast

import click

from apilens import objects
from apilens.errors import INTERRUPTED, ApilensError, Exit, deleted_meanwhile
from apilens.reports.visible import safe_lines
from apilens.version import __version__

#: command -> (module, attribute, one line of help)
COMMANDS = {
    "ingest": ("apilens.cli.ingest", "ingest", "Read logs into the lake; what is there already is not added again."),
    "look": (
        "apilens.cli.look",
        "look",
        "First impression of some logs: ingest, endpoints and scan in a temporary lake.",
    ),
    "parse": ("apilens.cli.parse", "parse", "Preview the calls of one file; stores nothing."),
    "formats": ("apilens.cli.formats", "formats", "List the formats, or explain which one a file has."),
    "rejects": ("apilens.cli.rejects", "rejects", "Lines that were set aside; feed them again."),
    "endpoints": ("apilens.cli.endpoints", "endpoints", "Error ratios and latency percentiles per endpoint."),
    "compare": ("apilens.cli.compare", "compare", "Two windows per endpoint, with intervals; exit code for CI."),
    "trace": ("apilens.cli.trace", "trace", "One request or consumer in sequence, and what failed first."),
    "trends": ("apilens.cli.trends", "trends", "What grows or degrades over weeks and months."),
    "signals": ("apilens.cli.signals", "signals", "Retries, abandonment, polling, loops: friction without an outage."),
    "slo": ("apilens.cli.slo", "slo", "Error budgets, burn rates, hours to exhaustion."),
    "models": ("apilens.cli.models", "models", "Tokens, errors and latency per model of AI gateways."),
    "routes": ("apilens.cli.routes", "routes", "Route templates: learn merges, list them."),
    "metrics": ("apilens.cli.metrics", "metrics", "System metrics beside the calls: import, list."),
    "inventory": ("apilens.cli.inventory", "inventory", "Undocumented, unused and deprecated endpoints."),
    "lake": ("apilens.cli.lake", "lake", "Sizes, compaction, deletion; forget for good."),
    "sql": ("apilens.cli.sql", "sql", "Run one SELECT over the lake."),
    "scan": ("apilens.cli.scan", "scan", "Find what became abnormal; raise candidate tickets."),
    "mark": ("apilens.cli.mark", "mark", "Keep the go-live or a deployment with the lake."),
    "mute": ("apilens.cli.mute", "mute", "Let a known problem wait until a moment."),
    "explain": ("apilens.cli.explain", "explain", "What carries a candidate: before and after, by dimension."),
    "feedback": ("apilens.cli.feedback", "feedback", "Import and list what people reported."),
    "triage": ("apilens.cli.triage", "triage", "Link feedback with candidates, with reasons."),
    "links": ("apilens.cli.links", "links", "Links of feedback and candidates; confirm or reject them."),
    "related": ("apilens.cli.related", "related", "Problems that cause or block each other."),
    "queue": ("apilens.cli.queue", "queue", "Candidates and feedback in one ranked queue."),
    "tickets": ("apilens.cli.tickets", "tickets", "Plan and file tickets, each problem once."),
    "report": ("apilens.cli.report", "report", "Write the HTML report."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="apilens")
def cli() -> None:
    """Turn the call logs of an API gateway into implicit feedback.

    \b
    First impression of your own logs:   apilens look /var/log/nginx/access.log*
    Keep them and ask again:             apilens ingest /var/log/nginx/access.log* && apilens endpoints
    """


#: jemalloc, which Polars brings, gives freed pages back to the system at once and asks for them again with the next block:
#: a fifth of an ingest went into the kernel clearing them. Kept for a second, they are used again; and of one heap for two cores,
#: not of four for each, a thread finds those that another gave back (a tenth less CPU, 40 to 80 MiB less of memory).
_KEEP_PAGES = f"dirty_decay_ms:1000,muzzy_decay_ms:1000,narenas:{max((os.cpu_count() or 1) // 2, 1)}"
#: Objects after which the interpreter looks for circles among them. Modules and plans are many objects and no circles: at its
#: own 700 a tenth of the start-up went into that. Those of all modules are less than 100,000, and a look at them takes 30 ms.
_OBJECTS = 200_000


class _Stdout(io.FileIO):
    """The output, whose failures bear its name: nothing else tells them from those of a file."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _OUTPUT
            raise


def _stdout() -> TextIO:
    """The output, through _Stdout."""
    if sys.stdout is None:
        return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    raw = io.BufferedWriter(_Stdout(sys.stdout.fileno(), "w", closefd=False))
    by_line = sys.stdout.isatty() or getattr(sys.stdout, "write_through", False)  # `python -u`, PYTHONUNBUFFERED
    return io.TextIOWrapper(raw, sys.stdout.encoding, sys.stdout.errors, line_buffering=by_line)


class _Heedless:
    """A stream whose failures end nothing: a message on a full disk is lost, and what it was about goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code of `Exit`."""
    gc.set_threshold(_OBJECTS)
    # A job may be started without one of them (`>&-`): the next file that is opened would take its place.
    sys.stdout = _stdout()
    sys.stderr = cast(TextIO, _Heedless(sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")))
    os.environ.setdefault("_RJEM_MALLOC_CONF", _KEEP_PAGES)  # read when Polars is loaded, so no later than here
    # NumPy's and SciPy's algebra, of which little is asked, starts a thread per core that spins at first: a twelfth of the CPU of
    # an ingest that finds nothing new, on two cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = run(argv)
    gc.freeze()  # else the interpreter looks at every object once more before it ends
    sys.exit(code)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. No exception leaves it, an internal error prints its traceback."""
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="apilens", standalone_mode=False)
        sys.stdout.flush()  # what cannot be written is said here, not by the interpreter's own end
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as wrong:
        wrong.show()
        if isinstance(wrong, click.MissingParameter) and wrong.ctx is not None:
            _example(wrong.ctx)
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was committed stays, run the command again to go on", err=True)
        return INTERRUPTED
    except ApilensError as explained:
        click.echo(f"apilens: {safe_lines(str(explained))}", err=True)
        return explained.exit_code
    except BrokenPipeError:
        _leave_stdout()  # the reader (head, less) has gone
        return Exit.DONE
    except SystemExit as stop:
        # Click leaves with 1, which is a finding, where it meets the pipe that a reader has left (of stderr, or before we do).
        if stop.code == 1:
            return Exit.DONE
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename == _OUTPUT:
            _leave_stdout()
            said = (
                f"the output cannot be written ({error.strerror}) and ends early; what was committed to the lake stays"
            )
            click.echo(f"apilens: {said}", err=True)
            return Exit.OUTBOUND
        if isinstance(error, OSError) and error.filename is None and error.errno in _OF_DISKS:
            click.echo(
                f"apilens: a file cannot be read or written ({error.strerror}); make room or mend the disk, then run it again",
                err=True,
            )
            return Exit.INPUT
        if (gone := deleted_meanwhile(error)) is not None:
            click.echo(f"apilens: {gone}", err=True)
            return gone.exit_code
        if not objects.is_failure(error):
            return _internal()
        click.echo(f"apilens: {safe_lines(objects.words(error))}", err=True)
        return Exit.INPUT
    except BaseException:  # a panic inside Polars is no Exception, and its exit code must not read as a finding
        return _internal()
    return code if isinstance(code, int) else Exit.DONE


#: What a disk answers that is full, or gone: to a write, whose error names no file.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
#: The name of the output in its errors.
_OUTPUT = "<stdout>"


def _leave_stdout() -> None:
    """Point stdout elsewhere, so that the interpreter's own flush of what is left is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _example(ctx: click.Context) -> None:
    """What to type, out of the command's own help."""
    lines = [line.strip() for line in (ctx.command.help or "").splitlines()]
    shown = [line for line in lines if line.startswith(f"{ctx.command_path} ")]
    if shown:
        click.echo(f"For example: {shown[0]}", err=True)


def _internal() -> int:
    """Inside an except clause: say what went wrong in us."""
    click.echo(traceback.format_exc(), err=True)
    click.echo("apilens: internal error; nothing half-written is visible. Please report the lines above.", err=True)
    return Exit.INTERNAL
