"""One run from configuration to verdict, as the parent process conducts it.

    trace checked → simulator started, if asked for → target resolved, guarded, probed → master and workers started →
    events watched → result printed

Every step may refuse with one line; whatever was started before is ended on the way out. The parent carries no load
and is not monkey-patched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import msgspec

from harness.cli.fabric import Commands, Event, Fabric, locust_commands
from harness.cli.probe import probe
from harness.cli.progress import Progress, open_progress
from harness.cli.simulator import is_simulator, simulator
from harness.cli.supervise import POLL_S, Death, Interrupts, RunError, Wish, nothing_died, watch
from harness.cli.traces import check_trace, keep_stdin
from harness.cli.verdict import ending_line, near, print_result
from harness.config.build import absolute_paths, public_config
from harness.config.guard import is_loopback
from harness.config.model import UNVERIFIED, RunConfig
from harness.config.secrets import resolve_headers
from harness.engine.endpoint import Endpoint, resolve_endpoint
from harness.errors import GuardError, HarnessError, UnreachableError, UsageError
from harness.store.run_folder import RunFolder
from harness.units import NS_PER_S

# How long a master that reported an error may take to close the run folder.
_CLOSING_S = 10.0
_LINGER_MARGIN_S = 15.0


def conduct(
    config: RunConfig,
    *,
    as_json: bool,
    quiet: bool,
    people: TextIO,
    commands: Commands | None = None,
    wish: Callable[[], Wish] | None = None,
    death: Death = nothing_died,
) -> int:
    """Carries out a run and returns the exit code of its verdict.

    The result goes to stdout (the text summary, or summary.json if `as_json`, or one line if `quiet`), everything else
    to `people`. `commands` take the place of Locust's; `wish` may let the run end sooner, `death` tells when a
    simulator of the caller's has ended. A trace whose digest the
    configuration knows has been checked already. Raises `HarnessError` for all that keeps the run from its end;
    the run folder is then partial and says so.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-run-")))
        progress = open_progress(people, quiet=quiet)
        stack.callback(progress.close)
        try:
            config, death = _prepare(config, folder, progress, stack, death)
        except (UnreachableError, GuardError) as error:
            _leave_partial(config, str(error), people)
            raise
        if config.unverified:
            # Loud whatever else is quiet: who reads the result must know whom it may be about.
            print(UNVERIFIED, file=people, flush=True)
        config_file = folder / "config.json"
        config_file.write_bytes(msgspec.json.encode(config))
        commands = commands or locust_commands(config, config_file)
        interrupts = stack.enter_context(Interrupts().heard())
        try:
            with Fabric(commands, config.workers, folder) as fabric:
                _announce(config, commands, progress)
                event = _follow(fabric, progress, interrupts, commands.join_limit_s, wish, death)
                progress.close()
                summary: dict[str, Any] = event["summary"]
                print_result(summary, Path(config.out_dir), as_json=as_json, quiet=quiet, people=people)
                if event.get("lingers"):
                    _linger(fabric, config, interrupts, people if not quiet else None)
                else:
                    if config.bind is not None:
                        # Workers elsewhere end because Locust tells them so on its way out.
                        fabric.wait_for_end(_CLOSING_S)
                    # Everything is written and told: what else Locust does on its way out is of no use to anybody.
                    fabric.kill()
        except (HarnessError, KeyboardInterrupt) as error:
            progress.close()
            _leave_partial(config, str(error) or "interrupted", people)
            raise
        finally:
            _keep_logs(folder, Path(config.out_dir), people)
        ending = ending_line(summary)
        if ending is not None:
            print(f"harness: error: {ending}\nrun folder: {near(Path(config.out_dir))}", file=people, flush=True)
        return int(summary["verdict"]["exit_code"])


def _prepare(
    config: RunConfig, folder: Path, progress: Progress, stack: ExitStack, death: Death
) -> tuple[RunConfig, Death]:
    """The configuration with what only looking can tell (digest, target, absolute paths), and how its simulator dies.

    Refuses what cannot run.
    """
    notes: tuple[str, ...] = ()
    _require_free(Path(config.out_dir))
    if config.trace == "-":
        config = msgspec.structs.replace(config, trace=str(keep_stdin(folder)))
    if not config.trace_digest:
        facts = check_trace(config.trace, config.on_bad_line)
        config = msgspec.structs.replace(config, trace_digest=facts.digest, cohorts=facts.cohorts)
        notes = facts.notes
    resolve_headers(config.headers, os.environ)
    if is_simulator(config.target):
        embedded = stack.enter_context(simulator(config.target, seed=config.seed, folder=folder))
        progress.note(f"simulator at {embedded.url}")
        config, death = msgspec.structs.replace(config, target=embedded.url), embedded.death
    endpoint = resolve_endpoint(config)
    _require_account(config, endpoint)
    probe(endpoint, config.connect_timeout_ns / NS_PER_S, config.timeout_ns / NS_PER_S)
    for line in notes:
        progress.note(line)
    return absolute_paths(config), death


def _require_free(out: Path) -> None:
    # The master refuses such a folder, too; but then its owner's files would be taken for what this run left.
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"the run folder {near(out)} is not empty: name another with --out, or move it away")


def _require_account(config: RunConfig, endpoint: Endpoint) -> None:
    # The default account may belong to somebody: it is good for practice on this machine only.
    named = config.accounts or config.origins.get("account") != "default"
    if not named and not all(is_loopback(str(address[0])) for _, address in endpoint.addresses):
        raise UsageError(f"no account given for {endpoint.host}: add --account ID or the profile's target.account")


def _announce(config: RunConfig, commands: Commands, progress: Progress) -> None:
    if commands.web_url is not None:
        progress.note(f"web UI at {commands.web_url}")
    if config.metrics is not None:
        progress.note(f"metrics at http://{config.metrics}/metrics")
    remote = config.expect_workers - config.workers
    if remote > 0:
        progress.note(f"waiting for {remote} more worker(s) at {config.bind}")


def _follow(
    fabric: Fabric,
    progress: Progress,
    interrupts: Interrupts,
    join_limit_s: float,
    wish: Callable[[], Wish] | None,
    death: Death,
) -> Event:
    try:
        return watch(fabric, progress, interrupts, join_limit_s=join_limit_s, wish=wish, death=death)
    except RunError:
        fabric.wait_for_end(_CLOSING_S)
        raise


def _linger(fabric: Fabric, config: RunConfig, interrupts: Interrupts, people: TextIO | None) -> None:
    """Lets the master wait for a last scrape of its metrics, no longer than it said, or until the user has enough."""
    if fabric.wait_for_end(1.0):
        return
    if people is not None and config.metrics is not None:
        print("waiting for a last scrape of the metrics (Ctrl-C ends that)", file=people, flush=True)
    heard = interrupts.count
    left_s = config.linger_ns / NS_PER_S + _LINGER_MARGIN_S
    while left_s > 0 and interrupts.count == heard and not fabric.wait_for_end(POLL_S):
        left_s -= POLL_S


def _leave_partial(config: RunConfig, reason: str, people: TextIO) -> None:
    """Says where the partial run folder is; makes one when the run ended before the master could."""
    out = Path(config.out_dir)
    if not out.exists():
        manifest = {"run_id": config.run_id, "trace_digest": config.trace_digest, "config": public_config(config)}
        folder = RunFolder.create(out, manifest)
        folder.mark_partial(reason)
        folder.close()
    print(f"partial run folder: {near(out)}", file=people, flush=True)


def _keep_logs(folder: Path, out: Path, people: TextIO) -> None:
    """Copies the children's logs that hold something into the run folder, if there is one."""
    if not out.is_dir():
        return
    try:
        for log in sorted(folder.glob("*.log")):
            if log.stat().st_size:
                shutil.copyfile(log, out / log.name)
    except OSError as error:
        # The run itself is stored and judged; a full disk here must not replace its verdict.
        print(f"logs could not be kept in {near(out)}: {error.strerror}", file=people, flush=True)
