"""What the oracle's log says: the chain of each visit, the counts, and what a correct client must have made of them.

Pure functions of the report; the rules are written down here a second time on purpose (contract sections 2 and 3,
interfaces section 3, the retry policy `until-available`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Ids = tuple[str | None, str | None]

# Replies that give ids, and outcomes that leave the client without any reply it could read.
GIVES_IDS = {"available", "not_available"}
UNREADABLE = {"hang", "reset", "cut"}
RETRIED = {"not_available", "loading", "server_error", "throttled", "hang", "reset"}
SETTLED_AS = {
    "available": "available", "accepted": "accepted", "rejected": "rejected",
    "client_error": "failed", "redirect": "failed", "bad_reply": "failed",
}  # fmt: skip
# Above this share of the client's timeout nobody can tell whether an answer was still read.
CERTAIN_RATIO = 0.8


@dataclass(frozen=True, slots=True)
class Call:
    """One request in the oracle's log; times in ms of the oracle's clock, `answered_ms` -1 when never."""

    attempt: str
    op: str
    vid_in: str | None
    sid_in: str | None
    page_in: str | None
    context_in: str | None
    outcome: str
    vid_out: str | None
    sid_out: str | None
    hint_vid: str | None
    page_out: str | None
    context_out: str | None
    chain: str
    received_ms: float
    answered_ms: float

    @property
    def visit(self) -> str:
        return self.attempt.split("/")[0]

    @property
    def step(self) -> int:
        return int(self.attempt.split("/")[1])

    @property
    def number(self) -> int:
        return int(self.attempt.split("/")[2])


@dataclass(slots=True)
class ChainVerdict:
    """What walking all visits found: the breaks, how many requests were compared, and how many left room for doubt."""

    breaks: list[str]
    compared: int = 0
    with_ids: int = 0
    doubtful: int = 0


class OracleLog:
    """The oracle's report, by visit and in the order of receipt."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        rows: Sequence[Sequence[Any]] = report["requests"]
        names = report["fields"]
        self.calls = [Call(**dict(zip(names, row, strict=True))) for row in rows]
        self.by_visit: dict[str, list[Call]] = {}
        for call in self.calls:
            self.by_visit.setdefault(call.visit, []).append(call)

    @property
    def attempts(self) -> set[str]:
        """The ids of all attempts that arrived."""
        return {call.attempt for call in self.calls}

    def results(self) -> Counter[str]:
        """Calls by outcome."""
        return Counter(call.outcome for call in self.calls)

    def chain_events(self) -> Counter[str]:
        """Chain events by name, of the replies that a client can have read; `rejected` counts refused ids."""
        events = Counter(call.chain for call in self.calls if call.chain and call.outcome in GIVES_IDS)
        events["rejected"] = sum(call.outcome == "rejected" for call in self.calls)
        return +events

    def step_outcomes(self, trace: Mapping[str, Sequence[str]]) -> Counter[str]:
        """Step outcomes that follow from the log for visits played to their end under `until-available`.

        `trace` maps each visit to the ops of its steps. An update without a preceding Available reply is skipped; a
        rejection makes that reply void. A step whose last attempt would have been tried again is `exhausted`.
        """
        outcomes: Counter[str] = Counter()
        for visit, ops in trace.items():
            steps = {step: list(calls) for step, calls in groupby(self.by_visit.get(visit, ()), key=lambda c: c.step)}
            offered = False
            for index, op in enumerate(ops):
                calls = steps.get(index, [])
                if not calls:
                    outcomes["skipped" if op == "update" and not offered else "missing"] += 1
                    continue
                last = calls[-1].outcome
                outcomes["exhausted" if last in RETRIED else SETTLED_AS[last]] += 1
                offered = (offered or last == "available") and last != "rejected"
        return outcomes

    def peak_open(self) -> int:
        """The most visits that were between their first and their last request at one moment."""
        edges = [(calls[0].received_ms, 1) for calls in self.by_visit.values()]
        edges += [(calls[-1].received_ms, -1) for calls in self.by_visit.values()]
        peak = current = 0
        for _, change in sorted(edges):
            current += change
            peak = max(peak, current)
        return peak

    def check_chain(self, timeout_ms: float) -> ChainVerdict:
        """Walks every visit: each request must carry exactly the ids of the last readable reply that gave some.

        A reply written later than 80 % of the client's timeout may or may not have been read: both are accepted and
        the request after it is counted as doubtful.
        """
        verdict = ChainVerdict([])
        for calls in self.by_visit.values():
            for call, allowed, note in _walk(calls, timeout_ms):
                verdict.compared += 1
                verdict.with_ids += call.vid_in is not None
                verdict.doubtful += len(allowed) > 1
                if (call.vid_in, call.sid_in) not in allowed or note:
                    verdict.breaks.append(
                        f"{call.attempt}: sent {(call.vid_in, call.sid_in)}, expected {sorted(allowed, key=str)} {note}"
                    )
        return verdict


def _walk(calls: Sequence[Call], timeout_ms: float) -> Iterator[tuple[Call, set[Ids], str]]:
    """Each call of one visit with the ids it may carry and a note when something else about it is wrong."""
    allowed: set[Ids] = {(None, None)}
    pages: set[tuple[str | None, str | None]] = set()
    rejected_at = -1
    place = (0, 0)
    for call in calls:
        note = _place_note(place, call)
        place = (call.step, call.number)
        if rejected_at >= 0 and call.step > rejected_at:
            allowed, rejected_at = {(None, None)}, -1
        if call.op == "update" and (call.page_in, call.context_in) not in pages:
            note += f" page and context {(call.page_in, call.context_in)}, expected {sorted(pages, key=str)}"
        yield call, allowed, note
        if len(allowed) > 1:
            allowed = allowed & {(call.vid_in, call.sid_in)} or allowed
        if call.outcome in UNREADABLE or call.answered_ms < 0:
            continue
        certain = call.answered_ms - call.received_ms < CERTAIN_RATIO * timeout_ms
        if call.outcome in GIVES_IDS:
            given: Ids = (call.vid_out, call.sid_out)
            allowed = {given} if certain else allowed | {given}
        elif call.outcome == "loading" and call.hint_vid is not None:
            hinted: set[Ids] = {(call.hint_vid, None) if ids == (None, None) else ids for ids in allowed}
            allowed = hinted if certain else allowed | hinted
        elif call.outcome == "rejected":
            rejected_at = call.step
        if call.outcome == "available":
            page = (call.page_out, call.context_out)
            pages = {page} if certain else pages | {page}


def _place_note(before: tuple[int, int], call: Call) -> str:
    """Steps and, within a step, attempts only count up."""
    if (call.step, call.number) > before:
        return ""
    return f"came after step {before[0]} attempt {before[1]}"
