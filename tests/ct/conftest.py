"""Room: tests of ct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from detector_testing import PrivatePKI, StaticLog
from support.ct_world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, pki: PrivatePKI) -> World:
    """A log with 300 certificates of others, followed from its end."""
    log = StaticLog.create()
    log.fill(300, lambda index: b"certificate %d" % index)
    made = World(tmp_path, pki, log)
    made.publish()
    return made
