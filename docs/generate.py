"""Writes the pages that are made from the code: `python docs/generate.py` in the environment of the project.

cli.md comes from click's own help, configuration.md from the table of settings, metrics.md from a page that the
exporter renders, personal-data.md from the table of treatments. tests/contract/test_docs_in_step.py makes them again
and compares.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from harness.cli.main import cli
from harness.config.settings import Setting
from harness.config.table import SETTINGS
from harness.export.example import example_page
from harness.export.names import HISTORY
from harness.export.text_format import encode_text
from harness.judge import threshold
from harness.trace.privacy import policy
from harness.visitor.retry import POLICIES, RetryPolicy
from harness.wire.personal import TREATMENTS, Treatment

FOLDER = Path(__file__).parent
WIDTH = 100
PARAGRAPH = "\n\n"
NOTICE = "<!-- Made by docs/generate.py; do not edit. -->"


def pages() -> dict[str, str]:
    """Every generated page: file name in docs/ to text."""
    return {
        "cli.md": cli_page(),
        "configuration.md": configuration_page(),
        "metrics.md": metrics_page(),
        "personal-data.md": personal_page(),
    }


# cli.md


def cli_page() -> str:
    """The help of every command."""
    parts = [NOTICE, "# Commands", "What `--help` says, command by command. Exit codes: [README](../README.md)."]
    for name, command in commands("harness", cli):
        context = click.Context(command, info_name=name, terminal_width=WIDTH, help_option_names=["-h", "--help"])
        parts += [f"## {name}", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(parts) + "\n"


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it that are not hidden, parents first."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None and not found.hidden:
                yield from commands(f"{name} {inner}", found)


# configuration.md


def configuration_page() -> str:
    """The table of settings, retry policies and the grammar of thresholds."""
    tables = dict.fromkeys(setting.key.partition(".")[0] for setting in SETTINGS if setting.key)
    parts = [
        NOTICE,
        "# Configuration",
        "A setting is a flag of `harness run`, a variable of the environment, a key of the profile (a TOML file named "
        "by `--profile`), or any of them. A flag beats the environment, the environment the profile, the profile the "
        "default. `harness run --show-config` prints every value with its origin. Relative paths in a profile start "
        "at its own folder. Lists and maps take their items separated by `;` in the environment. Every problem of a "
        "profile is reported at once.",
        "Durations are written `250ms`, `30s`, `5m`, `1m30s` (a bare number is seconds), rates `50/s`, `120/m`.",
    ]
    for table in tables:
        rows = [setting for setting in SETTINGS if setting.key and setting.key.startswith(f"{table}.")]
        parts += [f"## [{table}]", setting_table([setting for setting in rows if not setting.hidden])]
    parts += ["## On the command line only", setting_table([setting for setting in SETTINGS if setting.key is None])]
    parts += ["## [retry.NAME]", cleaned(RetryPolicy)]
    parts += ["The shipped policies, where they differ from the defaults; `none` retries nothing:", policy_table()]
    parts += ["## [slo]", slo_text(), f"```text\n{grammar()}\n```"]
    return "\n\n".join(parts) + "\n"


def setting_table(settings: Sequence[Setting]) -> str:
    """A row for each setting: where it is written, its default, what it does."""
    return table(
        ("key", "flag", "environment", "default", ""),
        [
            (
                code(key_name(setting)),
                code(f"{setting.flag or ''} {flag_value(setting)}".strip()),
                code(setting.env or ""),
                code(setting.shown(setting.default).removeprefix("-")),
                setting.help,
            )
            for setting in settings
        ],
    )


def key_name(setting: Setting) -> str:
    """The key inside its table; of a map, with a name below it."""
    key = (setting.key or "").partition(".")[2]
    return f"{key}.NAME" if setting.shape == "map" and key else key


def flag_value(setting: Setting) -> str:
    """What follows the flag on the command line; nothing where there is no flag."""
    return (setting.metavar or setting.kind.metavar) if setting.flag else ""


def policy_table() -> str:
    """The shipped policies but `none`, which is all defaults, field by field where they differ from the default."""
    policies = [policy for policy in POLICIES.values() if policy.name != "none"]
    fields = [field for field in msgspec.structs.fields(RetryPolicy) if field.name != "name"]
    rows = []
    for field in fields:
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        values = [said(getattr(policy, field.name), default) for policy in policies]
        rows.append((code(field.name), said(default, None), *values))
    return table(("field", "default", *(code(policy.name) for policy in policies)), rows)


def said(value: object, default: object) -> str:
    """A policy's value, empty where it is the default."""
    if value == default or value is None:
        return ""
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    if isinstance(value, tuple):
        return ", ".join(map(said_number, value))
    return said_number(value)


def said_number(value: object) -> str:
    """A number without superfluous zeros; anything else as JSON would write it, or as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def slo_text() -> str:
    """How an [slo] table is written."""
    return (
        'Left of the equals sign stands what is measured, right of it the condition: `"p99(response_time)" = '
        '"< 800ms"`. A list of texts gives several conditions. `--threshold` takes both as one text.'
    )


def grammar() -> str:
    """The theory of `harness.judge.threshold`, without its first line."""
    return inspect.cleandoc(threshold.__doc__ or "").partition("\n\n")[2]


# metrics.md


def metrics_page() -> str:
    """Every family of the metrics page with its labels, read from a rendered page as Prometheus would."""
    rendered = encode_text(example_page()).decode()
    rows, values = [], dict[str, dict[str, None]]()
    for family in text_string_to_metric_families(rendered):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = [label for label in family.samples[0].labels if label != "le"]
        rows.append((code(name), family.type, ", ".join(map(code, labels)), family.documentation))
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, {})[value] = None
    series = sum(1 for line in rendered.splitlines() if not line.startswith("#"))
    parts = [
        NOTICE,
        "# Metrics",
        "`harness run` serves them at `http://127.0.0.1:9646/metrics` (`--metrics ADDR|off`), in the Prometheus text "
        "format 0.0.4, in OpenMetrics 1.0 or in protobuf, as the scraper prefers, from the master alone. Units are "
        "base units. Counters and histograms cover the whole run, the "
        "warm-up included, and stand at zero before the first call, those of every cohort too: the trace is read "
        "before the run begins. "
        "After the run the endpoint waits, if somebody scraped, until every scraper has the last page, `--linger` at "
        "most. Scrapers are told apart by their kept connection, or else by address and User-Agent; one that has "
        "stayed away for twice its longest time and 5 s, or came once and not again for two minutes, is not waited for "
        "where another one is. "
        f"With one cohort, one threshold and load steps a page has {series} series.",
        table(("name", "type", "labels", ""), rows),
        "## Label values",
        "Sets are closed: ids, URLs and texts of the target never become labels. Cohorts come from the trace; beyond "
        "five the rest is `(other)`, where visits stand too that the master alone knows of (lost, undealt).",
        table(("label", "values"), [(code(label), label_values(label, found)) for label, found in values.items()]),
        "`harness_capacity_*` are there in a capacity search (its own process serves them; at the end with the bound "
        "`estimate`; beside them stand `harness_run_info` and `harness_run_phase` alone), and in runs that hold "
        "several rates one after another (`--arrivals "
        "'constant:20/s:1m,constant:40/s:1m'`): each held rate is a step, its first fifth left out; the series speak "
        "of the newest finished one.",
        "## History",
        "`harness history export --openmetrics` writes these, one sample a run, for `promtool tsdb create-blocks-from "
        "openmetrics`; all carry `scenario`, those of a metric `metric` (`p95(response_time)`).",
        table(("name", ""), [(code(name), text) for name, text in HISTORY.items()]),
        "## Histograms",
        "Histograms have classic buckets, and in protobuf native ones, too (schema 6: 1.1 % wide); a time that a "
        "threshold names is an edge of the histogram that the threshold speaks of. `harness_latency_seconds` holds "
        "exact quantiles of the run so far, from the "
        "harness's own histogram: prefer it to `histogram_quantile` for headline numbers, and never average it.",
        'Of response time and service time, `_count` and `le="+Inf"` have the requests without any reply too, so '
        "that quantiles know of them; `_sum` has the replies alone, for one infinite time would make it infinite for "
        "ever. So `_sum / _count` is no mean where replies failed to come: "
        '`harness_latency_seconds{stat="mean"}` is that of the replies.',
    ]
    return "\n\n".join(parts) + "\n"


def label_values(label: str, found: Iterable[str]) -> str:
    """The values of a label: the set where it is closed, words where it is not."""
    said = {
        "cohort": "as in the trace, at most five",
        "worker": "`worker-1`, `worker-2`, … in the order in which they joined",
        "slo": "the threshold as it was written",
        "le": "seconds",
        "bound": "`at_least`: the highest rate that held every threshold, no lower one being broken; `below`: the "
        "lowest that was broken; `estimate`: what a search confirmed",
        "parameter": "`lambda` in 1/s, `sigma`, `kappa`; `knee` (attempts in flight) and `peak` (1/s) where the steps "
        "reach them",
        "run_id": "of `manifest.json`",
        "scenario": "name of the trace file",
        "trace": "digest of the trace",
        "version": "of the harness",
    }
    return said.get(label) or " ".join(map(code, found))


# personal-data.md

TREATED: dict[Treatment, str] = {
    "closed": "stays if the contract's closed set or form holds it (flags: true, false, null)",
    "version": "stays if it is one to three numbers below 1,000 with dots between, six digits in all",
    "currency": "stays if it is three capital letters",
    "amount": "stays if it is a number below 100,000 with at most two decimals",
    "count": "stays if it is a whole number below 10,000",
    "coarse": "a number of which one significant digit stays",
    "name": "pseudonym, a word with a capital letter",
    "email": "pseudonym, `…@x.invalid`; capitals do not matter",
    "phone": "pseudonym, `+999 …`; only the digits matter",
    "ip": "pseudonym in 240.0.0.0/4 or 2001:db8::/32; every spelling is the same address",
    "token": "pseudonym, as many bytes as the text and 16 at least",
    "drop": "is left out",
}


def personal_page() -> str:
    """What becomes of each field, by treatment."""
    rows = [
        (code(treatment), text, " ".join(code(path) for path in sorted(TREATMENTS) if TREATMENTS[path] == treatment))
        for treatment, text in TREATED.items()
    ]
    parts = [
        NOTICE,
        "# Personal data in requests",
        "What `harness trace anonymize` makes of each field of a request, without a policy. Attributes and events "
        "begin with their type. Pseudonyms depend on the text and the key alone, so joins survive across fields, "
        "visits and files, and an e-mail address has the same one in every field. What is not in this table is "
        "left out: unknown keys, attributes of unknown types but for a pseudonym of the type. A value that lacks "
        "the form which its treatment expects is denied: a text becomes a token, a number coarse, an object or "
        "array is emptied, so a request that the service refused for a wrong type stays one.",
        table(("treatment", "a value", "fields"), rows),
        "A policy (`--policy FILE`, TOML) gives fields other treatments, `keep` among them:",
        f"```toml\n{textwrap.dedent(cleaned(policy).split(PARAGRAPH)[1])}\n```",
    ]
    return PARAGRAPH.join(parts) + "\n"


# Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """The text as code, or nothing if it is empty."""
    return f"`{text}`" if text else ""


def cleaned(thing: object) -> str:
    """A docstring as it reads, without its indentation."""
    return inspect.cleandoc(thing.__doc__ or "")


if __name__ == "__main__":
    for page, text in pages().items():
        (FOLDER / page).write_text(text)
