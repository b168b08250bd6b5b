"""A real browser through the recorder: what its page did is what the replay does again."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.system.recorded_browser import record_and_replay

pytestmark = [pytest.mark.system, pytest.mark.chromium]


def test_a_browser_recorded_and_replayed(tmp_path: Path) -> None:
    """Chromium's visits, replayed with the guessed policy, are the same calls per visitor; half the gaps within 20 ms.

    A busy machine holds up single calls, of the browser too, so that all gaps are held to it by `make prove`.
    """
    assert median(record_and_replay(tmp_path)) <= 20
