"""The buckets of a histogram, and the counting of many values at once (the hottest loop of measurement).

Log-linear: below 1,024 ns a bucket is one nanosecond; above, each octave has 512 equal buckets. With k = the number
of bits beyond ten, the bucket of v is `512 * k + (v >> k)`, which runs on without gaps. A bucket answers with its
midpoint, so the error is at most half a bucket: 1/1024 of the value.
"""

from __future__ import annotations


def bucket_of(value_ns: int) -> int:
    """The bucket that holds `value_ns` (0 or more); buckets are ordered as their values are."""
    shift = value_ns.bit_length() - 10
    return value_ns if shift <= 0 else (shift << 9) + (value_ns >> shift)


def bucket_midpoint(index: int) -> int:
    """The value in ns that stands for all values of a bucket, within 1/1024 of each."""
    shift = max((index >> 9) - 1, 0)
    return ((index - (shift << 9)) << shift) + ((1 << shift) >> 1)


def count_into(counts: dict[int, int], values_ns: list[int]) -> None:
    """Counts each value (0 or more) in its bucket."""
    for value_ns in values_ns:
        shift = value_ns.bit_length() - 10  # bucket_of, inlined
        index = value_ns if shift <= 0 else (shift << 9) + (value_ns >> shift)
        counts[index] = counts.get(index, 0) + 1
