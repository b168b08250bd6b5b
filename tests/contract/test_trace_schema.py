"""The published JSON Schema: in step with the model, and true of the fixtures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.trace.lines import BadLines, read_lines
from harness.trace.model import COHORT_PATTERN, IDENTITIES, OPS, Header, Step, Visit
from harness.trace.schema import SCHEMA_PATH, schema_text
from harness.trace.traffic.model import SCHEMA_PATH as MODEL_SCHEMA_PATH
from harness.trace.traffic.model import model_schema_text

FIXTURES = Path(__file__).parents[2] / "fixtures"
SCHEMA = json.loads(SCHEMA_PATH.read_text())


def test_published_copy_is_in_step() -> None:
    """The file in the package is what `harness trace schema` prints now."""
    assert SCHEMA_PATH.read_text() == schema_text()


def test_the_published_schema_of_models_is_that_of_the_code() -> None:
    """The file in the package is what `harness trace schema --model` prints now."""
    assert MODEL_SCHEMA_PATH.read_text() == model_schema_text()


def test_it_says_what_the_model_says() -> None:
    """Keys, closed sets, bounds and required keys of the schema are those of the format."""
    definitions = SCHEMA["$defs"]
    for struct in (Header, Visit, Step):
        assert set(definitions[struct.__name__]["properties"]) == set(struct.__struct_encode_fields__)
    assert definitions["Visit"]["required"] == ["visit", "visitor", "at", "steps"]
    assert definitions["Step"]["required"] == ["op"]
    properties = definitions["Step"]["properties"]
    assert sorted(properties["op"]["enum"]) == sorted(OPS)
    assert sorted(properties["identity"]["enum"]) == sorted(IDENTITIES)
    assert properties["think"]["minimum"] == definitions["Visit"]["properties"]["at"]["minimum"] == 0
    assert definitions["Visit"]["properties"]["cohort"]["pattern"] == COHORT_PATTERN
    assert all("description" in field for name in definitions for field in definitions[name]["properties"].values())


def test_fixtures_fit() -> None:
    """Every line of the hand-written trace has only keys that the schema knows, with values of the types it names."""
    for number, raw in read_lines(FIXTURES / "small.jsonl", BadLines()):
        fits(json.loads(raw), SCHEMA["$defs"]["Header" if number == 1 else "Visit"])


def fits(value: Any, schema: dict[str, Any]) -> None:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]])
    if "enum" in schema:
        assert value in schema["enum"]
    if "properties" in schema:
        assert set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys()
        for key, inner in value.items():
            fits(inner, schema["properties"][key])
    if "items" in schema:
        for item in value:
            fits(item, schema["items"])
