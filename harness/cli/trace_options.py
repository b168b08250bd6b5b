"""What the commands of `harness trace` share: options, keys, and words for people on stderr."""

from __future__ import annotations

from collections.abc import Iterable
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
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of text.")
output_option = click.option(
    "-o", "--output", default="-", show_default=True, help="File to write (.gz and .zst compress)."
)


def read_key(key_file: str) -> bytes:
    """The secret in a file, without white space around it: 1 to 64 bytes. Raises `UsageError` when there is none."""
    from harness.errors import UsageError
    from harness.trace.accesslog import KEY_MAX_BYTES

    try:
        key = Path(key_file).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"--key-file {key_file}: cannot be read: {error.strerror}") from error
    if not 1 <= len(key) <= KEY_MAX_BYTES:
        raise UsageError(f"--key-file {key_file}: holds {len(key)} bytes; 1 to {KEY_MAX_BYTES} are needed")
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
