"""The engagement service's rules, call by call (contract sections 1 to 3 and 7)."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.sim.behaviour import Behaviour, Decision
from harness.sim.scenario import (
    Availability,
    Cold,
    Engagement,
    Fault,
    Freeze,
    Level,
    Ns,
    Scenario,
    Service,
    Sessions,
    Wave,
)
from harness.wire.reply import read_reply
from harness.wire.route import Call
from harness.wire.validate import check_reply

SECOND = 1_000_000_000
AT_ONCE = Service(distribution="constant", mean_ns=Ns(0))
PLAIN = b'{"appType":"EXTERNAL"}'


class Client:
    """Talks to a behaviour at chosen moments and reads the replies."""

    def __init__(self, seed: int = 1, **changes: Any) -> None:
        self.model = Behaviour(Scenario(**{"service": AT_ONCE, **changes}), seed, wall_offset_ns=0)

    def post(self, at_s: float = 0, vid: str | None = None, sid: str | None = None, **other: Any) -> Decision:
        fields = {"account": "12345678", "version": "1.0", **other}
        body = fields.pop("body", PLAIN)
        return self.model.handle(round(at_s * SECOND), Call("get_engagement", vid=vid, sid=sid, **fields), body)

    def put(self, at_s: float, vid: str | None, sid: str | None, request: dict[str, Any]) -> Decision:
        call = Call("update", "12345678", vid, sid, "1.0")
        return self.model.handle(round(at_s * SECOND), call, orjson.dumps(request))

    @property
    def truth(self) -> dict[str, Any]:
        return self.model.truth.to_obj()


def code(decision: Decision) -> tuple[int, int | None]:
    """HTTP status and internalCode (None where the reply is no JSON)."""
    is_json = b"json" in decision.headers
    return decision.http_status, orjson.loads(decision.body).get("internalCode") if is_json else None


def impression(decision: Decision, **changes: Any) -> dict[str, Any]:
    """The impDisplay event of an Available reply."""
    details = orjson.loads(decision.body)["engagementDetails"]
    event = {
        "type": "impDisplay",
        "campaign": int(details["campaignId"]),
        "engId": int(details["engagementId"]),
        "revision": details["engagementRevision"],
        "eContext": [{"type": "engagementContext", "id": details["contextId"]}],
    }
    return event | changes


def test_a_first_call_gets_ids_and_an_engagement_in_the_documented_form() -> None:
    """Available: every field of contract 2.1 with the documented JSON type, nothing that the validator objects to."""
    reply = Client().post()
    assert (reply.outcome, reply.http_status, reply.delay_ns) == ("available", 200, 0)
    assert check_reply("get_engagement", 200, reply.body) == []
    body = orjson.loads(reply.body)
    assert list(body) == ["status", "sessionId", "visitorId", "pageId", "engagementDetails"]
    assert (body["visitorId"], body["sessionId"]) == (reply.vid, reply.sid)
    details = body["engagementDetails"]
    assert all(re.fullmatch("[1-9][0-9]{9}", details.pop(key)) for key in ("campaignId", "engagementId", "windowId"))
    assert details == {
        "contextId": "1",
        "language": "en-US",
        "engagementRevision": 44,
        "validForSeconds": 900,
        "skillId": 23,
        "skillName": "TestSkill",
    }


def test_the_pair_is_kept_and_each_call_has_its_own_page_id() -> None:
    """A live pair comes back unchanged; pageIds of one session differ."""
    client = Client()
    replies = [client.post()]
    replies += [client.post(n, replies[0].vid, replies[0].sid) for n in (1, 2, 3)]
    assert {(reply.vid, reply.sid) for reply in replies} == {(replies[0].vid, replies[0].sid)}
    assert len({orjson.loads(reply.body)["pageId"] for reply in replies}) == 4
    assert client.truth["chain"] == {"started": 1, "kept": 3}


def test_a_known_vid_without_sid_gets_a_new_session() -> None:
    """A returning visitor keeps the vid and gets another sid."""
    client = Client()
    first = client.post()
    again = client.post(1, first.vid)
    assert again.vid == first.vid and again.sid != first.sid
    assert (client.truth["visitors_issued"], client.truth["sessions_issued"]) == (1, 2)


@pytest.mark.parametrize(
    ("bad_ids", "unknown_vid", "unknown_sid"),
    [
        ("new_session", (200, None), (200, None)),
        ("401", (401, None), (401, None)),
        ("404", (404, 37), (404, 39)),
    ],
)
def test_the_bad_id_switch(
    bad_ids: str, unknown_vid: tuple[int, int | None], unknown_sid: tuple[int, int | None]
) -> None:
    """Well-formed unknown ids: echoed vid and new sid, or 401, or 404/37 and 404/39 (contract 7.8)."""
    client = Client(bad_ids=bad_ids)
    known = client.post()
    stranger = client.post(1, "xyz", "abc")
    wrong_sid = client.post(2, known.vid, "abc")
    assert (code(stranger), code(wrong_sid)) == (unknown_vid, unknown_sid)
    if bad_ids == "new_session":
        assert stranger.vid == "xyz" and stranger.sid != "abc"
        assert wrong_sid.vid == known.vid and wrong_sid.sid not in ("abc", known.sid)
    else:
        assert {stranger.outcome, wrong_sid.outcome} == {"rejected"}
    assert client.truth["unknown_ids"] == 2


def test_the_sid_of_another_visitor_is_no_pair() -> None:
    """Only the pair is valid: with another visitor's sid a visitor gets a session of its own."""
    client = Client()
    one, two = client.post(), client.post()
    mixed = client.post(1, one.vid, two.sid)
    assert mixed.vid == one.vid and mixed.sid not in (one.sid, two.sid)
    assert client.truth["chain"] == {"started": 2, "crossed": 1}


@pytest.mark.parametrize(("vid", "sid"), [("a b", "abc"), ("xyz", ""), ("xyz", 'a"b'), ("x" * 200, None)])
def test_malformed_ids_are_unauthorized(vid: str, sid: str | None) -> None:
    """What cannot be an id gets 401, whatever the switch says."""
    reply = Client().post(0, vid, sid)
    assert (reply.http_status, reply.outcome, reply.met) == (401, "rejected", "malformed")


def test_version_account_and_body_are_checked() -> None:
    """400/33, 404/6 and 400/5 as documented, and each reply in the documented form."""
    client = Client(accounts=("12345678",))
    assert read_reply("get_engagement", 400, client.post(version="2.0").body).code == 33
    assert code(client.post(version="2.0")) == code(client.post(version=None)) == (400, 33)
    assert code(client.post(account="87654321")) == code(client.post(account="no/account")) == (404, 6)
    for body in (b"", b"{", b"[]", b'{"appType":"IVR"}', b'{"engagementAttributes":[{"type":"impDisplay"}]}'):
        reply = client.post(body=body)
        assert code(reply) == (400, 5)
        assert check_reply("get_engagement", 400, reply.body) == []
    assert client.truth["sessions_issued"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"appType":"EXTERNAL","appDetails":{"deviceFamily":"PHONE"}}',
        b'{"appType":"EXTERNAL","consumerSections":"a,b"}',
        b'{"appType":"EXTERNAL","engagementAttributes":"none"}',
    ],
)
def test_what_only_a_strict_service_refuses(body: bytes) -> None:
    """Descriptive fields of the wrong form and a missing appType pass unless strict (contract 7.4, 7.5, 7.7)."""
    assert Client().post(body=body).outcome == "available"
    assert code(Client(strict=True).post(body=body)) == (400, 5)


def test_a_session_ends_by_age_and_by_idleness() -> None:
    """After its age, or after idling, a sid is expired and the call gets a new one."""
    aged = Client(sessions=Sessions(max_age_ns=Ns(10 * SECOND)))
    first = aged.post()
    assert aged.post(9.9, first.vid, first.sid).sid == first.sid
    assert aged.post(10, first.vid, first.sid).sid != first.sid
    assert aged.truth["chain"] == {"started": 1, "kept": 1, "expired": 1}
    idle = Client(sessions=Sessions(idle_ns=Ns(4 * SECOND)))
    first = idle.post()
    sids = [idle.post(at, first.vid, first.sid).sid for at in (3, 6, 9.9)]
    assert sids == [first.sid] * 3
    assert idle.post(13.9, first.vid, first.sid).met == "expired"


def test_too_many_calls_in_a_session_renew_it() -> None:
    """The call after the cap gets a new sid and goes on with the same visit (contract 2.4)."""
    client = Client(sessions=Sessions(max_calls=2), availability=Availability(not_available_first=3))
    reply, seen = client.post(), []
    for at in range(1, 6):
        seen.append((reply.sid, reply.outcome))
        reply = client.post(at, reply.vid, reply.sid)
    sids = [sid for sid, _ in seen]
    assert [sids.index(sid) for sid in sids] == [0, 0, 2, 2, 4]
    assert [outcome for _, outcome in seen] == ["not_available"] * 3 + ["available"] * 2
    assert client.truth["renewals"] == 2


def test_caps_on_sessions_are_503() -> None:
    """Too many sessions of a visitor or of the account: 503, and nothing is issued (contract 2.4)."""
    client = Client(sessions=Sessions(per_visitor=2, per_account=3, max_age_ns=Ns(100 * SECOND)))
    first = client.post()
    outcomes = [client.post(at, first.vid).http_status for at in (1, 2)]
    outcomes += [client.post(at).http_status for at in (3, 4)]
    assert outcomes == [200, 503, 200, 503]
    assert (client.truth["capped"], client.truth["sessions_issued"], client.truth["visitors_issued"]) == (2, 3, 2)
    assert client.post(100, first.vid).http_status == 200


def test_a_cold_account_loads_for_a_number_of_calls() -> None:
    """500/20 with a vid in the message: with that vid comes the session, without it another visitor (contract 7.17)."""
    client = Client(cold=Cold(calls=2))
    replies = [client.post(), client.post()]
    assert [code(reply) for reply in replies] == [(500, 20)] * 2
    vids = [re.fullmatch(r"Loading account: 12345678, vid: (\S+)", orjson.loads(r.body)["message"]) for r in replies]
    first, second = (match[1] for match in vids if match)
    assert [read_reply("get_engagement", 500, reply.body).hint_vid for reply in replies] == [first, second]
    taken_up, fresh = client.post(1, first), client.post(1)
    assert taken_up.vid == first and fresh.vid not in (first, second)
    assert client.truth["chain"] == {"loaded": 1, "started": 1}
    assert (client.truth["visitors_issued"], client.truth["sessions_issued"]) == (3, 2)


def test_a_cold_account_loads_for_a_time_and_each_account_by_itself() -> None:
    """The time runs from the account's own first call; a vid sent meanwhile stays the visitor's."""
    client = Client(cold=Cold(lasts_ns=Ns(2 * SECOND)))
    vid = client.post(5).vid
    assert client.post(6.9, vid).vid == vid
    assert client.post(6.9, account="other").outcome == "loading"
    assert client.post(7, vid).outcome == "available"
    assert client.post(8.8, account="other").outcome == "loading"
    assert client.post(8.9, account="other").outcome == "available"


def test_the_first_calls_of_a_visit_are_not_available() -> None:
    """k of [least, most] is drawn per visit: k times NotAvailable without details, then Available."""
    client = Client(availability=Availability(not_available_first=(1, 3)))
    spans = Counter[int]()
    for visit in range(300):
        reply = client.post(attempt=f"v{visit}/0/1")
        span = 0
        while reply.outcome == "not_available":
            assert "engagementDetails" not in orjson.loads(reply.body)
            assert check_reply("get_engagement", 200, reply.body) == []
            span += 1
            reply = client.post(0, reply.vid, reply.sid)
        spans[span] += 1
    assert set(spans) == {1, 2, 3} and min(spans.values()) > 70


@pytest.mark.parametrize(
    ("availability", "moments"),
    [
        (Availability(ratio=0.3), {0: 0.3, 500: 0.3}),
        (
            Availability(
                ratio=1.0, levels=(Level(at_ns=Ns(10 * SECOND), ratio=0.2), Level(at_ns=Ns(20 * SECOND), ratio=0.9))
            ),
            {0: 1.0, 9.9: 1.0, 10: 0.2, 19.9: 0.2, 20: 0.9, 500: 0.9},
        ),
        (
            Availability(ratio=0.5, wave=Wave(amplitude=0.4, period_ns=Ns(60 * SECOND))),
            {0: 0.5, 15: 0.9, 30: 0.5, 45: 0.1, 75: 0.9},
        ),
    ],
)
def test_availability_over_time(availability: Availability, moments: dict[float, float]) -> None:
    """The share of Available replies at each moment is the scenario's ratio then, within four standard deviations."""
    client = Client(availability=availability)
    client.post()
    for at_s, ratio in moments.items():
        available = sum(client.post(at_s, attempt=f"{at_s}-{n}").outcome == "available" for n in range(1_000))
        assert abs(available / 1_000 - ratio) <= 4 * (ratio * (1 - ratio) / 1_000) ** 0.5


def test_an_engagement_that_lost_its_validity_is_offered_anew() -> None:
    """contextId is the ordinal of the engagement in the session; it grows when validForSeconds have passed."""
    client = Client(engagement=Engagement(valid_for_s=300))
    first = client.post()
    contexts = [
        orjson.loads(client.post(at, first.vid, first.sid).body)["engagementDetails"]["contextId"]
        for at in (1, 299, 300, 599, 600)
    ]
    assert contexts == ["1", "1", "2", "2", "3"]


def test_an_update_of_a_live_pair_is_accepted() -> None:
    """200 with an empty body; the impression and the page are those of the offer."""
    client = Client(strict=True)
    reply = client.post()
    page = orjson.loads(reply.body)["pageId"]
    update = client.put(1, reply.vid, reply.sid, {"pageId": page, "impAttributes": [impression(reply)]})
    assert (update.outcome, update.http_status, update.body) == ("accepted", 200, b"")
    assert client.truth["impressions"] == {"accepted": 1, "unmatched": 0, "pages_unmatched": 0}


def test_an_update_needs_both_ids_valid() -> None:
    """404/37 without a known vid, 404/39 without a live sid, never a new session."""
    client = Client()
    reply = client.post()
    request = {"pageId": "1"}
    assert code(client.put(1, None, None, request)) == (404, 37)
    assert code(client.put(1, "xyz", reply.sid, request)) == (404, 37)
    assert code(client.put(1, reply.vid, None, request)) == (404, 39)
    assert code(client.put(1, reply.vid, "abc", request)) == (404, 39)
    assert client.truth["sessions_issued"] == 1


@pytest.mark.parametrize(
    "change",
    [{"campaign": 1}, {"engId": "2"}, {"revision": 45}, {"eContext": [{"type": "engagementContext", "id": "2"}]}],
)
def test_impressions_of_another_engagement(change: dict[str, Any]) -> None:
    """An event that the session's offers do not explain is counted; strict, it voids the update with 400/5."""
    for strict in (False, True):
        client = Client(strict=strict)
        reply = client.post()
        request = {"pageId": "7", "impAttributes": [impression(reply, **change)]}
        update = client.put(1, reply.vid, reply.sid, request)
        if strict:
            assert code(update) == (400, 5)
        else:
            assert update.outcome == "accepted"
            assert client.truth["impressions"] == {"accepted": 1, "unmatched": 1, "pages_unmatched": 1}


def test_an_update_needs_a_page_id() -> None:
    """pageId is required on the wire (contract 1.2)."""
    client = Client()
    reply = client.post()
    assert code(client.put(1, reply.vid, reply.sid, {})) == (400, 5)


@pytest.mark.parametrize(
    ("kind", "outcome", "status", "internal_code"),
    [
        ("throttled", "throttled", 429, None),
        ("unavailable", "server_error", 503, None),
        ("internal", "server_error", 500, 18),
    ],
)
def test_faults_with_a_reply(kind: str, outcome: str, status: int, internal_code: int | None) -> None:
    """Each kind gives its reply and touches no visitor."""
    client = Client(faults=(Fault(kind=kind, ratio=1.0),), retry_after_s=3)  # type: ignore[arg-type]
    reply = client.post()
    assert read_reply("get_engagement", status, reply.body).kind == outcome
    assert (reply.outcome, reply.http_status, code(reply)[1]) == (outcome, status, internal_code)
    assert (b"Retry-After: 3\r\n" in reply.headers) == (kind == "throttled")
    assert client.truth["visitors_issued"] == client.truth["sessions_issued"] == 0


def test_faults_without_a_readable_reply() -> None:
    """Reset and hang say so; a redirect has a place to go, garbage is no JSON."""
    replies = {
        kind: Client(faults=(Fault(kind=kind, ratio=1.0),)).post()
        for kind in ("reset", "hang", "redirect", "garbage")  # type: ignore[arg-type]
    }
    assert {kind: (reply.outcome, reply.fault, reply.http_status) for kind, reply in replies.items()} == {
        "reset": ("reset", "reset", 0),
        "hang": ("hang", "hang", 0),
        "redirect": ("redirect", "", 302),
        "garbage": ("bad_reply", "", 200),
    }
    assert b"Location: " in replies["redirect"].headers
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(replies["garbage"].body)


def test_faults_hit_their_share_in_their_window() -> None:
    """Two kinds with 20 % and 30 % inside [1 s, 3 s): these shares there, none outside."""
    window = {"at_ns": Ns(SECOND), "lasts_ns": Ns(2 * SECOND)}
    client = Client(faults=(Fault(kind="throttled", ratio=0.2, **window), Fault(kind="hang", ratio=0.3, **window)))
    shares = [Counter(client.post(at, attempt=f"{at}-{n}").outcome for n in range(2_000)) for at in (0, 1, 2.9, 3)]
    assert shares[0] == shares[3] == {"available": 2_000}
    for share in shares[1:3]:
        assert abs(share["throttled"] - 400) < 90 and abs(share["hang"] - 600) < 100


def test_a_freeze_holds_every_reply_until_the_thaw() -> None:
    """Served calls, refusals and resets alike leave at the thaw; time starts with the first call."""
    freezes = (Freeze(at_ns=Ns(20 * SECOND), lasts_ns=Ns(10 * SECOND)),)
    client = Client(freezes=freezes, service=Service(distribution="constant", mean_ns=Ns(SECOND)))
    start_s = 1_000
    delays = [client.post(start_s + at).delay_ns / SECOND for at in (0, 18, 19, 25, 29.5, 30)]
    assert delays == [1, 1, 11, 5, 1, 1]
    assert client.post(start_s + 30, body=b"").delay_ns == 0
    frozen = Client(freezes=freezes)
    frozen.post(0)
    assert frozen.post(22, body=b"").delay_ns == 8 * SECOND
    reset = Client(freezes=freezes, faults=(Fault(kind="reset", ratio=1.0, at_ns=Ns(SECOND)),))
    reset.post(0)
    assert reset.post(24).delay_ns == 6 * SECOND


def test_calls_queue_for_slots_and_are_refused_when_too_many_wait() -> None:
    """One slot of 1 s: replies leave a second apart; the call beyond `max_waiting` gets 503 and no session."""
    service = Service(distribution="constant", mean_ns=Ns(SECOND), slots=1, max_waiting=2)
    client = Client(service=service)
    replies = [client.post() for _ in range(4)]
    assert [(reply.http_status, reply.delay_ns // SECOND) for reply in replies] == [
        (200, 1),
        (200, 2),
        (200, 3),
        (503, 0),
    ]
    assert client.truth["sessions_issued"] == 3


def test_forgotten_visitors_and_sessions_leave_nothing_behind() -> None:
    """Ten thousand visitors over time: only those within their lifetimes are remembered."""
    sessions = Sessions(max_age_ns=Ns(5 * SECOND), idle_ns=Ns(2 * SECOND), remember_ns=Ns(10 * SECOND))
    client = Client(sessions=sessions)
    for n in range(10_000):
        client.post(n / 100, attempt=str(n))
    account = client.model.accounts["12345678"]
    assert (len(account.sessions), len(account.visitors)) == (200, 1_000)
    client.post(1_000)
    assert (len(account.sessions), len(account.visitors), len(account._forget)) == (1, 1, 2)


def test_a_repeated_attempt_id_is_another_visitor() -> None:
    """The same attempt ids against a running service, as in a second run, never share a vid or sid."""
    client = Client()
    replies = [client.post(attempt="v-1/0/1") for _ in range(200)]
    assert len({reply.vid for reply in replies}) == len({reply.sid for reply in replies}) == 200


def test_accounts_do_not_know_each_others_ids() -> None:
    """Ids of one account are unknown in another, which offers another engagement."""
    client = Client()
    here = client.post()
    there = client.post(1, here.vid, here.sid, account="other")
    assert there.met == "adopted" and there.sid != here.sid
    details = [orjson.loads(reply.body)["engagementDetails"]["engagementId"] for reply in (here, there)]
    assert details[0] != details[1]


def visit_replies(order: list[int], seed: int) -> dict[int, list[tuple[Any, ...]]]:
    """Each visit makes one more call for each mention in `order`; what it was answered."""
    client = Client(
        seed,
        service=Service(mean_ns=Ns(1_000)),
        availability=Availability(not_available_first=(0, 2), ratio=0.7),
        sessions=Sessions(max_calls=3),
        faults=(Fault(kind="internal", ratio=0.2),),
    )
    replies: dict[int, list[Decision]] = {}
    for visit in order:
        mine = replies.setdefault(visit, [])
        vid, sid = next(((reply.vid, reply.sid) for reply in reversed(mine) if reply.sid), (None, None))
        mine.append(client.post(0, vid, sid, attempt=f"v{visit}/0/{len(mine) + 1}"))
    return {
        visit: [(r.outcome, r.delay_ns, r.vid, r.sid, r.body if r.http_status == 200 else b"") for r in mine]
        for visit, mine in replies.items()
    }


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), max_size=60), st.randoms(use_true_random=False), st.integers(0, 3))
def test_what_a_visit_is_answered_does_not_depend_on_the_others(
    order: list[int], rng: random.Random, seed: int
) -> None:
    """Any interleaving of the same visits gives each the same replies, byte for byte, and the same service times."""
    shuffled = list(order)
    rng.shuffle(shuffled)
    assert visit_replies(order, seed) == visit_replies(shuffled, seed)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["get_engagement", "update"]),
            st.sampled_from([None, "", "xyz", "a b", "é"]),
            st.sampled_from([None, "", "abc", "a/b"]),
            st.one_of(st.binary(max_size=40), st.sampled_from([PLAIN, b'{"pageId":"1"}', b"[]", b'{"pageId":{}}'])),
            st.text(max_size=5),
        ),
        max_size=20,
    )
)
def test_no_call_whatever_breaks_the_service(calls: list[tuple[Any, ...]]) -> None:
    """Every call gets a decision whose reply follows the contract and is read as the outcome that it was meant as."""
    client = Client(bad_ids="404")
    for at, (op, vid, sid, body, attempt) in enumerate(calls):
        decision = client.model.handle(at, Call(op, "12345678", vid, sid, "1.0", attempt), body)
        problems = check_reply(op, decision.http_status, decision.body)
        assert [problem for problem in problems if problem.severity == "error"] == []
        assert read_reply(op, decision.http_status, decision.body).kind == decision.outcome
    assert client.truth["attempts"]["total"] == len(calls)
