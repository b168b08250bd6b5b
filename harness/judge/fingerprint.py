"""What two runs must have in common before a difference between them may be the target's doing.

Target, seed, labels and names may differ: they are what one compares, or chance. Everything else that shapes the load
or the measuring is in the fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

# Field of the fingerprint -> settings of the run that it holds.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "retry": ("retry",),
    "arrivals": ("arrivals", "speed", "amplify", "loop", "limit_visits"),
    "duration": ("duration_ns", "warmup_ns", "drain_ns"),
    "think": ("max_think_ns", "warp_think"),
    "client": ("connections", "timeout_ns", "connect_timeout_ns", "max_lag_ns", "traceparent"),
    "workers": ("workers", "expect_workers"),
}
FIELDS = ("trace", *_SETTINGS, "host", "versions")


class Difference(msgspec.Struct, frozen=True):
    """A field of the fingerprint in which two runs differ, and what each has there, as text."""

    field: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.base} against {self.new}"


def fingerprint(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{field: {what: value}} of a run, from its manifest and summary; what a run does not say is left out."""
    config = summary.get("config") or manifest.get("config", {})
    found: dict[str, dict[str, Any]] = {"trace": {"digest": summary.get("trace_digest", "")}}
    for field, names in _SETTINGS.items():
        found[field] = {name.removesuffix("_ns"): _plain(config[name]) for name in names if name in config}
    # Kernel updates come by themselves; a machine of another kind does not.
    host = manifest.get("host", {})
    found["host"] = {name: host[name] for name in ("machine", "cores", "processor") if name in host}
    found["versions"] = dict(manifest.get("versions", {}))
    return found


def differences(
    base: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]], fields: Sequence[str] = FIELDS
) -> list[Difference]:
    """Where two fingerprints differ, in the order of `fields`; what only one of them says is no difference."""
    found = []
    for field in fields:
        ours, theirs = base.get(field, {}), new.get(field, {})
        unlike = [name for name in ours if name in theirs and ours[name] != theirs[name]]
        if unlike:
            sides = (", ".join(f"{name} {side[name]}" for name in unlike) for side in (ours, theirs))
            found.append(Difference(field, *sides))
    return found


def _plain(value: Any) -> Any:
    # Of a retry policy all fields count, its name included.
    return {key: value[key] for key in sorted(value)} if isinstance(value, Mapping) else value
