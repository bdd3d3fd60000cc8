"""What a collector assesses with: its own knowledge, and its own expectations of endpoints.

Room: detector_collect.assessment. Pure: both are arguments, read elsewhere.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - the annotation of a method
import functools
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from detector.judge.evidence import Context
from detector.knowledge import age
from detector.model import ManagedBy, encode
from detector.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.knowledge.data_set import DataSet
    from detector.model import Endpoint, Knowledge


class Material:
    """A data set, and the endpoints that this collector knows something of: canaries, and the vendor's own.

    Two of the same content have the same `digest`, in every process.
    """

    def __init__(self, data: DataSet, endpoints: Sequence[Endpoint]) -> None:
        self.data: Final = data
        self.endpoints: Final = tuple(endpoints)
        self.by_name: Final = {(endpoint.host, endpoint.port): endpoint for endpoint in endpoints}

    def context(self, at: dt.datetime) -> Context:
        """What to assess evidence of that moment against: roots as they were on that day."""
        return Context(at=at, data=self.data, roots=self.data.public_roots(at.date()), logs=self.data.logs)

    @functools.cached_property
    def knowledge(self) -> tuple[Knowledge, ...]:
        """Name, version, date and digest of each part."""
        return age.used(self.data.public_roots(), self.data.logs, self.data)

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything that an assessment depends on besides the evidence."""
        endpoints = sorted(map(encode, self.endpoints))
        return hashlib.sha256(msgspec.json.encode((VERSION, self.knowledge, endpoints))).digest()

    @functools.cached_property
    def products(self) -> dict[str, ManagedBy]:
        """Who manages each product of the catalogue."""
        return {entry.product: entry.managed_by for entry in self.data.catalogue.entries}
