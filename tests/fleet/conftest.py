"""A fleet's certificates, and what its scans judge by."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from parts import LOOPBACK, Fleet, a_fleet

from detector.fleet import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector.testing import PrivatePKI


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of a fleet."""
    certificates.write(tmp_path / "tls", hosts=[LOOPBACK], now=dt.datetime.now(dt.UTC))
    return tmp_path / "tls"


@pytest_asyncio.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    """A fleet on loopback, with a scheduler and no worker yet."""
    async with a_fleet(folder) as running:
        yield running


@pytest.fixture
def trust(pki: PrivatePKI, tmp_path: Path) -> tuple[str, ...]:
    """What the scans judge by."""
    written = pki.write(tmp_path)
    return "--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none"
