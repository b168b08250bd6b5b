"""The engagement service as a pure, seeded model: a call goes in, a decision comes out.

`handle` judges a call in the order of a real service: faults on purpose, the request line, the body, a cold account,
the ids, the caps, the queue. Only a call that passes all of them changes visitors and sessions. The decision says what
is answered and how long after arrival, so the server around it only waits and writes. Nothing here knows a clock, a
socket or global state. Refusals are answered at once (outside freezes); work takes a service time and a slot.
"""

from __future__ import annotations

from bisect import bisect_right
from math import pi, sin
from typing import Any

from harness.record import Record
from harness.sim import replies
from harness.sim.acquaintance import BAD_SID, BAD_VID, GOOD, acquaintance
from harness.sim.forms import known_version, well_formed_account, well_formed_id
from harness.sim.ids import Draws, draw, page_id, session_id, unit, visitor_id
from harness.sim.inspection import Inspected, inspector
from harness.sim.queue import SlotQueue, service_time, thaw_ns
from harness.sim.replies import Offer
from harness.sim.scenario import Cold, FaultKind, Scenario
from harness.sim.truth import Truth
from harness.sim.visitors import Account, Session, Visitor
from harness.units import NS_PER_MS, NS_PER_S
from harness.wire import codes
from harness.wire.route import Call

TEXT_TYPE = b"Content-Type: text/plain;charset=UTF-8\r\n"
JSON_TYPE = b"Content-Type: application/json;charset=UTF-8\r\n"


class Decision(Record):
    """What to do with a call: answer `delay_ns` after its arrival, or spoil it (`fault`) by a reset or a hang.

    `outcome` is the name of a `visitor.records.Result`, or `hang`; `met` says what the ids of the call turned out to
    be (`acquaintance`), if they were looked at. `headers` are complete header lines. `vid` and
    `sid` are those of the reply; `retry_after_s` is what its Retry-After asks for, 0 without one.
    """

    __slots__ = ("body", "delay_ns", "fault", "headers", "http_status", "met", "outcome", "retry_after_s", "sid", "vid")

    def __init__(
        self,
        outcome: str,
        delay_ns: int,
        http_status: int,
        body: bytes = b"",
        headers: bytes = JSON_TYPE,
        fault: str = "",
        vid: str | None = None,
        sid: str | None = None,
        met: str = "",
        retry_after_s: int = 0,
    ) -> None:
        self.outcome = outcome
        self.delay_ns = delay_ns
        self.http_status = http_status
        self.body = body
        self.headers = headers
        self.fault = fault
        self.vid = vid
        self.sid = sid
        self.met = met
        self.retry_after_s = retry_after_s


class Behaviour:
    """One run of a scenario: all accounts, visitors and sessions, and the truth about what was done."""

    def __init__(self, scenario: Scenario, seed: int, wall_offset_ns: int = 0) -> None:
        """`wall_offset_ns` turns the `now_ns` of `handle` into Unix time, for the `time` of error bodies."""
        self.scenario = scenario
        self.truth = Truth()
        self.epoch_ns: int | None = None
        self.accounts: dict[str, Account] = {}
        self._seed = seed
        self._wall_offset_ns = wall_offset_ns
        self._arrivals = 0
        self._inspect = inspector(scenario.strict)
        self._service_time = service_time(scenario.service)
        self._queue = SlotQueue(scenario.service.slots, scenario.service.max_waiting, scenario.freezes)
        self._levels_ns = [level.at_ns for level in scenario.availability.levels]
        self._may_be_cold = scenario.cold != Cold()
        self._offers: dict[str, Offer] = {}

    def handle(self, now_ns: int, call: Call, body: bytes) -> Decision:
        """Decide about a call that arrived at `now_ns`; never earlier than the call before it."""
        if self.epoch_ns is None:
            self.epoch_ns = now_ns
        at_ns = now_ns - self.epoch_ns
        self._arrivals += 1
        decision = self._decide(at_ns, call, body)
        self.truth.decided(call.op, decision.outcome, decision.met)
        return decision

    def dismiss(self, account: str, vid: str) -> None:
        """A visitor of whom the caller knows that it never comes again need not be remembered any longer.

        Nothing that anybody else is answered depends on it: where a cap counts all sessions, it is kept.
        """
        known = self.accounts.get(account)
        if known is not None and self.scenario.sessions.per_account is None:
            known.dismiss(vid)

    def _decide(self, at_ns: int, call: Call, body: bytes) -> Decision:
        account = self._account(call.account, at_ns)
        if account is None:
            return self._refuse(at_ns, 404, "client_error", "Invalid account", codes.INVALID_ACCOUNT)
        account.sweep(at_ns)
        visitor = account.visitors.get(call.vid) if call.vid else None
        met = acquaintance(account, visitor, call)
        draws = self._draws(account, visitor, call)
        fault = self._fault(at_ns, unit(draws.fault_bits)) if self.scenario.faults else None
        if fault is not None:
            return self._spoil(at_ns, fault, met)
        if not known_version(call.version):
            return self._refuse(at_ns, 400, "client_error", "Illegal Version", codes.ILLEGAL_VERSION, met)
        if (
            met not in GOOD
            and call.op == "get_engagement"
            and not (well_formed_id(call.vid) and well_formed_id(call.sid))
        ):
            return self._refuse(at_ns, 401, "rejected", "Unauthorized", met="malformed")
        inspected = self._inspect(call.op, body)
        if inspected.complaint is not None:
            return self._refuse(at_ns, 400, "client_error", inspected.complaint, codes.INVALID_VALUE, met)
        if self._may_be_cold and self._cold(account, at_ns):
            return self._load(at_ns, call, account, visitor, draws, met)
        if call.op == "update":
            return self._update(at_ns, call, visitor, draws, met, inspected)
        return self._engage(at_ns, call, account, visitor, draws, met)

    def _engage(
        self, at_ns: int, call: Call, account: Account, visitor: Visitor | None, draws: Draws, met: str
    ) -> Decision:
        if self.scenario.bad_ids != "new_session" and (met in BAD_VID or met in BAD_SID):
            return self._refuse_ids(at_ns, call, met)
        session = visitor.sessions[call.sid] if visitor and call.sid and met in GOOD else None
        if session is None and account.full(visitor):
            self.truth.capped += 1
            return self._refuse(at_ns, 503, "server_error", "Too many sessions", met=met)
        done_ns = self._queue.admit(at_ns, self._service_time(unit(draws.service_bits)))
        if done_ns is None:
            return self._refuse(at_ns, 503, "server_error", "Service is temporarily unavailable", met=met)
        if visitor is None:
            visitor = self._issue_visitor(account, call.vid, draws, at_ns)
        if session is None or met == "renewed":
            session = self._issue_session(account, visitor, session, draws, at_ns)
        session.last_ns = visitor.last_ns = at_ns
        session.calls += 1
        session.asked += 1
        page = page_id(draws.page_bits)
        details = None
        if session.asked > session.patience and unit(draws.available_bits) < self._availability(at_ns):
            details = self._offer(account.name).details(self._context(session, at_ns))
            session.page_id = page
        outcome = "not_available" if details is None else "available"
        body = replies.engaged(visitor.vid, session.sid, page, details)
        return Decision(outcome, done_ns - at_ns, 200, body, vid=visitor.vid, sid=session.sid, met=met)

    def _update(
        self, at_ns: int, call: Call, visitor: Visitor | None, draws: Draws, met: str, inspected: Inspected
    ) -> Decision:
        if visitor is None or call.sid is None or met not in GOOD:
            return self._refuse_ids(at_ns, call, met)
        session = visitor.sessions[call.sid]
        known = self._offer(call.account)
        matching = sum(_reports(event, session, known) for event in inspected.impressions)
        if matching < len(inspected.impressions) and self.scenario.strict:
            return self._refuse(at_ns, 400, "client_error", "impAttributes", codes.INVALID_VALUE, met)
        done_ns = self._queue.admit(at_ns, self._service_time(unit(draws.service_bits)))
        if done_ns is None:
            return self._refuse(at_ns, 503, "server_error", "Service is temporarily unavailable", met=met)
        session.last_ns = visitor.last_ns = at_ns
        session.calls += 1
        self.truth.reported(len(inspected.impressions), matching, inspected.page_id == session.page_id)
        return Decision("accepted", done_ns - at_ns, 200, b"", b"", vid=visitor.vid, sid=session.sid, met=met)

    def _load(
        self, at_ns: int, call: Call, account: Account, visitor: Visitor | None, draws: Draws, met: str
    ) -> Decision:
        """The answer of a cold account: a visitor without a session, whose vid stands in the message only."""
        account.cold_calls += 1
        done_ns = self._queue.admit(at_ns, self._service_time(unit(draws.service_bits)))
        if done_ns is None:
            return self._refuse(at_ns, 503, "server_error", "Service is temporarily unavailable", met=met)
        if visitor is None:
            visitor = self._issue_visitor(account, call.vid if well_formed_id(call.vid) else None, draws, at_ns)
        visitor.last_ns = at_ns
        body = self._error(at_ns, f"Loading account: {account.name}, vid: {visitor.vid}", codes.LOADING)
        return Decision("loading", done_ns - at_ns, 500, body, vid=visitor.vid, met=met)

    def _spoil(self, at_ns: int, fault: FaultKind, met: str) -> Decision:
        """A call that goes wrong on purpose."""
        delay_ns = thaw_ns(self.scenario.freezes, at_ns) - at_ns
        match fault:
            case "reset" | "hang":
                return Decision(fault, delay_ns, 0, fault=fault, met=met)
            case "throttled":
                after_s = self.scenario.retry_after_s
                headers = TEXT_TYPE + b"Retry-After: %d\r\n" % after_s
                body = b"Too many requests"
                return Decision("throttled", delay_ns, 429, body, headers, met=met, retry_after_s=after_s)
            case "redirect":
                return Decision("redirect", delay_ns, 302, b"", b"Location: /moved\r\n", met=met)
            case "garbage":
                return Decision("bad_reply", delay_ns, 200, b'{"status":', met=met)
            case "unavailable":
                return self._refuse(at_ns, 503, "server_error", "Service is temporarily unavailable", met=met)
            case "internal":
                return self._refuse(at_ns, 500, "server_error", "Unexpected error", codes.UNEXPECTED, met)

    def _refuse_ids(self, at_ns: int, call: Call, met: str) -> Decision:
        if call.op == "get_engagement" and self.scenario.bad_ids == "401":
            return self._refuse(at_ns, 401, "rejected", "Unauthorized", met=met)
        if met in BAD_SID or met in ("returned", "loaded"):
            return self._refuse(at_ns, 404, "rejected", "Invalid session id", codes.BAD_SID, met)
        return self._refuse(at_ns, 404, "rejected", "Invalid visitor id", codes.BAD_VID, met)

    def _refuse(
        self, at_ns: int, http_status: int, outcome: str, message: str, code: int | None = None, met: str = ""
    ) -> Decision:
        """A refusal: with its documented code as a JSON body, or, where the body is left open, as plain text."""
        delay_ns = thaw_ns(self.scenario.freezes, at_ns) - at_ns
        if code is None:
            return Decision(outcome, delay_ns, http_status, message.encode(), TEXT_TYPE, met=met)
        return Decision(outcome, delay_ns, http_status, self._error(at_ns, message, code), met=met)

    def _error(self, at_ns: int, message: str, code: int) -> bytes:
        now_ns = at_ns + (self.epoch_ns or 0) + self._wall_offset_ns
        return replies.error(now_ns // NS_PER_MS, message, code)

    def _account(self, name: str, at_ns: int) -> Account | None:
        account = self.accounts.get(name)
        if account is None:
            known = self.scenario.accounts
            if not well_formed_account(name) or (known and name not in known):
                return None
            account = self.accounts[name] = Account(name, self.scenario.sessions, at_ns)
        return account

    def _draws(self, account: Account, visitor: Visitor | None, call: Call) -> Draws:
        if visitor is not None:
            visitor.calls += 1
            return draw(self._seed, f"{account.name}/{visitor.vid}", visitor.calls)
        entity = f"{account.name}/{call.attempt or self._arrivals}"
        draws = draw(self._seed, entity, 0)
        counter = self._arrivals
        # The same attempt id again, as in a second run against this process, still means another visitor.
        while visitor_id(draws.vid_bits) in account.visitors:
            draws = draw(self._seed, entity, counter)
            counter += 1
        return draws

    def _issue_visitor(self, account: Account, vid: str | None, draws: Draws, at_ns: int) -> Visitor:
        """A new visitor: under the vid that it brought along, or under one of ours."""
        if vid is None:
            self.truth.visitors_issued += 1
        return account.add_visitor(vid or visitor_id(draws.vid_bits), at_ns)

    def _issue_session(
        self, account: Account, visitor: Visitor, spent: Session | None, draws: Draws, at_ns: int
    ) -> Session:
        """A new session; in place of a spent one it goes on with the same visit."""
        self.truth.sessions_issued += 1
        first = self.scenario.availability.not_available_first
        least, most = first if isinstance(first, tuple) else (first, first)
        patience = spent.patience if spent else least + draws.visit_bits % (most - least + 1)
        session = account.add_session(visitor, session_id(draws.sid_high_bits, draws.sid_low_bits), patience, at_ns)
        if spent is not None:
            session.asked = spent.asked
            account.end_session(spent)
        return session

    def _fault(self, at_ns: int, u: float) -> FaultKind | None:
        for fault in self.scenario.faults:
            if fault.at_ns <= at_ns and (fault.lasts_ns is None or at_ns < fault.at_ns + fault.lasts_ns):
                if u < fault.ratio:
                    return fault.kind
                u -= fault.ratio
        return None

    def _cold(self, account: Account, at_ns: int) -> bool:
        cold = self.scenario.cold
        return at_ns < account.first_ns + cold.lasts_ns or account.cold_calls < cold.calls

    def _availability(self, at_ns: int) -> float:
        """The probability that an engagement is available at this moment."""
        availability = self.scenario.availability
        passed = bisect_right(self._levels_ns, at_ns)
        ratio = availability.levels[passed - 1].ratio if passed else availability.ratio
        wave = availability.wave
        return ratio if wave is None else ratio + wave.amplitude * sin(2.0 * pi * at_ns / wave.period_ns)

    def _context(self, session: Session, at_ns: int) -> int:
        """The ordinal of the engagement on offer in this session; a new one once the last has lost its validity."""
        valid_ns = self.scenario.engagement.valid_for_s * NS_PER_S
        if session.offer == 0 or at_ns >= session.offered_ns + valid_ns:
            session.offer += 1
            session.offered_ns = at_ns
        return session.offer

    def _offer(self, account: str) -> Offer:
        offer = self._offers.get(account)
        if offer is None:
            offer = self._offers[account] = Offer(self.scenario.engagement, self._seed, account)
        return offer


def _reports(event: dict[str, Any], session: Session, offer: Offer) -> bool:
    """Whether an impression event speaks of an engagement that this session was offered (contract 3.7, 3.8)."""
    if session.offer == 0:
        return False
    expected = {"campaign": offer.campaign_id, "engId": offer.engagement_id, "revision": offer.revision}
    if any(str(event[key]) != value for key, value in expected.items() if key in event):
        return False
    contexts = {str(context) for context in range(1, session.offer + 1)}
    return all(str(context["id"]) in contexts for context in event.get("eContext", ()))
