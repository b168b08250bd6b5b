"""A search on disk: its state, its folders, and the slices of a run that still goes on."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

from harness.errors import UsageError
from harness.measure.slices import to_lines
from harness.measure.snapshot import Snapshot
from harness.store.layout import SLICES
from harness.store.search_folder import STATE, SearchState, free_step_folder, load_search, save_search
from harness.store.slice_tail import SliceTail


def test_a_state_is_read_back(tmp_path: Path) -> None:
    """What was saved is loaded again; where nothing was, there is none."""
    assert load_search(tmp_path / "new") is None
    state = SearchState(started_at="now", options={"start_hz": 20}, plan={}, steps=[{"rate_hz": 20}], result=None)
    save_search(tmp_path / "new", state)
    assert load_search(tmp_path / "new") == state
    assert [path.name for path in (tmp_path / "new").iterdir()] == [STATE]


@pytest.mark.parametrize(
    ("content", "words"), [("{", "cannot read"), ("[]", "cannot read"), ('{"schema": "x/2", "started_at": "", '
    '"options": {}, "plan": {}}', "another version, x/2")],
)  # fmt: skip
def test_a_state_that_is_none_is_told(tmp_path: Path, content: str, words: str) -> None:
    """A damaged file and one of another version are refused in one line."""
    (tmp_path / STATE).write_text(content)
    with pytest.raises(UsageError, match=words):
        load_search(tmp_path)


def test_a_folder_that_was_cut_off_is_left_alone(tmp_path: Path) -> None:
    """The next try gets a folder of its own beside it."""
    assert free_step_folder(tmp_path, "step-01-20hz") == tmp_path / "step-01-20hz"
    (tmp_path / "step-01-20hz").mkdir()
    (tmp_path / "step-01-20hz-2").mkdir()
    assert free_step_folder(tmp_path, "step-01-20hz") == tmp_path / "step-01-20hz-3"


def frame(second: int) -> tuple[bytes, Snapshot]:
    """A second as the run folder holds it."""
    snapshot = Snapshot(counters={("visits_started", "all"): second + 1}, sums={"cpu_ns": 5})
    lines = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in to_lines(second, snapshot))
    return zstandard.ZstdCompressor(write_checksum=True).compress(lines), snapshot


def test_slices_are_read_as_they_come_each_once(tmp_path: Path) -> None:
    """However the file grows, byte by byte even, every second comes once, when its frame is complete."""
    tail, path = SliceTail(tmp_path), tmp_path / SLICES
    assert tail.read() == []
    frames = [frame(second) for second in range(4)]
    whole = b"".join(content for content, _ in frames)
    seen = []
    with path.open("wb", buffering=0) as file:
        for byte in whole:
            file.write(bytes([byte]))
            seen += tail.read()
    assert seen == [(second, snapshot) for second, (_, snapshot) in enumerate(frames)]
    assert tail.read() == []
    assert SliceTail(tmp_path).read() == seen


def test_slices_that_are_none_are_told(tmp_path: Path) -> None:
    """A file that is no zstd at all is refused in one line."""
    (tmp_path / SLICES).write_bytes(b"not a frame at all, but long enough")
    with pytest.raises(UsageError, match="cannot read"):
        SliceTail(tmp_path).read()
