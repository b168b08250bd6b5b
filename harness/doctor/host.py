"""What the kernel and the interpreter say about this machine; each function reads one thing and judges it.

`root` stands for `/`, so that tests bring a /proc of their own.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from harness.doctor.findings import Finding, judged
from harness.units import NS_PER_S

ROOT = Path("/")
_TIME_WAIT_S = 60
_SPARE_DESCRIPTORS = 100
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
# pyproject: the release whose behaviour the fabric is built for.
_LOCUST = "2.47."


def descriptors(soft: int, hard: int) -> Finding:
    """The limit of open files: each connection is one, and a worker raises its own limit to the hard one."""
    limit = float("inf") if hard == resource.RLIM_INFINITY else hard
    shown = "no limit" if limit == float("inf") else f"{hard:,}"
    observed = f"{soft:,} soft, {shown} hard; a worker raises its own to the hard limit"
    advice = f"one worker holds at most {hard - _SPARE_DESCRIPTORS:,} connections: raise `ulimit -Hn`, or add workers"
    level = judged(-limit, warn=-10_000, bad=-1_024)
    return Finding("descriptors", level, observed, "" if level == "ok" else advice)


def local_ports(root: Path = ROOT) -> tuple[int, int]:
    """The first and the last port that the kernel gives to outgoing connections."""
    low, high = (int(word) for word in _read(root, "proc/sys/net/ipv4/ip_local_port_range", "32768 60999").split())
    return low, high


def ports(root: Path = ROOT) -> Finding:
    """Local ports, and what TIME_WAIT leaves of them a second for one target address (house: trap of ports)."""
    low, high = local_ports(root)
    count = high - low + 1
    rate = count // _TIME_WAIT_S
    observed = f"{low}-{high}: {count:,}; {rate} new connections/s to one target address off this machine"
    advice = "for more, use --connections pooled, a target with several addresses, or several machines"
    level = judged(-count, warn=-20_000, bad=-2_000)
    return Finding("local ports", level, observed, advice)


def connections_hz(root: Path = ROOT) -> float:
    """How many new connections a second one address of this machine can keep up to one target address elsewhere."""
    low, high = local_ports(root)
    return (high - low + 1) / _TIME_WAIT_S


def backlog(root: Path = ROOT) -> Finding:
    """The listen queue's bound, which matters to a target on this machine."""
    somaxconn = int(_read(root, "proc/sys/net/core/somaxconn", "4096"))
    level = judged(-somaxconn, warn=-1_024, bad=0)
    advice = "a target on this machine may lose new connections in a burst: sysctl net.core.somaxconn=4096"
    return Finding("somaxconn", level, f"{somaxconn:,}", "" if level == "ok" else advice)


def clock(root: Path = ROOT) -> Finding:
    """The monotonic clock: its source, resolution, and what one reading costs."""
    source = _read(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown")
    resolution_ns = time.get_clock_info("monotonic").resolution * NS_PER_S
    rounds = 20_000
    began = time.perf_counter_ns()
    for _ in range(rounds):
        time.monotonic_ns()
    cost_ns = (time.perf_counter_ns() - began) / rounds
    observed = f"{source}, resolution {resolution_ns:.0f} ns, a reading costs {cost_ns:.0f} ns"
    slow = source in _SLOW_CLOCKS or cost_ns > 1_000 or resolution_ns > 1_000
    return Finding("clock", "warn" if slow else "ok", observed, "times are coarse or dear here" if slow else "")


def cores(available: int, quota: float | None, load_1m: float) -> Finding:
    """Cores this process may use (`quota`: what its control group allows), and how busy they are."""
    usable = min(available, quota) if quota is not None else float(available)
    limited = f", limited to {quota:g} by the control group" if quota is not None and quota < available else ""
    observed = f"{available}{limited}; load of the last minute {load_1m:.2f}"
    if usable < 2:
        return Finding("cores", "warn", observed, "master and worker share a core: keep the rate low")
    if load_1m > usable / 2:
        return Finding("cores", "warn", observed, "something else is running: figures will be noisy")
    return Finding("cores", "ok", observed)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores that the control group allows, or None when it does not limit."""
    quota, _, period = _read(root, "sys/fs/cgroup/cpu.max", "max 100000").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def memory(root: Path = ROOT) -> Finding:
    """Memory that is free for use, less where the control group allows less."""
    fields = dict(line.split(":", 1) for line in _read(root, "proc/meminfo", "").splitlines() if ":" in line)
    free_mb = int(fields.get("MemAvailable", "0 kB").split()[0]) // 1_000
    limit, used = _read(root, "sys/fs/cgroup/memory.max", "max"), _read(root, "sys/fs/cgroup/memory.current", "0")
    if limit != "max":
        free_mb = min(free_mb, (int(limit) - int(used)) // 1_000_000)
    level = judged(-free_mb, warn=-1_000, bad=-300)
    advice = "a worker, the master and 100,000 open visits take about 500 MB"
    return Finding("memory", level, f"{free_mb:,} MB available", "" if level == "ok" else advice)


def packages(found: Mapping[str, str | None]) -> Finding:
    """Versions of Python and of the packages that carry the load."""
    observed = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return Finding("packages", "bad", observed, f"install {', '.join(missing)}: pip install engagement-harness")
    if not str(found.get("locust", "")).startswith(_LOCUST):
        return Finding("packages", "warn", observed, f"the fabric is built for Locust {_LOCUST}x: install that")
    return Finding("packages", "ok", observed)


def host_findings(found: Mapping[str, str | None]) -> list[Finding]:
    """All of the above, of this very machine; `found` are the packages' versions."""
    return [
        descriptors(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        ports(),
        backlog(),
        cores(len(os.sched_getaffinity(0)), cpu_quota(), os.getloadavg()[0]),
        memory(),
        packages(found),
        clock(),
    ]


def _read(root: Path, path: str, default: str) -> str:
    """A file's text, or `default` where this kernel does not have it."""
    try:
        return (root / path).read_text().strip()
    except OSError:
        return default
