"""`harness trace anonymize`: a trace without personal data, or no trace at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import on_bad_line_option, read_key, tell_skipped

if TYPE_CHECKING:
    from harness.trace.lines import OnBadLine

# Keys that are shorter than what they protect can be found by trying.
_SHORT_KEY_BYTES = 16


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT", default="-")
@click.option("--key-file", required=True, help="Secret (1 to 4096 bytes): the same key gives the same pseudonyms.")
@click.option("--policy", "policy_file", help="TOML: fields to keep or to treat otherwise.")
@on_bad_line_option
def anonymize(source: str, output: str, key_file: str, policy_file: str | None, on_bad_line: OnBadLine) -> None:
    """Write the trace IN without personal data to OUT.

    Texts become keyed pseudonyms, the same one for the same text; numbers about persons keep one digit; what the
    contract does not know is left out. Then the output is searched: if a value that had to go stands anywhere in it,
    the command exits with 6 and writes nothing.
    """
    from harness.trace.privacy.anonymize import DiscreetLines, anonymize_trace
    from harness.trace.privacy.policy import Policy, read_policy

    key = read_key(key_file)
    policy = Policy() if policy_file is None else read_policy(policy_file)
    if len(key) < _SHORT_KEY_BYTES:
        click.echo(f"the key has {len(key)} bytes: one below {_SHORT_KEY_BYTES} can be found by trying", err=True)
    bad = DiscreetLines(on_bad_line)
    done = anonymize_trace(source, output, bad, key, policy)
    click.echo(
        f"{done.visits} visits; {done.replaced} values replaced, {done.dropped} left out;"
        f" leak scan: {done.kept} kept texts searched, none holds a value that had to go",
        err=True,
    )
    tell_skipped(bad)
