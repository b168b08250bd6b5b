"""What the run may do changes hands: no worker gets what another may still be using.

A worker that is told to do less may not have heard of it yet; visits that it holds open above its new part go on; what
it began a moment ago still counts in its second or minute. So the most that may be in use is kept for each worker, and
others only grow into what is left of the whole: a worker that joins late gets room as it becomes free.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.config.model import Limits
from harness.engine.ceilings import Share
from harness.fleet.shares import divide
from harness.units import NS_PER_S

# Rates hold in any stretch of this length: what was begun in it counts for whoever gets the room next.
_STRETCH_NS = {"visits_per_s": NS_PER_S, "new_sessions_per_min": 60 * NS_PER_S}
# Parts of a rate are fractions when it is below the number of workers, and do not quite add up.
_ROUNDING = 1e-9


class Part:
    """What one worker may do, as it was last told, and what it may be using beyond that. Times are the master's."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.share: Share | None = None
        self._used: dict[str, float] = {}
        self._told_ns: int | None = None
        self._kept_ns: int | None = None

    @property
    def uninformed(self) -> bool:
        """Whether no beat has brought the share yet."""
        return self.share is not None and self._told_ns is None

    def told(self, now_ns: int) -> None:
        """A beat with the share leaves now."""
        if self._told_ns is None:
            self._told_ns = now_ns

    def heard(self, echo_ns: int, open_visits: int, now_ns: int) -> None:
        """The worker plays, with so many visits open, and has had the beat of `echo_ns`."""
        if self._told_ns is None or echo_ns < self._told_ns:
            return
        if self._kept_ns is None:
            self._kept_ns = now_ns
        for name in self._used.keys() - _STRETCH_NS.keys():
            self._used[name] = min(self._used[name], max(self._has(name), open_visits))

    def used(self, name: str, now_ns: int) -> float:
        """The most that may be in use of this slot count or limit."""
        stretch_ns = _STRETCH_NS.get(name)
        if stretch_ns is not None and self._kept_ns is not None and now_ns - self._kept_ns >= stretch_ns:
            self._used[name] = self._has(name)
        return self._used.get(name, 0)

    def give(self, share: Share) -> None:
        """It is to keep to this share from now on, and must hear of it."""
        if share == self.share:
            return
        self.share = share
        self._told_ns = self._kept_ns = None
        for name, amount in _known(share).items():
            self._used[name] = max(self._used.get(name, 0), amount)

    def _has(self, name: str) -> float:
        amount: float = getattr(self.share, name)
        return amount


class Handover:
    """Divides a run's slots (None: an open loop) and limits among its workers, by capacity, and goes on doing so."""

    def __init__(self, slots: int | None, limits: Limits) -> None:
        self._slots = slots
        self._limits = limits
        whole = Share(slots, limits.max_visits_per_s, limits.max_open_visits, limits.max_new_sessions_per_min)
        self._whole = _known(whole)
        self._gone: list[tuple[Part, int]] = []

    def begin(self, parts: Sequence[Part]) -> None:
        """Nobody has had anything yet: all get their parts at once."""
        for part, share in zip(parts, self._divided(parts), strict=True):
            part.give(share)

    def gone(self, part: Part, over_ns: int) -> None:
        """This worker is no more, and certainly does nothing from `over_ns` on."""
        self._gone.append((part, over_ns))

    def settle(self, parts: Sequence[Part], now_ns: int) -> None:
        """Takes from each what is above its part, and gives each what is below it and free."""
        wanted = [_known(share) for share in self._divided(parts)]
        nothing: dict[str, float] = dict.fromkeys(self._whole, 0)
        given = [nothing | (_known(part.share) if part.share is not None else {}) for part in parts]
        self._gone = [(part, over_ns) for part, over_ns in self._gone if now_ns < over_ns + max(_STRETCH_NS.values())]
        for name, total in self._whole.items():
            free = total - sum(part.used(name, now_ns) for part in parts)
            free -= sum(part.used(name, over_ns) for part, over_ns in self._gone if now_ns < over_ns + _after(name))
            for part, want, has in zip(parts, wanted, given, strict=True):
                used = part.used(name, now_ns)
                has[name] = max(min(has[name], want[name]), _within(name, want[name], used + free))
                free -= max(0, has[name] - used)
        for part, has in zip(parts, given, strict=True):
            part.give(msgspec.structs.replace(Share(), **has))

    def complete(self, part: Part) -> bool:
        """Whether the part is one to play with: something of everything that is limited."""
        return part.share is not None and all(_known(part.share).values())

    def _divided(self, parts: Sequence[Part]) -> list[Share]:
        return divide(self._slots, self._limits, [part.capacity for part in parts])


def _known(share: Share) -> dict[str, float]:
    """What is limited, and how much of it there is."""
    return {name: amount for name, amount in msgspec.structs.asdict(share).items() if amount is not None}


def _after(name: str) -> int:
    """How long what was begun counts on."""
    return _STRETCH_NS.get(name, 0)


def _within(name: str, want: float, reach: float) -> float:
    """As much of what is wanted as is within reach: of a rate all or nothing, or a crumb of it would be for ever."""
    if name in _STRETCH_NS:
        return want if want <= reach + _ROUNDING else 0
    return min(want, reach)
