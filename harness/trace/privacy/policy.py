"""The policy file of `harness trace anonymize` (TOML): other treatments for some fields, and words that are no secret.

    public = ["Stone"]                           # a product's name, and somebody's
    [fields]
    consumerSections = "keep"
    "cart.products.product.name" = "keep"
    "ctmrinfo.info.nickname" = "name"            # a field that the contract does not know
    cohort = "keep"                              # of the line: visit, visitor, account, cohort

Every problem of a file is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from harness.errors import UsageError
from harness.toml_file import read_toml
from harness.trace.privacy.scrub import Scrubber
from harness.wire.personal import TREATMENT_NAMES, Treatment

# Of the keys of a line, those that name somebody or something, and what may become of them; the first is the default.
LINE_FIELDS: Final[dict[str, tuple[Treatment, ...]]] = {
    "visit": ("token", "keep"),
    "visitor": ("token", "keep"),
    "account": ("token", "keep", "drop"),
    "cohort": ("token", "keep"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Treatments by path, for the requests and for the line, and texts that may stay although a field holds them."""

    fields: Mapping[str, Treatment] = field(default_factory=dict)
    line: Mapping[str, Treatment] = field(default_factory=lambda: {key: some[0] for key, some in LINE_FIELDS.items()})
    public: tuple[str, ...] = ()

    @property
    def keeps_texts(self) -> bool:
        """Whether any text may stay, so that a leak is possible at all."""
        return "keep" in self.fields.values() or "keep" in self.line.values()


def read_policy(path: str | Path) -> Policy:
    """The policy in a file. Raises `UsageError` with all problems: no TOML, unknown keys, paths or treatments."""
    content = read_toml(path, f"--policy {path}")
    problems = list(_problems(content))
    if problems:
        raise UsageError(f"--policy {path}: {problems[0]}", problems[1:])
    given = cast("dict[str, Treatment]", content.get("fields", {}))
    default = Policy()
    return Policy(
        fields={path: treatment for path, treatment in given.items() if path not in LINE_FIELDS},
        line={**default.line, **{path: treatment for path, treatment in given.items() if path in LINE_FIELDS}},
        public=tuple(content.get("public", ())),
    )


def _problems(content: dict[str, Any]) -> Iterator[str]:
    for key in content.keys() - {"fields", "public"}:
        yield f"{key} is unknown: a policy has public and [fields]"
    public = content.get("public", [])
    if not (isinstance(public, list) and all(isinstance(word, str) for word in public)):
        yield "public must be an array of texts"
    fields = content.get("fields", {})
    if not isinstance(fields, dict):
        yield "fields must be a table: [fields]"
        return
    sound: dict[str, Treatment] = {}
    for path, treatment in fields.items():
        allowed = LINE_FIELDS.get(path, TREATMENT_NAMES)
        if isinstance(treatment, dict):
            yield f"fields.{path} is a table: write a path with dots in quotes"
        elif treatment not in allowed:
            yield f"fields.{path} is no treatment: one of {', '.join(allowed)}"
        elif path not in LINE_FIELDS:
            sound[path] = treatment
    for path in sorted(Scrubber(sound).unused):
        yield f"fields.{path} is no field, nor a new one inside a record that the contract knows"
