"""The nightly judge neither cries wolf nor sleeps: 500 made-up histories of each kind, beside a naive rule."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tests.prove.evidence import store
from tests.prove.histories import QUIET, RULES, Level, Told, flat, history, leak, step

HISTORIES = 500
QUIET_NIGHTS = 40
# Nights within which a step must be caught, and those before a leak of 1 % a night has passed +15 %.
STEP_WITHIN = 3
LEAK_WITHIN = 14
AFTER_STEP = 16


def test_quiet_nights_raise_few_alarms() -> None:
    """500 histories of 40 identical nights at 5 % night-to-night noise: false alarms in at most 2 % of nights."""
    found = told(flat, 0.05, QUIET_NIGHTS)
    figures = {
        "false alarms, share of nights": {
            "judge": share(night for each in found for night in each.judge),
            "previous night + 10 %": share(night for each in found for night in each.rival),
        }
    }
    keep("nightly-quiet", test_quiet_nights_raise_few_alarms, figures)
    assert figures["false alarms, share of nights"]["judge"] <= 0.02, figures


def test_a_step_is_caught_and_stops_alarming() -> None:
    """500 histories with a +10 % step at 2 % noise: caught within 3 nights in at least 90 %; a step that nobody
    accepts no longer alarms after ten nights (in less than 2 % of nights)."""
    found = told(step, 0.02, QUIET + AFTER_STEP)
    alarms = [sum(each.judge[QUIET:]) for each in found]
    figures = {
        f"caught within {STEP_WITHIN} nights": {
            "judge": share(any(each.judge[QUIET : QUIET + STEP_WITHIN]) for each in found),
            "previous night + 10 %": share(any(each.rival[QUIET : QUIET + STEP_WITHIN]) for each in found),
        },
        "alarming nights": {"mean": sum(alarms) / HISTORIES, "most": max(alarms)},
        "alarms in the last six of 16 nights, share": share(night for each in found for night in each.judge[-6:]),
    }
    keep("nightly-step", test_a_step_is_caught_and_stops_alarming, figures)
    assert figures[f"caught within {STEP_WITHIN} nights"]["judge"] >= 0.9, figures
    assert figures["alarms in the last six of 16 nights, share"] < 0.02, figures


def test_a_leak_is_caught_before_fifteen_per_cent() -> None:
    """500 histories that leak 1 % a night at 2 % noise: caught before +15 % in at least 99 %."""
    found = told(leak, 0.02, QUIET + LEAK_WITHIN)
    figures = {
        "caught before +15 %": {
            "judge": share(any(each.judge[QUIET:]) for each in found),
            "previous night + 10 %": share(any(each.rival[QUIET:]) for each in found),
        },
        "night of the leak that was first told (0: none)": first_nights(found),
    }
    keep("nightly-leak", test_a_leak_is_caught_before_fifteen_per_cent, figures)
    assert figures["caught before +15 %"]["judge"] >= 0.99, figures


def keep(name: str, test: Any, figures: dict[str, Any]) -> None:
    """Stores what was seen, with the rules it was seen under."""
    rules = {"min_effect": RULES.min_effect, "alpha": RULES.alpha, "history": RULES.history}
    promise = " ".join(str(test.__doc__).split())
    store(name, promise, {"histories": HISTORIES, "rules": rules, **figures}, seeds=[0, HISTORIES - 1])


def told(level: Level, noise: float, nights: int) -> list[Told]:
    """All histories of one kind, seeds 0 to 499, on every core."""
    one = partial(history, level, noise, nights, judged_from=0 if level is flat else QUIET)
    with ProcessPoolExecutor(max_workers=int(os.environ.get("PROVE_WORKERS", os.cpu_count() or 1))) as pool:
        return list(pool.map(one, range(HISTORIES), chunksize=10))


def share(alarms: Any) -> float:
    """How many of the alarms are true."""
    counted = list(alarms)
    return sum(counted) / len(counted)


def first_nights(histories: list[Told]) -> dict[str, int]:
    """How many histories first alarmed with which night of the change, counted from 1."""
    firsts = [next((at for at, alarm in enumerate(each.judge[QUIET:], 1) if alarm), 0) for each in histories]
    return {str(night): firsts.count(night) for night in sorted(set(firsts))}
