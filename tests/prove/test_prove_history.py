"""The nightly judge neither cries wolf nor sleeps: 500 made-up histories of each kind, beside a naive rule."""

from __future__ import annotations

from typing import Any

from tests.prove.evidence import store
from tests.prove.histories import QUIET, RULES, Level, Told, flat, history, leak, step

HISTORIES = 500
QUIET_NIGHTS = 40
# Nights within which a step must be caught, and those before a leak of 1 % a night has passed +15 %.
STEP_WITHIN = 3
LEAK_WITHIN = 14
AFTER_STEP = 16


def test_five_hundred_histories() -> None:
    """False alarms at 5 % noise in at most 2 % of nights; a +10 % step at 2 % noise caught within 3 nights in at least
    90 %; a leak of 1 % a night at 2 % noise caught before +15 %; a lasting step stops alarming."""
    quiet = told(flat, 0.05, QUIET_NIGHTS)
    stepped = told(step, 0.02, QUIET + AFTER_STEP)
    leaking = told(leak, 0.02, QUIET + LEAK_WITHIN)
    noisy_leak = told(leak, 0.05, QUIET + LEAK_WITHIN)
    alarms_after_step = [sum(each.judge[QUIET:]) for each in stepped]
    figures: dict[str, Any] = {
        "histories": HISTORIES,
        "rules": {"min_effect": RULES.min_effect, "alpha": RULES.alpha, "history": RULES.history},
        "false alarms, share of nights, 5 % noise": {
            "judge": share(night for each in quiet for night in each.judge),
            "previous night + 10 %": share(night for each in quiet for night in each.rival),
        },
        f"+10 % step, 2 % noise, caught within {STEP_WITHIN} nights": {
            "judge": share(any(each.judge[QUIET : QUIET + STEP_WITHIN]) for each in stepped),
            "previous night + 10 %": share(any(each.rival[QUIET : QUIET + STEP_WITHIN]) for each in stepped),
        },
        "1 % a night leak, 2 % noise, caught before +15 %": {
            "judge": share(any(each.judge[QUIET:]) for each in leaking),
            "previous night + 10 %": share(any(each.rival[QUIET:]) for each in leaking),
        },
        "1 % a night leak, 5 % noise, caught before +15 % (no promise)": {
            "judge": share(any(each.judge[QUIET:]) for each in noisy_leak),
            "previous night + 10 %": share(any(each.rival[QUIET:]) for each in noisy_leak),
        },
        "night of the leak that was first told, 2 % noise": first_nights(leaking),
        "alarming nights after a step that nobody accepts": {
            "mean": sum(alarms_after_step) / HISTORIES,
            "most": max(alarms_after_step),
            "share of the last six of 16 nights": share(night for each in stepped for night in each.judge[-6:]),
        },
    }
    store("nightly-histories", test_five_hundred_histories.__doc__ or "", figures, seeds=[0, HISTORIES - 1])
    false_alarms = figures["false alarms, share of nights, 5 % noise"]["judge"]
    assert false_alarms <= 0.02, figures
    assert figures[f"+10 % step, 2 % noise, caught within {STEP_WITHIN} nights"]["judge"] >= 0.9, figures
    assert figures["1 % a night leak, 2 % noise, caught before +15 %"]["judge"] == 1.0, figures
    assert figures["alarming nights after a step that nobody accepts"]["share of the last six of 16 nights"] < 0.02


def told(level: Level, noise: float, nights: int) -> list[Told]:
    """All histories of one kind, seeds 0 to 499."""
    return [history(level, noise, nights, seed, judged_from=0 if level is flat else QUIET) for seed in range(HISTORIES)]


def share(alarms: Any) -> float:
    """How many of the alarms are true."""
    counted = list(alarms)
    return sum(counted) / len(counted)


def first_nights(histories: list[Told]) -> dict[str, int]:
    """How many histories first alarmed with which night of the change, counted from 1."""
    firsts = [next((at for at, alarm in enumerate(each.judge[QUIET:], 1) if alarm), 0) for each in histories]
    return {str(night): firsts.count(night) for night in sorted(set(firsts))}
