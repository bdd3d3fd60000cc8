"""What a server pays for each request: it must stay far below what an application takes to answer one.

Room: tests of origin. Measures processor time alone, so it runs with the mark `serial`.
"""

from __future__ import annotations

import pytest
from detector_testing.loop_lag import slowness

from benchmark.origin_requests import of_requests

FROM_BYTES_MAX = 60.0
PARSED_MAX = 10.0
"""Microseconds of the first request of a connection, and of what follows on an offer that is known."""
ROUNDS = 4
"""Measurements of which the fastest counts: noise only ever adds."""


@pytest.mark.serial
def test_a_request_costs_microseconds() -> None:
    """From the bytes of a browser's ClientHello at most 60, on a parsed offer and for later requests at most 10."""
    rounds = [of_requests() for _ in range(ROUNDS)]
    slower = slowness()
    assert min(found.first for found in rounds) <= FROM_BYTES_MAX * slower
    assert min(found.later for found in rounds) <= PARSED_MAX * slower
    assert min(found.parsed for found in rounds) <= PARSED_MAX * slower
