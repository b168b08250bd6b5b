"""Settings: four sources in order of rank, every problem at once, each with the place where it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.resolve import settle
from harness.config.settings import Setting
from harness.config.table import SETTINGS
from harness.errors import UsageError

S = 1_000_000_000


def problems_of(error: UsageError) -> list[str]:
    return list(error.problems) or [str(error)]


def test_precedence_is_flag_environment_profile_default(tmp_path: Path) -> None:
    """Of four sources the highest that speaks wins, and the origin says which it was."""
    profile = tmp_path / "p.toml"
    profile.write_text("[load]\nseed = 3\nloop = 4\nspeed = 5\n")
    settled = settle({"seed": "1", "profile": str(profile)}, {"HARNESS_SEED": "2", "HARNESS_LOOP": "2"}, {})
    found = {name: (settled.values[name], settled.origins[name]) for name in ("seed", "loop", "speed", "amplify")}
    assert found == {
        "seed": (1, "flag --seed"),
        "loop": (2, "env HARNESS_LOOP"),
        "speed": (5.0, f"{profile}: load.speed"),
        "amplify": (1.0, "default"),
    }


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        ({"duration": "1m30s"}, "duration_ns", 90 * S),
        ({"warmup": "0"}, "warmup_ns", 0),
        ({"insecure": True}, "insecure", True),
        ({"allow_host": ("A.example", "b:80", "::1")}, "allowed_hosts", ("a.example", "b:80", "::1")),
        ({"resolve": ("h.example:127.0.0.1", "v6.example:[::1]")}, "resolve",
         {"h.example": "127.0.0.1", "v6.example": "::1"}),
        ({"label": ("a=b=c",)}, "labels", {"a": "b=c"}),
        ({"metrics": "off"}, "metrics", None),
        ({"metrics": "9000"}, "metrics", "127.0.0.1:9000"),
        ({"metrics": "[::]:9000"}, "metrics", "[::]:9000"),
        ({"target": "https://H.example:444/x/"}, "target", "https://h.example:444/x"),
        ({"target": "sim:flaky"}, "target", "sim:flaky"),
        ({"threshold": ("p99(response_time) < 1s",)}, "thresholds", ("p99(response_time) < 1s",)),
    ],
)  # fmt: skip
def test_texts_become_values(flags: dict[str, str], name: str, value: object) -> None:
    """A flag's text becomes the value that the run's configuration holds."""
    assert settle(flags, {}, {}).values[name] == value


@pytest.mark.parametrize(
    ("env", "text", "name", "value"),
    [
        ("HARNESS_ALLOW_HOST", "a.example; b.example", "allowed_hosts", ("a.example", "b.example")),
        ("HARNESS_LABEL", "a=1;b=2;", "labels", {"a": "1", "b": "2"}),
        ("HARNESS_INSECURE", "yes", "insecure", True),
        ("HARNESS_QUIET", "0", "quiet", False),
        ("HARNESS_THRESHOLD", "a{x=1,y=2} < 1; b > 2", "thresholds", ("a{x=1,y=2} < 1", "b > 2")),
    ],
)
def test_environment_mirrors_flags(env: str, text: str, name: str, value: object) -> None:
    """The environment takes the same values, lists and maps separated by semicolons."""
    settled = settle({}, {env: text}, {})
    assert (settled.values[name], settled.origins[name]) == (value, f"env {env}")


def test_every_problem_of_every_source_at_once(tmp_path: Path) -> None:
    """Unknown keys, wrong types and bad values of flags, environment and profile are all listed, with their places."""
    profile = tmp_path / "p.toml"
    profile.write_text(
        """
        shape = "x"
        [laod]
        seed = 1
        [load]
        arivals = "recorded"
        seed = true
        duration = "soon"
        labels = "x"
        [client]
        connections = "pool"
        headers = { A = 1 }
        [target]
        url = "ftp://x"
        allowed_hosts = ["ok.example", 7]
        [validity]
        cpu_max_ratio = 1.5
        [slo]
        "p99(response_time)" = 800
        [retry.none]
        [retry.mine]
        first_ms = -1
        retry_on = ["available"]
        facto = 2
        """
    )
    with pytest.raises(UsageError) as caught:
        settle({"profile": str(profile), "loop": "0"}, {"HARNESS_SEED": "x"}, {})
    p = str(profile)
    assert sorted(problems_of(caught.value)) == sorted(
        [
            "--loop: 0 is below 1",
            "HARNESS_SEED: 'x' is not a whole number",
            f"{p}: shape: unknown table; known: client, limits, load, regression, retry, slo, target, validity",
            f"{p}: laod: unknown table; did you mean 'load'?",
            f"{p}: load.arivals: unknown key; did you mean 'arrivals'?",
            f"{p}: load.seed: expected a whole number, not true/false",
            f"{p}: load.duration: 'soon' is not a duration: write 250ms, 30s, 5m, 1m30s or 2h",
            f"{p}: load.labels: expected a table of names and values",
            f"{p}: client.connections: 'pool' is not one of browser, pooled, fresh",
            f"{p}: client.headers.A: expected a text, not a number",
            f"{p}: target.url: 'ftp://x' is not a target: write http://HOST:PORT or https://HOST",
            f"{p}: target.allowed_hosts[1]: expected a host, not a number",
            f"{p}: validity.cpu_max_ratio: 1.5 is above 1",
            f'{p}: slo."p99(response_time)": expected a text such as "< 800ms", or a list of them',
            f"{p}: retry.none: this name is a built-in policy's; choose another",
            f"{p}: retry.mine.first_ms: -1 must be above 0",
            f"{p}: retry.mine.retry_on: 'available' is not one of not_available, loading, throttled, rejected, "
            "client_error, server_error, redirect, timeout, connect_error, tls_error, reset, bad_reply",
            f"{p}: retry.mine.facto: unknown key; did you mean 'factor'?",
        ]
    )


def test_one_problem_is_one_line() -> None:
    """A single problem is the message itself."""
    with pytest.raises(UsageError) as caught:
        settle({"timeout": "0"}, {}, {})
    assert (str(caught.value), caught.value.problems) == ("--timeout: '0' must be above 0", ())


@pytest.mark.parametrize("content", [None, b"[load", b"\xff\xfe"])
def test_a_profile_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, broken TOML and another encoding are one line that names the file."""
    path = tmp_path / "p.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=str(path)) as caught:
        settle({"profile": str(path)}, {}, {})
    assert "\n" not in str(caught.value)


def test_later_rooms_judge_texts_where_they_were_written(tmp_path: Path) -> None:
    """A check handed in is asked about every text, also those of [slo], and its refusal carries their place."""

    def refuse(text: str) -> None:
        if "bad" in text:
            raise UsageError(f"no {text}")

    profile = tmp_path / "p.toml"
    profile.write_text('[load]\narrivals = "bad1"\n[slo]\n"bad2" = "< 1"\n"fine" = ["< 1", "> bad3"]\n')
    with pytest.raises(UsageError) as caught:
        settle({"profile": str(profile), "threshold": ("bad4",)}, {}, {"arrivals": refuse, "thresholds": refuse})
    assert problems_of(caught.value) == [
        f"{profile}: load.arrivals: no bad1",
        "--threshold: no bad4",
        f"{profile}: slo: no bad2 < 1",
        f"{profile}: slo: no fine > bad3",
    ]


def test_thresholds_add_up_and_an_slo_file_replaces_the_profiles(tmp_path: Path) -> None:
    """--threshold adds to the [slo] table; --slo takes the place of the profile's table, with or without a header."""
    profile, slo, bare = tmp_path / "p.toml", tmp_path / "s.toml", tmp_path / "bare.toml"
    profile.write_text('[slo]\n"a" = "< 1"\n')
    slo.write_text('[slo]\n"b" = ["< 2", "> 1"]\n')
    bare.write_text('"c" = "< 3"\n')
    base = {"profile": str(profile)}

    def thresholds(**flags: object) -> object:
        return settle({**base, **flags}, {}, {}).values["thresholds"]  # type: ignore[dict-item]

    assert thresholds() == ("a < 1",)
    assert thresholds(threshold=("x < 9",)) == ("a < 1", "x < 9")
    assert thresholds(slo=str(slo), threshold=("x < 9",)) == ("b < 2", "b > 1", "x < 9")
    assert thresholds(slo=str(bare)) == ("c < 3",)


def test_paths_of_a_profile_start_at_its_folder(tmp_path: Path) -> None:
    """A relative path in a profile is taken from the profile's own folder, an absolute one as it is."""
    profile = tmp_path / "p.toml"
    profile.write_text('[load]\ntrace = "t.jsonl"\n[client]\nca_file = "/etc/ca.pem"\n')
    values = settle({"profile": str(profile)}, {}, {}).values
    assert (values["trace"], values["ca_file"]) == (str(tmp_path / "t.jsonl"), "/etc/ca.pem")


def test_an_account_or_a_map_of_them(tmp_path: Path) -> None:
    """target.account takes one id, as number or text, or a table of them."""
    profile = tmp_path / "p.toml"
    found = []
    for text in ("account = 123", 'account = "le123"', 'account = { shop = "1", help = 2 }'):
        profile.write_text(f"[target]\n{text}\n")
        values = settle({"profile": str(profile)}, {}, {}).values
        found.append((values["account"], values["accounts"]))
    assert found == [("123", {}), ("le123", {}), ("12345678", {"shop": "1", "help": "2"})]


def test_an_unknown_retry_policy_lists_the_known_ones(tmp_path: Path) -> None:
    """--retry takes the built-in policies and the profile's own, nothing else."""
    profile = tmp_path / "p.toml"
    profile.write_text("[retry.mine]\nretry_on = ['loading']\nmax_retries = 2\n")
    flags = {"profile": str(profile), "retry": "mine"}
    assert settle(flags, {}, {}).values["retry"] == "mine"
    with pytest.raises(UsageError, match="known: until-available, sdk-sample, rest-guide, none, mine"):
        settle({**flags, "retry": "theirs"}, {}, {})


def test_a_policy_without_an_end_is_refused(tmp_path: Path) -> None:
    """A policy that would retry for ever is a problem of the file."""
    profile = tmp_path / "p.toml"
    profile.write_text("[retry.mine]\nretry_on = ['loading']\n")
    with pytest.raises(UsageError, match=r"retry\.mine: retries without an end"):
        settle({"profile": str(profile)}, {}, {})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_shown_values_read_back(setting: Setting) -> None:
    """What --show-config prints of a default reads back as the same value."""
    text = setting.shown(setting.default)
    if text != "-" and setting.flag is not None and setting.shape == "one":
        assert settle({setting.option: text}, {}, {}).values[setting.name] == setting.default


def test_the_table_has_no_doubles() -> None:
    """Names, flags and (but for maps beside single values) keys are each used once."""
    names = [setting.name for setting in SETTINGS]
    flags = [setting.flag for setting in SETTINGS if setting.flag]
    keys = [(setting.key, setting.shape) for setting in SETTINGS if setting.key]
    assert (len(set(names)), len(set(flags)), len(set(keys))) == (len(names), len(flags), len(keys))
