"""The detector that is measured, and what it is asked. Imports no more than a program does that makes one."""

from __future__ import annotations

from typing import Any

from detector.model import Endpoint
from detector.pins import PinSet
from detector.session.session import Detector


def detector_for(settings: dict[str, Any], concurrency: int) -> Detector:
    """A detector that holds the origin's PKI for the public one."""
    return Detector(
        pins=PinSet(name="none", endpoints=()),
        roots=settings["roots"],
        logs=settings["logs"],
        proxy="none",
        offline=True,
        concurrency=concurrency,
    )


def pinned_endpoints(settings: dict[str, Any]) -> tuple[Endpoint, ...]:
    """Return an endpoint for every certificate of the origin, its key pinned."""
    address = (str(settings["many"][0]), int(settings["many"][1]))
    return tuple(
        Endpoint(host=host, address=address, pins=(bytes.fromhex(settings["pins"][host]),))
        for host in settings["hosts"]
    )
