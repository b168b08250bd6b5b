"""TOML files that people write: read whole, with one line for a file that cannot be read or is something else."""

from __future__ import annotations

import tomllib
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from harness.errors import UsageError


def read_toml(path: str | Path, name: str = "") -> dict[str, Any]:
    """The content of a TOML file; `name` is what messages call it, if it is not the path alone.

    Raises `UsageError` that says what is wrong and what to do: no such file, not text, a byte order mark, no TOML.
    """
    name = name or str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        missing = ": see that the path is right" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"cannot read {name}: {error.strerror}{missing}") from None
    if raw.startswith(BOM_UTF8):
        raise UsageError(f"{name} begins with a byte order mark: save it as UTF-8 without one")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not TOML: byte {error.start + 1} is not UTF-8 text; see that it is the right file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not TOML: {error}") from None
