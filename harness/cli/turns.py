"""Two targets played in turns: base, new, new, base, base, new … so that a drift of the machine falls on both."""

from __future__ import annotations

from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from harness.cli.conduct import conduct
from harness.cli.run import run_config
from harness.cli.supervise import RunError
from harness.cli.verdict import near
from harness.config.resolve import Settled
from harness.config.table import BY_NAME
from harness.errors import ExitCode, UsageError

# Runs that came to their end and can be compared, or are left out of it for being INVALID.
_PLAYED = (ExitCode.PASS, ExitCode.FAIL_SLO, ExitCode.INVALID)


def play_in_turns(settled: Settled, base: str, new: str, pairs: int, *, people: TextIO) -> list[tuple[Path, Path]]:
    """Plays `pairs` runs against each of two targets and returns their folders (base, new), pair by pair.

    Everything but the target is what `settled` says; both runs of a pair have the same seed, the next pair the next
    one. Progress and the runs' verdicts go to `people`. Raises `HarnessError` when a run cannot be played to its end.
    """
    targets = [BY_NAME["target"].kind.parse(text) for text in (base, new)]
    out = Path(str(settled.values["out_dir"] or _default_out()))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"the folder {near(out)} is not empty: name another with --out, or move it away")
    first_seed = settled.values["seed"]
    assert isinstance(first_seed, int)
    folders: list[tuple[Path, Path]] = []
    for pair in range(pairs):
        sides = [out / f"{pair + 1:02d}-{name}" for name in ("base", "new")]
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            settled.values |= {"target": targets[side], "out_dir": str(sides[side]), "seed": first_seed + pair}
            print(f"pair {pair + 1} of {pairs}: {sides[side].name}, {targets[side]}", file=people, flush=True)
            _play(settled, people)
        folders.append((sides[0], sides[1]))
    return folders


def _play(settled: Settled, people: TextIO) -> None:
    with redirect_stdout(people):
        code = conduct(run_config(settled), as_json=False, quiet=True, people=people)
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in _PLAYED:
        raise RunError(
            f"the run in {settled.values['out_dir']} ended with exit code {code}; the series ends here", code
        )


def _default_out() -> Path:
    return Path("runs") / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}-turns"
