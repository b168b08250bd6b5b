"""The law of imports: rooms import only from the rooms they may, and each third party has its place.

Read from the source by `ast`, so imports inside functions and under `TYPE_CHECKING` count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "harness"

ROOTS = {"units", "errors", "record", "compiled", "toml_file"}
# room -> what it may import from the package besides itself and the roots; a dotted name allows that module only.
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "units": {"errors"},
    "errors": set(),
    "toml_file": {"errors"},
    "record": set(),
    "compiled": set(),
    "wire": set(),
    "trace": {"wire"},
    "plan": {"trace"},
    "visitor": {"plan", "trace", "wire"},
    "config": {"visitor"},
    "measure": {"visitor.records"},
    "judge": {"measure", "config"},
    "sim": {"wire", "visitor", "plan", "config", "trace.model"},
    "recorder": {"trace", "wire", "config"},
    "engine": {"visitor", "wire", "config", "trace.model"},
    "fleet": {"engine", "measure", "plan", "visitor", "config", "wire", "trace.model"},
    "capacity": {"judge", "measure", "plan", "config", "sim", "visitor.retry"},
    "export": {"measure"},
    "dashboards": {"export", "judge"},
    "report": {"judge", "measure"},
    "store": {"measure", "judge"},
    "bench": {"engine", "export", "measure", "config", "visitor.records"},
    "doctor": {"bench", "engine", "measure", "config"},
    "cli": set(),
    "testing": {"wire", "trace", "plan", "visitor", "sim"},
}
ALLOWED["cli"] = {room for room in ALLOWED if not room.startswith("__")}

# Data libraries without side effects may be used wherever data is; the rest has one place each.
DATA = {"msgspec", "orjson"}
THIRD_PARTIES: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": set(),
    "units": set(),
    "errors": set(),
    "record": set(),
    "compiled": set(),
    "toml_file": set(),
    "trace": DATA | {"brotli", "zstandard"},
    "store": DATA | {"zstandard"},
    "sim": DATA | {"httptools"},
    "engine": DATA | {"gevent", "httptools"},
    # geventhttpclient is what Locust's FastHttpUser sends with; its errors are mapped there.
    "fleet": DATA | {"gevent", "geventhttpclient", "locust"},
    "export": DATA | {"prometheus_client"},
    # The last two are optional: only checking needs them.
    "dashboards": DATA | {"jinja2", "markupsafe", "jsonschema", "promql_parser"},
    "report": DATA | {"jinja2", "markupsafe", "hdrh"},
    # What these two measure runs in processes of its own: a server, and the engine on gevent's loop.
    "bench": DATA | {"gevent", "httptools"},
    "doctor": DATA | {"gevent"},
    "cli": DATA | {"click", "rich"},
}

PURE = {"wire", "trace", "plan", "visitor", "measure", "judge", "capacity", "report"}
PURE_FILES = {
    "sim/behaviour.py", "sim/loads.py", "sim/rehearsal.py", "sim/rehearsed.py", "sim/routed.py", "sim/wires.py",
}  # fmt: skip
# Clocks, sockets, processes and threads have no place where time and randomness are arguments.
IMPURE_MODULES = {
    "asyncio", "multiprocessing", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time",
}  # fmt: skip


class Import(NamedTuple):
    """One imported module, and where it stands."""

    file: Path
    line: int
    module: str

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line} imports {self.module}"


def room_of(file: Path) -> str:
    """The room (or root module) that a file of the package belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _place(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def imports_of(file: Path) -> Iterator[Import]:
    """Every module a file imports; `from a import b` counts as a.b where b is a module of the package."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} has a relative import; write it from harness on"
            module = str(node.module)
            for alias in node.names:
                path = PACKAGE.parent.joinpath(*module.split("."), alias.name)
                inner = path.is_dir() or path.with_suffix(".py").exists()
                yield Import(file, node.lineno, f"{module}.{alias.name}" if inner else module)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "vendor" not in path.parts)
IMPORTS = [each for file in FILES for each in imports_of(file)]


def test_every_room_is_in_the_table() -> None:
    """A new room needs a line in the table, so that its imports are a decision."""
    assert {room_of(file) for file in FILES} <= set(ALLOWED)
    assert len(IMPORTS) > 100


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_from_the_rooms_it_may(room: str) -> None:
    """Imports inside the package point to the rooms that the table allows."""
    wrong = [
        each.where
        for each in IMPORTS
        if room_of(each.file) == room and each.module.startswith("harness.") and not _allowed(room, each.module)
    ]
    assert wrong == []


def _allowed(room: str, module: str) -> bool:
    inner = module.removeprefix("harness.")
    target = inner.split(".")[0]
    if target == room or target in ROOTS:
        return room not in ROOTS or target in ALLOWED[room]
    return any(inner == name or inner.startswith(f"{name}.") for name in ALLOWED[room])


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_third_parties_stay_in_their_rooms(room: str) -> None:
    """Only fleet/ imports locust, only engine/ and fleet/ gevent, and so on."""
    allowed = {"harness", *sys.stdlib_module_names, *THIRD_PARTIES.get(room, DATA)}
    foreign = [
        each.where for each in IMPORTS if room_of(each.file) == room and each.module.split(".")[0] not in allowed
    ]
    assert foreign == []


def test_pure_rooms_touch_no_clock_socket_process_or_thread() -> None:
    """In the pure rooms time and randomness are arguments: the modules that would provide them are not imported."""
    wrong = [
        each.where
        for each in IMPORTS
        if (room_of(each.file) in PURE or _place(each.file) in PURE_FILES)
        and each.module.split(".")[0] in IMPURE_MODULES
    ]
    assert wrong == []


def test_the_table_has_no_circle() -> None:
    """The allowances alone make circles impossible: rooms can be put into an order."""
    order: list[str] = []
    left = {room: {name.split(".")[0] for name in names} - {room} for room, names in ALLOWED.items()}
    while left:
        free = sorted(room for room, needs in left.items() if needs <= set(order))
        assert free, f"a circle among {sorted(left)}"
        order += free
        for room in free:
            del left[room]
