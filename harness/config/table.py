"""The table of settings: one row each, from which flags, environment mirrors, profile keys, `--show-config` and the
docs are made. Precedence: flag > environment > profile > default.
"""

from __future__ import annotations

from harness.config.kinds import (
    ACCOUNT,
    ADDRESS_OR_OFF,
    ANY_TEXT,
    BIND,
    DURATION,
    FLAG,
    HOST,
    IP,
    PATH,
    POSITIVE_DURATION,
    TEXT,
    URL,
    choice,
    count,
    number,
)
from harness.config.settings import Setting

_TARGET = (
    Setting(
        "target", URL, "Base URL of the service, or an embedded simulator: sim, sim:SCENARIO.", "--target", "target.url"
    ),
    Setting("account", ACCOUNT, "Account id of visits that name none.", "--account", "target.account"),
    Setting("accounts", ACCOUNT, "Account ids by the name used in the trace.", None, "target.account", "map"),
    Setting(
        "allowed_hosts",
        HOST,
        "Host that may be loaded although it is elsewhere (repeatable).",
        "--allow-host",
        "target.allowed_hosts",
        "list",
    ),
    Setting(
        "environment", TEXT, "What the target is; LivePerson's domains need 'production'.", None, "target.environment"
    ),
    # No profile key: the second confirmation must come from whoever starts the run, not from the file.
    Setting("yes_production", FLAG, "Confirm that a LivePerson domain is to be loaded.", "--yes-production"),
    Setting(
        "resolve",
        IP,
        "Use this address for a host instead of asking DNS (repeatable).",
        "--resolve",
        "target.resolve",
        "map",
        ":",
        "HOST:ADDR",
    ),
)

_LOAD = (
    Setting("trace", PATH, "The trace to replay.", None, "load.trace"),
    Setting(
        "arrivals",
        TEXT,
        "recorded | poisson:50/s | constant:50/s | ramp:10/s..200/s:5m | bursty:50/s,cv=3 | "
        "diurnal(peak=120/s, trough=10/s) | closed:200; several, comma-separated, follow one another.",
        "--arrivals",
        "load.arrivals",
        metavar="SPEC",
    ),
    Setting("duration_ns", POSITIVE_DURATION, "Plan visits for this long.", "--duration", "load.duration"),
    Setting("warmup_ns", DURATION, "Leave the first part out of what is judged.", "--warmup", "load.warmup"),
    Setting("drain_ns", DURATION, "Let open visits finish for this long at the end.", "--drain", "load.drain"),
    Setting("max_think_ns", DURATION, "Cap think times.", "--max-think", "load.max_think"),
    Setting("limit_visits", count(1), "Plan at most this many visits.", "--limit-visits", "load.limit_visits"),
    Setting("loop", count(1), "Replay the trace this many times, each with new visitors.", "--loop", "load.loop"),
    Setting(
        "amplify", number(above=True), "More (or fewer) visitors on the same timeline.", "--amplify", "load.amplify"
    ),
    Setting("speed", number(above=True), "Play the recorded arrivals this much faster.", "--speed", "load.speed"),
    Setting("warp_think", FLAG, "Let --speed shorten think times too.", "--warp-think", "load.warp_think"),
    Setting(
        "on_bad_line",
        choice(("fail", "skip")),
        "What to do about a trace line that cannot be read.",
        "--on-bad-line",
        "load.on_bad_line",
    ),
    Setting("seed", count(0), "Seed of every random choice.", "--seed", "load.seed"),
)

_CLIENT = (
    Setting(
        "retry",
        TEXT,
        "until-available | sdk-sample | rest-guide | none | one of the profile's own.",
        "--retry",
        "client.retry",
        metavar="POLICY",
    ),
    Setting(
        "connections",
        choice(("browser", "pooled", "fresh"), "MODE"),
        "browser (one connection a visitor) | pooled | fresh (one a request).",
        "--connections",
        "client.connections",
    ),
    Setting("timeout_ns", POSITIVE_DURATION, "Give up on a reply after this long.", "--timeout", "client.timeout"),
    Setting(
        "connect_timeout_ns",
        POSITIVE_DURATION,
        "Give up on a connection after this long.",
        "--connect-timeout",
        "client.connect_timeout",
    ),
    Setting(
        "max_lag_ns", POSITIVE_DURATION, "Drop, and count, visits that would be later.", "--max-lag", "client.max_lag"
    ),
    Setting("insecure", FLAG, "Do not verify the target's certificate.", "--insecure", "client.insecure"),
    Setting("ca_file", PATH, "Trust these authorities (PEM).", "--ca-file", "client.ca_file"),
    Setting("client_cert", PATH, "Present this certificate and key (PEM).", "--client-cert", "client.client_cert"),
    Setting(
        "source_addresses",
        IP,
        "Connect from this address of the workers' machine; several take turns (repeatable).",
        "--source-address",
        "client.source_addresses",
        "list",
    ),
    Setting("user_agent", TEXT, "User-Agent of every request; the default names the run.", None, "client.user_agent"),
    Setting(
        "traceparent",
        FLAG,
        "Send a W3C traceparent header, made from the seed and the attempt's id.",
        None,
        "client.traceparent",
    ),
    Setting("headers", ANY_TEXT, "More headers; values may be env:NAME or file:PATH.", None, "client.headers", "map"),
)

_JUDGE = (
    Setting("slo", PATH, "TOML file with an [slo] table; takes the place of the profile's.", "--slo"),
    Setting(
        "thresholds",
        TEXT,
        "Condition to judge: 'p99(response_time) < 800ms' (repeatable; adds to the [slo] table).",
        "--threshold",
        None,
        "list",
        metavar="EXPR",
    ),
    Setting("validity.lag_p99_ms", number(above=True), "Dispatch lag, 99th percentile.", None, "validity.lag_p99_ms"),
    Setting(
        "validity.loop_stall_max_ms", number(above=True), "Longest loop stall.", None, "validity.loop_stall_max_ms"
    ),
    Setting(
        "validity.cpu_max_ratio", number(0, 1, above=True), "CPU of the busiest worker.", None, "validity.cpu_max_ratio"
    ),
    Setting(
        "validity.arrivals_deviation_ratio",
        number(0, 1),
        "Achieved against planned arrivals.",
        None,
        "validity.arrivals_deviation_ratio",
    ),
    Setting("validity.dropped_ratio", number(0, 1), "Share of visits dropped.", None, "validity.dropped_ratio"),
    Setting("validity.crossed", count(0), "Replies with another open visit's vid.", None, "validity.crossed"),
    Setting("validity.workers_lost", count(0), "Workers lost.", None, "validity.workers_lost"),
    Setting(
        "validity.drift_ratio",
        number(above=True),
        "Drift of the service time from start to end; without a limit it is only told.",
        None,
        "validity.drift_ratio",
    ),
    Setting(
        "tolerate_worker_loss",
        count(0),
        "Workers that may be lost before the run is INVALID.",
        "--tolerate-worker-loss",
        "validity.tolerate_worker_loss",
    ),
    Setting("regression.metrics", TEXT, "Metrics compared with the baseline.", None, "regression.metrics", "list"),
    Setting(
        "regression.min_effect", number(), "Smallest change that matters, as a ratio.", None, "regression.min_effect"
    ),
    Setting("regression.alpha", number(0.0001, 0.5), "Accepted false alarms.", None, "regression.alpha"),
    Setting("regression.history", count(1), "Accepted runs that make the baseline.", None, "regression.history"),
)

_LIMITS = (
    Setting("limits.max_visits_per_s", number(above=True), "Most visits a second.", None, "limits.max_visits_per_s"),
    Setting("limits.max_open_visits", count(1), "Most visits open at once.", None, "limits.max_open_visits"),
    Setting(
        "limits.max_new_sessions_per_min",
        number(above=True),
        "Most new sessions a minute.",
        None,
        "limits.max_new_sessions_per_min",
    ),
    Setting("limits.abort_on", TEXT, "Conditions whose failure ends the run.", None, "limits.abort_on", "list"),
)

_MACHINE = (
    Setting("workers", count(0), "Local worker processes beside the master.", "--workers", "load.workers"),
    Setting("bind", BIND, "Address where workers of other machines join.", "--bind", "load.bind"),
    Setting(
        "expect_workers",
        count(1),
        "Begin when this many workers have joined (default: --workers).",
        "--expect-workers",
        "load.expect_workers",
    ),
    Setting("metrics", ADDRESS_OR_OFF, "Prometheus endpoint.", "--metrics", "load.metrics"),
    Setting("linger_ns", DURATION, "If somebody scraped, wait for a last scrape.", "--linger", "load.linger"),
    Setting("out_dir", PATH, "Run folder; the default is a new one under runs/.", "--out", "load.out", metavar="DIR"),
    Setting("labels", TEXT, "Label of the run (repeatable).", "--label", "load.labels", "map", metavar="K=V"),
    Setting("web", FLAG, "Show Locust's web UI.", "--web", "load.web"),
    Setting(
        "log_attempts",
        PATH,
        "Write one JSON line an attempt to this file.",
        "--log-attempts",
        "load.log_attempts",
        hidden=True,
    ),
)

_COMMAND = (
    Setting("profile", PATH, "TOML file with settings.", "--profile"),
    Setting("json", FLAG, "Print the summary as JSON on stdout; text goes to stderr.", "--json"),
    Setting("quiet", FLAG, "No progress and no table, only the verdict.", "--quiet"),
)

SETTINGS: tuple[Setting, ...] = _TARGET + _LOAD + _CLIENT + _JUDGE + _LIMITS + _MACHINE + _COMMAND
BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
