"""`RunConfig` from settled values: the last step, where settings are judged against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

import harness
from harness.config.model import Regression, RunConfig
from harness.config.resolve import Settled, existing_file, raise_problems
from harness.config.secrets import shown
from harness.config.table import SETTINGS
from harness.config.target import normal_host
from harness.errors import UsageError

# Settings of the command, which a run does not know.
_NOT_IN_RUN = frozenset({"slo", "profile", "json", "quiet"})


def build_config(settled: Settled, *, run_id: str, trace: str, scenario: str) -> RunConfig:
    """The complete configuration of a run.

    Raises `UsageError` with every contradiction between settings and every named file that cannot be read.
    """
    fields = _nested(settled)
    fields["retry"] = settled.policies[str(settled.values["retry"])]
    fields["resolve"] = {normal_host(host): address for host, address in fields["resolve"].items()}
    if settled.origins["expect_workers"] == "default":
        fields["expect_workers"] = max(1, fields["workers"])
    if fields["user_agent"] is None:
        fields["user_agent"] = f"engagement-harness/{harness.__version__} (run {run_id})"
    origins = {name: origin for name, origin in settled.origins.items() if name not in _NOT_IN_RUN}
    fields |= {"run_id": run_id, "trace": trace, "scenario": scenario, "origins": origins}
    # Converting checks the table of settings against the types of RunConfig.
    config = msgspec.convert(fields, RunConfig)
    raise_problems(_contradictions(config))
    return config


def regression_of(settled: Settled) -> Regression:
    """The `[regression]` table alone, for commands that make no run."""
    return msgspec.convert(_nested(settled)["regression"], Regression)


def absolute_paths(config: RunConfig) -> RunConfig:
    """The configuration with every path absolute, so that processes in other folders find the same files."""
    paths = {
        name: str(Path(value).absolute())
        for name in ("trace", "out_dir", "ca_file", "client_cert", "log_attempts")
        if (value := getattr(config, name))
    }
    headers = {
        name: f"file:{Path(value[5:]).expanduser().absolute()}" if value.startswith("file:") else value
        for name, value in config.headers.items()
    }
    return msgspec.structs.replace(config, headers=headers, **paths)


def public_config(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain data for manifest and summary: header values that may be secrets are hidden."""
    plain: dict[str, Any] = msgspec.to_builtins(config, order="deterministic")
    plain["headers"] = {name: shown(value) for name, value in config.headers.items()}
    return plain


def _nested(settled: Settled) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.name in _NOT_IN_RUN:
            continue
        outer, _, inner = setting.name.rpartition(".")
        (fields.setdefault(outer, {}) if outer else fields)[inner] = settled.values[setting.name]
    return fields


def _contradictions(config: RunConfig) -> list[str]:
    problems: list[str] = []
    for path, name in ((config.ca_file, "--ca-file"), (config.client_cert, "--client-cert")):
        if path is not None:
            try:
                existing_file(path, name)
            except UsageError as error:
                problems.append(str(error))
    if config.traceparent and any(name.lower() == "traceparent" for name in config.headers):
        problems.append(
            "client.headers has a traceparent, which client.traceparent = true sends: leave out one of them"
        )
    if config.duration_ns is not None and config.warmup_ns >= config.duration_ns:
        problems.append("--warmup takes all of --duration: nothing would be measured")
    if config.bind is None and config.workers == 0:
        problems.append("--workers 0 needs --bind, where workers of other machines can join")
    elif config.bind is None and config.expect_workers > config.workers:
        problems.append("--expect-workers above --workers needs --bind, where the other workers can join")
    if config.expect_workers < config.workers:
        problems.append(f"--expect-workers {config.expect_workers} is below --workers {config.workers}")
    most = config.limits.max_open_visits
    if most is not None and most < config.expect_workers:
        problems.append(f"limits.max_open_visits {most} is below the number of workers, {config.expect_workers}")
    if config.closed_slots is not None and config.speed != 1.0 and not config.warp_think:
        problems.append("--speed does nothing in a closed run (it has no timeline): leave it out or add --warp-think")
    if config.warp_think and config.speed == 1.0:
        problems.append("--warp-think does nothing without --speed")
    return problems
