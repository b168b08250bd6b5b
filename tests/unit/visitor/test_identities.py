"""Who remembers which vid, and which open visit holds it."""

from __future__ import annotations

from harness.visitor.identity import Identities, stale_ids


def test_memory() -> None:
    """A visitor's newest vid is remembered until it is forgotten; forgetting a stranger is harmless."""
    identities = Identities()
    assert identities.remembered("u") is None
    identities.remember("u", "A")
    identities.remember("u", "B")
    assert identities.remembered("u") == "B"
    identities.forget("u")
    identities.forget("nobody")
    assert identities.remembered("u") is None


def test_claims() -> None:
    """A vid has one holder: its visitor may claim it again, another visitor may not until it is released."""
    identities = Identities()
    assert identities.claim("A", "v1", "u")
    assert identities.claim("A", "v1", "u")
    assert not identities.claim("A", "w1", "w")
    identities.release("A", "w1")
    assert not identities.claim("A", "w1", "w")
    identities.release("A", "v1")
    assert identities.claim("A", "w1", "w")
    assert identities.open_vids == 1


def test_later_visit_of_the_same_visitor_takes_over() -> None:
    """Of two open visits of one visitor the later one holds the vid, and the earlier one's end leaves it there."""
    identities = Identities()
    identities.claim("A", "v1", "u")
    assert identities.claim("A", "v2", "u")
    identities.release("A", "v1")
    assert not identities.claim("A", "w1", "w")


def test_stale_ids_are_distinct() -> None:
    """Made-up pairs differ in both halves for every seed, visit and step."""
    pairs = [stale_ids(seed, f"v{n}", step) for seed in range(5) for n in range(100) for step in range(4)]
    halves = [half for pair in pairs for half in pair]
    assert len(set(halves)) == len(halves) == 4_000
