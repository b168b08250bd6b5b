"""The embedded simulator of `--target sim`: `harness sim` as a child on a free port."""

from __future__ import annotations

import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.cli.children import Child, ending
from harness.errors import InternalError
from harness.sim.scenario import PRESETS
from harness.sim.scenario_file import load_scenario

_READY = re.compile(rb"https?://[^\s/]+")
_READY_LIMIT_S = 20.0
_GRACE_S = 3.0


def is_simulator(target: str) -> bool:
    """Whether a target asks for the embedded simulator: `sim`, or `sim:SCENARIO`."""
    return target == "sim" or target.startswith("sim:")


class Simulator:
    """A running simulator at `url`."""

    def __init__(self, child: Child) -> None:
        """Waits until it listens; raises `InternalError` when it does not."""
        self._child = child
        self.url = _url(child)

    def death(self) -> str | None:
        """One line when it has ended although nobody asked it to, else None."""
        code = self._child.exit_code()
        if code is None:
            return None
        words = self._child.last_words()
        said = f", its last words: {words}" if words else ""
        return f"the simulator ended during the run ({ending(code)}){said}; see that nothing ends it, and run again"


@contextmanager
def simulator(target: str, *, seed: int, folder: Path) -> Iterator[Simulator]:
    """Runs the simulator that `target` asks for and yields it; its log goes to `folder`.

    A scenario is a preset's name or a file. Raises `UsageError` when the scenario cannot be used, `InternalError` when
    the simulator does not start.
    """
    scenario = target.partition(":")[2] or "healthy"
    # Read here first: a mistake in it is the user's, and is told like any other.
    load_scenario(scenario)
    if scenario not in PRESETS:
        # The child lives in another folder.
        scenario = str(Path(scenario).absolute())
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", "--seed", str(seed), "--scenario", scenario]
    child = Child("sim", command, folder=folder, pipe_stdout=True)
    try:
        yield Simulator(child)
    finally:
        child.stop(_GRACE_S)


def _url(child: Child) -> str:
    ready, _, _ = select.select([child.stdout], [], [], _READY_LIMIT_S)
    line = child.stdout.readline() if ready else b""
    match = _READY.search(line)
    if match is not None:
        return match[0].decode()
    words = child.last_words()
    raise InternalError(f"the simulator does not start: {words or f'no answer within {_READY_LIMIT_S:.0f} s'}")
