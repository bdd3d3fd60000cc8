"""Room: testing. The fixtures other projects get, and what loading them costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import detector_testing
import pytest
from detector_testing import (
    Origin,
    PrivatePKI,
    Script,
    Serving,
    run_mitmproxy,
    serve_middlebox,
    serve_origin,
    serve_proxy,
    serve_script,
)
from loopback_client import EXAM, visit


async def test_it_starts_as_many_servers_as_asked_for(tls_pki: PrivatePKI, tls_serving: Serving) -> None:
    """Origin, proxy, middlebox and scripted server work together out of one fixture."""
    issued = tls_pki.issue([EXAM])
    origin, second = tls_serving(serve_origin(issued)), tls_serving(serve_origin(issued))
    upstream = {(EXAM, 443): origin.address}
    proxy = tls_serving(serve_proxy(upstream=upstream))
    box = tls_serving(serve_middlebox(tls_pki.private_ca(), upstream=upstream))
    replayer = tls_serving(serve_script(Script.replay(issued.chain)))
    assert origin.port != second.port
    assert (await visit(proxy.address, through=f"{EXAM}:443")).chain == issued.chain
    assert (await visit(box.address, through=f"{EXAM}:443")).chain != issued.chain
    assert (await visit(replayer.address)).error == "bad signature"


def test_synchronous_tests_have_the_same_fixture(tls_pki: PrivatePKI, tls_serving: Serving) -> None:
    """A test without a loop of its own reaches the server, which runs in a thread."""
    origin: Origin = tls_serving(serve_origin(tls_pki.issue([EXAM])))
    assert asyncio.run(visit(origin.address)).error == ""
    assert origin.handshakes == 1


@pytest.mark.lab
async def test_the_real_mitmproxy_is_started_the_same_way(tls_pki: PrivatePKI, tls_serving: Serving) -> None:
    """The fixture takes any async context manager."""
    origin = tls_serving(serve_origin(tls_pki.issue([EXAM])))
    mitm = tls_serving(run_mitmproxy(f"reverse:https://127.0.0.1:{origin.port}"))
    assert b"200" in (await visit(mitm.address)).body


def test_loading_the_plugin_loads_nothing_else() -> None:
    """In a fresh interpreter the plugin brings in none of the modules behind its fixtures."""
    program = (
        "import sys, detector_testing.plugin; "
        "print(*sorted(name for name in sys.modules if name.startswith('detector')))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - no shell; runs this interpreter on code written here
    assert loaded.stdout.split() == ["detector_testing", "detector_testing.plugin"]


def test_every_public_name_is_there() -> None:
    """Every name in `__all__` loads, and no other."""
    assert all(getattr(detector_testing, name) is not None for name in detector_testing.__all__)
    assert set(detector_testing.__all__) == set(detector_testing._HOME)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = detector_testing.no_such_name
