"""The pytest plugin, loaded through the `pytest11` entry point.

Room: testing. Every pytest run of an environment with this package imports the plugin, so it imports only pytest; the
fixtures import the rest.

    def test_my_client_refuses_a_forged_certificate(tls_pki, tls_serving):
        origin = tls_serving(serve_origin(tls_pki.issue(["exam.example.edu"])))
        upstream = {("exam.example.edu", 443): origin.address}
        box = tls_serving(serve_middlebox(tls_pki.private_ca(), upstream=upstream))
        ...

The fixtures work in synchronous and asynchronous tests and need no other plugin. An asynchronous test can also use
`async with serve_origin(...)`, which runs the server in the test's own loop.
"""

# ruff: noqa: PLC0415 - imports are inside the fixtures so that loading the plugin costs nothing

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .lab import Lab
    from .pki import PrivatePKI
    from .threads import Serving


@pytest.fixture(scope="session")
def tls_pki() -> PrivatePKI:
    """A private PKI shaped like the public one, shared by the session."""
    from .pki import PrivatePKI

    return PrivatePKI.create()


@pytest.fixture
def tls_serving() -> Iterator[Serving]:
    """Start servers, such as `serve_origin` makes, in a thread; they stop with the test."""
    from .threads import Serving

    with Serving() as start:
        yield start


@pytest.fixture
def network_lab(tls_serving: Serving) -> Lab:
    """A network of five hops in namespaces. Skips the test where none can be built; fails it if CI is set."""
    from .lab import LabError, network_lab

    try:
        return tls_serving(network_lab())
    except LabError as error:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(str(error))
