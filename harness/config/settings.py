"""`Setting`: what the product knows about one thing a user can set; `harness.config.table` lists them all.

The default is not repeated here: it is that of the `RunConfig` field which the setting fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from harness.config.kinds import ADDRESS_OR_OFF, FLAG, Kind
from harness.config.model import RunConfig
from harness.visitor.retry import RetryPolicy

Shape = Literal["one", "list", "map"]


@dataclass(frozen=True)
class Setting:
    """One setting; `shape` says whether it is a single value, a list or a map (`separator` between key and value).

    `name` is the field of `RunConfig` (dotted inside a nested struct) or a setting of the command alone (`slo`,
    `profile`, `json`, `quiet`). Without a `flag` it exists in the profile only, without a `key` on the command line
    only.
    """

    name: str
    kind: Kind
    help: str
    flag: str | None = None
    key: str | None = None
    shape: Shape = "one"
    separator: str = "="
    metavar: str = ""
    hidden: bool = False

    @property
    def env(self) -> str | None:
        """The mirrored environment variable; lists and maps take their items separated by `;`."""
        return None if self.flag is None else "HARNESS_" + self.option.upper()

    @property
    def option(self) -> str:
        """The name under which the command line hands the value over (`allow_host` of `--allow-host`)."""
        return (self.flag or "").removeprefix("--").replace("-", "_")

    @property
    def default(self) -> object:
        """The value when nobody says anything: that of the `RunConfig` field, else None or false."""
        fields = msgspec.structs.fields(RunConfig)
        *outer, name = self.name.split(".")
        for part in outer:
            struct = next(item for item in fields if item.name == part).default
            fields = msgspec.structs.fields(struct)
        found = next((item for item in fields if item.name == name), None)
        if found is None or found.required:
            return False if self.kind is FLAG else None
        if found.default_factory is not msgspec.NODEFAULT:
            return found.default_factory()
        return found.default.name if isinstance(found.default, RetryPolicy) else found.default

    def shown(self, value: object) -> str:
        """A value as text that would read back the same; `-` when there is none."""
        if isinstance(value, dict):
            return "; ".join(f"{name}{self.separator}{self.kind.show(item)}" for name, item in value.items()) or "-"
        if isinstance(value, tuple):
            return "; ".join(self.kind.show(item) for item in value) or "-"
        return self.kind.show(value) if value not in (None, "") or self.kind is ADDRESS_OR_OFF else "-"
