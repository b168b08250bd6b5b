"""Which runs may be points of one curve: those that asked the same of the same target, each at a rate of its own.

It is the fingerprint by which `harness compare` tells whether two runs are comparable, with the target in the place of
arrivals and duration. Targets on this machine count as one: a practice target has another port each time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from harness.config.guard import is_loopback
from harness.errors import UsageError
from harness.judge import fingerprint

FIELDS: Final = ("target", *(field for field in fingerprint.FIELDS if field not in ("arrivals", "duration")))
_HERE: Final = "this machine"


def require_one_kind(
    runs: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]], force: Collection[str] = ()
) -> None:
    """Looks whether all `runs`, each (name, manifest, summary), are of one kind but for the fields in `force`.

    "all" forces every field. Raises `UsageError` with the first difference of each field, and for a field of another
    name.
    """
    unknown = [field for field in force if field not in (*FIELDS, "all")]
    if unknown:
        raise UsageError(f"--force {unknown[0]}: there is nothing of that name; there is {' '.join(FIELDS)}, or all")
    if "all" in force or not runs:
        return
    asked = [field for field in FIELDS if field not in force]
    first, *others = [(name, _kind(manifest, summary)) for name, manifest, summary in runs]
    told: dict[str, str] = {}
    for name, kind in others:
        for each in fingerprint.differences(first[1], kind, asked):
            told.setdefault(each.field, f"{each} ({first[0]} against {name})")
    if told:
        options = " ".join(f"--force {field}" for field in told)
        raise UsageError(
            f"the runs are of different kinds: {'; '.join(told.values())}; {options} pools them all the same"
        )


def _kind(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    config = summary.get("config") or manifest.get("config", {})
    target = {name: config[name] for name in ("target", "account", "accounts", "resolve") if name in config}
    if "target" in target and _is_here(urlsplit(str(target["target"])).hostname or ""):
        target["target"] = _HERE
    return {**fingerprint.fingerprint(manifest, summary), "target": target}


def _is_here(host: str) -> bool:
    try:
        return is_loopback(host)
    except ValueError:
        return host == "localhost"
