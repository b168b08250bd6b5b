"""Debian's Prometheus 2.42 for tests: started on a free port with a folder of its own, ended by its pid."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness_run import wait_until


def program(name: str) -> str:
    """The path of prometheus or promtool; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing: apt-get install prometheus")
        pytest.skip(f"{name} is missing: apt-get install prometheus")
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def promtool(*args: str) -> str:
    """What promtool says, on either stream; fails when it objects."""
    ran = subprocess.run([program("promtool"), *args], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    pid: int

    def get(self, path: str, **fields: str) -> Any:
        """The data of an answer of the HTTP API."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]

    def newest(self, expr: str, at_s: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """Value by labels (the name and what the scrape added left out), now or at a moment."""
        fields = {"query": expr} | ({"time": f"{at_s:.3f}"} if at_s is not None else {})
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k not in ("__name__", "instance", "job"))): float(
                each["value"][1]
            )
            for each in self.get("query", **fields)["result"]
        }


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str] = (), *, native: bool = False, rules: Path | None = None
) -> Iterator[Prometheus]:
    """Prometheus scraping `targets` (HOST:PORT) each second, its data in `folder`; ready when the block begins."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "harness", "static_configs": [{"targets": list(targets)}]}],
        "rule_files": [str(rules)] if rules is not None else [],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=400d",
        f"--web.listen-address=127.0.0.1:{port}",
        *(["--enable-feature=native-histograms"] if native else []),
    ]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as reply:
                    return bool(reply.status == 200)
            except OSError:
                return False

        wait_until(ready, 30, "Prometheus to be ready")
        yield Prometheus(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
