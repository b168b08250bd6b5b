"""Forms of ids, accounts and versions."""

from __future__ import annotations

from harness.sim.forms import known_version, well_formed_account, well_formed_id


def test_forms_of_ids_accounts_and_versions() -> None:
    """Absent and opaque ids pass, what cannot be an id does not; accounts and versions follow the contract."""
    assert all(map(well_formed_id, (None, "xyz", "ZjYWZlYzYzNDE5MTE1OWQ5", "stM0-_" + ".0af" * 9)))
    assert not any(map(well_formed_id, ("", "a b", 'a"b', "x" * 129, "é")))
    assert well_formed_account("ta3hWd4IgG") and not well_formed_account("x" * 21) and not well_formed_account("")
    assert known_version("1.0") and not known_version("1.1") and not known_version(None)
