"""Who is waited for at a run's end: every scraper that was seen, as long as it can be expected."""

from __future__ import annotations

import pytest

from harness.export.scrapers import Scrapers

PROMETHEUS = ("10.0.0.1", "Prometheus/2.42.0")
CURL = ("10.0.0.1", "curl/8")
OTHER = ("10.0.0.2", "Prometheus/2.42.0")


def test_nobody_has_a_page_that_nobody_asked_for() -> None:
    """Without a scrape there is nobody who has it, and a newer page is had by nobody at first."""
    scrapers = Scrapers()
    assert not scrapers.all_have(1, 0.0)
    scrapers.came("a", PROMETHEUS, 1, 0.0)
    assert scrapers.all_have(1, 0.0)
    assert not scrapers.all_have(2, 0.0)


@pytest.mark.parametrize("second", [CURL, OTHER])
def test_the_last_page_is_had_when_every_scraper_has_it(second: tuple[str, str]) -> None:
    """Two that differ in address or User-Agent are two, over whichever connections they come."""
    scrapers = Scrapers()
    for number, who in enumerate((PROMETHEUS, second)):
        scrapers.came(number, who, 1, 10.0)
        scrapers.left(number)
    scrapers.came(2, PROMETHEUS, 2, 11.0)
    assert not scrapers.all_have(2, 11.0)
    scrapers.came(3, second, 2, 12.0)
    assert scrapers.all_have(2, 12.0)


def test_two_of_a_kind_are_told_apart_by_their_open_connections() -> None:
    """A pair of Prometheus servers on one machine: both are waited for, one that connected anew stays the same."""
    scrapers = Scrapers()
    scrapers.came("a", PROMETHEUS, 1, 0.0)
    scrapers.came("b", PROMETHEUS, 1, 0.5)
    scrapers.left("a")
    scrapers.came("c", PROMETHEUS, 2, 1.0)
    assert not scrapers.all_have(2, 1.0)
    scrapers.came("b", PROMETHEUS, 2, 1.5)
    assert scrapers.all_have(2, 1.5)


def test_who_stays_away_for_longer_than_usual_is_gone() -> None:
    """Twice the longest absence and five seconds; until then it is expected."""
    scrapers = Scrapers()
    for at_s in (0.0, 15.0, 25.0):
        scrapers.came("a", PROMETHEUS, 1, at_s)
    scrapers.came("b", CURL, 2, 25.0)
    assert not scrapers.all_have(2, 60.0)
    assert scrapers.all_have(2, 60.1)


def test_who_came_once_is_expected_for_two_minutes() -> None:
    """How often it comes is not known yet."""
    scrapers = Scrapers()
    scrapers.came("a", PROMETHEUS, 1, 0.0)
    scrapers.came("b", CURL, 2, 0.0)
    assert not scrapers.all_have(2, 120.0)
    assert scrapers.all_have(2, 120.1)


def test_when_all_are_gone_somebody_is_still_waited_for() -> None:
    """The promise is one more scrape: that everybody stays away does not make the last page had."""
    scrapers = Scrapers()
    scrapers.came("a", PROMETHEUS, 1, 0.0)
    assert not scrapers.all_have(2, 1_000.0)


def test_memory_is_bounded() -> None:
    """Of those without a connection the newest 64 are remembered."""
    scrapers = Scrapers()
    for number in range(65):
        scrapers.came(number, ("10.0.0.1", f"agent {number}"), 2 if number else 1, 0.0)
        scrapers.left(number)
    assert scrapers.all_have(2, 0.0)
