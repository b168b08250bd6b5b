"""Dockerfile and compose file, as far as that goes without a container engine: what they name exists and fits.

The compose file is read line by line here: a YAML library would be a dependency for one test.
"""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path

import click
import pytest

from harness.cli.main import COMMANDS, cli
from harness.cli.worker import _address

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "grafana/compose.yaml").read_text()
PROMETHEUS = (ROOT / "grafana/prometheus/prometheus.yml").read_text()


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def service(name: str) -> str:
    """The text of one service of the compose file."""
    found = re.search(rf"^  {name}:\n((?:    .*\n|\n)*)", COMPOSE, re.MULTILINE)
    assert found is not None, name
    return found[1]


def command(name: str) -> list[str]:
    """The command words of a service, from either form of a YAML list."""
    text = service(name)
    inline = re.search(r"^    command: \[(.*)\]$", text, re.MULTILINE)
    if inline is not None:
        return [word.strip().strip('"') for word in inline[1].split(",")]
    listed = re.search(r"^    command:\n((?:      - .*\n)+)", text, re.MULTILINE)
    assert listed is not None, name
    return [line.removeprefix("      - ").strip('"') for line in listed[1].splitlines()]


def test_everything_that_the_image_copies_exists() -> None:
    """Each COPY from the project names a file or folder of it."""
    words = [shlex.split(arguments) for arguments in instructions("COPY") if "--from" not in arguments]
    assert len(words) >= 5
    assert [source for *sources, _ in words for source in sources if not (ROOT / source).exists()] == []


def test_the_wheel_finds_what_it_takes_along_in_the_image() -> None:
    """Every folder that pyproject.toml packs is copied before the package is installed."""
    packed = re.findall(r'^"(\w+)" = "harness/_files/', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    copied = {source for arguments in instructions("COPY") for source in shlex.split(arguments)[:-1]}
    assert {*packed, "harness", "pyproject.toml", "README.md", "LICENSE"} <= copied


def test_the_constraints_are_the_pinned_versions() -> None:
    """The sed script of the Dockerfile gives one plain pin for each pinned requirement."""
    (script,) = re.findall(r"sed -n 's/(.*?)/\\1/p'", DOCKERFILE)
    pattern = re.compile(script.replace(r"\(", "(").replace(r"\)", ")"))
    lines = (ROOT / ".ci/requirements.txt").read_text().splitlines()
    pins = [found[1] for line in lines if (found := pattern.match(line))]
    assert len(pins) == sum("==" in line for line in lines)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^\s;]*", pin) for pin in pins)


def test_the_image_runs_the_command() -> None:
    """`docker run IMAGE worker …` is `harness worker …`, not as root, told of SIGTERM."""
    assert instructions("ENTRYPOINT") == ['["harness"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("USER") == ["harness"]


@pytest.mark.parametrize("name", ["sim", "master", "worker"])
def test_the_commands_of_the_services_exist_with_their_options(name: str) -> None:
    """Each word that begins with a dash is an option of that command."""
    first, *rest = command(name)
    assert first in COMMANDS
    found = cli.get_command(click.Context(cli), first)
    assert found is not None
    known = {option for parameter in found.params for option in parameter.opts}
    assert [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known] == []


def test_the_services_fit_together() -> None:
    """Workers go to the port that the run binds, the run to the simulator's, Prometheus to the metrics of the run."""
    options = dict(word.removeprefix("--").split("=", 1) for word in command("master") if "=" in word)
    port = int(options["bind"].rpartition(":")[2])
    assert command("worker")[1] == f"master:{port}"
    assert options["target"] == f"http://sim:{command('sim')[-1]}"
    assert options["allow-host"] == "sim"
    assert f"master:{options['metrics'].rpartition(':')[2]}" in PROMETHEUS
    assert f"sim:{command('sim')[-1]}" in PROMETHEUS and "--metrics" in command("sim")
    assert int(re.findall(r"replicas: (\d+)", service("worker"))[0]) == int(options["expect-workers"])


def test_a_run_that_has_ended_is_not_played_again() -> None:
    """Whatever a run ends with, its master stays down, only a worker may come again; the target is up before it."""
    restarts = dict(re.findall(r"^  (\w+):\n(?:(?:    .*|)\n)*?    restart: (.*)$", COMPOSE, re.MULTILINE))
    assert restarts == {"master": '"no"', "worker": "on-failure:5"}
    assert COMPOSE.count("restart:") == len(restarts)
    assert "    depends_on:\n      sim:\n        condition: service_healthy\n" in service("master")
    found = re.search(r'^      test: \["CMD", "python", "-c", "(.*)"\]$', service("sim"), re.MULTILINE)
    assert found is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = found[1].replace(f", {command('sim')[-1]})", f", {listener.getsockname()[1]})")
        assert script != found[1]
        exec(script)


def test_mounted_folders_exist_and_dashboards_are_found() -> None:
    """Each folder that a service mounts is there, and Grafana looks for dashboards and Prometheus where they are."""
    mounts = re.findall(r"^      - (\.[^:]*):([^:]*):ro$", COMPOSE, re.MULTILINE)
    assert len(mounts) >= 4
    assert [source for source, _ in mounts if not (ROOT / "grafana" / source).is_dir()] == []
    provider = (ROOT / "grafana/provisioning/dashboards/harness.yml").read_text()
    assert f"path: {dict(mounts)['./dashboards']}" in provider
    datasource = (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text()
    assert "url: http://prometheus:9090" in datasource and "image: prom/prometheus" in service("prometheus")
    assert "timeInterval: 1s" in datasource and "scrape_interval: 1s" in PROMETHEUS


def test_both_say_that_they_are_not_run_in_ci() -> None:
    """Nobody shall take what was only read for what was tried."""
    assert re.search(r"not built in CI", DOCKERFILE)
    assert re.search(r"neither built nor run in CI", COMPOSE)


@pytest.mark.parametrize(("text", "expected"), [("127.0.0.1", ("127.0.0.1", 5557)), ("[::1]:99", ("::1", 99))])
def test_where_a_worker_goes(text: str, expected: tuple[str, int]) -> None:
    """HOST:PORT, HOST alone for Locust's own port, brackets around IPv6."""
    assert _address(text) == expected
