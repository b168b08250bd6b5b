"""Which modules of the engine's hot path may be compiled to C, and whether they are (docs/decisions/0011).

`make compile` translates them with mypyc and puts the results beside their sources, where Python prefers them. Nothing
depends on it: the same sources run interpreted, only slower.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

# In the order of the rooms. A module here holds no msgspec struct with options and extends no foreign class.
MODULES: Final = (
    "record",
    "wire/render",
    "wire/reply",
    "wire/route",
    "plan/schedule",
    "visitor/records",
    "visitor/identity",
    "visitor/calls",
    "visitor/session",
    "measure/buckets",
    "measure/exemplars",
    "measure/recorder",
    "sim/ids",
    "sim/acquaintance",
    "sim/queue",
    "sim/truth",
    "sim/replies",
    "sim/visitors",
    "sim/behaviour",
    "sim/loads",
    "sim/wires",
    "sim/routed",
    "sim/rehearsal",
    "engine/heads",
    "engine/http",
    "engine/poller",
    "engine/connection",
    "engine/player",
    "engine/traceparent",
    "engine/accounts",
    "engine/lines",
    "engine/engine",
    "fleet/telling",
    "fleet/attempt_log",
    "fleet/placement",
    "fleet/dealer",
)

_PACKAGE: Final = Path(__file__).resolve().parent


def extension(module: str) -> Path:
    """Where the compiled form of one of `MODULES` lies, if there is one."""
    return _PACKAGE / f"{module}{EXTENSION_SUFFIXES[0]}"


def compiled() -> bool:
    """Whether the engine runs compiled."""
    return extension(MODULES[0]).exists()


def stale() -> list[str]:
    """The sources that were changed after they had been compiled: what runs is not what stands there."""
    return [
        f"harness/{module}.py"
        for module in MODULES
        if extension(module).exists()
        and (_PACKAGE / f"{module}.py").stat().st_mtime > extension(module).stat().st_mtime
    ]
