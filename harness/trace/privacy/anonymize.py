"""A trace without personal data: every line rebuilt from what the table of treatments lets through, and then searched.

Lines are not edited but made anew, so a key that nobody knows cannot slip through. The output waits until the leak scan
(`harness.trace.privacy.leaks`) has passed; only then does it appear under its name or on standard output.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from harness.errors import LeakError, StorageError, TraceError
from harness.trace.check import Validation
from harness.trace.codec import encode_header, plain_number
from harness.trace.lines import BadLines, open_raw, source_name
from harness.trace.model import Header
from harness.trace.privacy.leaks import Collector, KeptTexts
from harness.trace.privacy.policy import Policy
from harness.trace.privacy.pseudonyms import Pseudonyms
from harness.trace.privacy.scrub import Masks, Scrubber
from harness.trace.writer import open_held_output

_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[-+][0-9]{2}:[0-9]{2})"
)
# The cohorts that the harness itself writes; other labels may say anything.
_COHORTS: Final = frozenset({"all", "desktop", "mobile", "tablet"})
_LEAKS_TOLD: Final = 20


# The beginning of what checks say of a line, before they quote from it.
_TOLD: Final = re.compile(
    r".*?:[0-9]+: (?:not a (?:visit|trace header)|(?:visit|visitor|cohort|at|steps(?:\[[0-9]+\]\.\w+)?)(?=:))"
)


class DiscreetLines(BadLines):
    """Bad lines whose reasons say where, but quote nothing of what stands there."""

    def add(self, error: TraceError) -> None:
        """As `BadLines.add`."""
        super().add(_discreet(error))


def _discreet(error: TraceError) -> TraceError:
    told = _TOLD.match(str(error))
    return error if told is None else TraceError(f"{told[0]}: cannot be used: harness trace validate shows why")


class Anonymized(NamedTuple):
    """Visits written, values replaced or made coarse, values left out, distinct texts kept and searched."""

    visits: int
    replaced: int
    dropped: int
    kept: int


def anonymize_trace(source: str | Path, output: str | Path, bad: BadLines, key: bytes, policy: Policy) -> Anonymized:
    """Write the trace without personal data to a path or `-`.

    Raises `LeakError` when a value that had to go stands somewhere in the output: nothing is written then. A policy
    that keeps texts makes the input be read twice, standard input from a copy in temporary space meanwhile.
    """
    if policy.keeps_texts and not _readable_again(source):
        with _copied(source, bad) as copy:
            return anonymize_trace(copy, output, bad, key, policy)
    lines = _Lines(policy)
    masks = Pseudonyms(key)
    kept = KeptTexts(policy.public)
    try:
        validation = Validation(source, bad, requests=False)
    except TraceError as error:
        raise _discreet(error) from error
    with open_held_output(output) as stream:
        header = lines.header(validation.header_line, masks)
        stream.write(header + b"\n")
        kept.note(header)
        visits = 0
        for given in _parsed(validation, source_name(source), bad):
            line = lines.visit(given.line, masks)
            stream.write(line + b"\n")
            kept.note(line)
            visits += 1
        if not visits:
            raise TraceError(f"{source_name(source)}: the trace holds no usable visit")
        if kept and not policy.keeps_texts:
            raise LeakError(
                f"line {kept.first_line} of the output holds a text that nobody decided to keep: nothing was written;"
                " this is a bug of the harness"
            )
        if policy.keeps_texts:
            _search(source, lines, kept, validation.digest)
    return Anonymized(visits, masks.replaced, masks.dropped, len(kept))


class _Lines:
    """Rebuilds lines under one policy."""

    def __init__(self, policy: Policy) -> None:
        self._line = policy.line
        self._scrubber = Scrubber(policy.fields)

    def header(self, line: bytes, masks: Masks) -> bytes:
        """A header that says when the recording was made and nothing else of it."""
        created = orjson.loads(line).pop("created", "")
        sound = isinstance(created, str) and _MOMENT.fullmatch(created)
        masks.drop({key: value for key, value in orjson.loads(line).items() if key != "created" or not sound})
        return encode_header(
            Header(harness_trace=1, source="anonymized", created=created if sound else "", anonymized=True)
        )

    def visit(self, given: dict[str, Any], masks: Masks) -> bytes:
        """A visit with the same times, operations and identity rules, and with requests fit to be passed on.

        `given` is used up.
        """
        account = given.pop("account", None)
        rebuilt: dict[str, Any] = {
            "visit": self._named("visit", given.pop("visit"), masks),
            "visitor": self._named("visitor", given.pop("visitor"), masks),
            "at": plain_number(given.pop("at")),
            "cohort": self._cohort(given.pop("cohort", "all"), masks),
            "returns": given.pop("returns", False),
        }
        if account is not None and self._line["account"] == "drop":
            masks.drop(account)
        elif account is not None:
            rebuilt["account"] = self._named("account", account, masks)
        rebuilt["steps"] = [self._step(step, masks) for step in given.pop("steps")]
        if given:
            masks.drop(given)
        return orjson.dumps(rebuilt)

    def _step(self, given: dict[str, Any], masks: Masks) -> dict[str, Any]:
        op = given.pop("op")
        step = {
            "op": op,
            "think": plain_number(given.pop("think", 0)),
            "identity": given.pop("identity", "chain"),
            "request": self._scrubber.scrub(op, given.pop("request", {}), masks),
        }
        if given:
            masks.drop(given)
        return step

    def _named(self, key: str, text: str, masks: Masks) -> str:
        return text if self._line[key] == "keep" else masks.token(text)

    def _cohort(self, label: str, masks: Masks) -> str:
        return label if label in _COHORTS else self._named("cohort", label, masks)


def _search(source: str | Path, lines: _Lines, kept: KeptTexts, digest: str) -> None:
    """Read the source once more and look for what had to go. Raises `LeakError` when some of it is there."""
    search = kept.search()
    name = source_name(source)
    leaks: list[str] = []
    count = 0
    again = Validation(source, BadLines("skip"), requests=False)
    for where, gone in _gone(again, lines):
        found = [(f"text of {len(value)} characters", search.find(value)) for value in sorted(gone.values)]
        found += [(f"number of {len(number)} places", search.find_number(number)) for number in sorted(gone.numbers)]
        for what, written in found:
            if written is not None:
                count += 1
                if count <= _LEAKS_TOLD:
                    leaks.append(f"{name}:{where}: a {what} stands in line {written}")
    if again.digest != digest:
        raise TraceError(f"{name}: changed while it was read: try again")
    if count:
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise LeakError(
            f"{leaks[0]} of the output, though its field had to go{more}: nothing was written; keep fewer fields, or"
            " name the text in the policy's public if it is no secret",
            leaks[1:],
        )


def _gone(validation: Validation, lines: _Lines) -> Iterator[tuple[int, Collector]]:
    """The values that have to go, line by line."""
    collector = Collector()
    lines.header(validation.header_line, collector)
    yield 1, collector
    for given in _parsed(validation, "", BadLines("skip")):
        collector = Collector()
        lines.visit(given.line, collector)
        yield given.number, collector


class _Given(NamedTuple):
    """A line of the input: its number and all that stands in it."""

    number: int
    line: dict[str, Any]


def _parsed(validation: Validation, name: str, bad: BadLines) -> Iterator[_Given]:
    """The lines of a trace with their unknown keys; one that cannot be read because of these goes to `bad`."""
    for read, _ in validation:
        try:
            line = orjson.loads(read.raw)
        except orjson.JSONDecodeError as error:
            bad.add(TraceError(f"{name}:{read.line}: {error}"))
        else:
            yield _Given(read.line, line)


def _readable_again(source: str | Path) -> bool:
    """Whether a source can be read twice; one that is not there will be told by whoever opens it."""
    return str(source) != "-" and (Path(source).is_file() or not Path(source).exists())


@contextmanager
def _copied(source: str | Path, bad: BadLines) -> Iterator[str]:
    """The path of a copy that nobody else may read and that the block's end removes; errors speak of the source."""
    name = source_name(source)
    with tempfile.NamedTemporaryFile(prefix="harness-", suffix=".trace") as file:
        try:
            with open_raw(source) as raw:
                shutil.copyfileobj(raw, file)
            file.flush()
        except OSError as error:
            raise StorageError(f"{name}: cannot be copied to {tempfile.gettempdir()}: {error.strerror}") from error
        try:
            yield file.name
        except (TraceError, LeakError) as error:
            told = [problem.replace(file.name, name) for problem in error.problems]
            raise type(error)(str(error).replace(file.name, name), told) from error
        finally:
            bad.messages[:] = [message.replace(file.name, name) for message in bad.messages]
