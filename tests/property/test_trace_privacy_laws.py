"""Anonymous traces: nothing planted survives, joins do, the scan finds what a policy lets through."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import LeakError
from harness.trace.check import TraceChecker, Validation
from harness.trace.lines import BadLines
from harness.trace.privacy.anonymize import anonymize_trace
from harness.trace.privacy.policy import Policy
from harness.trace.privacy.pseudonyms import Pseudonyms
from harness.wire.personal import REQUESTS
from harness.wire.schema import Address, ByType, Either, Flag, Many, Node, Number, Record, Text
from harness.wire.validate import check_request, has_errors

KEY = b"a key of more than sixteen bytes"
SEEDS = st.integers(0, 2**32)
NAMES = ["Alice", "Zoë", "Łukasz", "Ngọc Ánh", "O'Brien-Smith", "李小龍", "Frau Müller", "Bo Li"]


class Planter:
    """Makes requests by the schema, with a secret wherever one can stand, and remembers every secret."""

    def __init__(self, rng: Random, *, hostile: bool) -> None:
        self.rng = rng
        self.hostile = hostile
        self.secrets: set[str] = set()

    def text(self) -> str:
        """A new secret that is a text: of all the forms that personal data comes in."""
        rng = self.rng
        number = rng.randrange(10**6, 10**12)
        secret = rng.choice(
            [
                f"{rng.choice(NAMES)} {number}",
                f"{rng.choice(NAMES)}-{number}".upper(),
                f"p{number}@mail{number}.example.com",
                f"+{number // 10**4} ({number % 10**4}) {number % 97}-12",
                f"{number}",
                f"C{number:X}",
                f'say "{rng.choice(NAMES)}\\{number}"\n\t/ü',
                f"{rng.randrange(1, 224)}.{number % 251}.{number % 241}.{number % 239}",
                f"2001:41d0:{number % 65521:x}::{number % 9973:x}",
                f"please call {rng.choice(NAMES)} under {number}, or write to a{number}@b.org " * 2,
            ]
        )
        self.secrets.add(secret)
        return secret

    def number(self) -> int | float:
        """A new secret that is a number, of more digits than any amount."""
        number = self.rng.randrange(1_000_001, 10**14)
        number += number % 10 == 0
        self.secrets.add(str(number))
        return number if self.rng.random() < 0.7 else number + 0.5

    def anything(self, depth: int = 3) -> Any:
        """Secrets in any shape, in keys too."""
        match self.rng.randrange(4 if depth else 2):
            case 0:
                return self.text()
            case 1:
                return self.number()
            case 2:
                return [self.anything(depth - 1) for _ in range(self.rng.randrange(3))]
            case _:
                return {self.text(): self.anything(depth - 1) for _ in range(self.rng.randrange(3))}

    def value(self, node: Node) -> Any:
        """Something for a place of the schema; if hostile, of another type now and then."""
        if self.hostile and self.rng.random() < 0.15:
            return self.anything()
        if isinstance(node, Record):
            names = [name for name in node.fields if name in node.required or self.rng.random() < 0.8]
            record = {name: self.value(node.fields[name]) for name in names}
            if self.hostile and self.rng.random() < 0.4:
                record[self.text()] = self.anything()
                record.update({alias: self.value(node.fields[name]) for alias, name in node.aliases.items()})
            return record
        if isinstance(node, Many):
            return [self.value(node.item) for _ in range(self.rng.randrange(1, 3))]
        if isinstance(node, ByType):
            kind = self.rng.choice(list(node.table))
            return self._attribute(node, kind) if self.hostile else {**self.value(node.table[kind]), "type": kind}
        if isinstance(node, Either):
            return self.value(self.rng.choice([node.canonical, node.alternate]))
        return self._leaf(node)

    def _attribute(self, node: ByType, kind: str) -> Any:
        made = self.value(node.table[kind])
        if isinstance(made, dict):
            made["type"] = kind if self.rng.random() < 0.9 else self.anything()
        return made

    def _leaf(self, node: Node) -> Any:
        if isinstance(node, Text) and node.values:
            return self.text() if self.hostile and self.rng.random() < 0.3 else self.rng.choice(node.values)
        if isinstance(node, Text) and node.pattern:
            return self.text() if self.hostile else "de-AT"
        if isinstance(node, Number):
            if self.hostile and self.rng.random() < 0.5:
                return self.number()
            whole = self.rng.randrange(max(node.low, 0), min(node.high, 10) + 1)
            return whole / 2 if node.kind == "float" else whole
        if isinstance(node, Flag):
            return self.rng.random() < 0.5
        if isinstance(node, Address) and not self.hostile:
            return f"192.0.2.{self.rng.randrange(256)}"
        return str(self.rng.randrange(10**9)) if not self.hostile and not isinstance(node, Text) else self.text()

    def trace(self, visits: int) -> list[dict[str, Any]]:
        """The lines of a trace, with secrets in the header, around requests and in the names of visits and visitors."""
        header = {"harness_trace": 1, "source": self.text(), self.text(): self.anything()}
        lines: list[dict[str, Any]] = [header]
        for number in range(visits):
            steps = []
            for _ in range(self.rng.randrange(1, 4)):
                op = self.rng.choice(list(REQUESTS))
                request = self.value(REQUESTS[op])
                for key in ("pageId", "vid", "sid"):
                    if isinstance(request, dict):
                        request.pop(key, None)
                steps.append(
                    {"op": op, "think": self.rng.randrange(99) / 4, "request": request, self.text(): self.anything()}
                )
            name = f"{self.rng.choice(['alice', 'bob.smith', 'C'])}{self.rng.randrange(10**6, 10**9)}"
            self.secrets |= {name, f"{name}-{number}", f"team-{name}", f"acct{name[-6:]}"}
            lines.append(
                {
                    "visit": f"{name}-{number}",
                    "visitor": name,
                    "at": number / 4,
                    "cohort": f"team-{name}" if number < 15 else "mobile",
                    "account": f"acct{name[-6:]}",
                    "steps": steps,
                    self.text(): self.anything(),
                }
            )
        return lines


def anonymized(lines: list[dict[str, Any]], key: bytes = KEY, policy: Policy | None = None) -> bytes:
    """What `anonymize` makes of these lines."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in", Path(folder) / "out"
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        try:
            anonymize_trace(source, output, BadLines(), key, policy or Policy())
        except LeakError:
            assert sorted(path.name for path in Path(folder).iterdir()) == ["in"]
            raise
        for _ in Validation(output, BadLines(), requests=False):
            pass
        return output.read_bytes()


def strings(value: Any) -> Iterator[str]:
    """Every string and number of a JSON value, keys included, as text."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


@given(SEEDS)
@settings(max_examples=60)
def test_no_planted_secret_survives(seed: int) -> None:
    """With secrets in every field, key and nesting, of right and wrong types, no output line holds one anywhere."""
    planter = Planter(Random(seed), hostile=True)
    lines = planter.trace(3)
    output = anonymized(lines)
    assert len(planter.secrets) > 15
    found = "\n".join(text for line in output.splitlines() for text in strings(json.loads(line))).casefold()
    raw = output.decode().casefold()
    for secret in planter.secrets:
        assert secret.casefold() not in found
        assert json.dumps(secret, ensure_ascii=False)[1:-1].casefold() not in raw
    kept = [json.loads(line) for line in output.splitlines()[1:]]
    assert [(visit["at"], [(step["op"], step["think"]) for step in visit["steps"]]) for visit in kept] == [
        (visit["at"], [(step["op"], step["think"]) for step in visit["steps"]]) for visit in lines[1:]
    ]


@given(SEEDS)
@settings(max_examples=40)
def test_what_the_service_accepted_it_still_accepts(seed: int) -> None:
    """A request without errors has none afterwards: fields keep their types, closed sets their members."""
    planter = Planter(Random(seed), hostile=False)
    lines = planter.trace(2)
    output = [json.loads(line) for line in anonymized(lines).splitlines()]
    for before, after in zip(lines[1:], output[1:], strict=True):
        for old, new in zip(before["steps"], after["steps"], strict=True):
            assert not has_errors(check_request(old["op"], old["request"]))
            assert not has_errors(check_request(new["op"], new["request"]))


def pairs(before: Any, after: Any) -> Iterator[tuple[str, str]]:
    """Texts of the input and what stands in their place."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            yield from pairs(before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list):
        for old, new in zip(before, after, strict=False):
            yield from pairs(old, new)
    elif isinstance(before, str) and isinstance(after, str) and before != after:
        yield before, after


@given(SEEDS)
@settings(max_examples=40)
def test_joins_survive_and_depend_on_the_key(seed: int) -> None:
    """Equal texts stay equal and different ones different, in any field and trace; another key shares no pseudonym."""
    rng = Random(seed)
    pool = [Planter(rng, hostile=False).text() for _ in range(6)]

    class Pooled(Planter):
        def text(self) -> str:
            return self.rng.choice(pool)

    lines = Pooled(rng, hostile=False).trace(4)
    outputs = {key: [json.loads(line) for line in anonymized(lines, key).splitlines()] for key in (KEY, b"another key")}
    assert [json.loads(line) for line in anonymized(lines[:2]).splitlines()] == outputs[KEY][:2]
    core = re.compile(r"[bcdfghjkmnpqrtvx]{16}", re.IGNORECASE)
    for output in outputs.values():
        forward: dict[str, str] = {}
        for before, after in pairs(lines[1:], output[1:]):
            found = core.search(after)
            if found:
                assert forward.setdefault(before.strip(), found[0].casefold()) == found[0].casefold()
        assert len(set(forward.values())) == len(forward) > 4
    mine, other = (set(core.findall(json.dumps(output).casefold())) for output in outputs.values())
    assert mine
    assert not mine & other


PLAIN = {"harness_trace": 1}


def visit_with(number: int, name: str, product: str) -> dict[str, Any]:
    attributes = [
        {"type": "personal", "personal": {"lastname": name}},
        {"type": "prodView", "products": [{"product": {"name": product}}]},
    ]
    step = {"op": "get_engagement", "identity": "fresh", "request": {"engagementAttributes": attributes}}
    return {"visit": f"visit-{number}", "visitor": f"visitor-{number}", "at": number, "steps": [step]}


KEEP_PRODUCTS = Policy(fields={"prodView.products.product.name": "keep"})
WORDS = st.text("abcdAB 1", min_size=4, max_size=9).filter(lambda text: text.count("1") < 6)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
@settings(max_examples=100)
def test_the_scan_finds_exactly_what_a_policy_lets_through(values: list[tuple[str, str]]) -> None:
    """A kept text that holds a value of any visit ends the command; otherwise the kept texts stay as they were."""
    lines = [PLAIN, *(visit_with(number, name, product) for number, (name, product) in enumerate(values))]
    names = {" ".join(name.casefold().split()) for name, _ in values}
    products = "\0".join(" ".join(product.casefold().split()) for _, product in values)
    # From four characters on anywhere, from two on as a word that is no number.
    words = set(re.findall(r"\w+", products))
    leaks = any(
        name in products if len(name) >= 4 else len(name) > 1 and not name.isdecimal() and name in words
        for name in names
    )
    if leaks:
        with pytest.raises(LeakError):
            anonymized(lines, policy=KEEP_PRODUCTS)
    else:
        output = [json.loads(line) for line in anonymized(lines, policy=KEEP_PRODUCTS).splitlines()[1:]]
        found = [visit["steps"][0]["request"]["engagementAttributes"][1]["products"] for visit in output]
        assert found == [[{"product": {"name": product}}] for _, product in values]


@given(SEEDS)
@settings(max_examples=20)
def test_the_scan_does_not_trust_the_pseudonyms(seed: int) -> None:
    """If masking itself were broken and gave texts back, the scan would still stop the output."""

    class Broken(Pseudonyms):
        def token(self, text: str) -> str:
            return text

    planter = Planter(Random(seed), hostile=True)
    lines = planter.trace(2)
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr("harness.trace.privacy.anonymize.Pseudonyms", Broken)
        with pytest.raises(LeakError):
            anonymized(lines)


def test_checker_agrees_with_line_names() -> None:
    """Pseudonyms of visits, visitors, cohorts and accounts are valid names in a trace."""
    planter = Planter(Random(1), hostile=True)
    checker = TraceChecker(requests=False)
    output = anonymized(planter.trace(20))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        path.write_bytes(output)
        found = [
            finding
            for read, _ in Validation(path, BadLines(), requests=False)
            for finding in checker.check(read.line, read.visit)
        ]
    assert [
        finding for finding in found if "chain, but no step" not in finding.message and "update" not in finding.message
    ] == []
