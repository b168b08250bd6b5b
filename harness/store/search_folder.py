"""A capacity search on disk: `search.json` beside the run folders of its steps, renewed after each of them.

What was found is in `capacity.json`, for sheets and scripts, and in `capacity.html`, for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from harness.errors import UsageError
from harness.store.files import replace_file, storage_errors

STATE: Final = "search.json"
RESULT: Final = "capacity.json"
PAGE: Final = "capacity.html"
SCHEMA: Final = "harness.search/1"

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


class SearchState(msgspec.Struct, kw_only=True):
    """What search.json holds: what the search is about, its plan and finished steps, and its result at the end."""

    schema: str = SCHEMA
    started_at: str
    options: dict[str, Any]
    plan: dict[str, Any]
    steps: list[dict[str, Any]] = []
    result: dict[str, Any] | None = None


def load_search(path: Path) -> SearchState | None:
    """The search in the folder `path`, None where there is none; raises `UsageError` when it cannot be read."""
    try:
        state = msgspec.json.decode((path / STATE).read_bytes(), type=SearchState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"cannot read {path / STATE}: {error}") from error
    if state.schema != SCHEMA:
        raise UsageError(f"{path / STATE} is of another version, {state.schema}: give another folder with --out")
    return state


def save_search(path: Path, state: SearchState) -> None:
    """Renews search.json, whole or not at all; the folder is made. Raises `StorageError` or `UsageError`."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    replace_file(path / STATE, orjson.dumps(msgspec.to_builtins(state), option=_PRETTY))


def save_result(path: Path, result: Mapping[str, Any]) -> None:
    """Writes capacity.json; raises `StorageError`."""
    replace_file(path / RESULT, orjson.dumps(result, option=_PRETTY))


def free_step_folder(path: Path, name: str) -> Path:
    """A folder in `path` called `name`, or `name-2` and so on where a step that was cut off has left one."""
    candidates = (path / (name if count == 1 else f"{name}-{count}") for count in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())
