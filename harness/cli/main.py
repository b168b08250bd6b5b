"""The command `harness`: a group whose commands are imported only when they are used, and the door for errors.

`harness --help` reads the table below and imports click alone, so that it stays quick. Every error leaves through
`run_command`: one line on stderr, the documented exit code, never a traceback on the terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from harness import __version__
from harness.compiled import compiled, stale
from harness.errors import ExitCode, HarnessError, UsageError

# Command → (module that holds a click command of the same name, help). In the order of the help page.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("harness.cli.demo", "Replay a shipped trace against an embedded simulator."),
    "run": ("harness.cli.run", "Replay a trace against a target and judge it."),
    "worker": ("harness.cli.worker", "Join a run on another machine."),
    "sim": ("harness.cli.sim", "The practice target: a LivePerson-like engagement service."),
    "trace": ("harness.cli.trace", "Import, validate and look at traces."),
    "plan": ("harness.cli.plan", "A dry run in virtual time: what a run will ask for."),
    "check": ("harness.cli.check", "Judge a stored run again; sends nothing."),
    "compare": ("harness.cli.compare", "Compare two runs: has anything become worse?"),
    "nightly": ("harness.cli.nightly", "Run, judge against history, report: one command for CI."),
    "history": ("harness.cli.history", "Stored runs as a history; change points; accept and reject."),
    "capacity": ("harness.cli.capacity", "How much more can the target take: search, and model."),
    "report": ("harness.cli.report", "Show a stored run as text, JSON, Markdown, JUnit or HTML."),
    "dashboards": ("harness.cli.dashboards", "Grafana dashboards and Prometheus rules: build, check, draw."),
    "doctor": ("harness.cli.doctor", "Is this machine fit to generate load?"),
    "bench": ("harness.cli.bench", "What one worker reaches here, beside stock Locust users."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by the table and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is told which ones there are."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise UsageError(f"there is no command '{name}': use one of {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Load and replay harness for LivePerson's getEngagement: a recorded trace becomes chained calls and a verdict.

    \b
    Exit codes: 0 PASS, 1 internal error, 2 usage, 3 FAIL (SLO), 4 FAIL (regression), 5 INVALID,
    6 refused or aborted by a guard-rail, 7 target unreachable, 130 interrupted.
    """


def main() -> NoReturn:
    """The entry point of the installed command."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; errors become one line on stderr."""
    try:
        _refuse_stale()
        returned = cli.main(args=list(arguments), prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
    except HarnessError as error:
        _say(f"error: {error}", getattr(error, "problems", ()))
        return int(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return int(ExitCode.USAGE)
    except click.ClickException as error:
        _say(f"error: {_one_line(error.format_message())}{_help_hint(error)}")
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return int(ExitCode.INTERRUPTED)
    except SystemExit as end:
        # click meets a closed pipe itself, wraps both streams and leaves with 1.
        if not type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            raise
        return int(ExitCode.PASS) if end.code == 1 else int(ExitCode.INTERNAL)
    except BrokenPipeError:
        # Whoever read our output has had enough, as `head` does; the interpreter must not complain while it shuts down.
        _forget_stdout()
        return int(ExitCode.PASS)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            return _internal(error)
        _forget_stdout()
        _say(f"error: cannot write the output: {error.strerror}; free some space or write elsewhere")
        return int(ExitCode.INTERNAL)
    except Exception as error:
        return _internal(error)
    return returned if isinstance(returned, int) else int(ExitCode.PASS)


def _refuse_stale() -> None:
    """A checkout whose engine was compiled and then changed would run what no longer stands there."""
    if compiled() and (changed := stale()):
        raise UsageError(f"{changed[0]} was changed after it was compiled: run make compile (or make interpret)")


def _internal(error: Exception) -> int:
    _say(f"internal error: {type(error).__name__}: {_one_line(str(error))} (details in {_keep_traceback()})")
    return int(ExitCode.INTERNAL)


def _forget_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str, details: Sequence[str] = ()) -> None:
    click.echo(f"harness: {line}", err=True)
    for detail in details:
        click.echo(f"  {_one_line(detail)}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _help_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f" (see {context.command_path} --help)" if context is not None else ""


def _keep_traceback() -> str:
    """Writes the current traceback to a file of its own and returns the file's path, or says why it cannot."""
    # Only bugs come here; these two take a seventh of the time that `harness --help` has.
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="harness-error-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
            return file.name
    except OSError as error:
        return f"no file: {error.strerror}"
