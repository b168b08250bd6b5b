"""The JSON Schema of a trace line, made from the model; `trace.schema.json` beside this file is the published copy.

The structs give the shape, the tables below what JSON Schema can say and a Python type cannot. Rules that span lines
(order, double ids, the cohort bound) are in `harness.trace.check`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson

from harness.trace.model import COHORT_PATTERN, ID_PATTERN, MAX_SECONDS, Header, Visit

SCHEMA_PATH = Path(__file__).with_name("trace.schema.json")

_DETAILS: dict[str, dict[str, dict[str, Any]]] = {
    "Header": {
        "harness_trace": {"description": "Version of the format."},
        "source": {"description": "Where the visits come from, for people."},
        "created": {"description": "When the recording was made, ISO 8601."},
        "seed": {"description": "Seed of what was drawn at random."},
        "visits": {"description": "Number of visits in the file.", "minimum": 0},
        "span_s": {"description": "Seconds from the first to the last visit's start.", "minimum": 0},
        "anonymized": {"description": "Whether personal data was removed."},
    },
    "Visit": {
        "visit": {"description": "Id of the visit, once in a trace.", "pattern": ID_PATTERN},
        "visitor": {"description": "Pseudonym of the visitor.", "pattern": ID_PATTERN},
        "at": {"description": "Seconds after the trace's start; lines are ordered by it.", "maximum": MAX_SECONDS},
        "cohort": {"description": "Label of the visitor's kind; at most 20 in a trace.", "pattern": COHORT_PATTERN},
        "returns": {"description": "The same visitor comes again: remember its vid."},
        "account": {"description": "Account, where it is not the run's own."},
        "steps": {"description": "Calls in order.", "minItems": 1},
    },
    "Step": {
        "op": {"description": "getEngagement (POST) or update of its session (PUT)."},
        "think": {"description": "Seconds after the previous step settled.", "maximum": MAX_SECONDS},
        "identity": {"description": "Whose ids the step carries: a rule, never a recorded id."},
        "request": {"description": "Body of the call, without ids.", "type": "object", "default": {}},
    },
}
_NOT_NEGATIVE = ("at", "think")


def trace_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) that holds for each line of a trace: a header or a visit."""
    (_, _), definitions = msgspec.json.schema_components([Header, Visit], ref_template="#/$defs/{name}")
    for name, properties in _DETAILS.items():
        for key, details in properties.items():
            definitions[name]["properties"][key].update(details)
            if key in _NOT_NEGATIVE:
                definitions[name]["properties"][key]["minimum"] = 0
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Line of a harness trace",
        "description": "The first line is a Header, every other line a Visit. Unknown keys are allowed and kept.",
        "anyOf": [{"$ref": "#/$defs/Header"}, {"$ref": "#/$defs/Visit"}],
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as it is published: indented JSON with a line end."""
    return orjson.dumps(trace_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
