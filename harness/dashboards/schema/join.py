"""Joins the schemas that `derive.sh` makes into one, without their descriptions; prints it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_TYPE_OF = {
    "dashboard": "Dashboard",
    "panel": "Panel",
    "xychartField": "FieldConfig",
    "timeseriesField": "GraphFieldConfig",
}


def cleaned(value: Any, prefix: str) -> Any:
    """`value` without descriptions, its references pointing to the joined types."""
    if isinstance(value, list):
        return [cleaned(each, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: inner.replace("#/definitions/", f"#/types/{prefix}") if key == "$ref" else cleaned(inner, prefix)
        for key, inner in value.items()
        if not (key == "description" and isinstance(inner, str))
    }


def joined(version: str, files: list[Path]) -> dict[str, Any]:
    """All types; the name of a file stands for the type that it was made for."""
    types: dict[str, Any] = {}
    for file in files:
        name = file.name.removesuffix(".schema.json")
        prefix = "" if name in ("dashboard", "panel") else f"{name}."
        for inner, definition in json.loads(file.read_text())["definitions"].items():
            types[prefix + inner] = cleaned(definition, prefix)
        types[name] = {"$ref": f"#/types/{prefix}{_TYPE_OF.get(name, 'Options')}"}
    # The published type of an annotation's target says of itself that it is a stopgap for a data source's own query;
    # titleFormat is the Prometheus data source's.
    types["AnnotationQuery"]["properties"] |= {"target": {"type": "object"}, "titleFormat": {"type": "string"}}
    return {"source": f"@grafana/schema {version}", "types": types}


if __name__ == "__main__":
    made = joined(sys.argv[1], [Path(name) for name in sys.argv[2:]])
    sys.stdout.write(json.dumps(made, separators=(",", ":"), sort_keys=True) + "\n")
