"""Laws of the snapshot: merging, packing, and the stored slices."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.exemplars import KEPT, best
from harness.measure.histogram import Histogram
from harness.measure.slices import from_lines, merge_from, to_lines
from harness.measure.snapshot import MAX_ERRORS, OTHER_ERRORS, ErrorKey, Snapshot, count_error
from harness.measure.transcript import Call, Exemplar

ops = st.sampled_from(["get_engagement", "update"])
cohorts = st.sampled_from(["mobile", "desktop"])
counter_keys = st.one_of(
    st.tuples(st.just("attempts"), ops, cohorts, st.sampled_from(["available", "timeout"])),
    st.tuples(st.just("first_attempts"), ops, cohorts),
    st.tuples(st.just("visits"), cohorts, st.just("completed")),
    st.tuples(st.just("chain"), st.just("kept")),
)
counts = st.integers(1, 10**6)


def histogram_of(values: list[int], infinite: int) -> Histogram:
    histogram = Histogram()
    histogram.add_all(values)
    histogram.add_infinite(infinite)
    return histogram


histograms = st.builds(histogram_of, st.lists(st.integers(0, 10**10), min_size=1, max_size=5), st.integers(0, 2))
error_keys = st.tuples(ops, st.just("timeout"), st.just(0), st.just(-1), st.integers(0, 120).map("message {}".format))


def snapshot_of(
    counters: dict[tuple[str, ...], int],
    held: dict[tuple[str, str, str, str], Histogram],
    errors: list[ErrorKey],
    cpu_ns: int,
    stall_ns: int,
    exemplars: list[Exemplar],
) -> Snapshot:
    snapshot = Snapshot(
        counters=counters,
        histograms=held,
        sums={"cpu_ns": cpu_ns},
        maxima={"stall": stall_ns},
        exemplars=best(exemplars),
    )
    for key in errors:
        count_error(snapshot.errors, key)
    return snapshot


def exemplar_of(seed: int) -> Exemplar:
    """One of few thousand: three kinds, and times and visits that often tie."""
    took_ns, visit, message = seed % 31, f"v-{seed % 4}", "x" * (seed % 2)
    call = Call("get_engagement", 0, 1, "timeout", "none", 0, -1, 0, 5, 6, 7, -1, message)
    return Exemplar(list(KEPT)[seed % 3], took_ns, visit, "mobile", "completed", 0, took_ns, (call,), 0)


exemplars = st.integers(0, 3000).map(exemplar_of)
places = st.tuples(st.sampled_from(["response_time", "loop_delay"]), ops, cohorts, st.sampled_from(["ok", "error"]))
snapshots = st.builds(
    snapshot_of,
    st.dictionaries(counter_keys, counts, max_size=6),
    st.dictionaries(places, histograms, max_size=3),
    st.lists(error_keys, max_size=70),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.lists(exemplars, max_size=9),
)


@given(snapshots, snapshots, snapshots)
def test_merge_is_associative_and_commutative(a: Snapshot, b: Snapshot, c: Snapshot) -> None:
    """Any grouping and order of merges gives the same snapshot, bounded errors included."""
    left = Snapshot.merged([Snapshot.merged([a, b]), c])
    right = Snapshot.merged([c, Snapshot.merged([b, a])])
    assert left == right


@given(snapshots)
def test_empty_snapshot_is_the_zero(snapshot: Snapshot) -> None:
    """Merging with `Snapshot()`, on either side, changes nothing."""
    assert Snapshot.merged([Snapshot(), snapshot]) == Snapshot.merged([snapshot, Snapshot()]) == snapshot


@given(snapshots, snapshots)
def test_merge_leaves_the_other_alone(a: Snapshot, b: Snapshot) -> None:
    """What was merged in is unchanged, then and when the result grows further."""
    before = b.pack()
    whole = Snapshot.merged([a, b])
    whole.merge(a)
    whole.merge(b)
    assert b.pack() == before


@given(snapshots)
def test_pack_round_trip(snapshot: Snapshot) -> None:
    """`unpack` gives back what `pack` wrote."""
    assert Snapshot.unpack(snapshot.pack()) == snapshot


@given(st.lists(error_keys, max_size=300))
def test_errors_are_bounded_and_complete(keys: list[ErrorKey]) -> None:
    """Never more than 50 keys, no error uncounted, and every kept key counted exactly."""
    errors: dict[ErrorKey, int] = {}
    for key in keys:
        count_error(errors, key)
    assert len(errors) <= MAX_ERRORS
    assert sum(errors.values()) == len(keys)
    assert all(n == keys.count(key) for key, n in errors.items() if key != OTHER_ERRORS)
    assert OTHER_ERRORS in errors or len(set(keys)) < MAX_ERRORS


@given(st.lists(exemplars, max_size=60))
def test_exemplars_are_the_slowest_of_their_kind(pool: list[Exemplar]) -> None:
    """Of each kind as many as are kept, and none left out is slower than one that stayed."""
    kept = best(pool)
    for kind, size in KEPT.items():
        times = sorted((each.took_ns for each in pool if each.kind == kind), reverse=True)
        assert [each.took_ns for each in kept if each.kind == kind] == times[:size]


@given(st.dictionaries(st.integers(0, 20), snapshots, max_size=3))
def test_slices_round_trip(seconds: dict[int, Snapshot]) -> None:
    """A run's slices survive their lines as JSON, in any order of lines; a merge of them is the run."""
    lines = [line for second, snapshot in seconds.items() for line in to_lines(second, snapshot)]
    stored = [orjson.loads(orjson.dumps(line)) for line in reversed(lines)]
    assert from_lines(stored) == seconds
    assert merge_from(from_lines(stored), 5) == Snapshot.merged(s for second, s in seconds.items() if second >= 5)
