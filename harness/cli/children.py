"""Child processes of a run: each in a session of its own, its output in a file, never outliving the parent.

Own sessions keep the terminal's Ctrl-C away from the children: only the parent hears it and decides. The kernel's
parent-death signal ends them when the parent is killed without a chance to clean up.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import harness

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096


class Child:
    """A running child process; `log` is the file its stderr (and stdout, unless piped) goes to."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        pipe_stdout: bool = False,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Starts `command` in `folder`, which also takes `NAME.log`; `orphan_signal` is sent when the parent dies."""
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=child_environment(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe_stdout else log,
                stderr=log,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid(), orphan_signal),
            )

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from the child; only with `pipe_stdout`."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def pid(self) -> int:
        """The process id, also that of its session."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end; None when it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Asks it to end (SIGTERM), if it still runs."""
        if self.exit_code() is None:
            self._process.terminate()

    def stop(self, grace_s: float) -> None:
        """Asks it to end (SIGTERM) and, after `grace_s`, kills it with all of its session."""
        if self.exit_code() is None:
            self._process.terminate()
            if self.wait(grace_s) is None:
                self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def kill(self) -> None:
        """Ends it and whatever it started in its session at once."""
        if self.exit_code() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self) -> str:
        """The last line with text in its log, or an empty text."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def ending(code: int | None) -> str:
    """How a child ended, by its exit code, for people; None when only its pipe is known to be closed."""
    if code is None:
        return "it closed its events"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of children: ours without Locust's own settings, able to import this very package."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    paths = [str(Path(harness.__file__).resolve().parents[1]), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return {**env, **extra}


def _end_with_parent(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    # Looked up before the fork: nothing may be imported or allocated between fork and exec that could lock.
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return prepare
