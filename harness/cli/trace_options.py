"""What the commands of `harness trace` share: options, keys, and words for people on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.trace.lines import BadLines

on_bad_line_option = click.option(
    "--on-bad-line",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="End at a line that cannot be used, or skip and count it.",
)
# More is no key but another file.
_KEY_MAX_BYTES = 4096

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")
output_option = click.option(
    "-o", "--output", default="-", show_default=True, help="File to write (.gz and .zst compress)."
)


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end a command as Ctrl-C does: nothing half-written stays, exit code 130."""
    import signal

    def interrupt(number: int, frame: object) -> None:
        # One is enough, and must not disturb the cleaning up.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Who started us may want a signal to be ignored, as nohup does.
    before = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(number)) != signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_key(key_file: str) -> bytes:
    """The secret in a file, without white space around it: 1 to 4096 bytes. Raises `UsageError` when there is none."""
    from harness.errors import UsageError

    try:
        key = Path(key_file).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"--key-file {key_file}: cannot be read: {error.strerror}") from error
    if not 1 <= len(key) <= _KEY_MAX_BYTES:
        raise UsageError(f"--key-file {key_file}: holds {len(key)} bytes; 1 to {_KEY_MAX_BYTES} are needed")
    return key


def tell(messages: Iterable[str], count: int) -> None:
    """Findings for people on stderr, with a word about those that are not shown."""
    shown = 0
    for message in messages:
        click.echo(message, err=True)
        shown += 1
    if count > shown:
        click.echo(f"… and {count - shown} more", err=True)


def tell_skipped(bad: BadLines) -> None:
    """How many bad lines were skipped, if any, and the first reason."""
    if bad.count:
        click.echo(f"{bad.count} bad lines skipped; the first: {bad.messages[0]}", err=True)


def print_json(data: dict[str, Any]) -> None:
    """One indented JSON object on stdout."""
    import orjson

    click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
