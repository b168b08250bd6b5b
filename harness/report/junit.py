"""`junit.xml`: each check of the verdict as a test case, for CI systems.

Three kinds of outcome map to three kinds of JUnit: a broken threshold is a `failure`, a broken validity check or a
sample too small for its threshold an `error` (the test could not tell), anything else passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from harness.report.words import clean, number, quantity

_TAGS = {"validity": "error", "guard": "error"}


def render_junit(summary: Mapping[str, Any]) -> str:
    """The verdict as JUnit XML: one suite per kind of check, one case per check."""
    root = ElementTree.Element("testsuites", name="harness")
    checks = summary.get("verdict", {}).get("checks", [])
    for kind in dict.fromkeys(check["kind"] for check in checks):
        _add_suite(root, summary, kind, [check for check in checks if check["kind"] == kind])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _tag(check: Mapping[str, Any]) -> str:
    return _TAGS.get(check["kind"], "failure") if check.get("enough_data", True) else "error"


def _add_suite(root: ElementTree.Element, summary: Mapping[str, Any], kind: str, checks: list[dict[str, Any]]) -> None:
    broken = [_tag(check) for check in checks if not check["ok"]]
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=clean(f"harness.{kind}"),
        tests=str(len(checks)),
        failures=str(broken.count("failure")),
        errors=str(broken.count("error")),
    )
    if "started_at" in summary:
        suite.set("timestamp", clean(summary["started_at"]))
    if "duration_s" in summary:
        suite.set("time", f"{summary['duration_s']:.3f}")
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", name=clean(check["name"]), classname=clean(f"harness.{kind}"))
        unit = check.get("unit")
        text = f"observed {quantity(check.get('observed'), unit)}, limit {quantity(check.get('limit'), unit)}"
        if check["ok"]:
            ElementTree.SubElement(case, "system-out").text = text
        else:
            message = clean(check.get("message") or text)
            ElementTree.SubElement(case, _tag(check), message=message, type=clean(kind)).text = text
    properties = ElementTree.Element("properties")
    for key in ("run_id", "seed", "trace_digest"):
        if key in summary:
            ElementTree.SubElement(properties, "property", name=key, value=number(summary[key]))
    suite.insert(0, properties)
