"""Reading lines: bounds, encodings, compression and damage."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
import zstandard

from harness.errors import TraceError
from harness.trace.lines import MAX_LINE_BYTES, BadLines, read_chunks, read_lines

LINES = [f"line {number} {'x' * (number % 90)}".encode() for number in range(2000)]
CONTENT = b"".join(line + b"\n" for line in LINES)
NOISE = random.Random(1).randbytes(30_000).hex().encode() + b"\n"


def read(path: Path, policy: str = "fail", **options: object) -> tuple[list[tuple[int, bytes]], BadLines]:
    bad = BadLines(policy)  # type: ignore[arg-type]
    return list(read_lines(path, bad, **options)), bad  # type: ignore[arg-type]


def packed(kind: str, content: bytes) -> bytes:
    if kind == "gz":
        return gzip.compress(content)
    return zstandard.compress(content) if kind == "zst" else content


@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
def test_same_lines_from_any_compression(tmp_path: Path, kind: str) -> None:
    """The same numbered lines and bytes come out of a plain, gzip or zstd file, whatever its name says."""
    path = tmp_path / "file.txt"
    path.write_bytes(packed(kind, CONTENT))
    seen = bytearray()
    numbered, bad = read(path, tap=seen.extend)
    assert (numbered, bad.count) == (list(enumerate(LINES, start=1)), 0)
    assert (bytes(seen), b"".join(read_chunks(path))) == (CONTENT, CONTENT)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_several_compressed_members_are_one_text(tmp_path: Path, kind: str) -> None:
    """Compressed files that were concatenated read as the concatenated text."""
    path = tmp_path / "file"
    path.write_bytes(packed(kind, b"a\nb") + packed(kind, b"c\n"))
    assert read(path)[0] == [(1, b"a"), (2, b"bc")]


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_cut_off_file_is_one_error(tmp_path: Path, kind: str, kept: float) -> None:
    """A compressed file that was cut off anywhere ends in a TraceError that says so, never in a short text."""
    path = tmp_path / f"cut.{kind}"
    whole = packed(kind, NOISE * 20)
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(TraceError, match=rf"cut\.{kind}: the compressed file is cut off"):
        read(path)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_damaged_file_is_one_error(tmp_path: Path, kind: str) -> None:
    """A flipped byte inside compressed data ends in a TraceError, not in a traceback of the library."""
    path = tmp_path / f"bad.{kind}"
    whole = bytearray(packed(kind, NOISE))
    whole[len(whole) // 2] ^= 0xFF
    whole[20] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(TraceError, match=rf"bad\.{kind}: the compressed file is"):
        read(path)


def test_lines_that_are_no_text_are_skipped_and_counted(tmp_path: Path) -> None:
    """NUL bytes, wrong encoding and a too long line are bad lines with number and reason; the others come through."""
    path = tmp_path / "t"
    path.write_bytes(b"a\nb\0b\n\n" + b"c" * (MAX_LINE_BYTES + 5) + b"\n\xe9\nf\xc3\xa9\r\n")
    numbered, bad = read(path, "skip")
    assert numbered == [(1, b"a"), (6, "fé".encode())]
    assert bad.messages == [
        f"{path}:2: the line holds a NUL byte: not a text file, or damaged; see that it is the right one",
        f"{path}:4: the line is longer than 8 MiB",
        f"{path}:5: byte 1 is not UTF-8: save the file as UTF-8",
    ]


def test_longest_line_is_allowed(tmp_path: Path) -> None:
    """A line of exactly the bound, its end included, is still a line."""
    path = tmp_path / "t"
    path.write_bytes(b"x" * (MAX_LINE_BYTES - 1) + b"\nend")
    assert [(number, len(line)) for number, line in read(path)[0]] == [(1, MAX_LINE_BYTES - 1), (2, 3)]


def test_any_encoding_when_asked(tmp_path: Path) -> None:
    """Server logs are read as bytes: no encoding is demanded of them."""
    path = tmp_path / "t"
    path.write_bytes(b"\xff\xfe\n")
    assert read(path, encoding="any")[0] == [(1, b"\xff\xfe")]


def test_unreadable_sources(tmp_path: Path) -> None:
    """A missing file and a directory are told by name and reason."""
    with pytest.raises(TraceError, match="gone: cannot be read: No such file or directory"):
        read(tmp_path / "gone")
    with pytest.raises(TraceError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_bad_lines_keep_few_messages() -> None:
    """However many lines are bad, all are counted and only the first twenty reasons kept."""
    bad = BadLines("skip")
    for number in range(1000):
        bad.add(TraceError(str(number)))
    assert (bad.count, bad.messages) == (1000, [str(number) for number in range(20)])
