"""`Record`: a flat value with named fields, made millions of times.

A plain class with slots rather than a msgspec struct, so that the compiled engine (docs/decisions/0011) turns it into a
C struct whose fields are read without a look-up; uncompiled it behaves the same.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Record:
    """Equal when type and all fields are; shown with its fields. Subclasses name them in `__slots__`, in order."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    def fields(self) -> dict[str, Any]:
        """Name and value of each field, in their order."""
        return {name: getattr(self, name) for name in type(self).__slots__}

    def values(self) -> tuple[Any, ...]:
        """The values of all fields, in their order."""
        return tuple(self.fields().values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and type(other) is type(self) and other.values() == self.values()

    def __hash__(self) -> int:
        return hash(self.values())

    def __repr__(self) -> str:
        shown = ", ".join([f"{name}={value!r}" for name, value in self.fields().items()])
        return f"{type(self).__name__}({shown})"
