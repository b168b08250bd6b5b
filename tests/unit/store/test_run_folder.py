"""The run folder: what is written is read back, and a run that dies leaves what was complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest
import zstandard

from harness.errors import StorageError, UsageError
from harness.store.files import Stream
from harness.store.layout import default_run_name
from harness.store.run_folder import UNFINISHED, RunFolder

MANIFEST = {"run_id": "r-1", "seed": 7}
SERIES = [{"t": second, "started": second * 3} for second in range(4)]
SLICES = [[{"t": second, "op": op, "h": {"1": second}} for op in ("get_engagement", "update")] for second in range(4)]
JOURNAL = [{"event": "dealt", "lease": 1, "visits": 20}, {"event": "settled", "lease": 1}]
SUMMARY = {"schema": "harness.summary/1", "run_id": "r-1"}


def write_streams(folder: RunFolder) -> None:
    for line in SERIES:
        folder.append_series(line)
    for lines in SLICES:
        folder.append_slices(lines)
    for entry in JOURNAL:
        folder.journal(entry)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "runs" / "one", MANIFEST)
    write_streams(folder)
    return folder


def test_a_finished_run_is_read_back_whole(folder: RunFolder) -> None:
    """Everything appended comes back in order, and nothing says that the run is partial."""
    folder.finish(SUMMARY, "<!doctype html>", {"ended_at": "2026-11-22T21:00:00Z"})
    run = RunFolder.load(folder.path)
    assert run.manifest == {**MANIFEST, "ended_at": "2026-11-22T21:00:00Z"}
    assert (run.summary, run.series, run.journal) == (SUMMARY, SERIES, JOURNAL)
    assert list(run.slices()) == [line for lines in SLICES for line in lines]
    assert (run.partial, run.reason, run.notes) == (False, "", [])
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "journal.jsonl", "manifest.json", "report.html", "series.jsonl", "slices.jsonl.zst", "summary.json",
    ]  # fmt: skip


def test_a_run_that_never_finished_says_so(folder: RunFolder) -> None:
    """Killed without a word, the folder is partial, has no summary and keeps all that was appended."""
    run = RunFolder.load(folder.path)
    assert (run.partial, run.reason, run.summary) == (True, UNFINISHED, None)
    assert run.series == SERIES


def test_a_marked_run_stays_partial_after_finish(folder: RunFolder) -> None:
    """An interrupted run has a summary and still says that, and why, it is partial."""
    folder.mark_partial("interrupted by the user")
    folder.finish(SUMMARY, None)
    run = RunFolder.load(folder.path)
    assert (run.partial, run.reason, run.summary) == (True, "interrupted by the user", SUMMARY)


@pytest.mark.parametrize("lost_bytes", [1, 5, 15])
def test_a_torn_end_is_dropped_and_said(folder: RunFolder, lost_bytes: int) -> None:
    """Half a last line and half a last frame cost only themselves, and are named."""
    for name in ("series.jsonl", "slices.jsonl.zst"):
        path = folder.path / name
        path.write_bytes(path.read_bytes()[: -1 - lost_bytes])
    run = RunFolder.load(folder.path)
    assert run.series == SERIES[:-1]
    assert list(run.slices()) == [line for lines in SLICES[:-1] for line in lines]
    assert run.notes == [
        "series.jsonl: line 4 is torn or unreadable and was dropped",
        "slices.jsonl.zst: frame 4 is torn or damaged; reading ended before it",
    ]


def test_a_line_without_its_newline_still_counts(folder: RunFolder) -> None:
    """A last line that lacks only its newline is complete and kept."""
    path = folder.path / "series.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert RunFolder.load(folder.path).series == SERIES


def test_a_damaged_frame_is_found_by_its_checksum(folder: RunFolder) -> None:
    """A flipped byte in the last frame ends the reading before that frame."""
    path = folder.path / "slices.jsonl.zst"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    run = RunFolder.load(folder.path)
    assert list(run.slices()) == [line for lines in SLICES[:-1] for line in lines]
    assert len(run.notes) == 1


def test_slices_are_one_frame_each_append(folder: RunFolder) -> None:
    """Any zstd reader sees as many frames as there were appends, each of complete lines."""
    content = (folder.path / "slices.jsonl.zst").read_bytes()
    frames = []
    while content:
        reader = zstandard.ZstdDecompressor().decompressobj()
        frames.append([orjson.loads(line) for line in reader.decompress(content).splitlines()])
        content = reader.unused_data
    assert frames == SLICES


def test_a_full_disk_raises_once_and_the_run_stays_partial(folder: RunFolder) -> None:
    """The append that meets a full disk raises one clear line; later ones, on any stream, are silent."""
    folder._series.close()
    folder._series = Stream(Path("/dev/full"))
    with pytest.raises(StorageError, match=r"^cannot write /dev/full: the disk is full: free some space"):
        folder.append_series({"t": 4})
    write_streams(folder)
    folder.finish(SUMMARY, None)
    run = RunFolder.load(folder.path)
    assert (run.partial, run.summary, run.series, run.journal) == (True, SUMMARY, SERIES, JOURNAL)
    assert run.reason.startswith("cannot write /dev/full: the disk is full")


def test_the_manifest_says_at_once_that_the_disk_is_full(folder: RunFolder) -> None:
    """The reserve makes room for it, so that even a run killed after that leaves the reason; then it is gone."""
    assert (folder.path / ".reserve").stat().st_size >= 100_000
    folder._journal.close()
    folder._journal = Stream(Path("/dev/full"))
    with pytest.raises(StorageError):
        folder.journal({"event": "dealt"})
    assert RunFolder.load(folder.path).reason.startswith("cannot write /dev/full: the disk is full")
    assert not (folder.path / ".reserve").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_the_reserve_goes_with_the_run(folder: RunFolder, whole: bool) -> None:
    """Finished or only closed, nothing is left of it."""
    folder.finish(SUMMARY, None) if whole else folder.close()
    assert not (folder.path / ".reserve").exists()


def test_a_failed_whole_file_leaves_the_old_one(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a report cannot be replaced, the former stays as it was and no draft is left behind."""
    folder.write_text("summary.md", "old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.store.files.os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        folder.write_text("summary.md", "new")
    assert (folder.path / "summary.md").read_text() == "old"
    assert [path.name for path in folder.path.iterdir() if path.name.endswith(".draft")] == []


def test_create_refuses_what_it_would_overwrite(tmp_path: Path) -> None:
    """A folder with something in it, or a file, is refused with one line; an empty folder is taken."""
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(tmp_path, MANIFEST)
    with pytest.raises(UsageError, match="is not a folder"):
        RunFolder.create(tmp_path / "note.txt", MANIFEST)
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", MANIFEST).path == tmp_path / "empty"


def test_create_below_a_file_is_a_mistyped_path(tmp_path: Path) -> None:
    """A place where no folder can be made gives one line that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^cannot write .*/file/run: Not a directory$"):
        RunFolder.create(tmp_path / "file" / "run", MANIFEST)


def test_loading_what_is_no_run_is_a_usage_error(tmp_path: Path) -> None:
    """No folder, a folder without manifest, and a broken manifest are each told in one line."""
    with pytest.raises(UsageError, match="there is no run folder"):
        RunFolder.load(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"it has no manifest\.json"):
        RunFolder.load(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UsageError, match="not a JSON object"):
        RunFolder.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match=r"cannot read .*manifest\.json"):
        RunFolder.load(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("checkout", "2026-11-22T215138-checkout-3f9a1c"),
        ("../../etc/pass wd", "2026-11-22T215138-etc-pass-wd-3f9a1c"),
        ("", "2026-11-22T215138-run-3f9a1c"),
    ],
)
def test_run_names_are_utc_and_safe(scenario: str, name: str) -> None:
    """The name sorts by UTC time and holds no letter that could leave the folder."""
    started = datetime(2026, 11, 22, 22, 51, 38, tzinfo=timezone(timedelta(hours=1)))
    assert default_run_name(started, scenario, "run-00-3f9a1c") == name
    assert default_run_name(started.astimezone(UTC), scenario, "run-00-3f9a1c") == name
