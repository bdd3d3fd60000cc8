"""Settings of the kit's tests; they need nothing from the detector's own."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """Say that there is no current event loop: before Python 3.14 pytest-asyncio would make one nobody closes."""
    asyncio.set_event_loop(None)
