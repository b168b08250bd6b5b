"""The session against a model of it: a plain loop over steps and attempts, written from the interfaces alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.visitor.identity import stale_ids
from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, RetryPolicy, jitter_draw
from tests.unit.visitor.play import MS, Player, S, World, engagement, failure, step

SEED, VISIT, FOREIGN = 7, "v1", "F"
NO_REPLY = {"timeout", "connect_error", "tls_error", "reset"}
ERRORS = {"loading", "throttled", "rejected", "client_error", "server_error", "redirect", "bad_reply"} | NO_REPLY


class Policy(NamedTuple):
    """A retry policy in the words of interfaces section 6; `pauses_ms` gives the pause before retry n from 0."""

    retried: frozenset[str]
    ids: str
    pauses_ms: list[float]
    jitter: float = 0.0
    budget_s: float = 1e9
    per_step: int = 10**9
    per_visit: int = 10**9
    throttled_ms: float = 1000.0
    retry_after: bool = True


MODELS = {
    "until-available": Policy(
        frozenset({"not_available", "loading", "server_error", "throttled", "timeout", "connect_error", "reset"}),
        "hint", [min(100 * 1.5**n, 5000) for n in range(99)], jitter=0.2, budget_s=60,
    ),
    "sdk-sample": Policy(frozenset(ERRORS), "none", [100] * 99, per_visit=25, throttled_ms=0, retry_after=False),
    "rest-guide": Policy(
        frozenset({"loading", "server_error", "throttled"}), "hint", [5000, 10000, 15000, 0], per_step=3,
    ),
    "none": Policy(frozenset(), "keep", []),
    "keeping": Policy(frozenset(ERRORS | {"not_available"}), "keep", [50] * 99, per_step=2),
}  # fmt: skip
OWN = RetryPolicy(
    name="keeping", retry_on=frozenset(ERRORS | {"not_available"}), first_ms=50, max_retries=2, ids_on_retry="keep"
)


class Answer(NamedTuple):
    """What the service does with one request."""

    kind: str
    vid: str | None = None
    sid: str | None = None
    took_ns: int = 10 * MS
    retry_after_ns: int = 0

    def wire(self) -> tuple[int, bytes] | Result:
        match self.kind:
            case "available":
                return 200, engagement("Available", self.vid, self.sid)
            case "not_available":
                return 200, engagement("NotAvailable", self.vid, self.sid)
            case "loading":
                return 500, failure(20, f"Loading account: 1, vid: {self.vid}" if self.vid else "Loading account: 1")
            case "throttled":
                return 429, b""
            case "rejected":
                return 404, failure(37)
            case "client_error":
                return 400, failure(5)
            case "server_error":
                return 503, failure(18)
            case "redirect":
                return 301, b""
            case "bad_reply":
                return 100, b""
            case fault:
                return Result[fault]


@dataclass
class Told:
    """What happened to a visit, in plain words."""

    requests: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    end: str = "completed"


def expected(steps: list[dict[str, Any]], policy: Policy, answers: Iterator[Answer], remembered: str | None) -> Told:
    """Plays the visit as the interfaces tell it; when no answer is left, the run ends with the request in flight."""
    told = Told()
    ids: tuple[str | None, str | None] = (None, None)
    offered = given = made_up = fresh_next = False
    retries_of_visit = 0
    now_ns = 0
    for index, told_step in enumerate(steps):
        due_ns = first_ns = now_ns + round(told_step["think"] * S)
        if told_step["op"] == "update" and not offered:
            told.outcomes.append(("skipped", due_ns, due_ns, 0))
            now_ns = due_ns
            continue
        rule, missed = "fresh" if fresh_next else told_step["identity"], False
        fresh_next = False
        if rule != "chain":
            given, made_up = False, rule == "stale"
            ids = {"fresh": (None, None), "return": (remembered, None), "stale": stale_ids(SEED, VISIT, index)}[rule]
            missed = rule == "return" and remembered is None
            offered = offered and told_step["op"] == "update"
        number = 0
        while True:
            number += 1
            if number > 1 and policy.ids == "none" and not given:
                ids, made_up = (None, None), False
            sent, sent_made_up = ids, made_up
            put = told_step["op"] == "update"
            shown = (sent[0], sent[1] or "") if put else sent
            told.requests.append(("PUT" if put else "POST", *shown, f"{VISIT}/{index}/{number}", due_ns))
            answer = next(answers, None)
            if answer is None:
                told.outcomes.append(("censored", first_ns, None, number))
                told.outcomes += [("censored", -1, None, 0)] * (len(steps) - index - 1)
                told.end = "censored"
                return told
            result, event = answer.kind, "none"
            if put and result in ("available", "not_available"):
                result = "accepted"
            now_ns = due_ns + answer.took_ns
            if result in ("available", "not_available") and (answer.vid or answer.sid):
                came = (answer.vid or sent[0], answer.sid or sent[1])
                echo = given and (answer.vid, answer.sid) == sent
                ids, given, made_up = came, True, False
                if echo:
                    event = "kept"
                elif came[0] == FOREIGN:
                    event = "crossed"
                elif sent_made_up:
                    event = "none"
                elif sent == (None, None):
                    event = "started"
                elif came[0] != sent[0]:
                    event = "revid"
                else:
                    event = "renewed" if sent[1] is not None and came[1] != sent[1] else "kept"
                remembered = came[0] or remembered
            elif result == "rejected" and not sent_made_up:
                event = "rejected"
            elif result == "loading" and answer.vid and policy.ids == "hint" and ids[0] is None:
                ids, given, remembered = (answer.vid, None), False, answer.vid
            offered = offered or result == "available"
            told.attempts.append((result, event, sent_made_up, missed and number == 1, due_ns, now_ns))
            if result in policy.retried:
                pause_ns = int(
                    policy.pauses_ms[number - 1] * MS
                    * (1 + policy.jitter * jitter_draw(SEED, VISIT, index, number))
                )  # fmt: skip
                if result == "throttled":
                    pause_ns = max(pause_ns, int(policy.throttled_ms * MS))
                if result in ("throttled", "server_error") and policy.retry_after:
                    pause_ns = max(pause_ns, answer.retry_after_ns)
                if (
                    number <= policy.per_step
                    and retries_of_visit < policy.per_visit
                    and now_ns + pause_ns <= first_ns + policy.budget_s * S
                ):
                    due_ns = now_ns + pause_ns
                    retries_of_visit += 1
                    continue
                outcome = "exhausted"
            elif result in ("available", "not_available", "accepted", "rejected"):
                outcome = result
            else:
                outcome = "failed"
            told.outcomes.append((outcome, first_ns, now_ns, number))
            if outcome == "rejected":
                fresh_next, offered = True, False
            break
    return told


def played(player: Player, answers: Iterator[Answer]) -> Told:
    """The same visit, played by the session."""
    told = Told()
    session = player.session
    while True:
        action = session.next_action(player.now_ns)
        if isinstance(action, int):
            if len(told.requests) % 2:
                session.lie_down()
            player.now_ns = action
            continue
        if action is None:
            break
        player.now_ns = session.planned_ns
        head, _, body = action.partition(b"\r\n\r\n")
        json.loads(body)
        lines = head.decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        vid, _, query = target.rpartition("/")[2].partition("?")
        sid = dict(part.split("=") for part in query.split("&")).get("sid")
        attempt = next(line for line in lines if line.startswith("X-Harness-Attempt: ")).partition(": ")[2]
        told.requests.append((method, vid or None, sid, attempt, session.planned_ns))
        answer = next(answers, None)
        if answer is None:
            session.cut(player.now_ns)
            break
        player.answer(answer.wire(), took_ns=answer.took_ns, retry_after_ns=answer.retry_after_ns)
    told.attempts = [
        (a.result.name, a.chain.name, a.stale, a.return_missed, a.planned_ns, a.done_ns)
        for a in player.sink.attempts
        if a.visit == VISIT
    ]
    told.outcomes = [
        (r.outcome.name, r.planned_ns, None if r.outcome.name == "censored" else r.settled_ns, r.attempts)
        for r in player.sink.steps
        if r.visit == VISIT
    ]
    told.end = next(r.end.name for r in player.sink.visits if r.visit == VISIT)
    return told


VIDS = st.sampled_from([None, "A", "A", "A", "B", FOREIGN])
SIDS = st.sampled_from([None, "1", "1", "1", "2"])
ANSWERS = st.builds(
    Answer,
    st.sampled_from(["available", "not_available", "not_available", *sorted(ERRORS), "loading", "rejected"]),
    VIDS,
    SIDS,
    st.sampled_from([0, 10 * MS, 400 * MS, 20 * S]),
    st.sampled_from([0, 0, 2 * S, 30 * S]),
)
STEPS = st.builds(
    step,
    st.sampled_from(["get_engagement", "get_engagement", "update"]),
    st.sampled_from(["chain", "chain", "chain", "fresh", "return", "stale"]),
    st.sampled_from([0, 0.25, 3]),
)


@given(
    st.lists(STEPS, min_size=1, max_size=6),
    st.sampled_from(sorted(MODELS)),
    st.lists(ANSWERS, max_size=30),
    st.sampled_from([None, "A", "R", FOREIGN]),
)
@settings(max_examples=400, deadline=None)
def test_session_does_what_the_model_does(
    steps: list[dict[str, Any]], policy: str, answers: list[Answer], remembered: str | None
) -> None:
    """Any steps under any policy, answered anyhow: the same requests at the same moments, records and end."""
    world = World(POLICIES.get(policy, OWN), seed=SEED)
    # Another visitor's visit is open all the while and holds a vid that is not ours.
    world.visit(step(), step(), visit="w", visitor="w").ask((200, engagement("Available", FOREIGN, "9")))
    if remembered is not None:
        world.identities.remember("u1", remembered)
    player = world.visit(*steps, returns=True)
    assert played(player, iter(answers)) == expected(steps, MODELS[policy], iter(answers), remembered)
    assert world.identities.open_vids == 1
