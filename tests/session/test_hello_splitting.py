"""What a box gains by answering one ClientHello in its own way and passing on every other: never a clean result."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from detector_testing import Script, serve_origin, serve_script
from detector_testing.middlebox import looks_like_browser
from detector_testing.tls_server import Ending, Group, Step
from detector_testing.tls_wire import TLSWireError, find_client_hello

from detector import Detector
from detector.judge.wording import Confirmation, confirmation
from detector.model import Audience, Hello, Outcome, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import Issued, PrivatePKI

    from detector.model import Result

    Settings = Callable[..., dict[str, Any]]
    Address = tuple[str, int]

EXAM: Final = "exam.example.edu"
V = ssl.TLSVersion

ANSWERS: Final[dict[str, Callable[[Issued], Script]]] = {
    "TLS 1.2": lambda forged: Script.genuine(forged, version=V.TLSv1_2),
    "TLS 1.2, another group": lambda forged: dataclasses.replace(
        Script.genuine(forged, version=V.TLSv1_2), group=Group.SECP256R1
    ),
    "TLS 1.2 with RSA key exchange": lambda forged: dataclasses.replace(
        Script.genuine(forged, version=V.TLSv1_2), encrypts=True
    ),
    "a retry for P-256": lambda forged: dataclasses.replace(Script.genuine(forged), group=Group.SECP256R1),
    "a retry for P-384": lambda forged: dataclasses.replace(Script.genuine(forged), group=Group.SECP384R1),
    "a retry with a cookie": lambda forged: dataclasses.replace(Script.genuine(forged), cookie=b"\1" * 32),
}
"""How a box that decrypts browsers may finish a browser's hello in another way than most servers do."""

X25519_SHARE: Final = bytes.fromhex("002b0002030400330024001d0020") + bytes(range(32))
"""Extensions of a ServerHello of TLS 1.3: its version, and a share in X25519."""


def server_hello(version: int, suite: int, extensions: bytes = b"") -> bytes:
    """A record with a ServerHello (RFC 8446 section 4.1.3)."""
    body = version.to_bytes(2, "big") + bytes(range(32)) + b"\0" + suite.to_bytes(2, "big") + b"\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    return b"\x16\x03\x03" + (len(body) + 4).to_bytes(2, "big") + b"\x02" + len(body).to_bytes(3, "big") + body


UNOFFERED: Final = {
    "TLS 1.1": server_hello(0x0302, 0xC013),
    "DHE": server_hello(0x0303, 0x009E),
    "no authentication": server_hello(0x0303, 0x0034),
    "a CCM suite of TLS 1.3": server_hello(0x0303, 0x1304, X25519_SHARE),
    "an unknown suite of TLS 1.3": server_hello(0x0303, 0x13FF, X25519_SHARE),
    "X448": server_hello(0x0303, 0x1301, X25519_SHARE.replace(b"\x1d", b"\x1e")),
}
"""Beginnings of handshakes with what no browser offers."""

REFUSALS: Final[dict[str, Callable[[Issued], Script]]] = {
    "handshake_failure": lambda _: Script.alert(40),
    "protocol_version": lambda _: Script.alert(70),
    "internal_error": lambda _: Script.alert(80),
    "an early close": lambda _: dataclasses.replace(Script.silence(), ending=Ending.CLOSE),
    "a reset": lambda _: dataclasses.replace(Script.silence(), ending=Ending.RESET),
    "silence": lambda _: Script.silence(),
    "garbage": lambda _: Script.garbage(),
    "a page": lambda _: Script.plain_http(),
    "half a handshake": lambda forged: dataclasses.replace(Script.genuine(forged), stop=Step.SERVER_HELLO),
    "half a handshake of TLS 1.2": lambda forged: dataclasses.replace(
        Script.genuine(forged, version=V.TLSv1_2), stop=Step.SERVER_HELLO
    ),
    **{chosen: partial(lambda answer, _: Script.plain_http(answer), answer) for chosen, answer in UNOFFERED.items()},
}
"""How it may keep a browser's hello from showing any certificate, so that another hello is sent."""

CURABLE: Final = frozenset({"handshake_failure", "protocol_version", *UNOFFERED})
"""Refusals after which more to choose from might help, so that the widest hello is sent without being asked for."""


@contextlib.asynccontextmanager
async def switch(browsers: Address, others: Address) -> AsyncIterator[Address]:
    """Relay connections by their ClientHello: those with a browser's to the one server, all others to the other."""
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())  # type: ignore[arg-type] # a callback of a server runs in a task
        with contextlib.suppress(OSError), contextlib.closing(writer):
            data = b""
            while (hello := _hello(data)) is None:
                if not (more := await reader.read(65536)):
                    return
                data += more
            target = browsers if looks_like_browser(hello) else others
            there, here = await asyncio.open_connection(*target)
            with contextlib.closing(here):
                here.write(data)
                await asyncio.wait(
                    [asyncio.create_task(_pump(reader, here)), asyncio.create_task(_pump(there, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()
    for task in served:
        task.cancel()
    await asyncio.gather(*served, return_exceptions=True)


def _hello(data: bytes) -> Any:  # noqa: ANN401 - a record whose type the test kit does not export
    with contextlib.suppress(TLSWireError):
        return find_client_hello(data)
    return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def check(settings: Settings, place: Address, **options: Any) -> Result:  # noqa: ANN401 - of a detector
    subject = Detector(**settings(resolve={(EXAM, 443): place}, offline=True, **options))
    async with subject:
        (result,) = (await subject.check([EXAM], deadline=3)).results
    return result


@pytest.mark.parametrize("hello", ["browser", "both"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_chrome_would_finish_is_finished(
    answer: str, hello: str, pki: PrivatePKI, settings_of: Settings
) -> None:
    """A box that forges for browsers in TLS 1.2, or after a retry, and passes on everything else, is seen."""
    forged = pki.private_ca("School CA").issue([EXAM], key="rsa" if "RSA" in answer else "ec")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_script(ANSWERS[answer](forged)) as box,
        switch(box.address, origin.address) as place,
    ):
        result = await check(settings_of, place, hello=hello)
    assert result.verdict is Verdict.MIDDLEWARE
    assert result.observation.hello in ({Hello.BROWSER} if hello == "browser" else {Hello.BROWSER, Hello.OPENSSL})
    leaves = {one.chain[0].der: one.hello for one in (result.observation, *result.other_observations) if one.chain}
    assert leaves[forged.leaf] is Hello.BROWSER


@pytest.mark.parametrize("hello", ["browser", "both"])
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_no_other_hello_clears_in_its_place(
    refusal: str, hello: str, pki: PrivatePKI, settings_of: Settings
) -> None:
    """A box that keeps browsers from any certificate and passes on everything else leaves the endpoint unconfirmed."""
    forged = pki.private_ca("School CA").issue([EXAM])
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_script(REFUSALS[refusal](forged)) as box,
        switch(box.address, origin.address) as place,
    ):
        result = await check(settings_of, place, hello=hello)
    seen = (result.observation, *result.other_observations)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert confirmation(result) is Confirmation.UNCONFIRMED
    if hello == "both" or refusal in CURABLE:
        assert result.reason is Reason.OTHER_HELLO
        assert "browsers" in result.advice_for[Audience.IT]
    else:
        assert result.reason is Reason.NO_CERTIFICATE
    assert not any(one.chain and one.hello is Hello.BROWSER for one in seen)


async def test_the_hello_that_was_chosen_is_assessed_by_itself(pki: PrivatePKI, settings_of: Settings) -> None:
    """Who asks with OpenSSL's hello learns what programs like it get, and the report names the hello."""
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_script(Script.alert(40)) as box,
        switch(box.address, origin.address) as place,
    ):
        result = await check(settings_of, place, hello="openssl")
    assert (result.verdict, result.observation.hello) == (Verdict.CLEAN, Hello.OPENSSL)
    assert result.observation.outcome is Outcome.COMPLETE


async def test_a_second_try_that_replays_the_chain_is_assessed(pki: PrivatePKI, settings_of: Settings) -> None:
    """What answers a small hello without the leaf's key counts, although the usual hello then gets the same chain."""
    issued = pki.issue([EXAM])
    scripts = (REFUSALS["a reset"](issued), Script.replay(issued.chain), Script.genuine(issued))
    async with serve_script(scripts) as box:
        result = await check(settings_of, box.address)
    assert (result.verdict, result.reason) == (Verdict.MIDDLEWARE, Reason.REPLAYED_CHAIN)
    assert box.connections == len(scripts)
