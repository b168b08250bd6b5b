"""`harness trace record`: a reverse proxy before the service that writes what its visitors do as a trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import output_option

if TYPE_CHECKING:
    from harness.recorder.record import Passed
    from harness.trace.intake.tying import Tying


@click.command("record")
@click.option("--listen", default="127.0.0.1:8899", show_default=True, help="HOST:PORT for clients; port 0: any.")
@click.option("--upstream", metavar="URL", help="The service: http://HOST:PORT or https://HOST, perhaps with a path.")
@output_option
@click.option("--ca-file", metavar="FILE", help="Authorities (PEM) to trust instead of the system's.")
@click.option("--insecure", is_flag=True, help="Do not verify the service's certificate.")
@click.option("--gap", default="30m", show_default=True, help="A longer pause between calls ends a visit.")
@click.option(
    "--retry-pause", default="20s", show_default=True, help="The same call again after an error: a retry until then."
)
@click.option("--recover", metavar="FILE", help="Write the trace of a recording that was cut off; records nothing.")
def record(
    listen: str,
    upstream: str | None,
    output: str,
    ca_file: str | None,
    insecure: bool,
    gap: str,
    retry_pause: str,
    recover: str | None,
) -> None:
    """Record visits: pass calls through to the service until Ctrl-C or SIGTERM, then write the trace.

    Point clients at the address it prints. Bytes pass unchanged but for the Host header. The trace holds what visitors
    sent, personal data included, but no ids: anonymize it before it leaves the house. After a crash nothing that was
    answered is lost: --recover.
    """
    from harness.errors import UsageError
    from harness.recorder.journal import read_journal
    from harness.recorder.record import Options
    from harness.recorder.record import record as run_proxy
    from harness.trace.intake.recording import write_recording
    from harness.units import parse_duration_ns

    gap_ns, retry_ns = parse_duration_ns(gap), parse_duration_ns(retry_pause)
    if recover is not None:
        journal = Path(recover)
    else:
        if upstream is None:
            raise UsageError("--upstream URL is needed: the service to record at")
        host, port = _address(listen)
        options = Options(host=host, port=port, upstream=upstream, output=output, ca_file=ca_file, insecure=insecure)
        journal, passed = run_proxy(options, lambda url: _ready(url, upstream, host))
        _tell_passed(passed)
        if not passed.calls:
            raise UsageError("no engagement call came through: nothing was written")
    tying, totals = write_recording(
        read_journal(journal),
        output,
        source="recording",
        nothing=lambda tying: (
            f"{journal}: no engagement call that a trace could keep: {tying.calls} calls, left out: {_left_out(tying)}"
        ),
        gap_ns=gap_ns,
        retry_ns=retry_ns,
    )
    journal.unlink()
    click.echo(
        f"{tying.calls} calls: {totals.steps} steps in {totals.visits} visits; left out: {_left_out(tying)}", err=True
    )
    tell_tying(tying)


def _left_out(tying: Tying) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in tying.left_out.most_common()) or "nothing"


def tell_tying(tying: Tying) -> None:
    """What was guessed about a recording, and the client's retry policy, for people on stderr."""
    from harness.visitor.guess import guess_policy, nearest_policy, profile_table

    for note, count in tying.notes.most_common():
        if count:
            click.echo(f"note: {count} {note}", err=True)
    policy = guess_policy(tying.retries)
    if policy is None:
        click.echo("retries: none seen", err=True)
        return
    nearest = nearest_policy(policy, tying.retries)
    like = f", as the policy {nearest} does" if nearest else ""
    click.echo(
        f"retries: {tying.retries.folded} of {tying.calls} calls were folded into the step they try again{like}; "
        f"as a profile's table:\n{profile_table(policy)}",
        err=True,
    )


def _ready(url: str, upstream: str, host: str) -> None:
    from harness.config.guard import is_loopback

    if host != "localhost" and not is_loopback(host):
        click.echo(f"harness: WARNING: whoever reaches {host} can call {upstream} through this recorder", err=True)
    click.echo(f"recording at {url}, passed on to {upstream}; Ctrl-C writes the trace", err=True)


def _tell_passed(passed: Passed) -> None:
    counts = {
        "other requests passed through": passed.others,
        "connections that the service did not take": passed.unreachable,
        "replies whose encoding could not be read": passed.unreadable,
    }
    for what, count in counts.items():
        if count:
            click.echo(f"{count} {what}", err=True)


def _address(text: str) -> tuple[str, int]:
    from harness.config.target import normal_host
    from harness.errors import UsageError

    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text}: write HOST:PORT")
    return normal_host(host), int(port)
