"""The doctor's reading of a machine: a /proc of the test's own, and the line that it must give."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from harness.doctor.findings import Finding, fit, judged, render
from harness.doctor.host import backlog, cores, cpu_quota, descriptors, memory, packages, ports

VERSIONS = {"python": "3.11.2", "locust": "2.47.0"}


def put(root: Path, path: str, text: str) -> None:
    """Writes a file of the made-up machine."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_ports_and_time_wait_bound_new_connections(tmp_path: Path) -> None:
    """28,232 ports that rest 60 s make 470 new connections a second."""
    put(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    finding = ports(tmp_path)
    assert (finding.level, finding.observed) == (
        "ok", "32768-60999: 28,232; 470 new connections/s to one target address off this machine",
    )  # fmt: skip
    put(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "60000\t60999\n")
    assert ports(tmp_path).level == "bad"


@pytest.mark.parametrize(
    ("hard", "level"), [(512, "bad"), (4_096, "warn"), (20_000, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_descriptors_are_judged_by_the_hard_limit(hard: int, level: str) -> None:
    """The soft limit does not matter: a worker raises it."""
    assert descriptors(1_024, hard).level == level


def test_the_control_group_limits_cores_and_memory(tmp_path: Path) -> None:
    """What the group allows counts where it is less than what the machine has."""
    assert cpu_quota(tmp_path) is None
    put(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5
    put(tmp_path, "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert memory(tmp_path) == Finding("memory", "ok", "8,000 MB available")
    put(tmp_path, "sys/fs/cgroup/memory.max", "900000000\n")
    put(tmp_path, "sys/fs/cgroup/memory.current", "700000000\n")
    assert (memory(tmp_path).level, memory(tmp_path).observed) == ("bad", "200 MB available")


@pytest.mark.parametrize(
    ("available", "quota", "load", "level"), [(8, None, 0.3, "ok"), (8, None, 4.5, "warn"), (8, 1.0, 0.0, "warn")]
)
def test_cores_are_few_or_busy(available: int, quota: float | None, load: float, level: str) -> None:
    """Below two cores master and worker share one; above half the load somebody else is at work."""
    assert cores(available, quota, load).level == level


def test_a_short_listen_queue_is_told(tmp_path: Path) -> None:
    """somaxconn below 1,024 is worth a word."""
    put(tmp_path, "proc/sys/net/core/somaxconn", "128\n")
    assert backlog(tmp_path).level == "warn"


@pytest.mark.parametrize(
    ("versions", "level"),
    [(VERSIONS, "ok"), (VERSIONS | {"locust": "2.48.1"}, "warn"), (VERSIONS | {"gevent": None}, "bad")],
)
def test_packages_are_there_and_locust_is_the_one_that_is_meant(versions: dict[str, str | None], level: str) -> None:
    """A missing package is bad, another Locust a warning."""
    assert packages(versions).level == level


def test_levels_fit_and_text() -> None:
    """Only what is bad makes unfit; advice stands below its line."""
    findings = [Finding("cores", "warn", "1", "more of them"), Finding("memory", "ok", "2 GB")]
    assert [judged(value, warn=1, bad=10) for value in (1, 1.1, 10.1)] == ["ok", "warn", "bad"]
    assert (fit(findings), fit([*findings, Finding("dns", "bad", "none")])) == (True, False)
    assert render(findings) == (
        "warn  cores             1\n                        more of them\nok    memory            2 GB"
    )
