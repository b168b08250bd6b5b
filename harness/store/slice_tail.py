"""`SliceTail`: the slices of a run that still goes on, as they come to its folder."""

from __future__ import annotations

from pathlib import Path

import orjson
import zstandard

from harness.errors import UsageError
from harness.measure.slices import from_lines
from harness.measure.snapshot import Snapshot
from harness.store.files import storage_errors
from harness.store.layout import SLICES


class SliceTail:
    """Reads slices.jsonl.zst of the run folder `path` from where it stopped the last time; nothing is read twice."""

    def __init__(self, path: Path) -> None:
        self._path = path / SLICES
        self._at = 0

    def read(self) -> list[tuple[int, Snapshot]]:
        """The seconds that were completed since the last call, in the order of the file; a half frame waits.

        Raises `UsageError` when what stands there is no slice.
        """
        if not self._path.exists():
            return []
        with storage_errors(self._path), self._path.open("rb") as file:
            file.seek(self._at)
            pending = file.read()
        seconds: list[tuple[int, Snapshot]] = []
        while pending:
            frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                content = frame.decompress(pending)
            except zstandard.ZstdError as error:
                raise UsageError(f"cannot read {self._path}: {error}") from error
            if not frame.eof:
                break
            self._at += len(pending) - len(frame.unused_data)
            pending = frame.unused_data
            seconds += from_lines(map(orjson.loads, content.splitlines())).items()
        return seconds
