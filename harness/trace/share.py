"""A fixed, evenly distributed number for each text: how visitors are chosen without remembering them."""

from __future__ import annotations

from hashlib import blake2b


def share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    # As many bits as a float holds: one more could round up to 1.
    return (int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") >> 11) / 2.0**53
