"""`RunFolder`: one run on disk, written while it goes on (interfaces section 4; docs/run-folder.md).

From its first second the folder says that it is partial, and only `finish` takes that back: a run that is killed
without a word leaves a folder that tells so. Series, slices and journal are streams of complete pieces; manifest,
summary and reports are whole files, replaced at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import orjson
import zstandard

from harness.errors import StorageError, UsageError
from harness.store.files import Stream, replace_file, storage_errors
from harness.store.layout import JOURNAL, MANIFEST, REPORT, SERIES, SLICES, SUMMARY
from harness.store.stored_run import StoredRun, load_run

UNFINISHED = "the run did not come to its end"

_ZSTD_LEVEL = 3
# Kept free until the end: on a full disk there is room for the manifest that says so, and for the summary.
_RESERVE, _RESERVE_BYTES = ".reserve", 128 * 1024
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


class RunFolder:
    """The folder of a run that goes on; made by `create`, closed by `finish`, or by `close` when the run fails.

    A disk that fills up is reported once: the append that met it raises `StorageError`, later ones do nothing (streams
    with holes would be worse than streams that end), and the run stays marked as partial, with the disk as the reason:
    the folder holds a reserve (`.reserve`), gone when it is finished or closed, for that and for the summary.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Takes an existing, empty folder; use `create`, which makes it first."""
        self.path = path
        self._manifest: dict[str, Any] = {**manifest, "partial": True, "reason": UNFINISHED}
        self._whole = True
        self._full = False
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        replace_file(path / _RESERVE, bytes(_RESERVE_BYTES))
        self._write_manifest()
        self._series = Stream(path / SERIES)
        self._slices = Stream(path / SLICES)
        self._journal = Stream(path / JOURNAL)

    @classmethod
    def create(cls, out_dir: Path, manifest: Mapping[str, Any]) -> Self:
        """Makes `out_dir` (with its parents) and writes the manifest into it, marked as partial.

        Raises `UsageError` when the folder exists and is not empty or is no folder, `StorageError` when it cannot be
        written.
        """
        with storage_errors(out_dir):
            if out_dir.exists() and not out_dir.is_dir():
                raise UsageError(f"{out_dir} is not a folder: name another with --out")
            if out_dir.exists() and any(out_dir.iterdir()):
                raise UsageError(f"the run folder {out_dir} is not empty: name another with --out, or move it away")
            out_dir.mkdir(parents=True, exist_ok=True)
        return cls(out_dir, manifest)

    @staticmethod
    def load(path: Path) -> StoredRun:
        """Reads a stored run back; see `harness.store.stored_run.load_run`."""
        return load_run(path)

    def append_series(self, line: Mapping[str, Any]) -> None:
        """Adds one second to series.jsonl; raises `StorageError` on the folder's first failure only."""
        self._append(self._series, _line(line))

    def append_slices(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Adds `lines` to slices.jsonl.zst as one complete frame; raises `StorageError` on the first failure only."""
        if lines:
            self._append(self._slices, self._compressor.compress(b"".join(map(_line, lines))))

    def journal(self, entry: Mapping[str, Any]) -> None:
        """Adds one entry to journal.jsonl; raises `StorageError` on the folder's first failure only."""
        self._append(self._journal, _line(entry))

    def write_text(self, name: str, text: str) -> Path:
        """Puts a report such as `junit.xml` into the folder, whole, and returns its path; raises `StorageError`."""
        path = self.path / name
        replace_file(path, text.encode())
        return path

    def mark_partial(self, reason: str) -> None:
        """Says in the manifest, for good, that the run is partial and why; raises `StorageError`."""
        self._whole = False
        self._manifest["reason"] = reason
        self._write_manifest()

    def finish(self, summary: Mapping[str, Any], html: str | None, manifest: Mapping[str, Any] | None = None) -> None:
        """Writes summary.json and report.html and, unless the run was marked partial, takes the mark away.

        `manifest` holds what is known only at the end, such as `ended_at`. Raises `StorageError`; the folder then
        stays marked as partial.
        """
        self._manifest.update(manifest or {})
        self._release()
        try:
            replace_file(self.path / SUMMARY, orjson.dumps(summary, option=_PRETTY))
            if html is not None:
                self.write_text(REPORT, html)
            self.close()
        except StorageError as error:
            self._give_up(error)
            raise
        if self._whole:
            del self._manifest["partial"], self._manifest["reason"]
        self._write_manifest()

    def close(self) -> None:
        """Closes the streams; a folder closed without `finish` stays marked as partial. Raises `StorageError`."""
        self._release()
        for stream in (self._series, self._slices, self._journal):
            stream.close()

    def _append(self, stream: Stream, piece: bytes) -> None:
        if self._full:
            return
        try:
            stream.append(piece)
        except StorageError as error:
            self._release()
            self._give_up(error)
            raise

    def _give_up(self, error: StorageError) -> None:
        """Names the full disk in the manifest, if there is room for that; the folder is marked as partial anyway."""
        self._full = True
        with suppress(StorageError):
            self.mark_partial(str(error))

    def _release(self) -> None:
        (self.path / _RESERVE).unlink(missing_ok=True)

    def _write_manifest(self) -> None:
        replace_file(self.path / MANIFEST, orjson.dumps(self._manifest, option=_PRETTY))


def _line(entry: Mapping[str, Any]) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
