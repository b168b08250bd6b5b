"""From single calls to visits: who made which call, what was a retry, whose ids a step carried.

Three ties, in this order. **Ids**: a call that carries ids belongs to the visit whose reply gave them. **Line**: a
call without known ids continues the visit that was on its line (connection) before, if that visit is idle; should a
visit's older ids come back while newer ones are in use, several visitors share the line, so the visit is taken apart
and the line ties nothing more. **Body**: a call without ids on another line, with the same body as an unanswered or
refused first call of the same client, is its retry. What stays untied is a new visitor.

Calls are fed in the order in which they began, with their replies. A visit ends after a pause above `gap_ns`; a later
call with its ids begins another visit of the same visitor, which returns. Memory: open visits, and a small entry for
each visitor. Nothing here knows a clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise

import msgspec

from harness.trace.intake.assemble import Draft
from harness.trace.intake.exchange import Exchange
from harness.trace.intake.recorded import recorded_request
from harness.trace.intake.retries import Retries
from harness.trace.intake.unfinished import CallOfVisit, Chain, OpenVisit
from harness.trace.model import Identity, Step
from harness.units import NS_PER_S

GAP_NS = 30 * 60 * NS_PER_S
# A same call within these pauses is taken for a retry: after an error (the longest documented pause is 15 s), and
# after a reply that said "not available" (clients that go on asking do so every few seconds).
RETRY_NS = 20 * NS_PER_S
ASK_AGAIN_NS = 6_500_000_000
# A monitor session lives no longer (contract section 3).
LONGEST_NS = 6 * 3600 * NS_PER_S

_ERRORS = frozenset(
    {"loading", "throttled", "rejected", "client_error", "server_error", "redirect", "bad_reply", "timeout",
     "connect_error", "reset"}
)  # fmt: skip
_BROKEN = frozenset({"timeout", "connect_error", "reset"})


class Tying:
    """The visits of a recording; iterate once, then read the counts.

    Drafts come in the order in which visits end. `calls` is the number of exchanges, `left_out` those that are in no
    visit, by reason; `notes` counts what was guessed or could not be kept; `retries` is the evidence about the
    client's retries.
    """

    def __init__(self, exchanges: Iterable[Exchange], *, gap_ns: int = GAP_NS, retry_ns: int = RETRY_NS) -> None:
        self._exchanges = exchanges
        self._gap_ns = gap_ns
        self._retry_ns = retry_ns
        self._open: OrderedDict[int, OpenVisit] = OrderedDict()
        self._by_sid: dict[str, Chain] = {}
        self._by_vid: dict[str, Chain] = {}
        self._by_line: dict[str, OpenVisit] = {}
        self._shared: set[str] = set()
        # Clients that were seen to use a connection again.
        self._reusing: set[str] = set()
        # First calls without ids that may be tried again on another line.
        self._waiting: dict[tuple[str, str, bytes], list[CallOfVisit]] = {}
        self._visitors: dict[str, int] = {}
        self._serial = self._visitor = 0
        self.accounts: set[str] = set()
        self.calls = 0
        self.left_out: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.retries = Retries()

    def __iter__(self) -> Iterator[Draft]:
        for exchange in self._exchanges:
            self.calls += 1
            while self._open:
                serial, visit = next(iter(self._open.items()))
                if exchange.began_ns - visit.ended_ns <= self._gap_ns:
                    break
                del self._open[serial]
                yield from self._finish(visit)
            self._take(exchange)
        while self._open:
            yield from self._finish(self._open.popitem(last=False)[1])

    # One call

    def _take(self, exchange: Exchange) -> None:
        digest = blake2b(exchange.body, digest_size=16).digest()
        chain, identity, doubtful = self._tie(exchange, digest)
        visit = chain.visit
        if chain is not visit.chain:
            self._take_apart(visit)
            visit = chain.visit
        call = visit.calls[-1] if visit.calls else None
        if call is not None and call.chain is chain and self._is_retry(call, exchange, digest):
            call.retries += 1
            self.retries.retried(call.retries, call.result, exchange.began_ns - call.ended_ns)
            self.retries.ids(exchange, chain.hint, chain.vid if chain.given else "")
        else:
            think_ns = max(0, exchange.began_ns - visit.ended_ns) if call is not None else 0
            if call is not None:
                self._settle(call)
                self.notes["calls that overlap in their visit"] += exchange.began_ns < visit.ended_ns
            call = CallOfVisit(chain, exchange, identity, digest, think_ns)
            call.doubtful = doubtful
            call.request, taken = recorded_request(exchange.op, exchange.body, chain.offer, exchange.issued)
            if taken:
                self.notes["ids of the service that were taken out of requests"] += taken
            visit.calls.append(call)
        self._answered(call, exchange)
        self._keep(visit, exchange)

    def _tie(self, exchange: Exchange, digest: bytes) -> tuple[Chain, Identity, bool]:
        """The chain that the call continues or begins, its rule for ids, and whether that is still in doubt."""
        vid, sid = exchange.vid, exchange.sid
        chain = self._by_sid.get(sid) if sid else None
        if chain is not None:
            return chain, "chain", False
        if vid:
            chain = self._by_vid.get(vid)
            if chain is not None and (sid or not chain.sid):
                return chain, "chain", False
            visitor = chain.visit.visitor if chain is not None else self._visitors.get(vid)
            if visitor is not None:
                if sid:
                    self.notes["visits that went on after the gap"] += 1
                return self._begin(exchange, visitor).chain, "return", False
        if not vid and not sid:
            retried = self._unanswered(exchange, digest)
            if retried is not None:
                return retried.chain, retried.identity, False
        return self._tie_by_line(exchange)

    def _tie_by_line(self, exchange: Exchange) -> tuple[Chain, Identity, bool]:
        """Without known ids: the next call of the visit that was on the line, or the first of a new visitor."""
        anonymous = not exchange.vid and not exchange.sid
        visit = self._on_line(exchange)
        if visit is None:
            visit = self._begin(exchange, self._new_visitor())
            return visit.chain, "fresh" if anonymous else "stale", not anonymous
        chain = visit.chain
        if anonymous and (chain.rejected or not chain.vid):
            # Without ids to carry, or with refused ones, a chain goes out fresh.
            chain.rejected = False
            return chain, "chain", False
        if not anonymous and not chain.vid and visit.calls[-1].result == "":
            # The reply that gave these ids was not recorded.
            return chain, "chain", False
        chain = visit.chain = Chain(visit)
        return chain, "fresh" if anonymous else "stale", not anonymous

    def _on_line(self, exchange: Exchange) -> OpenVisit | None:
        """The idle visit that was on this line before, if only one visitor uses the line."""
        line = exchange.line
        visit = self._by_line.get(line) if line and line not in self._shared else None
        if visit is None or visit.serial not in self._open or visit.account != exchange.account:
            return None
        return visit if visit.ended_ns <= exchange.began_ns else None

    def _unanswered(self, exchange: Exchange, digest: bytes) -> CallOfVisit | None:
        """The first call that this one without ids tries again: on its own line, or of its client with its body."""
        visit = self._by_line.get(exchange.line) if exchange.line else None
        if visit is not None and visit.serial in self._open:
            call = visit.calls[-1]
            if (not call.chain.vid or call.result in _ERRORS) and self._is_retry(call, exchange, digest):
                return call
        if not exchange.client:
            return None
        waiting = self._waiting.get((exchange.client, exchange.account, digest))
        if not waiting:
            return None
        for call in waiting[:]:
            if call.chain.vid or exchange.began_ns - call.ended_ns > self._pause_ns(call.result):
                self._stop_waiting(call)
        if exchange.line and exchange.line in self._by_line:
            return None
        found = [call for call in waiting if self._is_retry(call, exchange, digest)]
        if exchange.client in self._reusing:
            # Where connections are used again, a call on a new one tries nothing again that was answered on another.
            found = [call for call in found if call.result in _BROKEN]
        if not found:
            return None
        best = next((call for call in found if call.result in _BROKEN), found[0])
        self.notes["retries that might be another visitor's"] += len(found) > 1
        return best

    def _is_retry(self, call: CallOfVisit, exchange: Exchange, digest: bytes) -> bool:
        return (
            call.digest == digest
            and call.op == exchange.op
            # Refused ids are tried again or left behind, and then it is another step's turn.
            and (call.result != "rejected" or bool(exchange.vid or exchange.sid))
            and 0 <= exchange.began_ns - call.ended_ns <= self._pause_ns(call.result)
        )

    def _pause_ns(self, result: str) -> int:
        if result in _ERRORS:
            return self._retry_ns
        # Without a reply on record the same call again soon is rather another attempt than another page.
        return ASK_AGAIN_NS if result in ("not_available", "") else -1

    # What its reply says

    def _answered(self, call: CallOfVisit, exchange: Exchange) -> None:
        chain, visit = call.chain, call.chain.visit
        call.result = exchange.result
        call.last_ns = exchange.began_ns
        call.ended_ns = max(call.ended_ns, exchange.done_ns)
        visit.ended_ns = max(visit.ended_ns, exchange.done_ns)
        if call.doubtful:
            self._judge(call, exchange)
        chain.rejected = exchange.result == "rejected"
        vid, sid = exchange.reply_vid, exchange.reply_sid
        if vid or sid:
            chain.vid, chain.sid = vid or exchange.vid, sid or exchange.sid
            chain.given = True
        elif not chain.given and exchange.vid:
            chain.vid, chain.sid = exchange.vid, exchange.sid
        if exchange.hint:
            chain.hint = exchange.hint
        if exchange.offer:
            chain.offer = exchange.offer
        for name in (chain.vid, exchange.vid, exchange.hint):
            if name:
                self._by_vid[name] = chain
                chain.vids.add(name)
        for name in (chain.sid, exchange.sid):
            if name:
                self._by_sid[name] = chain
                chain.sids.add(name)
        if not chain.vid and not call.waits and exchange.client and self._pause_ns(exchange.result) > 0:
            call.waits = (exchange.client, exchange.account, call.digest)
            self._waiting.setdefault(call.waits, []).append(call)

    def _judge(self, call: CallOfVisit, exchange: Exchange) -> None:
        """Whether ids of unknown origin were good at the service: then they are older than the recording."""
        if exchange.result in _ERRORS and exchange.result != "rejected":
            return
        call.doubtful = False
        kept = not exchange.sid or exchange.reply_sid == exchange.sid or exchange.result in ("accepted", "")
        if kept and exchange.result != "rejected":
            call.identity = "fresh"
            self.notes["visits that began before the recording"] += 1

    def _keep(self, visit: OpenVisit, exchange: Exchange) -> None:
        if exchange.line and exchange.line not in self._shared:
            before = self._by_line.get(exchange.line)
            if before is not None:
                self._reusing.add(exchange.client)
            if before is not None and before.visitor != visit.visitor:
                self._shared.add(exchange.line)
                self.notes["connections that several visitors share"] += 1
            self._by_line[exchange.line] = visit
            visit.lines.add(exchange.line)
        if visit.cohort == "all":
            visit.cohort = exchange.cohort
        self._open.move_to_end(visit.serial)

    # Visits

    def _begin(self, exchange: Exchange, visitor: int) -> OpenVisit:
        self._serial += 1
        visit = self._open[self._serial] = OpenVisit(self._serial, visitor, exchange.account, exchange.cohort)
        self.accounts.add(exchange.account)
        return visit

    def _new_visitor(self) -> int:
        self._visitor += 1
        return self._visitor

    def _take_apart(self, visit: OpenVisit) -> None:
        """Several visitors were on the lines of this visit: each chain of ids becomes a visit of its own."""
        self.notes["connections that several visitors share"] += len(visit.lines - self._shared)
        self._shared |= visit.lines
        for line in visit.lines:
            self._by_line.pop(line, None)
        del self._open[visit.serial]
        for number, chain in enumerate(dict.fromkeys(call.chain for call in visit.calls)):
            self._serial += 1
            visitor = self._new_visitor() if number else visit.visitor
            part = chain.visit = self._open[self._serial] = OpenVisit(
                self._serial, visitor, visit.account, visit.cohort
            )
            part.chain = chain
            part.calls = [call for call in visit.calls if call.chain is chain]
            part.ended_ns = max(call.ended_ns for call in part.calls)
            if part.calls[0].identity == "chain":
                part.calls[0].identity = "fresh"
            for before, call in pairwise(part.calls):
                call.think_ns = max(0, call.began_ns - before.ended_ns)

    def _settle(self, call: CallOfVisit) -> None:
        """No other attempt of this step will come."""
        if call.over:
            return
        call.over = True
        self._stop_waiting(call)
        self.retries.settled(call.result, call.retries, call.last_ns - call.began_ns)

    def _stop_waiting(self, call: CallOfVisit) -> None:
        if call.waits is not None:
            waiting = self._waiting[call.waits]
            waiting.remove(call)
            if not waiting:
                del self._waiting[call.waits]
            call.waits = None

    def _finish(self, visit: OpenVisit) -> Iterator[Draft]:
        """The visit is over: its draft, if a step of it can be replayed. Only its vid is remembered."""
        self._settle(visit.calls[-1])
        for line in visit.lines:
            if self._by_line.get(line) is visit:
                del self._by_line[line]
        for chain in dict.fromkeys(call.chain for call in visit.calls):
            self._forget(chain)
        steps: list[Step] = []
        think_ns = 0
        for call in visit.calls:
            think_ns += call.think_ns
            if call.request is None:
                self.left_out["body that is no JSON object"] += 1 + call.retries
                continue
            think = think_ns / NS_PER_S if steps else 0.0
            steps.append(Step(op=call.op, think=think, identity=call.identity, request=msgspec.Raw(call.request)))
            think_ns = 0
        if steps:
            usable = next(call for call in visit.calls if call.request is not None)
            yield Draft(
                start_ns=usable.began_ns,
                visitor=f"p-{visit.visitor:06d}",
                cohort=visit.cohort,
                account=visit.account,
                steps=steps,
            )

    def _forget(self, chain: Chain) -> None:
        for vid in chain.vids:
            if self._by_vid.get(vid) is chain:
                del self._by_vid[vid]
                self._visitors[vid] = chain.visit.visitor
        for sid in chain.sids:
            if self._by_sid.get(sid) is chain:
                del self._by_sid[sid]
