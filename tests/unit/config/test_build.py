"""From settled values to `RunConfig`: defaults agree, contradictions are found, secrets stay out of what is stored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import __version__
from harness.config.build import absolute_paths, build_config, public_config
from harness.config.model import RunConfig
from harness.config.resolve import settle
from harness.config.secrets import resolve_headers
from harness.errors import UsageError


def built(flags: dict[str, object] | None = None, profile: str | None = None) -> RunConfig:
    settled = settle(flags or {}, {}, {}, profile)  # type: ignore[arg-type]
    return build_config(settled, run_id="abc", trace="t.jsonl", scenario="t")


def test_defaults_are_the_models() -> None:
    """Without any setting the configuration is `RunConfig`'s own defaults and a User-Agent that names the run."""
    config = built()
    expected = RunConfig(run_id="abc", trace="t.jsonl", scenario="t")
    assert msgspec.structs.replace(config, user_agent=None, origins={}) == expected
    assert config.user_agent == f"engagement-harness/{__version__} (run abc)"
    assert set(config.origins.values()) == {"default"}


def test_a_configuration_survives_its_file() -> None:
    """What the parent writes for the master is read back equal."""
    config = built({"threshold": ("p99(response_time) < 1s",), "label": ("a=b",), "limit_visits": "3"})
    assert msgspec.json.decode(msgspec.json.encode(config), type=RunConfig) == config


def test_nested_tables_reach_their_structs(tmp_path: Path) -> None:
    """Profile tables fill the nested structs and the retry policy of that name is taken whole."""
    profile = tmp_path / "p.toml"
    profile.write_text(
        '[limits]\nmax_open_visits = 9\nabort_on = ["ratio(failed) < 50%"]\n[validity]\nlag_p99_ms = 2.5\n'
        '[client]\nretry = "mine"\n[retry.mine]\nretry_on = ["loading"]\nmax_retries = 4\ndelays_ms = [1, 2.5]\n'
    )
    config = built(profile=str(profile))
    assert (config.limits.max_open_visits, config.limits.abort_on) == (9, ("ratio(failed) < 50%",))
    assert config.validity.lag_p99_ms == 2.5
    assert (config.retry.name, config.retry.retry_on, config.retry.max_retries, config.retry.delays_ms) == (
        "mine", frozenset({"loading"}), 4, (1.0, 2.5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"workers": "0"}, "--workers 0 needs --bind"),
        ({"expect_workers": "3"}, "needs --bind"),
        ({"workers": "3", "expect_workers": "2"}, "below --workers"),
        ({"duration": "5s", "warmup": "5s"}, "nothing would be measured"),
        ({"ca_file": "/no/such.pem"}, "cannot read --ca-file /no/such.pem"),
        ({"arrivals": "closed:5", "speed": "2"}, "does nothing in a closed run"),
        ({"warp_think": True}, "does nothing without --speed"),
    ],
)
def test_settings_that_contradict_each_other(flags: dict[str, object], words: str) -> None:
    """A setting that cannot have its meaning beside another is refused, not ignored."""
    with pytest.raises(UsageError, match=words):
        built(flags)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, 1),
        ({"workers": "3"}, 3),
        ({"workers": "0", "bind": "0.0.0.0", "expect_workers": "2"}, 2),
        ({"workers": "1", "bind": "0.0.0.0", "expect_workers": "4"}, 4),
    ],
)
def test_expected_workers_follow_the_local_ones(flags: dict[str, object], expected: int) -> None:
    """Unless said otherwise a run waits for its own workers."""
    assert built(flags).expect_workers == expected


@pytest.mark.parametrize(("arrivals", "slots"), [("recorded", None), ("closed:200", 200), ("closed:20:5m", 20)])
def test_closed_slots(arrivals: str, slots: int | None) -> None:
    """The slots of a closed run are read with and without a duration."""
    assert built({"arrivals": arrivals}).closed_slots == slots


def test_secrets_are_neither_shown_nor_stored(tmp_path: Path) -> None:
    """A header's literal value appears in neither the manifest's configuration nor --show-config; references do."""
    profile = tmp_path / "p.toml"
    profile.write_text('[client.headers]\nAuthorization = "Bearer s3cret"\nX-Key = "env:KEY"\n')
    config = built(profile=str(profile))
    stored = public_config(config)
    assert stored["headers"] == {"Authorization": "(hidden)", "X-Key": "env:KEY"}
    assert "s3cret" not in str(stored)
    assert settle({}, {}, {}, str(profile)).text("headers") == "Authorization=(hidden); X-Key=env:KEY"
    assert config.headers["Authorization"] == "Bearer s3cret"


def test_headers_are_resolved_from_environment_and_file(tmp_path: Path) -> None:
    """References become values; the line break at a file's end is not part of the secret."""
    secret = tmp_path / "token"
    secret.write_text("t0ken\n")
    headers = {"A": "env:KEY", "B": f"file:{secret}", "C": "plain:x", "D": ""}
    assert resolve_headers(headers, {"KEY": "k"}) == {"A": "k", "B": "t0ken", "C": "plain:x", "D": ""}


def test_every_header_that_cannot_be_resolved_is_named(tmp_path: Path) -> None:
    """Missing variables and files and values with line breaks are listed together, without any value."""
    secret = tmp_path / "two-lines"
    secret.write_text("s3cret\nInjected: x\n")
    headers = {"A": "env:NOT_SET", "B": f"file:{tmp_path}/none", "C": f"file:{secret}"}
    with pytest.raises(UsageError) as caught:
        resolve_headers(headers, {})
    assert caught.value.problems == (
        "client.headers.A: the environment variable NOT_SET is not set",
        f"client.headers.B: cannot read {tmp_path}/none: No such file or directory",
        "client.headers.C: its value has a line break, which no header may have",
    )
    assert "s3cret" not in str(caught.value)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every path is absolute before other processes read the configuration; what is no path stays."""
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "p.toml"
    profile.write_text('[client.headers]\nA = "file:secret"\nB = "env:X"\n')
    config = absolute_paths(built({"out": "runs/x", "log_attempts": "a.jsonl"}, str(profile)))
    assert (config.trace, config.out_dir, config.log_attempts, config.ca_file) == (
        f"{tmp_path}/t.jsonl", f"{tmp_path}/runs/x", f"{tmp_path}/a.jsonl", None,
    )  # fmt: skip
    assert config.headers == {"A": f"file:{tmp_path}/secret", "B": "env:X"}


def test_source_addresses_come_from_flag_environment_and_profile(tmp_path: Path) -> None:
    """A repeatable flag, a `;`-separated variable and a list in the profile mean the same; what is no IP is named."""
    expected = ("127.0.0.2", "::1")
    profile = tmp_path / "p.toml"
    profile.write_text('[client]\nsource_addresses = ["127.0.0.2", "::1"]\n')
    assert built({"source_address": expected}).source_addresses == expected
    assert built(profile=str(profile)).source_addresses == expected
    settled = settle({}, {"HARNESS_SOURCE_ADDRESS": "127.0.0.2; ::1"}, {})
    assert settled.values["source_addresses"] == expected
    with pytest.raises(UsageError, match=r"--source-address: 'eth0' is not an IP address"):
        built({"source_address": ("eth0",)})


def test_a_traceparent_of_ones_own_beside_the_made_one_is_refused(tmp_path: Path) -> None:
    """Two such headers in a request would contradict each other."""
    profile = tmp_path / "p.toml"
    profile.write_text('[client]\ntraceparent = true\n[client.headers]\nTraceParent = "00-1-2-01"\n')
    with pytest.raises(UsageError, match="leave out one of them"):
        built(profile=str(profile))


@pytest.mark.parametrize(
    ("target", "insecure", "unverified"),
    [("https://x.test", True, True), ("https://x.test", False, False), ("http://x.test", True, False)],
)
def test_a_run_knows_whether_it_verifies_its_target(target: str, insecure: bool, unverified: bool) -> None:
    """`--insecure` matters only where there is a certificate."""
    assert built({"target": target, "insecure": insecure}).unverified is unverified
