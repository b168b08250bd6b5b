"""The conductor and the worker's life, together on a scripted clock and network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from socket import gethostname

import pytest

from harness.config.model import Limits
from harness.engine.ceilings import Share
from harness.errors import ExitCode, GuardError, TraceError
from harness.fleet.dealer import HORIZON_NS
from harness.fleet.messages import (
    Beat,
    Drain,
    FromMaster,
    FromWorker,
    Go,
    Hello,
    Lease,
    LeaseAck,
    Leave,
    Pulse,
    SliceAck,
    SliceReport,
    Start,
    Trouble,
)
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S
from tests.unit.fleet.scripted_fleet import Fate, ScriptedFleet, evenly, visit

KINDS = (Hello, Pulse, LeaseAck, SliceReport, Beat, Start, Go, Lease, SliceAck, Drain)


def test_a_run_on_a_good_network_settles_every_visit() -> None:
    """Three workers play 200 visits: all completed, no second missing, nobody lost, every state in order."""
    fleet = ScriptedFleet(evenly(200, 20), workers=3, offsets_s=(0.0, 5.5, -700.0))
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits() == {
        "planned": 200, "completed": 200, "censored": 0, "dropped": 0, "lost": 0, "undealt": 0,
    }  # fmt: skip
    assert set(Counter(fleet.diary.begun_by.values())) == {"w1", "w2", "w3"}
    assert (fleet.conductor.workers_lost, fleet.conductor.error, fleet.conductor.interrupted) == (0, None, None)
    assert [member.missing_slices for member in fleet.conductor.everyone()] == [0, 0, 0]
    assert len(fleet.notes.seconds) >= 10


def test_all_workers_start_at_one_moment_of_the_masters_clock() -> None:
    """The run gathers all expected workers, and each gets the same t0 on its own clock."""
    fleet = ScriptedFleet(evenly(10, 10), workers=1, expect_workers=3, offsets_s=(0.0, 40.0, -40.0))
    fleet.turns(5)
    assert fleet.conductor.phase == "gathering"
    fleet.add_worker()
    fleet.add_worker()
    fleet.turns(1.5)
    assert fleet.notes.starts == [(fleet.conductor.t0_ns, 3)]
    clocks = {process.engine.t0_ns - process.offset_ns for process in fleet.processes.values() if process.engine}
    assert len(clocks) == 1
    assert abs(clocks.pop() - fleet.conductor.t0_ns) <= 50_000_000


def test_nothing_is_read_before_its_time() -> None:
    """The plan is read no further ahead than the horizon, so memory does not grow with the trace."""
    read = 0

    def plan() -> Iterator[PlannedVisit]:
        nonlocal read
        for number in range(10_000):
            read += 1
            yield visit(number, number / 10)

    fleet = ScriptedFleet(plan())
    fleet.turns(10)
    ahead_s = (read - 1) / 10 - (fleet.now_ns - fleet.conductor.t0_ns) / NS_PER_S
    assert 0 < ahead_s <= HORIZON_NS / NS_PER_S + 0.2


def test_a_late_worker_takes_its_share_and_moves_no_visit() -> None:
    """A worker that joins a running run is dealt visits from then on; nothing dealt before moves to it."""
    fleet = ScriptedFleet(evenly(300, 10))
    fleet.turns(12)
    dealt_before = fleet.conductor.ledger.workers()["worker-1"]["dealt"]
    fleet.add_worker()
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 300
    rows = fleet.conductor.ledger.workers()
    assert rows["worker-1"]["revoked"] == rows["worker-2"]["revoked"] == 0
    assert rows["worker-1"]["completed"] >= dealt_before
    assert rows["worker-2"]["completed"] > 50


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_message_may_be_lost_twice(kind: type) -> None:
    """Whatever message is lost, twice of each kind for each receiver, the run ends as if it had arrived."""
    lost: Counter[str] = Counter()

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        if isinstance(message, kind) and lost[message.incarnation] < 2:
            lost[message.incarnation] += 1
            return ()
        return (0.0,)

    fleet = ScriptedFleet(evenly(100, 10), workers=2, fate=fate)
    fleet.until_finished()
    fleet.check_books()
    assert sum(lost.values()) >= 4
    assert fleet.visits()["completed"] == 100, fleet.visits()
    assert fleet.conductor.workers_lost == 0
    assert [member.missing_slices for member in fleet.conductor.everyone()] == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_message_may_come_twice_and_late(kind: type) -> None:
    """Doubled messages, the copy a second and a half late, change nothing."""

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        return (0.0, 1.5) if isinstance(message, kind) else (0.0,)

    fleet = ScriptedFleet(evenly(100, 10), workers=2, fate=fate)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 100


def test_slices_that_overtake_each_other_are_all_counted_in_their_seconds() -> None:
    """A slice that arrives after its successors still counts for its own second, and is not called missing."""

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        return (2.6,) if isinstance(message, SliceReport) and message.number % 3 == 0 else (0.0,)

    fleet = ScriptedFleet(evenly(100, 10), fate=fate)
    fleet.until_finished()
    fleet.check_books()
    ended = {second: snapshot.total("visits") for second, snapshot in fleet.notes.seconds}
    # 10 visits a second, each ends 0.3 s after it began: 7 in the first second, then 10.
    assert [ended[second] for second in range(1, 9)] == [10] * 8
    assert [member.missing_slices for member in fleet.conductor.everyone()] == [0]


def test_the_final_slice_does_not_end_the_run_before_the_slices_ahead_of_it() -> None:
    """When the last slice overtakes another, the master waits for both."""
    held: list[int] = []

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        if isinstance(message, SliceReport) and message.second == 4 and not held:
            held.append(message.number)
            return (4.0,)
        return (0.0,)

    fleet = ScriptedFleet(evenly(50, 10), fate=fate)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 50
    assert [member.missing_slices for member in fleet.conductor.everyone()] == [0]


def test_a_killed_worker_is_lost_by_name_and_the_rest_goes_on() -> None:
    """What a killed worker may have begun is lost by name, what it cannot have begun is dealt to the others."""
    fleet = ScriptedFleet(evenly(200, 10), workers=2, stay_s=2.0)
    fleet.turns(8)
    fleet.processes["w2"].alive = False
    fleet.until_finished()
    fleet.check_books()
    (lost,) = [entry for entry in fleet.notes.entries if entry["event"] == "lost"]
    assert lost["worker"] == "worker-2"
    assert lost["reason"] == "silent for 4 s"
    totals = fleet.visits()
    assert totals["lost"] == len(lost["visits"]) > 0
    assert (totals["completed"], totals["undealt"]) == (200 - totals["lost"], 0)
    assert fleet.conductor.workers_lost == 1
    # At most what was open, and 4 s of silence and 5 s of fence of half the arrivals.
    assert totals["lost"] <= 10 * (2 + 4 + 5)


def test_a_worker_lost_near_the_plans_end_leaves_nothing_undealt_that_others_can_play() -> None:
    """While visits are still to come the master keeps dealing, so a late loss is dealt again too."""
    fleet = ScriptedFleet(evenly(120, 10), workers=2)
    fleet.turns(7)
    fleet.processes["w1"].alive = False
    fleet.until_finished()
    fleet.check_books()
    totals = fleet.visits()
    assert totals["undealt"] == 0
    assert totals["completed"] + totals["lost"] == 120


def test_the_loss_of_the_only_worker_ends_the_run() -> None:
    """Without any worker the run is over at once, INVALID, with a line that names the worker."""
    fleet = ScriptedFleet(evenly(600, 10))
    fleet.turns(5)
    fleet.processes["w1"].alive = False
    fleet.until_finished(limit_s=11)
    fleet.check_books()
    message = "no worker is left: worker-1 is lost (silent for 4 s); see its log in the run folder"
    assert fleet.conductor.error == (message, ExitCode.INVALID)
    assert (fleet.conductor.cut_short, fleet.conductor.cut_ns is None) == (message, False)
    assert fleet.visits()["planned"] == 600


def test_a_stopped_worker_comes_back_within_its_fence() -> None:
    """Two seconds of standstill lose no worker: what became too late is dropped, the rest is played."""
    fleet = ScriptedFleet(evenly(150, 10), workers=2)
    fleet.turns(6)
    fleet.processes["w1"].stopped = True
    fleet.turns(2)
    fleet.processes["w1"].stopped = False
    fleet.until_finished()
    fleet.check_books()
    totals = fleet.visits()
    assert fleet.conductor.workers_lost == 0
    assert totals["dropped"] > 0
    assert totals["completed"] == 150 - totals["dropped"]


def test_a_fenced_worker_starts_nothing_and_comes_back_as_another() -> None:
    """A worker that stood still too long plays nothing of its old leases and joins again under a new name."""
    fleet = ScriptedFleet(evenly(300, 10), workers=2)
    fleet.turns(6)
    fleet.processes["w1"].stopped = True
    fleet.turns(6)
    begun = Counter(fleet.diary.begun_by.values())["w1"]
    fleet.processes["w1"].stopped = False
    fleet.turns(0.5)
    assert Counter(fleet.diary.begun_by.values())["w1"] == begun
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.workers_lost == 1
    assert sorted(fleet.conductor.ledger.workers()) == ["worker-1", "worker-2", "worker-3"]
    assert fleet.conductor.ledger.workers()["worker-3"]["completed"] > 50


@pytest.mark.parametrize("returning", [0, 40])
def test_the_only_worker_may_be_fenced_and_come_back(returning: int) -> None:
    """The master stands still for 3.5 s: the worker fences itself, joins anew and the run goes on."""
    fleet = ScriptedFleet(evenly(300, 10, returning=returning))
    fleet.turns(6)
    fleet.master_stopped = True
    fleet.turns(3.5)
    fleet.master_stopped = False
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.error is None
    assert fleet.conductor.workers_lost == 1
    assert fleet.conductor.ledger.workers()["worker-2"]["completed"] > 50


def test_a_restarted_worker_is_someone_new_though_host_and_pid_are_the_same() -> None:
    """A container starts again in mid-run: the process before is lost by its silence, the new one plays beside it."""
    fleet = ScriptedFleet(evenly(300, 10), workers=2, stay_s=1.0)
    fleet.turns(8)
    fleet.processes["w1"].restart()
    fleet.turns(2)
    assert [entry["event"] for entry in fleet.notes.entries].count("lost") == 0, "nobody has been silent for long"
    fleet.until_finished()
    fleet.check_books()
    (lost,) = [entry for entry in fleet.notes.entries if entry["event"] == "lost"]
    assert (lost["worker"], lost["reason"]) == ("worker-1", "silent for 4 s")
    assert 0 < fleet.visits()["lost"] == len(lost["visits"]) <= 5 * (1 + 4 + 5)
    assert fleet.visits()["completed"] == 300 - fleet.visits()["lost"]
    assert fleet.conductor.ledger.workers()["worker-3"]["completed"] > 50


def test_a_worker_that_was_refused_may_come_back_mended() -> None:
    """Refused for its target, then started again with the same host and pid: it takes part like any other."""
    fleet = ScriptedFleet(evenly(300, 10))
    fleet.turns(5)
    fleet.refusals["w2"] = GuardError("the address 10.1.2.3 is not allowed")
    fleet.add_worker()
    fleet.turns(3)
    fleet.refusals.clear()
    fleet.turns(3)
    assert fleet.conductor.members.keys() == {"w1-1-1"}, "the same process is not asked again"
    fleet.processes["w2"].restart()
    fleet.until_finished()
    fleet.check_books()
    assert Counter(fleet.diary.begun_by.values())["w2"] > 50


def _cut_all_off(fleet: ScriptedFleet, seconds: float) -> None:
    """Nothing reaches any worker and nothing leaves it for so long."""
    for process in fleet.processes.values():
        process.cut_off = True
    fleet.turns(seconds)
    for process in fleet.processes.values():
        process.cut_off = False


@pytest.mark.parametrize("returning", [0, 40])
def test_a_short_partition_of_all_workers_costs_what_was_under_way_and_no_more(returning: int) -> None:
    """All are cut off for longer than a fence: they stop by themselves, come back as others, and the run goes on."""
    fleet = ScriptedFleet(evenly(400, 10, returning=returning), workers=3, stay_s=1.0)
    fleet.turns(8)
    cut_ns = fleet.now_ns
    _cut_all_off(fleet, 3.2)
    assert cut_ns + 2 * NS_PER_S < max(fleet.diary.begun_ns.values()) <= cut_ns + 3 * NS_PER_S
    assert fleet.open_visits == 0, "a fenced worker has let go of everything"
    fleet.until_finished()
    fleet.check_books()
    totals = fleet.visits()
    assert (fleet.conductor.error, fleet.conductor.workers_lost) == (None, 3)
    # What was open, what came due while the master went on speaking, and what its last word may have allowed.
    assert 0 < totals["lost"] <= 10 * (1 + 4 + 5)
    assert totals["completed"] == 400 - totals["lost"] - totals["dropped"]
    assert {row for row, count in fleet.conductor.ledger.workers().items() if count["completed"]} == {
        f"worker-{number}" for number in range(1, 7)
    }


def test_a_long_partition_of_all_workers_ends_the_run_with_balanced_books() -> None:
    """When the last of them is given up the run is over, and those who come back begin nothing of it any more."""
    fleet = ScriptedFleet(evenly(400, 10), workers=2, stay_s=1.0)
    fleet.turns(8)
    cut_ns = fleet.now_ns
    _cut_all_off(fleet, 8)
    assert fleet.finished
    # The workers' last words came together; which of them is looked at last does not matter.
    assert fleet.conductor.error is not None
    message, code = fleet.conductor.error
    assert message.startswith("no worker is left: worker-") and "is lost (silent for 4 s)" in message
    assert code is ExitCode.INVALID
    fleet.turns(5)
    fleet.check_books()
    assert max(fleet.diary.begun_ns.values()) <= cut_ns + 3 * NS_PER_S
    assert fleet.conductor.workers_lost == 2
    assert (fleet.visits()["planned"], fleet.open_visits) == (400, 0)


def test_a_worker_that_dies_before_the_start_is_replaced() -> None:
    """A worker gone during gathering is forgotten: the run starts with the next one, all slots shared."""
    fleet = ScriptedFleet([visit(n, -1) for n in range(60)], arrivals="closed:4", expect_workers=2)
    fleet.turns(1)
    fleet.processes["w1"].alive = False
    fleet.add_worker()
    fleet.turns(6)
    assert fleet.notes.starts == []
    fleet.add_worker()
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 60
    assert [member.share and member.share.slots for member in fleet.conductor.everyone()] == [2, 2]
    assert fleet.conductor.workers_lost == 0


def test_workers_that_never_become_ready_end_the_run_with_one_line() -> None:
    """A run that cannot gather its workers does not wait for ever."""
    fleet = ScriptedFleet(evenly(10, 10), workers=1, expect_workers=2)
    fleet.until_finished(limit_s=70)
    assert fleet.conductor.error == (
        "0 of 2 workers were ready within 60 s: see the workers' logs", ExitCode.INVALID,
    )  # fmt: skip
    assert fleet.now_s >= 60


def test_an_interrupt_while_gathering_ends_the_run_and_frees_the_workers() -> None:
    """Nothing has begun, so nothing is drained; a worker that was ready already is free for the next run soon."""
    fleet = ScriptedFleet(evenly(10, 10), workers=1, expect_workers=2)
    fleet.turns(3)
    fleet.conductor.interrupt("enough", fleet.now_ns)
    assert fleet.finished
    assert fleet.conductor.t0_ns == 0
    fleet.turns(5)
    assert not fleet.processes["w1"].life.busy


def test_an_interrupt_gives_back_what_has_not_begun_and_cuts_off_what_is_open() -> None:
    """After an interrupt every visit is completed, censored or undealt, the whole plan counted."""
    fleet = ScriptedFleet(evenly(400, 10), workers=2, stay_s=3.0)
    fleet.turns(10)
    fleet.conductor.interrupt("enough", fleet.now_ns)
    before_s = fleet.now_s
    fleet.until_finished()
    fleet.check_books()
    totals = fleet.visits()
    assert totals["planned"] == 400
    assert (totals["lost"], totals["dropped"]) == (0, 0)
    assert totals["censored"] == 30
    assert totals["undealt"] == 400 - len(fleet.diary.begun)
    assert fleet.now_s - before_s <= 2.0


def test_a_plan_that_ends_early_is_played_as_far_as_it_was_read() -> None:
    """The run ends as if its plan were no longer: what was dealt is completed, the rest was never planned."""
    fleet = ScriptedFleet(evenly(400, 10), workers=2, stay_s=3.0)
    fleet.turns(10)
    dealt = fleet.visits()["planned"]
    fleet.conductor.end_plan("enough")
    fleet.conductor.end_plan("more than enough")
    fleet.until_finished()
    fleet.check_books()
    assert 100 < dealt < 200
    assert fleet.visits() == {
        "planned": fleet.visits()["completed"], "completed": len(fleet.diary.begun), "censored": 0, "dropped": 0,
        "lost": 0, "undealt": 0,
    }  # fmt: skip
    assert dealt <= fleet.visits()["planned"] <= dealt + 1
    assert (fleet.conductor.plan_ended, fleet.conductor.interrupted, fleet.conductor.error) == ("enough", None, None)


def test_a_plan_ends_early_only_while_it_is_played() -> None:
    """Before the start and in a closed loop nothing comes of it."""
    for closed in (False, True):
        visits = [visit(number, -1) for number in range(50)] if closed else evenly(50, 10)
        fleet = ScriptedFleet(visits, workers=1, **({"arrivals": "closed:5"} if closed else {}))
        if closed:
            fleet.turns(3)
        fleet.conductor.end_plan("enough")
        fleet.until_finished()
        assert (fleet.visits()["completed"], fleet.conductor.plan_ended) == (50, None)


def test_an_interrupt_settles_leases_that_never_arrived() -> None:
    """A lease lost on its way when the run is interrupted is given back, not left open in the books."""
    fleet = ScriptedFleet(evenly(400, 10), fate=lambda message: () if _late_lease(message) else (0.0,))
    fleet.turns(8)
    fleet.conductor.interrupt("enough", fleet.now_ns)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["lost"] == 0


def _late_lease(message: FromMaster | FromWorker) -> bool:
    return isinstance(message, Lease) and message.number > 3


def test_a_second_interrupt_changes_nothing_and_one_during_the_drain_cuts_it_short() -> None:
    """Ctrl-C during the drain, of either loop, cuts off what is open; the first reason is kept."""
    for arrivals, due_s in (("recorded", 0.0), ("closed:5", -1)):
        fleet = ScriptedFleet(
            [visit(n, due_s) for n in range(5)], arrivals=arrivals, stay_s=50.0, drain_s=60.0, plan_end_s=1.0
        )
        fleet.turns(6)
        assert fleet.conductor.phase == "draining"
        fleet.conductor.interrupt("first", fleet.now_ns)
        fleet.conductor.interrupt("second", fleet.now_ns)
        fleet.until_finished(limit_s=10)
        fleet.check_books()
        assert fleet.conductor.interrupted == "first"
        assert fleet.visits()["censored"] == 5


def test_an_interrupt_before_t0_ends_a_run_of_no_length() -> None:
    """Between GO and t0 nothing has begun; the run's length is 0, not negative."""
    fleet = ScriptedFleet(evenly(100, 10))
    while not fleet.conductor.t0_ns:
        fleet.turns(0.05)
    fleet.conductor.interrupt("enough", fleet.now_ns)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.ended_ns - fleet.conductor.t0_ns <= 0.5 * NS_PER_S
    assert fleet.conductor.ended_ns >= fleet.conductor.t0_ns
    assert fleet.visits()["undealt"] == 100


def test_the_drain_ends_at_its_deadline() -> None:
    """Visits that do not end are cut off when the drain time after the last arrival has passed."""
    fleet = ScriptedFleet(evenly(20, 10), stay_s=100.0, drain_s=5.0)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["censored"] == 20
    length_s = (fleet.conductor.ended_ns - fleet.conductor.t0_ns) / NS_PER_S
    assert 1.9 + 5.0 <= length_s <= 1.9 + 5.0 + 1.0


def test_a_worker_that_sends_no_final_slice_is_given_up_after_the_grace() -> None:
    """A worker that answers beats but never finishes cannot hold the run's end for ever."""
    fleet = ScriptedFleet(
        evenly(20, 10), workers=2, drain_s=1.0,
        fate=lambda message: () if _is_final(message, "w2") else (0.0,),
    )  # fmt: skip
    fleet.until_finished()
    assert [entry["reason"] for entry in fleet.notes.entries if entry["event"] == "lost"] == ["no final slice came"]
    assert fleet.conductor.ledger.problems() == []
    assert fleet.conductor.workers_lost == 1


def _is_final(message: FromMaster | FromWorker, process: str) -> bool:
    return isinstance(message, SliceReport) and message.final and message.incarnation.startswith(process)


def test_trouble_before_the_start_ends_the_run_with_its_line_and_code() -> None:
    """A target that one worker may not load ends the run before it began, with that worker's words and place."""
    fleet = ScriptedFleet(evenly(20, 10), workers=2)
    fleet.refusals["w2"] = GuardError("the address 10.1.2.3 is not allowed")
    fleet.until_finished()
    line = f"worker-2 on {gethostname()}: the address 10.1.2.3 is not allowed"
    assert fleet.conductor.error == (line, ExitCode.GUARD)
    assert fleet.conductor.t0_ns == 0
    assert not fleet.diary.begun


def test_trouble_of_a_late_worker_leaves_the_run_alone() -> None:
    """A worker that joins late and cannot take part is refused once; the others play on."""
    fleet = ScriptedFleet(evenly(150, 10))
    fleet.turns(5)
    fleet.refusals["w2"] = GuardError("the address 10.1.2.3 is not allowed")
    fleet.add_worker()
    fleet.until_finished()
    fleet.check_books()
    assert (fleet.visits()["completed"], fleet.conductor.error, fleet.conductor.workers_lost) == (150, None, 0)
    assert len([entry for entry in fleet.notes.entries if entry["event"] == "joined"]) == 2


def test_a_crash_of_one_worker_ends_the_run_for_all() -> None:
    """Our own bug in one of two workers: the other is cut off and settled, the error and its details are kept."""
    fleet = ScriptedFleet(evenly(300, 10), workers=2, stay_s=1.0)
    fleet.turns(6)
    engine = fleet.processes["w2"].engine
    assert engine is not None
    engine.on_crash(RuntimeError("bad day"))
    fleet.until_finished(limit_s=9)
    fleet.check_books()
    line = f"worker-2 on {gethostname()}: internal error in a worker: RuntimeError('bad day')"
    assert fleet.conductor.error == (line, ExitCode.INTERNAL)
    (failed,) = [entry for entry in fleet.notes.entries if entry["event"] == "failed"]
    assert "RuntimeError: bad day" in failed["details"]
    assert fleet.conductor.ledger.workers()["worker-1"]["lost"] == 0


def test_a_crash_of_the_only_worker_ends_the_run() -> None:
    """With nobody left there is nothing to drain; the crash, not the loss, is the run's error."""
    fleet = ScriptedFleet(evenly(300, 10))
    fleet.turns(6)
    engine = fleet.processes["w1"].engine
    assert engine is not None
    engine.on_crash(RuntimeError("bad day"))
    fleet.until_finished(limit_s=8)
    fleet.check_books()
    assert fleet.conductor.error is not None
    assert fleet.conductor.error[1] is ExitCode.INTERNAL


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_user_must_mend_ends_the_run_in_good_order(workers: int) -> None:
    """A guard's refusal in the middle: told until it is heard, drained by all, nothing lost, its exit code."""
    refused = GuardError("target service.test (10.1.2.3) is not allowed")
    unheard = 3

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        nonlocal unheard
        if isinstance(message, Trouble) and unheard:
            unheard -= 1
            return ()
        return (0.0,)

    fleet = ScriptedFleet(evenly(300, 10), workers=workers, stay_s=1.0, fate=fate)
    fleet.turns(6)
    engine = fleet.processes["w1"].engine
    assert engine is not None
    engine.on_crash(refused)
    fleet.until_finished(limit_s=12)
    fleet.check_books()
    assert fleet.conductor.error == (str(refused), ExitCode.GUARD)
    assert fleet.conductor.workers_lost == fleet.visits()["lost"] == 0
    assert fleet.visits()["completed"] > 0
    assert fleet.visits()["undealt"] > 0
    assert [member.missing_slices for member in fleet.conductor.everyone()] == [0] * workers
    assert len([entry for entry in fleet.notes.entries if entry["event"] == "failed"]) == 1


def test_a_worker_of_another_version_is_refused_with_both_versions() -> None:
    """Messages of different versions do not fit: the run says so instead of hanging or misreading."""
    fleet = ScriptedFleet(evenly(10, 10))
    fleet.conductor.receive(Hello("other-1", "elsewhere", 7, "0.0.0"), fleet.now_ns)
    assert fleet.finished
    assert fleet.conductor.error is not None
    message, code = fleet.conductor.error
    assert code is ExitCode.USAGE
    assert "elsewhere (pid 7) runs harness 0.0.0" in message


def test_a_plan_that_breaks_off_can_be_failed_and_drained() -> None:
    """The trace raises in mid-run: `turn` raises that, and after `fail` the run drains with balanced books."""

    def plan() -> Iterator[PlannedVisit]:
        yield from islice(evenly(1000, 10), 100)
        raise TraceError("trace.jsonl: line 102: gone")

    fleet = ScriptedFleet(plan())
    with pytest.raises(TraceError) as caught:
        fleet.until_finished()
    fleet.conductor.fail(str(caught.value), caught.value.exit_code, fleet.now_ns)
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.error == ("trace.jsonl: line 102: gone", ExitCode.USAGE)


def test_a_closed_loop_keeps_all_slots_of_all_workers_full() -> None:
    """closed:6 on two workers, credit by credit: 6 visits open until the plan runs dry."""
    fleet = ScriptedFleet([visit(n, -1) for n in range(120)], workers=2, arrivals="closed:6", stay_s=1.0)
    fleet.turns(6)
    open_now = sum(process.engine.open_visits for process in fleet.processes.values() if process.engine)
    assert open_now == 6
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 120


def test_a_closed_loop_with_few_visits_shares_them_out() -> None:
    """As many visits as slots: every worker gets its share, so all run at the same time."""
    fleet = ScriptedFleet([visit(n, -1) for n in range(10)], workers=2, arrivals="closed:10", stay_s=1.0)
    fleet.until_finished()
    fleet.check_books()
    assert Counter(fleet.diary.begun_by.values()) == {"w1": 5, "w2": 5}


def test_a_closed_loop_ends_at_its_duration_and_gives_the_rest_back() -> None:
    """closed:4 for 5 s: what is open may end, what waits is given back, nothing is lost."""
    endless = (visit(n, -1) for n in range(10_000_000))
    fleet = ScriptedFleet(endless, workers=2, arrivals="closed:4", stay_s=0.5, plan_end_s=5.0)
    fleet.until_finished(limit_s=20)
    fleet.check_books()
    totals = fleet.visits()
    assert totals["censored"] == totals["lost"] == 0
    assert 30 <= totals["completed"] <= 4 * 11
    assert totals["planned"] < 200


def test_a_worker_that_joins_a_closed_loop_late_takes_over_slots() -> None:
    """The slots are shared out anew when a worker joins: never more of them in all, and both play."""
    fleet = ScriptedFleet([visit(n, -1) for n in range(100)], arrivals="closed:4", stay_s=0.5)
    fleet.turns(4)
    fleet.add_worker()
    fleet.turns(3)
    assert [share and share.slots for share in fleet.shares()] == [2, 2]
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 100
    begun = Counter(fleet.diary.begun_by.values())
    assert begun["w1"] > begun["w2"] > 20


def test_a_worker_that_is_asked_to_go_harms_no_visit() -> None:
    """Open visits are finished where they are, what is due later goes to others in time, nothing is lost or late."""
    fleet = ScriptedFleet(evenly(300, 10), workers=2, stay_s=1.5)
    fleet.turns(6)
    fleet.processes["w2"].leave()
    fleet.turns(8)
    assert not fleet.processes["w2"].alive, "it ends by itself when its visits are over"
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 300
    assert (fleet.conductor.workers_lost, fleet.conductor.error) == (0, None)
    row = fleet.conductor.ledger.workers()["worker-2"]
    assert row["revoked"] > 0
    assert row["dealt"] == row["completed"] + row["revoked"]
    events = [entry["event"] for entry in fleet.notes.entries if entry.get("worker") == "worker-2"]
    assert [event for event in events if event in ("joined", "leaving", "left", "lost")] == [
        "joined",
        "leaving",
        "left",
    ]


@pytest.mark.parametrize("kind", [Leave, SliceReport, SliceAck, Lease, LeaseAck])
def test_leaving_survives_lost_messages(kind: type) -> None:
    """Whatever is lost on the way out (the first three of a kind), every visit is played once, nobody is lost."""
    lost = Counter[str]()
    going = False

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        if going and isinstance(message, kind) and lost[message.incarnation] < 3:
            lost[message.incarnation] += 1
            return ()
        return (0.0,)

    fleet = ScriptedFleet(evenly(300, 10), workers=3, fate=fate)
    fleet.turns(6)
    going = True
    fleet.processes["w2"].leave()
    fleet.until_finished()
    fleet.check_books()
    totals = fleet.visits()
    assert sum(lost.values()) >= 3
    # A slice with what was given back that comes too late for others to be in time is counted, not hidden.
    assert totals["completed"] + totals["dropped"] == 300
    assert totals["dropped"] <= 20
    assert fleet.conductor.workers_lost == 0


def test_what_a_leaver_never_got_and_nobody_can_begin_in_time_is_told_by_name() -> None:
    """Leases to a worker are lost for long, then it leaves: what others would only drop is undealt, by name."""
    fleet = ScriptedFleet(evenly(300, 10), workers=2, fate=lambda m: () if deaf and _leased(m, "w2") else (0.0,))
    deaf = False
    fleet.turns(5)
    deaf = True
    fleet.turns(14)
    fleet.processes["w2"].leave()
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.workers_lost == fleet.visits()["lost"] == 0
    undealt = fleet.notes.names("undealt")
    assert len(undealt) == len(set(undealt)) == fleet.visits()["undealt"] > 0
    assert not set(undealt) & set(fleet.diary.begun)


def _leased(message: FromMaster | FromWorker, process: str) -> bool:
    return isinstance(message, Lease) and _of(message, process)


def test_the_last_worker_that_leaves_ends_the_run() -> None:
    """With nobody left the run is over, its books balance, and the line says who went."""
    fleet = ScriptedFleet(evenly(600, 10))
    fleet.turns(5)
    fleet.processes["w1"].leave()
    fleet.until_finished(limit_s=15)
    fleet.check_books()
    message = "no worker is left: worker-1 has left; see its log in the run folder"
    assert fleet.conductor.error == (message, ExitCode.INVALID)
    assert fleet.visits()["lost"] == 0
    assert fleet.visits()["planned"] == 600


def test_a_worker_that_leaves_before_the_start_is_waited_for_no_longer_than_another_takes() -> None:
    """Asked to go while the run gathers: it goes, and the run begins with who comes instead."""
    fleet = ScriptedFleet(evenly(50, 10), workers=2, expect_workers=3)
    fleet.turns(2)
    fleet.processes["w1"].leave()
    fleet.turns(1)
    assert not fleet.processes["w1"].alive
    fleet.add_worker()
    fleet.add_worker()
    fleet.until_finished()
    fleet.check_books()
    assert fleet.visits()["completed"] == 50
    assert "w1" not in fleet.diary.begun_by.values()


def test_shares_follow_capacity() -> None:
    """A worker of twice the capacity gets twice the visitors, and twice of what the guard-rails allow."""
    limits = Limits(max_visits_per_s=90, max_open_visits=30, max_new_sessions_per_min=1_200)
    fleet = ScriptedFleet(evenly(900, 30), workers=2, capacities=(2.0, 1.0), limits=limits)
    fleet.turns(5)
    assert fleet.shares() == [Share(None, 60.0, 20, 800.0), Share(None, 30.0, 10, 400.0)]
    fleet.until_finished()
    fleet.check_books()
    begun = Counter(fleet.diary.begun_by.values())
    # Binomial: 900 draws of 2/3, four standard deviations of 14.
    assert abs(begun["w1"] - 600) < 57


def test_a_ceiling_is_divided_anew_when_workers_come_and_go() -> None:
    """The parts add up to the ceiling at any time; before one grows, another has shrunk or is fenced."""
    fleet = ScriptedFleet(evenly(400, 10), workers=2, limits=Limits(max_open_visits=12, max_visits_per_s=24))
    fleet.turns(5)
    assert [share and share.open_visits for share in fleet.shares()] == [6, 6]
    fleet.add_worker()
    fleet.turns(3)
    assert [share and share.open_visits for share in fleet.shares()] == [4, 4, 4]
    fleet.processes["w1"].alive = False
    # The master goes on speaking to it until it gives it up, and its fence closes after that.
    fleet.turns(8)
    assert [share and share.open_visits for share in fleet.shares()][1:] == [4, 4]
    fleet.turns(3)
    assert [share and share.open_visits for share in fleet.shares()][1:] == [6, 6]
    assert [share and share.visits_per_s for share in fleet.shares()][1:] == [12, 12]


def _beats_late(process: str, delay_s: float) -> Fate:
    """What the master says to this worker twice a second takes so long."""

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        return (delay_s if isinstance(message, Beat) and message.incarnation.startswith(process) else 0.0,)

    return fate


@pytest.mark.parametrize("arrivals", ["recorded", "closed:12"])
def test_a_late_worker_gets_only_the_room_that_another_has_given_back(arrivals: str) -> None:
    """All of the room is in use, and who has it hears late that it shrank: never one visit above the whole is open."""
    closed = arrivals != "recorded"
    visits = [visit(n, -1) for n in range(200)] if closed else evenly(600, 20)
    limits = Limits() if closed else Limits(max_open_visits=12)
    fleet = ScriptedFleet(
        visits, arrivals=arrivals, limits=limits, stay_s=3.0, drain_s=30.0, fate=_beats_late("w1", 1.2)
    )
    fleet.turns(6)
    assert fleet.open_visits == 12
    fleet.add_worker()
    fleet.until_finished(limit_s=200)
    fleet.check_books()
    assert fleet.peak_open == 12
    begun = Counter(fleet.diary.begun_by.values())
    assert begun["w2"] > 20


@pytest.mark.parametrize("to_worker", [True, False])
def test_the_room_of_a_lost_worker_is_free_when_its_fence_has_closed(to_worker: bool) -> None:
    """Unheard, but still hearing and playing: what it may do goes to the others only when it certainly has stopped."""
    fleet = ScriptedFleet(
        [visit(n, -1) for n in range(300)], workers=2, arrivals="closed:12", stay_s=2.0, drain_s=30.0,
        fate=lambda message: () if gone and _of(message, "w2") and (to_worker or _said(message)) else (0.0,),
    )  # fmt: skip
    gone = False
    fleet.turns(5)
    gone = True
    fleet.turns(14)
    (lost,) = [entry for entry in fleet.notes.entries if entry["event"] == "lost"]
    assert lost["worker"] == "worker-2"
    assert fleet.shares()[0] == Share(slots=12)
    fleet.processes["w2"].alive = False
    fleet.until_finished(limit_s=200)
    fleet.check_books()
    assert fleet.peak_open == 12


def _of(message: FromMaster | FromWorker, process: str) -> bool:
    return message.incarnation.startswith(process)


def _said(message: FromMaster | FromWorker) -> bool:
    """Whether a worker says this."""
    return isinstance(message, Hello | Pulse | LeaseAck | SliceReport)


def test_no_more_workers_play_than_open_visits_are_allowed() -> None:
    """A worker without a right to a single open visit could only drop what it is dealt: it stays out."""
    fleet = ScriptedFleet(evenly(100, 5), workers=2, limits=Limits(max_open_visits=2))
    fleet.turns(4)
    fleet.add_worker()
    fleet.until_finished()
    fleet.check_books()
    assert "w3" not in fleet.diary.begun_by.values()


@pytest.mark.parametrize("arrivals", ["recorded", "closed:2"])
def test_who_has_no_room_at_the_start_stands_by_for_who_goes(arrivals: str) -> None:
    """Two open visits or slots, three workers: the third is dealt nothing it could only drop, and fills in later."""
    closed = arrivals != "recorded"
    fleet = ScriptedFleet(
        [visit(n, -1 if closed else n / 5) for n in range(150)],
        workers=3,
        arrivals=arrivals,
        limits=Limits() if closed else Limits(max_open_visits=2),
    )
    fleet.turns(5)
    first = set(fleet.diary.begun_by.values())
    assert (len(first), fleet.visits()["dropped"]) == (2, 0)
    for name in first:
        fleet.processes[name].alive = False
    fleet.until_finished()
    fleet.check_books()
    assert set(fleet.diary.begun_by.values()) == {"w1", "w2", "w3"}
    assert (fleet.conductor.error, fleet.conductor.workers_lost, fleet.peak_open) == (None, 2, 2)


def test_an_older_beat_does_not_bring_an_older_share_back() -> None:
    """Beats that come late change nothing about what the newest said."""

    def fate(message: FromMaster | FromWorker) -> Iterable[float]:
        return (0.0, 1.2) if isinstance(message, Beat) else (0.0,)

    fleet = ScriptedFleet(evenly(200, 10), limits=Limits(max_open_visits=12), fate=fate)
    fleet.turns(5)
    fleet.add_worker()
    fleet.turns(4)
    engine = fleet.processes["w1"].engine
    assert engine is not None
    parts = [share.open_visits for share in engine.shares]
    assert parts == sorted(parts, reverse=True)
    assert parts[-1] == 6


def test_the_offset_of_each_clock_is_known_with_its_error_and_its_drift() -> None:
    """Offsets are found to half a round trip; a clock that runs away is noticed, and its schedule is left alone."""
    fleet = ScriptedFleet(evenly(400, 10), workers=2, offsets_s=(3.0, -250.0))
    fleet.turns(10)
    # 5 ms in ten seconds.
    fleet.processes["w2"].offset_ns += 5_000_000
    fleet.turns(31)
    first, second = fleet.conductor.everyone()
    assert first.clock_error_ns is not None and second.clock_error_ns is not None
    assert abs(first.offset_ns - 3 * NS_PER_S) <= first.clock_error_ns
    assert abs(second.offset_ns + 250 * NS_PER_S) <= second.clock_error_ns
    assert (first.clock_drift_ns, second.clock_drift_ns) == (0, 5_000_000)


@pytest.mark.parametrize("gained_s", [4.0, -4.0])
def test_the_fence_follows_a_clock_that_runs_away(gained_s: float) -> None:
    """Clocks part by 4 s in a long run: nobody is fenced for it, and the fence closes 3 s after the last word."""
    fleet = ScriptedFleet(evenly(600, 10), workers=2, stay_s=0.5, drain_s=20.0)
    fleet.turns(5)
    drifting = fleet.processes["w2"]
    drifting.drift_ns = round(gained_s * NS_PER_S) // 40
    fleet.turns(40)
    drifting.drift_ns = 0
    assert fleet.conductor.workers_lost == 0
    drifting.cut_off = True
    cut_ns = fleet.now_ns
    fleet.turns(12)
    mine = [name for name, process in fleet.diary.begun_by.items() if process == "w2"]
    # Who is ahead has played most of what was dealt ahead.
    played_on_s = (max(fleet.diary.begun_ns[name] for name in mine) - cut_ns) / NS_PER_S
    assert (0 if gained_s > 0 else 2) < played_on_s <= 3
    assert fleet.conductor.workers_lost == 1
    drifting.cut_off = False
    fleet.until_finished()
    fleet.check_books()


@pytest.mark.parametrize("moment", range(0, 13, 3))
def test_what_a_fast_clock_lets_begin_early_is_not_dealt_again(moment: int) -> None:
    """Ahead by 4 s, no longer heard but still hearing: what it can have begun by its own clock is nobody else's."""
    # One visitor, so one worker has it all; so rarely that leases need no acknowledgement for the time of a loss.
    fleet = ScriptedFleet(
        [visit(n, n * 1.3, visitor="p") for n in range(40)], workers=2, stay_s=0.5, drain_s=20.0,
        fate=lambda message: () if gone and _of(message, gone) and _said(message) else (0.0,),
    )  # fmt: skip
    gone = ""
    fleet.turns(4)
    (name,) = set(fleet.diary.begun_by.values())
    fast = fleet.processes[name]
    fast.drift_ns = NS_PER_S // 4
    fleet.turns(16 + moment / 10)
    fast.drift_ns = 0
    gone = name
    fleet.turns(10)
    fast.alive = False
    fleet.until_finished()
    fleet.check_books()
    assert fleet.conductor.workers_lost == 1
    assert len(set(fleet.diary.begun_by.values())) == 2, "what was dealt again was played"


def test_every_lease_is_in_the_journal_once() -> None:
    """The journal's dealt visits add up to the ledger's, re-sent leases included only once."""
    fleet = ScriptedFleet(evenly(100, 10), workers=2, fate=lambda m: (0.0, 0.2) if isinstance(m, Lease) else (0.0,))
    fleet.until_finished()
    dealt: Counter[str] = Counter()
    for entry in fleet.notes.entries:
        if entry["event"] == "dealt":
            dealt[entry["worker"]] += entry["visits"]
    assert dealt == {worker: row["dealt"] for worker, row in fleet.conductor.ledger.workers().items()}
