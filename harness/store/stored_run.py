"""`StoredRun`: a run folder read back, also one that a crash or a full disk cut off.

A torn end (half a line, half a zstd frame) is dropped and said in `notes`; what stands before it is used. Whatever was
complete when the run died is therefore still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson
import zstandard

from harness.errors import UsageError
from harness.store.layout import JOURNAL, MANIFEST, SERIES, SLICES, SUMMARY

_CHUNK_BYTES = 1 << 16


class StoredRun(msgspec.Struct, kw_only=True):
    """What a run folder holds; `summary` is None when the run ended without one.

    `partial` and `reason` come from the manifest. `notes` says, one line each, what could not be read; reading the
    slices may add to it.
    """

    path: Path
    manifest: dict[str, Any]
    summary: dict[str, Any] | None
    series: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    partial: bool
    reason: str
    notes: list[str]

    def slices(self) -> Iterator[dict[str, Any]]:
        """The lines of slices.jsonl.zst, one frame in memory at a time; a torn end is dropped and noted.

        Raises `UsageError` when the file cannot be read.
        """
        path = self.path / SLICES
        for frame in _readable_frames(path, self.notes):
            yield from _lines(path, frame, self.notes)


def load_run(path: Path) -> StoredRun:
    """The run stored in the folder `path`, tolerating a partial one: torn ends are dropped and said in `notes`.

    Raises `UsageError` when there is no such folder, or when its manifest or summary cannot be read.
    """
    if not path.is_dir():
        raise UsageError(f"there is no run folder {path}: give the folder that 'harness run' named")
    manifest = _whole_file(path / MANIFEST)
    if manifest is None:
        raise UsageError(f"{path} is no run folder: it has no {MANIFEST}")
    notes: list[str] = []
    return StoredRun(
        path=path,
        manifest=manifest,
        summary=_whole_file(path / SUMMARY),
        series=_lines(path / SERIES, _read(path / SERIES), notes),
        journal=_lines(path / JOURNAL, _read(path / JOURNAL), notes),
        partial=bool(manifest.get("partial", False)),
        reason=str(manifest.get("reason", "")),
        notes=notes,
    )


def _whole_file(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None when there is no such file; raises `UsageError` when it is something else."""
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"cannot read {path}: not a JSON object")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _lines(path: Path, content: bytes, notes: list[str]) -> list[dict[str, Any]]:
    """The objects in JSON lines; a line that is torn or unreadable is dropped and noted."""
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            entry = None
        if isinstance(entry, dict):
            objects.append(entry)
        else:
            notes.append(f"{path.name}: line {number} is torn or unreadable and was dropped")
    return objects


def _readable_frames(path: Path, notes: list[str]) -> Iterator[bytes]:
    """What the complete zstd frames of `path` hold; a torn or damaged frame ends the reading and is noted."""
    good = 0
    try:
        with path.open("rb") as file:
            for frame in _frames(file):
                good += 1
                yield frame
    except FileNotFoundError:
        return
    except (EOFError, zstandard.ZstdError):
        notes.append(f"{path.name}: frame {good + 1} is torn or damaged; reading ended before it")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _frames(file: BinaryIO) -> Iterator[bytes]:
    """The contents of one zstd frame after the other; raises `EOFError` when the last one is torn."""
    decompressor = zstandard.ZstdDecompressor()
    pending = file.read(_CHUNK_BYTES)
    while pending:
        frame = decompressor.decompressobj()
        parts = [frame.decompress(pending)]
        while not frame.eof:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                raise EOFError
            parts.append(frame.decompress(chunk))
        pending = frame.unused_data or file.read(_CHUNK_BYTES)
        yield b"".join(parts)
