"""A capacity search on disk: `search.json` beside the run folders of its steps, renewed after each of them.

What was found is in `capacity.json`, for sheets and scripts, and in `capacity.html`, for people.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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


@contextmanager
def only_search(path: Path) -> Iterator[None]:
    """Keeps every other search out of the folder `path` for the time of the block; the folder is made.

    Where the block leaves it empty, it is taken away again. Raises `UsageError` when another search is at work in it,
    or when `path` is no folder, `StorageError` when it cannot be made. The lock is the folder's own (flock), so it ends
    with the process, whatever ends that.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is no folder: name another with --out")
    with storage_errors(path):
        made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            made = False
            raise UsageError(
                f"another search is at work in {path}: wait for its end, or give another folder with --out"
            ) from None
        yield
    finally:
        if made:
            with suppress(OSError):  # it is not empty, then
                path.rmdir()
        os.close(folder)


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
