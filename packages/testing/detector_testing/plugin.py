"""The pytest plugin: the hostile world as fixtures, loaded through the `pytest11` entry point.

Room: testing. It is imported in every pytest run of whoever has this package, so it imports nothing but pytest here and
the rest inside the fixtures.

    async def test_my_client_refuses_a_forged_certificate(tls_pki, tls_origin, tls_middlebox):
        origin = await tls_origin(tls_pki.issue(["exam.example.edu"]))
        box = await tls_middlebox(tls_pki.private_ca(), upstream={("exam.example.edu", 443): origin.address})
        ...

Every fixture but `tls_pki` and `network_lab` is a factory: await it as often as needed, with the arguments of the
function it names. What it started ends with the test. They need pytest-asyncio, which the extra `testing` installs.
"""

# ruff: noqa: PLC0415 - imports stand inside the fixtures so that loading the plugin costs nothing

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .lab import Lab
    from .middlebox import Middlebox
    from .mitmproxy import Mitmproxy
    from .origin import Origin
    from .pki import PrivatePKI
    from .proxy import Proxy
    from .tls_server import ScriptedServer

Arguments = ParamSpec("Arguments")
Started = TypeVar("Started")


def _async_fixture(function: Callable[[], AsyncIterator[Started]]) -> object:
    """Make a pytest-asyncio fixture; without pytest-asyncio, one that says what to install when it is used."""
    if importlib.util.find_spec("pytest_asyncio") is None:

        def missing() -> None:
            pytest.fail(
                f"The fixture {function.__name__} needs pytest-asyncio: install tls-middleware-detector[testing].",
                pytrace=False,
            )

        missing.__doc__ = function.__doc__
        return pytest.fixture(name=function.__name__)(missing)
    import pytest_asyncio

    return pytest_asyncio.fixture(function)


@contextlib.asynccontextmanager
async def _factory(
    serve: Callable[Arguments, contextlib.AbstractAsyncContextManager[Started]],
) -> AsyncIterator[Callable[Arguments, Awaitable[Started]]]:
    """Give a function that enters `serve` as often as it is called, and leave all of it at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Started:
            return await stack.enter_async_context(serve(*args, **kwargs))

        yield start


@pytest.fixture(scope="session")
def tls_pki() -> PrivatePKI:
    """A private PKI shaped like the public one, the same for the whole session."""
    from .pki import PrivatePKI

    return PrivatePKI.create()


@_async_fixture
async def tls_origin() -> AsyncIterator[Callable[..., Awaitable[Origin]]]:
    """Start honest HTTPS servers; arguments of `serve_origin`."""
    from .origin import serve_origin

    async with _factory(serve_origin) as start:
        yield start


@_async_fixture
async def tls_server() -> AsyncIterator[Callable[..., Awaitable[ScriptedServer]]]:
    """Start servers that follow a script; arguments of `serve_script`."""
    from .tls_server import serve_script

    async with _factory(serve_script) as start:
        yield start


@_async_fixture
async def tls_middlebox() -> AsyncIterator[Callable[..., Awaitable[Middlebox]]]:
    """Start forging middleboxes; arguments of `serve_middlebox`."""
    from .middlebox import serve_middlebox

    async with _factory(serve_middlebox) as start:
        yield start


@_async_fixture
async def tls_proxy() -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    """Start proxies that decrypt nothing; arguments of `serve_proxy`."""
    from .proxy import serve_proxy

    async with _factory(serve_proxy) as start:
        yield start


@_async_fixture
async def mitmproxy() -> AsyncIterator[Callable[..., Awaitable[Mitmproxy]]]:
    """Start the real mitmproxy; arguments of `run_mitmproxy`."""
    from .mitmproxy import run_mitmproxy

    async with _factory(run_mitmproxy) as start:
        yield start


@_async_fixture
async def network_lab() -> AsyncIterator[Lab]:
    """A network of five hops in namespaces. Where none can be built the test is skipped; where CI is set, it fails."""
    from .lab import LabError
    from .lab import network_lab as build

    async with contextlib.AsyncExitStack() as stack:
        try:
            lab = await stack.enter_async_context(build())
        except LabError as error:
            say = pytest.fail if os.environ.get("CI") else pytest.skip
            say(str(error))
        yield lab
