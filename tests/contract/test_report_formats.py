"""What others read: JUnit by its common schema, Markdown by another's renderer, the CI examples by a YAML parser."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
from markdown_it import MarkdownIt

from harness.cli.main import COMMANDS, cli
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).with_name("vendor") / "junit-10.xsd"
CI = ROOT / "docs" / "ci"
HOSTILE: str = runpy.run_path(str(ROOT / "tests/unit/report/made_up_run.py"))["HOSTILE"]


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """A nightly's summary: failed thresholds, regression checks, texts that try to be markup."""
    run: dict[str, Any] = runpy.run_path(str(ROOT / "tests/unit/report/compared_run.py"))["compared_run"]()[0]
    run["verdict"]["checks"].append(
        {"name": HOSTILE, "kind": "validity", "ok": False, "observed": None, "limit": 1.0, "unit": "ms",
         "message": HOSTILE}
    )  # fmt: skip
    return run


def xmllint() -> str:
    """The validator; without it the test is skipped, in CI it fails."""
    found = shutil.which("xmllint")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("xmllint is missing: apt-get install libxml2-utils")
        pytest.skip("xmllint is missing: apt-get install libxml2-utils")
    return found


def complaints(text: str, tmp_path: Path) -> str:
    """What the schema finds wrong with a document, "" when it is valid."""
    path = tmp_path / "junit.xml"
    path.write_text(text)
    done = subprocess.run(
        [xmllint(), "--noout", "--nonet", "--schema", str(SCHEMA), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return "" if done.returncode == 0 else done.stderr


def test_junit_validates_against_the_common_schema(summary: dict[str, Any], tmp_path: Path) -> None:
    """A whole nightly, a run without checks and one without anything are valid; a broken document is not."""
    assert complaints(render_junit(summary), tmp_path) == ""
    assert complaints(render_junit({"run_id": "r"}), tmp_path) == ""
    assert "Element 'bogus'" in complaints(render_junit(summary).replace("<testcase", "<bogus/><testcase", 1), tmp_path)


def test_junit_counts_what_it_holds(summary: dict[str, Any]) -> None:
    """Each suite's counters are those of its cases; each failed check is a failure or an error, with its message."""
    root = ElementTree.fromstring(render_junit(summary))
    for suite in root:
        cases = suite.findall("testcase")
        counted = [str(len(cases)), *(str(len(suite.findall(f"testcase/{tag}"))) for tag in ("failure", "error"))]
        assert [suite.get(name) for name in ("tests", "failures", "errors")] == counted, suite.get("name")
    failed = [
        case.get("name") for case in root.iter("testcase") if len(case.findall("failure") + case.findall("error"))
    ]
    assert len(failed) == sum(not check["ok"] for check in summary["verdict"]["checks"])


def test_markdown_renders_to_what_the_story_says(summary: dict[str, Any]) -> None:
    """Headings and tables become headings and tables, no text becomes an element, link, image or mention."""
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(render_markdown(summary))
    tags = set(re.findall(r"<(\w+)", page))
    assert tags <= {"h1", "h2", "p", "ul", "li", "br", "table", "thead", "tbody", "tr", "th", "td", "strong"}, tags
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Verdict", "Instrument", "Visits", "Steps", "Times", "Availability", "Attempts and errors", "Chain",
        "Comparison", "Visits told",
    ]  # fmt: skip
    titles = re.findall(r"<strong>(.*?)</strong>", page)
    assert len(re.findall("<table>", page)) == len(titles)
    assert {"Against history", "Against the latest baseline run", "Changes of the level"} <= set(titles)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    assert all(rows)
    assert "@" not in render_markdown(summary)


def commands(name: str) -> list[list[str]]:
    """The `harness` command lines of a CI example, as words."""
    text = (CI / name).read_text()
    lines = re.findall(r"(?:^|[\s'/])harness ((?:nightly|history|run|report)\b[^'\n]*)", text)
    return [shlex.split(line.partition(" >>")[0]) for line in lines]


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml", "Jenkinsfile", "crontab"])
def test_the_commands_of_the_ci_examples_exist(name: str) -> None:
    """Each example calls harness nightly, with options that the command has, and keeps runs and reports apart."""
    found = commands(name)
    assert [words[0] for words in found] == ["nightly"]
    command = cli.get_command(click.Context(cli), "nightly")
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    options = [word for word in found[0] if word.startswith("--")]
    assert set(options) <= known
    assert {"--runs", "--reports"} <= set(options)
    assert "nightly" in COMMANDS


def parsed(path: Path) -> Any:
    """A YAML file as Debian's parser reads it; without it the test is skipped, in CI it fails."""
    code = "import json, sys, yaml; print(json.dumps(yaml.load(sys.stdin, yaml.BaseLoader)))"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code],
        input=path.read_text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "No module named 'yaml'" in done.stderr:
        if os.environ.get("CI") == "true":
            pytest.fail("a YAML parser is missing: apt-get install python3-yaml")
        pytest.skip("a YAML parser is missing: apt-get install python3-yaml")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_yaml_examples_are_yaml(name: str) -> None:
    """A YAML parser reads them, and every step that shows or keeps a result runs after a failure, too."""
    content = parsed(CI / name)
    if name == "gitlab-ci.yml":
        job = content["nightly-load"]
        assert job["artifacts"]["when"] == job["cache"]["when"] == "always"
        assert job["allow_failure"] == {"exit_codes": ["5"]}
        return
    steps = content["jobs"]["load"]["steps"]
    after = next(at for at, step in enumerate(steps) if "harness nightly" in step.get("run", "")) + 1
    assert all(step["if"] == "always()" for step in steps[after:])


def test_the_jenkinsfile_is_balanced_groovy() -> None:
    """Outside its strings and comments every bracket is closed by its own kind, and the stages of a pipeline stand."""
    text = re.sub(r"//[^\n]*", "", (CI / "Jenkinsfile").read_text())
    bare = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "''", text)
    open_brackets: list[str] = []
    pairs = {")": "(", "]": "[", "}": "{"}
    for char in bare:
        if char in "([{":
            open_brackets.append(char)
        elif char in pairs:
            assert open_brackets.pop() == pairs[char]
    assert open_brackets == []
    assert re.match(r"\s*pipeline \{", bare)
    assert all(re.search(rf"\b{word}\b", bare) for word in ("agent", "stages", "steps", "post"))


def test_the_crontab_has_five_times_and_a_command() -> None:
    """Each line is a comment, a variable or five fields of time before a command."""
    lines = [line for line in (CI / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    jobs = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    assert len(jobs) == 1
    assert all(re.fullmatch(r"[\d*,/-]+", field) for field in jobs[0].split()[:5])
