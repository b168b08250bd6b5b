"""`harness doctor`: is this machine fit to generate load, and is the target there?"""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.options import read_settings, setting_options
from harness.errors import ExitCode, UsageError


@click.command("doctor", short_help="Is this machine fit to generate load?")
@setting_options(
    "target", "allowed_hosts", "yes_production", "resolve", "profile", "insecure", "ca_file", "client_cert",
    "connect_timeout_ns", "json",
)  # fmt: skip
def doctor(**flags: Any) -> int:
    """Look at limits, ports, clock, timers, cores, memory and versions, and measure the rate one worker can keep.

    With a target (--target, or a profile's) also DNS, the guard, TLS and whether it answers; nothing is sent to a
    target that the guard does not allow. Each line is ok, warn or bad. Exit code 0: fit; 5: something is bad.
    """
    from dataclasses import asdict

    from harness.bench.machine import machine, versions
    from harness.doctor.engine import alarm_finding, rate_finding
    from harness.doctor.findings import fit, render
    from harness.doctor.host import host_findings

    settled = read_settings(flags)
    target = _target_findings(settled)
    found = versions()
    rate_line, rate = rate_finding()
    findings = [*host_findings(found), alarm_finding(), rate_line, *target]
    if settled.values["json"]:
        document = {
            "schema": "harness.doctor/1",
            "fit": fit(findings),
            "findings": [asdict(finding) for finding in findings],
            "rate": None if rate is None else asdict(rate),
            "machine": machine(),
            "versions": found,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(render(findings))
        click.echo("fit to generate load" if fit(findings) else "NOT fit: see the lines marked bad")
    return int(ExitCode.PASS if fit(findings) else ExitCode.INVALID)


def _target_findings(settled: Any) -> list[Any]:
    """What there is to say about the target, if one is named; first of all, so that mistakes show at once."""
    from harness.cli.probe import probe
    from harness.cli.simulator import is_simulator
    from harness.config.build import build_config
    from harness.doctor.target import target_findings

    if settled.origins["target"] == "default":
        return []
    if is_simulator(str(settled.values["target"])):
        raise UsageError("--target: an embedded simulator has no address to look at: give a URL, or leave it out")
    return target_findings(build_config(settled, run_id="doctor", trace="", scenario="doctor"), probe)
