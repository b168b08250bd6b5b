"""Putting more records into order than memory holds: an external merge sort, stable, in bounded memory.

Records are collected in runs; a run is sorted, and all but the only one go into one temporary file. Runs that follow
each other in time, as those of a log that is in order already do, are read back one after the other; the others are
merged. Equal keys keep their order.
"""

from __future__ import annotations

import heapq
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Generic, TypeVar

from harness.trace.spool import open_spool

T = TypeVar("T")

_SIZE = struct.Struct("<I")
_BLOCK_BYTES = 64 * 1024


class Packing(Generic[T]):
    """How a record travels through a temporary file, and the key (an integer) that it is ordered by."""

    def __init__(self, key: Callable[[T], int], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> None:
        self.key = key
        self.pack = pack
        self.unpack = unpack


def in_order(records: Iterable[T], packing: Packing[T], run: int) -> Iterator[T]:
    """The same records ordered by their key; at most `run` of them (and one block for each run) are in memory.

    Raises `StorageError` when the temporary file cannot be written.
    """
    held: list[T] = []
    with open_spool() as spool:
        runs: list[_Run[T]] = []
        for record in records:
            held.append(record)
            if len(held) >= run:
                runs.append(_Run(spool, sorted(held, key=packing.key), packing))
                held.clear()
        held.sort(key=packing.key)
        if not runs:
            yield from held
            return
        chains: list[list[_Run[T]]] = []
        for each in runs:
            if chains and chains[-1][-1].last <= each.first:
                chains[-1].append(each)
            else:
                chains.append([each])
        sources: list[Iterator[T]] = [_in_turn(chain) for chain in chains]
        yield from heapq.merge(*sources, iter(held), key=packing.key)


def _in_turn(runs: list[_Run[T]]) -> Iterator[T]:
    for run in runs:
        yield from run


class _Run(Generic[T]):
    """One sorted run in the spool; iterate to read it, a block at a time."""

    def __init__(self, spool: IO[bytes], records: list[T], packing: Packing[T]) -> None:
        self.first = packing.key(records[0])
        self.last = packing.key(records[-1])
        self._spool = spool
        self._unpack = packing.unpack
        self._begin = spool.seek(0, os.SEEK_END)
        for record in map(packing.pack, records):
            spool.write(_SIZE.pack(len(record)))
            spool.write(record)
        self._end = spool.tell()

    def __iter__(self) -> Iterator[T]:
        offset, block, at = self._begin, b"", 0
        while True:
            # A record's length, then the record: each must be in the block whole.
            while len(block) - at < _SIZE.size or len(block) - at - _SIZE.size < _SIZE.unpack_from(block, at)[0]:
                if offset == self._end:
                    return
                wanted = _BLOCK_BYTES
                if len(block) - at >= _SIZE.size:
                    wanted = max(wanted, _SIZE.unpack_from(block, at)[0])
                # Others read elsewhere in between.
                self._spool.seek(offset)
                more = self._spool.read(min(wanted, self._end - offset))
                offset += len(more)
                block, at = block[at:] + more, 0
            (size,) = _SIZE.unpack_from(block, at)
            begin = at + _SIZE.size
            at = begin + size
            yield self._unpack(block[begin:at])
