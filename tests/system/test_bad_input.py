"""Bad input and bad luck: one clear line, the documented exit code, no traceback, and nothing measured is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.harness_run import (
    Command,
    Finished,
    assert_ledger,
    command_line,
    descendants,
    get_engagement,
    oracle,
    start_run,
    update,
    wait_until,
    write_trace,
)

pytestmark = pytest.mark.system

CLOSED_PORT = "http://127.0.0.1:9"
USAGE, INTERNAL, INVALID, GUARD, UNREACHABLE, INTERRUPTED = 2, 1, 5, 6, 7, 130


def small_trace(path: Path, visits: int = 50, rate_hz: float = 50) -> Path:
    """A trace of short visits."""
    write_trace(path, ([get_engagement(identity="fresh"), get_engagement(0.5)] for _ in range(visits)), rate_hz)
    return path


def assert_one_clear_line(finished: Finished, exit_code: int, *words: str) -> None:
    """Exactly one error line that holds all `words`, the exit code, and no traceback anywhere."""
    assert finished.exit_code == exit_code, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    assert len(finished.error_lines) == 1, finished.explain()
    line = finished.error_lines[0]
    for word in words:
        assert word in line or word in finished.stderr, f"{word!r} is not in {line!r}"


def assert_partial(finished: Finished) -> None:
    """The run folder says that it is partial, and why; its summary, if any, balances."""
    assert finished.manifest["partial"] is True
    assert finished.manifest["reason"]
    if (finished.out / "summary.json").exists():
        assert_ledger(finished.summary)


def refuse(trace: Path, target: str, *args: str, scratch: Path) -> Finished:
    """A run that must end before it sends anything."""
    return start_run(trace, target, *args, scratch=scratch).wait(60)


# What is refused before anything is sent


def _broken_line(path: Path) -> Path:
    small_trace(path)
    lines = path.read_text().splitlines()
    lines[7] = lines[7][:40]
    path.write_text("\n".join(lines) + "\n")
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _header_only(path: Path) -> Path:
    path.write_text(json.dumps({"harness_trace": 1, "source": "system test"}) + "\n")
    return path


def _missing(path: Path) -> Path:
    return path


def _marked(path: Path) -> Path:
    path.write_bytes(b"\xef\xbb\xbf" + small_trace(path).read_bytes())
    return path


def _binary(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 20)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "make, words",
    [
        pytest.param(_broken_line, ["trace.jsonl", "8", "--on-bad-line skip"], id="malformed line"),
        pytest.param(_empty, ["trace.jsonl", "the first line must be like"], id="empty file"),
        pytest.param(_header_only, ["trace.jsonl", "record, import or invent one"], id="no visits"),
        pytest.param(_missing, ["trace.jsonl", "see that the path is right"], id="missing file"),
        pytest.param(_marked, ["trace.jsonl", "save it as UTF-8 without"], id="byte order mark"),
        pytest.param(_binary, ["trace.jsonl", "see that it is the right one"], id="binary file"),
        pytest.param(_folder, ["trace.jsonl"], id="a folder"),
    ],
)
def test_a_trace_that_cannot_be_played_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], words: list[str]
) -> None:
    """A bad trace ends the run before anything is sent, naming the file and, where it has one, the line."""
    with oracle() as server:
        finished = refuse(make(tmp_path / "trace.jsonl"), server.url, scratch=tmp_path)
        assert server.log().calls == []
    assert_one_clear_line(finished, USAGE, *words)


def test_unknown_profile_keys_are_all_listed_at_once(tmp_path: Path) -> None:
    """Two wrong keys of a profile are both named, with the profile's name."""
    profile = tmp_path / "nightly.toml"
    profile.write_text('[load]\narivals = "constant:5/s"\n[client]\ntimeuot = "3s"\n')
    finished = refuse(small_trace(tmp_path / "trace.jsonl"), CLOSED_PORT, "--profile", str(profile), scratch=tmp_path)
    assert_one_clear_line(finished, USAGE, "nightly.toml", "arivals", "timeuot")


@pytest.mark.parametrize(
    "args, words",
    [
        pytest.param(["--arrivals", "often"], ["often"], id="arrivals"),
        pytest.param(["--timeout", "soon"], ["soon"], id="duration"),
        pytest.param(["--threshold", "p99(banana) < 3"], ["banana"], id="threshold"),
        pytest.param(["--retry", "forever"], ["forever"], id="retry policy"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tmp_path: Path, args: list[str], words: list[str]) -> None:
    """A wrong value is quoted back, with exit code 2 and no traceback."""
    finished = refuse(small_trace(tmp_path / "trace.jsonl"), CLOSED_PORT, *args, scratch=tmp_path)
    assert finished.exit_code == USAGE, finished.explain()
    assert "Traceback" not in finished.stderr, finished.explain()
    assert all(word in finished.stderr for word in words), finished.explain()


def test_an_unreachable_target_is_told_apart(tmp_path: Path) -> None:
    """A port where nobody listens: exit code 7, the target named."""
    finished = refuse(small_trace(tmp_path / "trace.jsonl"), CLOSED_PORT, scratch=tmp_path)
    assert_one_clear_line(finished, UNREACHABLE, "127.0.0.1:9", "see that the service runs there")


def test_what_is_odd_about_the_trace_does_not_come_before_why_nothing_is_done(tmp_path: Path) -> None:
    """Warnings about a trace are for a run that goes on: of one that is refused only the reason is told."""
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, [[update()]])
    finished = refuse(trace, CLOSED_PORT, scratch=tmp_path)
    assert_one_clear_line(finished, UNREACHABLE, "127.0.0.1:9")
    assert "warning" not in finished.stderr, finished.stderr


@pytest.mark.parametrize("host", ["nowhere.liveperson.net", "va.msg.liveperson.net"])
def test_a_liveperson_name_is_refused_before_dns_is_asked(tmp_path: Path, host: str) -> None:
    """Allowed but for the two words of production: exit code 6 by the name alone, whether it resolves or not."""
    trace = small_trace(tmp_path / "trace.jsonl")
    finished = refuse(trace, f"https://{host}", "--allow-host", host, scratch=tmp_path)
    assert_one_clear_line(finished, GUARD, host, 'target.environment = "production"')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "see that the path is right"),
        (b"\xef\xbb\xbf[load]\n", "save it as UTF-8 without"),
        (bytes(range(256)), "see that it is the right file"),
        (b"[load\n", "at line 1"),
    ],
)
@pytest.mark.parametrize("option", ["--profile", "--slo"])
def test_a_profile_or_slo_file_that_is_none_is_refused(
    tmp_path: Path, option: str, content: bytes | None, words: str
) -> None:
    """Missing, marked, binary and broken files: exit code 2, the file named, and what to do."""
    if content is not None:
        (tmp_path / "x.toml").write_bytes(content)
    file = str(tmp_path / "x.toml")
    finished = refuse(small_trace(tmp_path / "trace.jsonl"), CLOSED_PORT, option, file, scratch=tmp_path)
    assert_one_clear_line(finished, USAGE, "x.toml", words)


@contextmanager
def babbler(answer: bytes) -> Iterator[int]:
    """A server that answers any connection with `answer` and closes; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(2)
                try:
                    client.recv(4096)
                    client.sendall(answer)
                except OSError:
                    continue  # the client left first, which is its right

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b""])
def test_a_target_that_does_not_speak_http_is_told_apart(tmp_path: Path, answer: bytes) -> None:
    """Garbage, TLS or silence where HTTP is expected: exit code 7 in one line."""
    with babbler(answer) as port:
        trace = small_trace(tmp_path / "trace.jsonl")
        finished = start_run(trace, f"http://127.0.0.1:{port}", "--retry", "none", scratch=tmp_path).wait(90)
    assert_one_clear_line(finished, UNREACHABLE, str(port))


def test_a_metrics_port_in_use_is_refused(tmp_path: Path) -> None:
    """`--metrics` on a taken port ends with exit code 2 and names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken, oracle() as server:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        trace = small_trace(tmp_path / "trace.jsonl")
        finished = refuse(trace, server.url, "--metrics", address, scratch=tmp_path)
        assert server.log().calls == []
    assert_one_clear_line(finished, USAGE, address.rpartition(":")[2])


def test_a_host_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    """An address beyond loopback without `--allow-host`: exit code 6, nothing is connected."""
    trace = small_trace(tmp_path / "trace.jsonl")
    finished = refuse(trace, "http://192.0.2.1:8080", scratch=tmp_path)
    assert_one_clear_line(finished, GUARD, "192.0.2.1", "--allow-host")


def test_a_run_folder_in_use_is_refused(tmp_path: Path) -> None:
    """`--out` on a folder that holds something else leaves it alone."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with oracle() as server:
        finished = refuse(small_trace(tmp_path / "trace.jsonl"), server.url, scratch=tmp_path)
    assert finished.exit_code in (USAGE, INTERNAL), finished.explain()
    assert "Traceback" not in finished.stderr, finished.explain()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


# What happens in the middle of a run


def playing(command: Command, calls: Callable[[], int], at_least: int) -> None:
    """Waits until the service has seen that many calls of the run."""
    wait_until(lambda: calls() >= at_least or not command.alive, 60, f"{at_least} calls")
    assert command.alive, command.wait(5).explain()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C (or SIGTERM) mid-run: exit code 130, a partial folder whose summary balances and fits the oracle."""
    trace = small_trace(tmp_path / "trace.jsonl", visits=3000)
    with oracle("--delay-ms", "1..5") as server:
        command = start_run(trace, server.url, scratch=tmp_path)
        try:
            playing(command, lambda: len(server.log().calls), 200)
            below = descendants(command.pid)
            command.signal(number)
            finished = command.wait(120)
        finally:
            command.kill()
        log = server.log()
    assert finished.exit_code == INTERRUPTED, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    assert_partial(finished)
    summary = finished.summary
    # A call in flight when its visit is cut off has no result: it is part of what `censored` stands for.
    assert 0 <= len(log.calls) - summary["attempts"]["total"] <= summary["visits"]["censored"]
    assert summary["visits"]["undealt"] + summary["visits"]["censored"] > 0
    assert (finished.out / "series.jsonl").read_text().count("\n") > 0
    assert not [pid for pid in below if command_line(pid)], "children outlived the run"


def test_a_second_interrupt_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    """Who presses Ctrl-C twice is let go at once, and still finds a folder that says it is partial."""
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh"), get_engagement(50.0)] for _ in range(3000)), 50)
    with oracle("--delay-ms", "1..5") as server:
        command = start_run(trace, server.url, "--drain", "60s", scratch=tmp_path)
        try:
            playing(command, lambda: len(server.log().calls), 100)
            command.signal(signal.SIGINT)
            wait_until(lambda: command.stderr_so_far() != "", 10, "a word on the first Ctrl-C")
            command.signal(signal.SIGINT)
            finished = command.wait(command.age_s() + 20)
        finally:
            command.kill()
    assert finished.exit_code == INTERRUPTED, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    assert finished.manifest["partial"] is True


RESERVE_KB = 128  # what a run folder keeps free for its end


@contextmanager
def small_disk(path: Path, size_kb: int) -> Iterator[None]:
    """A folder that soon is full: a tmpfs of that size, beside what a run reserves; needs the right to mount."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={RESERVE_KB + size_kb}k", "tmpfs", str(path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode and os.geteuid():
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}")
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.parametrize("size_kb", [pytest.param(12, id="in the run"), pytest.param(48, id="at the report")])
def test_a_full_disk_loses_no_result(tmp_path: Path, size_kb: int) -> None:
    """A disk that fills up: exit code 1 and one line that names the folder; the result is still told on stdout."""
    trace = small_trace(tmp_path / "trace.jsonl", visits=500, rate_hz=50)
    with oracle("--delay-ms", "1..5") as server, small_disk(tmp_path / "disk", size_kb):
        out = tmp_path / "disk" / "run"
        command = start_run(trace, server.url, "--json", scratch=tmp_path, out=out)
        try:
            finished = command.wait(120)
        finally:
            command.kill()
        manifest = finished.manifest
        assert_one_clear_line(finished, INTERNAL, str(out))
        summary = json.loads(finished.stdout)
        log = server.log()
    assert_ledger(summary)
    assert manifest["partial"] is True
    assert "the disk is full" in manifest["reason"], manifest["reason"]
    # Of the calls only those in flight when their visits were cut off have no result.
    assert 0 <= len(log.calls) - summary["attempts"]["total"] <= summary["visits"]["censored"]
    ended = ("completed", "censored", "undealt")
    assert summary["visits"]["planned"] == sum(summary["visits"][end] for end in ended) == 500


def workers_of(command: Command) -> list[int]:
    """The worker processes of a run."""
    return [pid for pid in descendants(command.pid) if "--worker" in command_line(pid)]


def test_a_run_whose_worker_never_comes_up_says_so(tmp_path: Path) -> None:
    """The only worker is killed as soon as it exists: exit code 5, one line about workers, nothing hangs."""
    trace = small_trace(tmp_path / "trace.jsonl")
    with oracle() as server:
        command = start_run(trace, server.url, scratch=tmp_path)
        try:
            wait_until(lambda: bool(workers_of(command)) or not command.alive, 30, "a worker process")
            for pid in workers_of(command):
                os.kill(pid, signal.SIGKILL)
            finished = command.wait(90)
        finally:
            command.kill()
    assert_one_clear_line(finished, INVALID, "worker")
    assert_partial(finished)


def test_a_worker_killed_in_the_middle_makes_the_run_invalid_but_balanced(tmp_path: Path) -> None:
    """SIGKILL of the only worker mid-run: exit code 5, its visits are lost by name, the ledger still balances."""
    trace = small_trace(tmp_path / "trace.jsonl", visits=1000)
    with oracle("--delay-ms", "1..5") as server:
        command = start_run(trace, server.url, scratch=tmp_path)
        try:
            playing(command, lambda: len(server.log().calls), 200)
            for pid in workers_of(command):
                os.kill(pid, signal.SIGKILL)
            finished = command.wait(120)
        finally:
            command.kill()
        log = server.log()
    assert finished.exit_code == INVALID, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    summary = finished.summary
    assert_ledger(summary)
    assert summary["verdict"]["status"] == "INVALID"
    assert summary["visits"]["lost"] > 0
    assert summary["visits"]["lost"] + summary["visits"]["undealt"] + summary["visits"]["completed"] == 1000
    assert 0 < summary["attempts"]["total"] <= len(log.calls)


def test_a_master_killed_in_the_middle_leaves_a_readable_partial_folder(tmp_path: Path) -> None:
    """SIGKILL of the Locust master: exit code 1 in one line, a folder that says partial, no process left behind."""
    trace = small_trace(tmp_path / "trace.jsonl", visits=1000)
    with oracle("--delay-ms", "1..5") as server:
        command = start_run(trace, server.url, scratch=tmp_path)
        try:
            playing(command, lambda: len(server.log().calls), 200)
            below = descendants(command.pid)
            for pid in below:
                if "--master" in command_line(pid):
                    os.kill(pid, signal.SIGKILL)
            finished = command.wait(90)
        finally:
            command.kill()
    assert_one_clear_line(finished, INTERNAL)
    assert_partial(finished)
    assert (finished.out / "series.jsonl").read_text().count("\n") > 0
    assert not [pid for pid in below if command_line(pid)], "children outlived the run"
