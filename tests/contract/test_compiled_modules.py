"""What may be compiled keeps to what compiled code can do, and the list names what is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.compiled import MODULES

PACKAGE = Path(__file__).resolve().parents[2] / "harness"


@pytest.mark.parametrize("module", MODULES)
def test_no_function_names_two_exceptions_alike(module: str) -> None:
    """A name has one type in compiled code: a second handler with the same name would raise TypeError when met."""
    for function in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(function, ast.FunctionDef):
            names = [node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.name]
            assert len(names) == len(set(names)), f"{module}.{function.name}: {names}"


@pytest.mark.parametrize("module", MODULES)
def test_no_class_takes_options_or_a_foreign_base(module: str) -> None:
    """mypyc drops class keywords, and a compiled class cannot extend a foreign one: such classes live apart."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ClassDef):
            assert not node.keywords, f"{module}.{node.name} takes options"
            foreign = [ast.unparse(base) for base in node.bases if "." in ast.unparse(base)]
            assert not foreign, f"{module}.{node.name} extends {foreign}"


def test_whoever_extends_a_compiled_class_is_compiled_too() -> None:
    """An interpreted class cannot inherit from a compiled one: it raises TypeError when its first object is made."""
    compiled = {node.name for module in MODULES for node in _classes(PACKAGE / f"{module}.py")}
    extending = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).with_suffix("").as_posix() not in MODULES
        for node in _classes(path)
        if compiled & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    ]
    assert extending == []


def _classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
