"""Calls that leave from source addresses of our choice: on real sockets, in turns, without using up ports early."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from harness.engine.sources import Sources
from tests.system.engine_play import play, visit
from tests.system.harness_run import run_command
from tests.system.misbehaving import answer, peer, reply
from tests.system.test_bad_input import assert_one_clear_line, small_trace

pytestmark = pytest.mark.system

USAGE = 2


def test_source_addresses_take_turns() -> None:
    """Six connections from three addresses: two each, as the peer sees it; kept connections stay where they are."""
    sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    with peer({"v": answer(reply())}) as seen:
        visits = [visit(f"v-{number}", 3) for number in range(6)]
        played = play(f"http://127.0.0.1:{seen.port}", visits, source_addresses=sources)
    assert Counter(attempt["result"] for attempt in played.attempts) == {"available": 18}
    assert Counter(seen.clients) == dict.fromkeys(sources, 2)


def test_sources_of_both_families_serve_a_target_of_either() -> None:
    """Each connection leaves from an address of its own family."""
    for host, source in (("127.0.0.1", "127.0.0.2"), ("::1", "::1")):
        name = f"[{host}]" if ":" in host else host
        with peer({"v": answer(reply())}, host=host) as seen:
            played = play(f"http://{name}:{seen.port}", [visit("v")], source_addresses=["::1", "127.0.0.2"])
        assert played.results() == {"v": ["available"]}
        assert seen.clients == [source]


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")])
def test_a_bound_socket_holds_no_port_until_it_connects(family: int, address: str) -> None:
    """Else all targets together would share the ports of an address."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        Sources([address]).bind(sock, family)
        assert sock.getsockname()[:2] == (address, 0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("192.0.2.1", ["--source-address 192.0.2.1", "Cannot assign requested address"]),
        ("here", ["--source-address", "'here' is not an IP address"]),
        ("::1", ["no --source-address is of the family", "127.0.0.1"]),
    ],
)
def test_a_source_address_that_cannot_serve_is_refused(tmp_path: Path, source: str, words: list[str]) -> None:
    """Not of this machine, no address at all, of another family than the target: one line, exit 2, before any load."""
    trace = small_trace(tmp_path / "trace.jsonl")
    args = ["run", str(trace), "--target", "http://127.0.0.1:9", "--source-address", source]
    finished = run_command(*args, "--out", str(tmp_path / "out"), scratch=tmp_path)
    assert_one_clear_line(finished, USAGE, *words)
