"""Whether a text was seen before, for millions of texts in little memory.

An open-addressing table of 64-bit fingerprints (linear probing, at most three quarters full). Among n texts two share
one with a probability of n²/2⁶⁵, 3e-8 for a million: the price of not keeping the texts.
"""

from __future__ import annotations

from array import array
from typing import Final

_FIRST_SLOTS: Final = 1024
_BITS: Final = (1 << 64) - 1


class KnownTexts:
    """A set of texts that only grows: 11 to 21 bytes each, whatever their length; half as much again while it grows."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: str) -> bool:
        fingerprint = _fingerprint(text)
        return self._slots[_place(self._slots, fingerprint)] == fingerprint

    def add(self, text: str) -> bool:
        """Put a text in; whether it is new."""
        fingerprint = _fingerprint(text)
        place = _place(self._slots, fingerprint)
        if self._slots[place] == fingerprint:
            return False
        self._slots[place] = fingerprint
        self._count += 1
        if 4 * self._count > 3 * len(self._slots):
            self._grow()
        return True

    def _grow(self) -> None:
        grown = array("Q", bytes(2 * 8 * len(self._slots)))
        for fingerprint in self._slots:
            if fingerprint:
                grown[_place(grown, fingerprint)] = fingerprint
        self._slots = grown


def _fingerprint(text: str) -> int:
    """64 bits that are never zero, for zero marks a free slot."""
    return hash(text) & _BITS or 1


def _place(slots: array[int], fingerprint: int) -> int:
    """The slot that holds the fingerprint, or the free one where it belongs."""
    mask = len(slots) - 1
    place = fingerprint & mask
    while (held := slots[place]) and held != fingerprint:
        place = (place + 1) & mask
    return place
