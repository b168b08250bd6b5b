"""Who is whom: the vids of visitors that come again, and which open visit holds which vid.

`Identities` is the only thing that the visits of one worker share. Nothing in it is global: the engine makes one and
hands it to every session.
"""

from __future__ import annotations

from hashlib import blake2b


class Identities:
    """Vids remembered for returning visitors, and the holders of vids among the open visits."""

    __slots__ = ("_holders", "_remembered")

    def __init__(self) -> None:
        self._remembered: dict[str, str] = {}
        self._holders: dict[str, tuple[str, str]] = {}

    def remembered(self, visitor: str) -> str | None:
        """The vid of the visitor's earlier visit, or None."""
        return self._remembered.get(visitor)

    def remember(self, visitor: str, vid: str) -> None:
        """Keeps the vid for the visitor's next visit."""
        self._remembered[visitor] = vid

    def forget(self, visitor: str) -> None:
        """The visitor does not come again."""
        self._remembered.pop(visitor, None)

    def claim(self, vid: str, visit: str, visitor: str) -> bool:
        """Notes that the open visit holds this vid; False when an open visit of another visitor holds it already."""
        holder = self._holders.get(vid)
        if holder is not None and holder[1] != visitor:
            return False
        self._holders[vid] = (visit, visitor)
        return True

    def release(self, vid: str, visit: str) -> None:
        """The visit ended or took another vid."""
        holder = self._holders.get(vid)
        if holder is not None and holder[0] == visit:
            del self._holders[vid]

    @property
    def open_vids(self) -> int:
        """How many vids open visits hold."""
        return len(self._holders)


def stale_ids(seed: int, visit: str, step: int) -> tuple[str, str]:
    """A (vid, sid) pair of the right form that the service cannot have issued; a function of its arguments alone."""
    digest = blake2b(f"stale/{seed}/{visit}/{step}".encode(), digest_size=22).hexdigest()
    return digest[:22], digest[22:44]
