"""The control request against open networks and portals of every make.

Room: tests of probe. In memory, but for one hanging portal on loopback.
"""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Outcome, PortalObservation, PortalOutcome
from detector.probe.http.client import Limits
from detector.probe.http.portal import PORTAL_URL_CHARACTERS_MAX, probe_portal, read_api
from detector.probe.mock import AwaitClient, Close, Fails, MockNetwork, Script, Send

CONTROL = "http://control.example/generate_204"
API = "http://api.portal.example/captive"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def says(raw: bytes) -> Script:
    return Script(AwaitClient(), Send(raw), Close())


def network(control: Script | Fails, api: bytes = b"") -> MockNetwork:
    return MockNetwork({("control.example", 80): control, ("api.portal.example", 80): says(api)})


async def control_request(control: bytes, *, status: int = 204, body: bytes | None = None) -> PortalObservation:
    return await probe_portal(dialer=network(says(control)), probe_url=CONTROL, expect_status=status, expect_body=body)


async def request_with_api(api: bytes, control: bytes = NO_CONTENT) -> PortalObservation:
    return await probe_portal(dialer=network(says(control), api), probe_url=CONTROL, api_url=API)


async def test_an_open_network() -> None:
    """The expected answer is `open`, and its body is accounted for."""
    seen = await control_request(NO_CONTENT)
    assert seen == PortalObservation(
        outcome=PortalOutcome.OPEN, url=CONTROL, status=204, body_sha256=hashlib.sha256(b"").hexdigest()
    )
    seen = await control_request(answer("200 OK", b"success\n"), status=200, body=b"success\n")
    assert (seen.outcome, seen.body_sha256) == (PortalOutcome.OPEN, hashlib.sha256(b"success\n").hexdigest())


async def test_an_expected_status_alone_is_enough_when_nothing_else_is_expected() -> None:
    """Without an expected body, any body will do, also one that is larger than the limit."""
    big = Limits(body_bytes=10)
    dialer = network(says(answer("200 OK", bytes(100))))
    seen = await probe_portal(dialer=dialer, probe_url=CONTROL, expect_status=200, limits=big)
    assert (seen.outcome, seen.body_sha256) == (PortalOutcome.OPEN, None)


async def test_a_redirection_keeps_no_client_data() -> None:
    """Where a portal leads is reported without the address it writes into its query, and without credentials."""
    seen = await control_request(
        answer("302 Found", Location="http://u:p@portal.example:8080/login?mac=00:11&ip=10.0.0.7#x")
    )
    assert (seen.outcome, seen.status) == (PortalOutcome.REDIRECTED, 302)
    assert seen.location == "http://portal.example:8080/login"


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/login?x=1", "/login"),
        ("http://p.example/" + "y" * 3000, ("http://p.example/" + "y" * 3000)[:PORTAL_URL_CHARACTERS_MAX]),
        ("http://p.example/\x01\u00e9", "http://p.example/%01%C3%A9"),
        ("http://[broken/", None),
        ("javascript:alert(1)", None),
        ("?only=query", None),
    ],
)
async def test_portal_urls_are_bounded_and_printable(location: str, kept: str | None) -> None:
    """Whatever a portal gives as its URL, what is kept fits into a report."""
    body = json.dumps({"captive": True, "user-portal-url": location}).encode()
    seen = await request_with_api(answer("200 OK", body))
    assert (seen.outcome, seen.sign_in_url) == (PortalOutcome.CAPTIVE, kept)


@pytest.mark.parametrize("status", ["302 Found", "511 Network Authentication Required", "200 OK", "503 Busy"])
async def test_another_status_is_a_mismatch(status: str) -> None:
    """A login page instead of the answer, also with 511, and a redirection to nothing are mismatches."""
    seen = await control_request(answer(status, b"<html>log in</html>"))
    assert (seen.outcome, seen.status) == (PortalOutcome.CONTENT_MISMATCH, int(status[:3]))


@pytest.mark.parametrize("body", [b"", b"success", b"success\n\n", b"<html>"])
async def test_another_body_is_a_mismatch(body: bytes) -> None:
    """The right status with other content is a mismatch."""
    seen = await control_request(answer("200 OK", body), status=200, body=b"success\n")
    assert seen.outcome is PortalOutcome.CONTENT_MISMATCH


async def test_a_flood_instead_of_the_expected_body_is_a_mismatch() -> None:
    """A body that exceeds the limit is not the expected one, and an expected one larger than it still fits."""
    expected = bytes(100)
    for raw, outcome in ((100, PortalOutcome.OPEN), (5000, PortalOutcome.CONTENT_MISMATCH)):
        seen = await probe_portal(
            dialer=network(says(answer("200 OK", bytes(raw)))),
            probe_url=CONTROL,
            expect_status=200,
            expect_body=expected,
            limits=Limits(body_bytes=10),
        )
        assert seen.outcome is outcome


@pytest.mark.parametrize(
    ("start", "outcome"),
    [
        (b"", PortalOutcome.FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsucc", PortalOutcome.FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<htm", PortalOutcome.CONTENT_MISMATCH),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 8\r\n\r\n", PortalOutcome.REDIRECTED),
    ],
)
async def test_a_portal_that_hangs(start: bytes, outcome: PortalOutcome) -> None:
    """What a hanging portal has said by then decides; nothing that could still become the answer does."""
    hanging = network(Script(AwaitClient(), Send(start)))
    seen = await probe_portal(
        dialer=hanging, probe_url=CONTROL, expect_status=200, expect_body=b"success\n", limits=Limits(seconds=0.05)
    )
    assert (seen.outcome, seen.body_sha256, hanging.open) == (outcome, None, 0)


async def test_what_gives_no_answer() -> None:
    """No connection has an outcome of its own; another protocol, an https URL and a passed deadline are `failed`."""
    down = network(Fails(Outcome.CONNECT_REFUSED))
    assert (await probe_portal(dialer=down, probe_url=CONTROL)).outcome is PortalOutcome.UNREACHABLE
    assert (await control_request(b"SSH-2.0-x\r\n")).outcome is PortalOutcome.FAILED
    https = await probe_portal(dialer=down, probe_url="https://control.example/")
    assert https.outcome is PortalOutcome.FAILED
    passed = asyncio.get_running_loop().time() - 1
    late = await probe_portal(dialer=down, probe_url=CONTROL, deadline=passed)
    assert late.outcome is PortalOutcome.FAILED
    assert down.dialled == ["control.example:80"]


async def test_the_api_says_captive() -> None:
    """A captive API decides even where the control request came through, and gives the page for people."""
    body = b'{"captive": true, "user-portal-url": "https://portal.example/login?s=1", "seconds-remaining": 3}'
    seen = await request_with_api(answer("200 OK", body))
    assert (seen.outcome, seen.api, seen.status) == (PortalOutcome.CAPTIVE, PortalOutcome.CAPTIVE, 204)
    assert seen.sign_in_url == "https://portal.example/login"


async def test_the_api_says_open() -> None:
    """An API that says open does not outweigh a redirected control request."""
    seen = await request_with_api(answer("200 OK", b'{"captive": false}'), answer("302 Found", Location="/login"))
    assert (seen.outcome, seen.api) == (PortalOutcome.REDIRECTED, PortalOutcome.OPEN)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"captive": "yes"}', b'{"captive": true, "user-portal-url": 7}', b"[" * 50000]
)
async def test_an_api_that_says_nothing_readable(body: bytes) -> None:
    """What is not the JSON of RFC 8908 is no answer, and leaves the control request's."""
    seen = await request_with_api(answer("200 OK", body))
    assert (seen.outcome, seen.api) == (PortalOutcome.OPEN, PortalOutcome.FAILED)


async def test_an_api_out_of_reach() -> None:
    """An error status and an https URL are `failed`, an early end is `unreachable`."""
    captive = b'{"captive": true}'
    assert (await request_with_api(answer("404 Not Found", captive))).api is PortalOutcome.FAILED
    assert (await request_with_api(b"")).api is PortalOutcome.UNREACHABLE
    secure = await probe_portal(
        dialer=network(says(NO_CONTENT)), probe_url=CONTROL, api_url="https://api.portal.example/captive"
    )
    assert (secure.outcome, secure.api) == (PortalOutcome.OPEN, PortalOutcome.FAILED)


@given(
    st.binary() | st.recursive(st.booleans() | st.text(), st.lists).map(lambda v: json.dumps({"captive": v}).encode())
)
def test_no_api_answer_raises(body: bytes) -> None:
    """Whatever the API serves, it is one of three outcomes."""
    outcome, portal = read_api(body)
    assert outcome in {PortalOutcome.CAPTIVE, PortalOutcome.OPEN, PortalOutcome.FAILED}
    assert portal is None
