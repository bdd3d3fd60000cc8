"""Room: testing. The fixtures other projects get, and what loading them costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import detector_testing
import pytest
from detector_testing import PrivatePKI, Script, plugin
from loopback_client import EXAM, visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def test_factories_start_as_many_as_asked_for(
    tls_pki: PrivatePKI,
    tls_origin: Callable[..., Awaitable[Any]],
    tls_proxy: Callable[..., Awaitable[Any]],
    tls_middlebox: Callable[..., Awaitable[Any]],
    tls_server: Callable[..., Awaitable[Any]],
) -> None:
    """Origin, proxy, middlebox and scripted server work together out of fixtures alone."""
    issued = tls_pki.issue([EXAM])
    origin, second = await tls_origin(issued), await tls_origin(issued)
    upstream = {(EXAM, 443): origin.address}
    proxy, box = await tls_proxy(upstream=upstream), await tls_middlebox(tls_pki.private_ca(), upstream=upstream)
    replayer = await tls_server(Script.replay(issued.chain))
    assert origin.port != second.port
    assert (await visit(proxy.address, through=f"{EXAM}:443")).chain == issued.chain
    assert (await visit(box.address, through=f"{EXAM}:443")).chain != issued.chain
    assert (await visit(replayer.address)).error == "bad signature"


@pytest.mark.lab
async def test_the_real_mitmproxy_is_a_fixture(
    tls_pki: PrivatePKI,
    tls_origin: Callable[..., Awaitable[Any]],
    mitmproxy: Callable[..., Awaitable[Any]],
) -> None:
    """It starts with the arguments of `run_mitmproxy` and ends with the test."""
    origin = await tls_origin(tls_pki.issue([EXAM]))
    mitm = await mitmproxy(f"reverse:https://127.0.0.1:{origin.port}")
    assert b"200" in (await visit(mitm.address)).body


def test_loading_the_plugin_loads_nothing_else() -> None:
    """In a fresh interpreter the plugin brings in none of the modules behind its fixtures."""
    program = (
        "import sys, detector_testing.plugin; "
        "print(*sorted(name for name in sys.modules if name.startswith('detector_testing.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - our own interpreter
    assert loaded.stdout.split() == ["detector_testing.plugin"]


def test_every_public_name_is_there() -> None:
    """What `__all__` promises can be had, and nothing else is invented."""
    assert all(getattr(detector_testing, name) is not None for name in detector_testing.__all__)
    assert set(detector_testing.__all__) == set(detector_testing._HOME)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = detector_testing.no_such_name


def test_without_pytest_asyncio_a_fixture_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin loads without the extra; only using an async fixture fails, with advice."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    made: list[Callable[[], None]] = []

    def keep(*, name: str) -> Callable[[Callable[[], None]], None]:
        assert name == "some_fixture"
        return made.append

    monkeypatch.setattr(pytest, "fixture", keep)

    async def some_fixture() -> Any:  # noqa: ANN401 - never run
        yield None

    plugin._async_fixture(some_fixture)
    with pytest.raises(pytest.fail.Exception, match=r"install tls-middleware-detector\[testing\]"):
        made[0]()
