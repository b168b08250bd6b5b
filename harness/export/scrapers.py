"""`Scrapers`: who scrapes the page, and whether all of them have its newest version.

A scraper does not say who it is. It is known by its connection while that is open, which tells two of a kind on one
machine apart, and by its address and User-Agent from one connection to the next. Nor does it say when it comes again:
one that has stayed away for more than twice the longest time that it ever did before is gone, and so is one that came
once and not again for two minutes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

Who = tuple[str, str]

_ONCE_S = 120.0
_LATE_S = 5.0
_MAX_AWAY = 64


class _Scraper:
    """One scraper: the newest page that it has, when it came last, and its longest absence (None: it came once)."""

    def __init__(self) -> None:
        self.page = 0
        self.last_s: float | None = None
        self.gap_s: float | None = None

    def came(self, page: int, now_s: float) -> None:
        if self.last_s is not None:
            self.gap_s = max(self.gap_s or 0.0, now_s - self.last_s)
        self.page, self.last_s = max(self.page, page), now_s

    def gone(self, now_s: float) -> bool:
        patience_s = _ONCE_S if self.gap_s is None else 2 * self.gap_s + _LATE_S
        return self.last_s is not None and now_s - self.last_s > patience_s


class Scrapers:
    """All who were sent a page; times are seconds of one monotonic clock, pages are numbered upwards from 1."""

    def __init__(self) -> None:
        self._here: dict[Hashable, tuple[Who, _Scraper]] = {}
        self._away: dict[Who, _Scraper] = {}

    def came(self, connection: Hashable, who: Who, page: int, now_s: float) -> None:
        """Notes that `who` (address, User-Agent) was sent this page over this connection."""
        if connection not in self._here:
            self._here[connection] = who, self._away.pop(who, _Scraper())
        self._here[connection][1].came(page, now_s)

    def left(self, connection: Hashable) -> None:
        """Notes that the connection is closed; whoever had it may come again over another."""
        if connection in self._here:
            who, scraper = self._here.pop(connection)
            self._away.pop(who, None)
            self._away[who] = scraper
            if len(self._away) > _MAX_AWAY:
                del self._away[next(iter(self._away))]

    def all_have(self, page: int, now_s: float) -> bool:
        """Whether somebody was sent this page, and nobody lacks it but those who are gone."""
        everybody = list(self._everybody())
        return any(each.page >= page for each in everybody) and all(
            each.page >= page or each.gone(now_s) for each in everybody
        )

    def _everybody(self) -> Iterator[_Scraper]:
        yield from (scraper for _, scraper in self._here.values())
        yield from self._away.values()
