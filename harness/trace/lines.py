"""Lines of a text stream that may be compressed: bounded, in constant memory, never a half-read file taken as whole.

The compression is told by the first bytes, not by the name, so `-` (standard input) works alike. A line that cannot be
text (too long, a NUL byte, not UTF-8) is one bad line and goes to a `BadLines`; a stream that is cut off or
damaged ends the reading with a `TraceError`, because what is missing cannot be counted.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import zstandard

from harness.errors import TraceError

OnBadLine = Literal["fail", "skip"]

MAX_LINE_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
# Compressed bytes fed to zstd at a time: small, because a hostile kilobyte can expand thirty-thousand-fold.
_ZSTD_FEED_BYTES = 1024
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_KEPT_MESSAGES = 20
SKIP_THEM = "--on-bad-line skip leaves such lines out"


class BadLines:
    """What happens to a line that cannot be used: `fail` raises its error, `skip` counts it.

    `count` is how many were skipped, `messages` the first 20 one-line reasons, all of a line one after the other.
    `advice` ends the line of an error that is raised.
    """

    def __init__(self, policy: OnBadLine = "fail", advice: str = "") -> None:
        self.policy = policy
        self.advice = advice
        self.count = 0
        self.messages: list[str] = []

    def add(self, error: TraceError) -> None:
        """Take one bad line; raises `error`, with the advice, under the policy `fail`."""
        if self.policy == "fail":
            raise TraceError(f"{error}; {self.advice}", error.problems) if self.advice else error
        self.count += 1
        told = (str(error), *error.problems)
        self.messages += told[: max(0, _KEPT_MESSAGES - len(self.messages))]


def source_name(source: str | Path) -> str:
    """The name that messages use for a source: the path, or `stdin` for `-`."""
    return "stdin" if str(source) == "-" else str(source)


def read_lines(
    source: str | Path,
    bad: BadLines,
    *,
    tap: Callable[[bytes], object] | None = None,
    encoding: Literal["utf-8", "any"] = "utf-8",
    longest: int = MAX_LINE_BYTES,
) -> Iterator[tuple[int, bytes]]:
    """The non-blank lines of a plain, gzip or zstd file (or `-`), as (line number from 1, bytes without line end).

    `bad` takes lines above `longest` (8 MiB), with NUL bytes, or (unless `encoding` is `any`) not in UTF-8. `tap` is
    given every uncompressed byte in order, bad lines and line ends included (a digest, a progress bar).
    Raises `TraceError` when the source cannot be opened or read to its end.
    """
    name = source_name(source)
    number = 0
    try:
        with _open(source) as stream:
            for lines, sound in _line_groups(stream, tap, longest):
                for line in lines:
                    number += 1
                    if not sound and (problem := _problem(line, encoding, longest)):
                        bad.add(TraceError(f"{name}:{number}: {problem}"))
                    elif line and not line.isspace():
                        yield number, line
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        after = f" after line {number}" if number else ""
        raise TraceError(_unreadable(name, after, error)) from error


def read_chunks(source: str | Path) -> Iterator[bytes]:
    """The uncompressed content of a plain, gzip or zstd file (or `-`), in chunks of at most 256 KiB.

    Raises `TraceError` when the source cannot be opened or read to its end.
    """
    size = 0
    try:
        with _open(source) as stream:
            # What can be read before the place where a file is cut off or damaged comes whole.
            while chunk := stream.read1(_CHUNK_BYTES):
                size += len(chunk)
                yield chunk
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        after = f" after byte {size} of its content" if size else ""
        raise TraceError(_unreadable(source_name(source), after, error)) from error


@contextmanager
def open_raw(source: str | Path) -> Iterator[io.BufferedReader]:
    """The bytes of a source as they are, compressed or not; the block's end closes a file, never standard input."""
    if str(source) == "-":
        yield cast(io.BufferedReader, sys.stdin.buffer)
    else:
        with Path(source).open("rb") as raw:
            yield raw


@contextmanager
def _open(source: str | Path) -> Iterator[io.BufferedReader]:
    with open_raw(source) as raw:
        yield _uncompressed(raw)


def _uncompressed(raw: io.BufferedReader) -> io.BufferedReader:
    magic = raw.peek(4)[:4]
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(_GzipStream(raw), _CHUNK_BYTES)
    if magic == _ZSTD_MAGIC:
        return io.BufferedReader(_ZstdStream(raw), _CHUNK_BYTES)
    return raw


class _GzipStream(io.RawIOBase):
    """A gzip reader that hands over what it has before it meets the place where a file is cut off or damaged."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._file = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._file.readinto1(buffer)


class _ZstdStream(io.RawIOBase):
    """A zstd reader that raises `EOFError` on a cut-off file, which zstandard's own reader takes for the end."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw_file = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._inside_frame = True
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            data = self._raw_file.read(_ZSTD_FEED_BYTES)
            if not data:
                if self._inside_frame:
                    raise EOFError("Compressed file ended before the end of its last frame")
                return 0
            self._ready = memoryview(self._decompress(data))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress(self, data: bytes) -> bytes:
        parts = []
        while data:
            if not self._inside_frame:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(self._frame.decompress(data))
            self._inside_frame = not self._frame.eof
            data = self._frame.unused_data if self._frame.eof else b""
        return b"".join(parts)


def _line_groups(
    stream: io.BufferedReader, tap: Callable[[bytes], object] | None, longest: int
) -> Iterator[tuple[list[bytes], bool]]:
    """Lines without their ends, as many as one read brought, and whether all are plain ASCII of a length allowed.

    Of a line that is too long only its beginning is held, `longest` bytes of it.
    """
    rest = b""
    while chunk := stream.read1(_CHUNK_BYTES):
        if tap is not None:
            tap(chunk)
        *lines, last = chunk.split(b"\n")
        if lines:
            sound = longest > _CHUNK_BYTES and chunk.isascii() and b"\0" not in chunk
            if rest:
                yield [_line(rest + lines[0], longest)], False
                del lines[0]
            yield lines if sound and b"\r" not in chunk else [_line(line, longest) for line in lines], sound
            rest = last
        elif len(rest) < longest:
            rest = rest + last
    if rest:
        yield [_line(rest, longest)], False


def _line(line: bytes, longest: int) -> bytes:
    """A line as it is handed on: one that is too long keeps its length, and shows it."""
    return line.rstrip(b"\r") if len(line) < longest else line[:longest]


def _problem(line: bytes, encoding: str, longest: int) -> str:
    """Why a line cannot be used; empty when it can."""
    if len(line) >= longest:
        return f"the line is longer than {longest >> 20} MiB"
    if b"\0" in line:
        return "the line holds a NUL byte: not a text file, or damaged; see that it is the right one"
    if encoding == "utf-8" and not line.isascii() and (position := _not_utf8(line)) is not None:
        return f"byte {position + 1} is not UTF-8: save the file as UTF-8"
    return ""


def _not_utf8(line: bytes) -> int | None:
    """Position of the first byte that is not UTF-8, or None."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _unreadable(name: str, after: str, error: Exception) -> str:
    if isinstance(error, EOFError):
        return f"{name}: the compressed file is cut off{after}: copy or write it again"
    if isinstance(error, zlib.error | zstandard.ZstdError | gzip.BadGzipFile):
        return f"{name}: the compressed file is damaged{after} ({error}): copy or write it again"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    missing = "; see that the path is right" if isinstance(error, FileNotFoundError) else ""
    return f"{name}: cannot be read{after}: {reason}{missing}"
