"""`harness capacity fit`: what runs that were made say about the target's scalability; sends nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from harness.capacity.headroom import busiest_minute_hz, highest_held_hz
from harness.capacity.little import little
from harness.capacity.load_point import LoadPoint, load_points
from harness.capacity.pooled import require_one_kind
from harness.cli.capacity_report import SCHEMA, curve, law_of
from harness.errors import ExitCode, InstrumentError, UsageError
from harness.judge.threshold import parse_thresholds
from harness.measure.slices import from_lines
from harness.report.capacity import render_capacity
from harness.store.files import replace_file
from harness.store.layout import MANIFEST
from harness.store.search_folder import load_search
from harness.store.stored_run import StoredRun, load_run
from harness.trace.codec import read_visits
from harness.units import format_rate


def fit_runs(
    folders: Sequence[Path], *, peak_hz: float | None, trace: str | None, html: Path | None, force: Sequence[str],
    as_json: bool, people: TextIO,
) -> None:  # fmt: skip
    """Fits and prints; see the command. `force` names fields in which the runs may differ (`pooled.FIELDS`).

    Raises `UsageError` for what cannot be used, `InstrumentError` for data that contradict themselves.
    """
    searched = next((state for folder in folders if (state := load_search(folder)) is not None), None)
    points: list[LoadPoint] = []
    left_out: list[str] = []
    used: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for folder in [each for given in folders for each in _run_folders(given)]:
        stored = load_run(folder)
        reason = _unfit(stored)
        if reason:
            left_out.append(f"{folder.name}: {reason}")
            continue
        assert stored.summary is not None
        slices = from_lines(stored.slices())
        if stored.notes:
            raise UsageError(f"{folder} is not whole: {stored.notes[0]}")
        _require_agreement(folder, stored, slices)
        thresholds = parse_thresholds(stored.summary["config"].get("thresholds", ()))
        points += load_points(stored.summary, slices, thresholds, folder.name)
        used.append((folder.name, stored.manifest, stored.summary))
    require_one_kind(used, force)
    if not points:
        raise UsageError(f"no run to fit: {'; '.join(left_out) or 'no run folder was given'}")
    points.sort(key=lambda point: point.result.rate_hz)
    law = law_of(points)
    result: dict[str, Any] = {"schema": SCHEMA, **curve(points, law), "left_out": left_out}
    found = searched.result if searched is not None else None
    if peak_hz is not None or trace is not None:
        result["headroom"] = _headroom(points, found, peak_hz, trace)
    if as_json:
        print(json.dumps(result, indent=2), flush=True)
    _print(result, people if as_json else sys.stdout)
    if html is not None:
        about = f"{len(points)} rates of {len(folders)} folder(s)"
        replace_file(html, render_capacity(result, about).encode())


def _run_folders(given: Path) -> list[Path]:
    """The run folder itself, or those of a search's finished steps."""
    state = load_search(given)
    if state is None:
        return [given]
    runs = [given / step["run"] for step in state.steps]
    missing = [str(run) for run in runs if not (run / MANIFEST).exists()]
    if missing:
        raise UsageError(f"{given} lacks run folders of its steps", missing)
    return runs


def _unfit(stored: StoredRun) -> str:
    """Why a run can be no point of the curve; "" when it can."""
    if stored.summary is None or stored.partial:
        return f"partial, {stored.reason or 'it has no summary'}"
    if stored.summary["load_model"] != "open":
        return "a closed loop holds no rate"
    if stored.summary["verdict"]["exit_code"] == ExitCode.UNREACHABLE:
        return "not one reply came: a target that is down is no point of its curve"
    failed = [check for check in stored.summary["verdict"]["checks"] if check["kind"] == "validity" and not check["ok"]]
    return f"INVALID, {failed[0]['name']}: {failed[0]['message']}" if failed else ""


def _require_agreement(folder: Path, stored: StoredRun, slices: Any) -> None:
    assert stored.summary is not None
    broken = [each for each in little(stored.summary, slices, stored.series) if not each.ok]
    if broken:
        raise InstrumentError(
            f"{folder}: the data contradict themselves (Little's law): {broken[0]}; these are not the files as the run "
            "wrote them: leave the run out"
        )


def _headroom(
    points: Sequence[LoadPoint], found: dict[str, Any] | None, peak_hz: float | None, trace: str | None
) -> dict[str, Any]:
    peak_of = "as stated"
    if peak_hz is None:
        assert trace is not None
        peak_hz = busiest_minute_hz(read.visit.at for read in read_visits(trace)[1])
        peak_of = f"the busiest minute of {Path(trace).name}"
        if not peak_hz:
            raise UsageError(f"{trace}: no visit, so no peak")
    if found is not None and found["max_rate_hz"] is not None:
        capacity_hz, bound, capacity_of = found["max_rate_hz"], found["bound"], "the capacity that the search found"
    else:
        capacity_hz, bound = highest_held_hz(points), "at_least"
        capacity_of = "the highest rate that held all thresholds"
    return {
        "peak_hz": peak_hz,
        "peak_of": peak_of,
        "capacity_hz": capacity_hz,
        "capacity_of": capacity_of,
        "bound": bound,
        "ratio": None if capacity_hz is None else capacity_hz / peak_hz - 1,
    }


def _print(result: dict[str, Any], stream: TextIO) -> None:
    print(f"{'rate':>10} {'useful/s':>10} {'in flight':>10} {'p50 ms':>9} {'p99 ms':>9}", file=stream)
    for point in result["points"]:
        p50, p99 = (point["latency_ms"].get(stat) for stat in ("p50", "p99"))
        times = [f"{'never' if value is None else format(value, '.4g'):>9}" for value in (p50, p99)]
        rate, useful = format_rate(point["rate_hz"]), f"{point['goodput_hz']:.4g}"
        print(f"{rate:>10} {useful:>10} {point['concurrency']:>10.4g} {' '.join(times)}", file=stream)
    for line in result["left_out"]:
        print(f"left out: {line}", file=stream)
    law = result["law"]
    if law is None:
        print("no law: three different rates or more are needed, and throughput that follows them", file=stream)
    else:
        for name, value in (("lambda", law["lambda_hz"]), ("sigma", law["sigma"]), ("kappa", law["kappa"])):
            low, high = law[f"{name}_ci95"]
            print(f"{name:<7} {value:.4g}  (95 % interval {low:.4g} to {high:.4g})", file=stream)
        if law["why"]:
            print(law["why"], file=stream)
        else:
            low, high = law["peak_ci95"]
            print(
                f"peak {law['peak_hz']:.4g} useful steps/s (95 % interval {low:.4g} to {high:.4g}) with "
                f"{law['knee']:.4g} attempts in flight",
                file=stream,
            )
    headroom = result.get("headroom")
    if headroom is not None:
        _print_headroom(headroom, stream)


def _print_headroom(headroom: dict[str, Any], stream: TextIO) -> None:
    peak = f"a peak of {format_rate(headroom['peak_hz'])} ({headroom['peak_of']})"
    if headroom["ratio"] is None:
        print(f"headroom over {peak}: not known, no rate held all thresholds", file=stream)
        return
    at_least = "at least " if headroom["bound"] == "at_least" else ""
    print(
        f"headroom over {peak}: {at_least}{headroom['ratio']:+.1%}; {headroom['capacity_of']} is "
        f"{format_rate(headroom['capacity_hz'])}",
        file=stream,
    )
