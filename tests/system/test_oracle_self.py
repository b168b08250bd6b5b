"""The oracle is judged first: a tiny correct client passes it, and each way to break the chain is caught."""

from __future__ import annotations

import ast
import http.client
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.system.harness_run import Oracle, get_engagement, oracle, update
from tests.system.oracle_log import RETRIED, Call, OracleLog

pytestmark = pytest.mark.system

TIMEOUT_S = 0.2
FAULTS = (
    "not_available=0.15,loading=0.1,server_error=0.05,rejected=0.02,renew=0.15,revid=0.05,"
    "hang=0.01,reset=0.04,cut=0.04,close=0.1"
)
VISITS = 100
Ids = tuple[str | None, str | None]
Spoil = Callable[[str, Ids, list[Ids]], Ids]


class TinyClient:
    """A visitor that chains by the book, one call after the other; `spoil` may change the ids before they are sent."""

    def __init__(self, server: Oracle, spoil: Spoil | None = None) -> None:
        self.port = server.port
        self.spoil = spoil
        self.results: dict[str, str] = {}
        self.given: list[Ids] = []

    def play(self, visit: str, ops: list[str]) -> None:
        """Plays one visit of getEngagement and update steps under the policy `until-available`."""
        ids: Ids = (None, None)
        offer: dict[str, Any] | None = None
        for index, op in enumerate(ops):
            if op == "update" and offer is None:
                continue
            for number in range(1, 100):
                attempt = f"{visit}/{index}/{number}"
                sent = self.spoil(attempt, ids, self.given) if self.spoil else ids
                status, body = self.call(op, attempt, sent, offer)
                reply = json.loads(body) if body else {}
                result = self.results[attempt] = classify(op, status, reply)
                if "sessionId" in reply:
                    ids = (reply["visitorId"], reply["sessionId"])
                    self.given.append(ids)
                elif result == "loading" and ids == (None, None):
                    ids = (re.findall(r"vid: (\S+)$", reply["message"])[0], None)
                if result == "available":
                    offer = reply
                if result not in RETRIED:
                    break
            if result == "rejected":
                ids, offer = (None, None), None

    def call(self, op: str, attempt: str, ids: Ids, offer: dict[str, Any] | None) -> tuple[int, bytes]:
        """One request on a connection of its own; status 0 without a readable reply, -1 after the timeout."""
        vid, sid = ids
        path = f"/api/account/12345678/app/engagement/visitors/{quote(vid or '')}?v=1.0" + (
            f"&sid={sid}" if sid else ""
        )
        request: dict[str, Any] = {"appType": "EXTERNAL"}
        if op == "update":
            assert offer is not None
            context = offer["engagementDetails"]["contextId"]
            event = {"type": "impDisplay", "eContext": [{"type": "engagementContext", "id": context}]}
            request = {"pageId": offer["pageId"], "impAttributes": [event]}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "X-Harness-Attempt": attempt}
        try:
            connection.request("PUT" if op == "update" else "POST", path, json.dumps(request), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except TimeoutError:
            return -1, b""
        except (ConnectionError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def classify(op: str, status: int, reply: dict[str, Any]) -> str:
    """The result of a reply, as the oracle names it; `reset` stands for a cut reply too."""
    if status == 200:
        names = {"Available": "available", "NotAvailable": "not_available"}
        return "accepted" if op == "update" else names[reply["status"]]
    if status == 500 and reply["internalCode"] == 20:
        return "loading"
    return {-1: "hang", 0: "reset", 401: "rejected", 404: "rejected", 503: "server_error"}[status]


def play(spoil: Spoil | None = None, seed: int = 5) -> tuple[TinyClient, OracleLog, dict[str, list[str]]]:
    """Some visits by a tiny client, and the oracle's log of them."""
    steps = [get_engagement(identity="fresh"), get_engagement(), update()]
    trace = {f"v{n}": [step["op"] for step in steps] for n in range(VISITS)}
    with oracle("--seed", str(seed), "--faults", FAULTS, "--delay-ms", "0..2") as server:
        client = TinyClient(server, spoil)
        for visit, ops in trace.items():
            client.play(visit, ops)
        return client, server.log(), trace


def test_a_correct_client_has_an_unbroken_chain_and_equal_counts() -> None:
    """The walk finds no break, and results, sessions and steps equal what the client saw."""
    client, log, trace = play()
    chain = log.check_chain(TIMEOUT_S * 1000)
    assert chain.breaks == []
    assert (chain.doubtful, chain.compared) == (0, len(client.results))
    assert chain.with_ids > VISITS
    assert (log.report["problems"], log.report["duplicates"], log.report["strays"]) == ([], [], [])
    assert (log.report["crossed"], log.report["unknown"]) == (0, 0)
    seen = {call.attempt: "reset" if call.outcome == "cut" else call.outcome for call in log.calls}
    assert seen == client.results
    assert {"started", "kept", "renewed", "revid", "rejected"} == set(log.chain_events())
    # A cut reply settles no step here: the tiny client calls it a reset and tries again.
    assert sum(log.step_outcomes(trace).values()) == 3 * VISITS
    assert log.step_outcomes(trace)["missing"] == 0


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda attempt, ids, given: ids if "/0/" in attempt else (None, None), id="ids dropped"),
        pytest.param(
            lambda attempt, ids, given: given[-2] if len(given) > 9 and ids[1] else ids, id="ids one reply old"
        ),
        pytest.param(
            lambda attempt, ids, given: given[0] if attempt == "v99/1/1" else ids, id="another visit's ids, once"
        ),
        pytest.param(lambda attempt, ids, given: (ids[0], None) if attempt == "v9/1/1" else ids, id="sid lost, once"),
        pytest.param(
            lambda attempt, ids, given: ("dGhpcw", "c2lk") if attempt == "v7/1/1" else ids, id="made-up ids, once"
        ),
    ],
)
def test_a_broken_chain_is_caught(spoil: Spoil) -> None:
    """A client that carries other ids than the last given ones is found out, even for a single request."""
    _, log, _ = play(spoil)
    assert log.check_chain(TIMEOUT_S * 1000).breaks


def test_the_same_seed_answers_the_same_whatever_the_order() -> None:
    """Faults depend on seed and attempt alone: first attempts meet the same fate in two differently ordered runs."""
    fates: list[dict[str, str]] = []
    for order in (range(100), reversed(range(100))):
        with oracle("--seed", "3", "--faults", FAULTS, "--delay-ms", "0..0") as server:
            client = TinyClient(server)
            for n in order:
                client.call("get_engagement", f"v{n}/0/1", (None, None), None)
            fates.append({call.attempt: call.outcome for call in server.log().calls})
    assert fates[0] == fates[1]
    assert len(set(fates[0].values())) > 3


def test_a_freeze_holds_answers_back_until_the_thaw() -> None:
    """A call that comes during the freeze is answered when it ends, not before and not late."""
    with oracle("--freeze-at", "0.6", "--freeze-for", "0.3", "--delay-ms", "0..0") as server:
        client = TinyClient(server)
        client.call("get_engagement", "v0/0/1", (None, None), None)
        time.sleep(0.7)
        client.call("get_engagement", "v1/0/1", (None, None), None)
        first, second = server.log().calls
    assert first.answered_ms - first.received_ms < 600
    assert second.received_ms - first.received_ms < 900 <= second.answered_ms - first.received_ms < 2000


def call(
    attempt: str, outcome: str, ids_in: Ids = (None, None), ids_out: Ids = (None, None), after_ms: float = 1.0
) -> Call:
    """A line of the log, answered `after_ms` after it came."""
    late = -1.0 if after_ms < 0 else 1000 + after_ms
    return Call(attempt, "get_engagement", *ids_in, None, None, outcome, *ids_out, None, None, None, "", 1000.0, late)


@pytest.mark.parametrize("carried, broken", [(("V", "old"), 0), (("V", "new"), 0), (("V", "else"), 1)])
def test_a_reply_near_the_timeout_leaves_both_ids_possible(carried: Ids, broken: int) -> None:
    """Nobody can tell whether a reply at 90 % of the timeout was read; a third pair of ids is still a break."""
    calls = [
        call("v/0/1", "available", (None, None), ("V", "old")),
        call("v/1/1", "available", ("V", "old"), ("V", "new"), after_ms=900),
        call("v/1/2", "available", carried, carried),
        call("v/2/1", "available", carried, carried),
    ]
    fields = [*Call.__dataclass_fields__]
    report = {"fields": fields, "requests": [[getattr(each, name) for name in fields] for each in calls]}
    chain = OracleLog(report).check_chain(1000)
    assert (len(chain.breaks), chain.doubtful) == (broken, 1)


def test_the_oracle_imports_nothing_but_the_standard_library() -> None:
    """An oracle that shared code with the product would share its mistakes."""
    for name in ("oracle.py", "oracle_log.py"):
        tree = ast.parse(Path(__file__).with_name(name).read_text())
        imported = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported <= sys.stdlib_module_names, name
