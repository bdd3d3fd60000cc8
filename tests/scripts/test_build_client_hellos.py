"""The shipped profiles against the installed browsers, field by field; and the script that records them.

Room: tests. With the mark `lab`, headless browsers that talk to a listener on loopback.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import build_client_hellos as script
import pytest
from build_client_hellos import NAMES, PROGRAMS, Connection, Retry, capture, changes, decode, describe, differences
from support.system import program

from detector.knowledge import data_set
from detector.model import Endpoint, Hello
from detector.probe.client import probe
from detector.probe.routes import DirectDialer
from detector.probe.tls.hello import GREASE, parse_client_hello

COOKIE: Final = b"a cookie"
SOCKETS: Final = "<script>" + "".join(f'new WebSocket("wss://{name}:{{port}}/");' for name in NAMES) + "</script>"
"""A page that opens WebSockets instead of images."""
ADDRESS: Final = '<img src="https://127.0.0.1:{port}/">'
WITHOUT_H2: Final = 'user_pref("network.http.http2.enabled", false);'
WITHOUT_ML_KEM: Final = 'user_pref("security.tls.enable_kyber", false);'


class Case(NamedTuple):
    """What a browser is made to send, and how the writer is asked for the same."""

    hello: Hello
    settings: tuple[str, ...]
    page: str = script.PAGE
    alpn: tuple[bytes, ...] | None = None
    small: bool = False


CASES: Final = {
    "chromium, WebSocket": Case(Hello.BROWSER, (), page=SOCKETS, alpn=(b"http/1.1",)),
    "firefox without h2": Case(Hello.FIREFOX, (WITHOUT_H2,), alpn=(b"http/1.1",)),
    "firefox without ML-KEM": Case(Hello.FIREFOX, (WITHOUT_ML_KEM,), small=True),
}
RETRIES: Final = {
    "first alone": None,
    "another group": Retry(group=0x18),
    "a cookie": Retry(cookie=COOKIE),
    "another group and a cookie": Retry(group=0x18, cookie=COOKIE),
}
BROWSERS: Final = (Hello.BROWSER, Hello.FIREFOX)
REMAKE: Final = "the installed browser's ClientHello has moved: run scripts/build_client_hellos.py"


async def of_browser(
    hello: Hello, *settings: str, page: str = script.PAGE, count: int = len(NAMES), retry: Retry | None = None
) -> list[Connection]:
    """What the installed browser sends."""
    program(PROGRAMS[hello])
    return await capture(hello, *settings, page=page, count=count, retry=retry)


async def of_probes(hello: Hello, retry: Retry | None = None) -> list[Connection]:
    """What probes of as many hosts send."""
    async with script.listening(retry) as listener:
        target = ("127.0.0.1", listener.port)
        dialer = DirectDialer({(name, listener.port): target for name in NAMES})
        for name in NAMES:
            await probe(Endpoint(host=name, port=listener.port), dialer=dialer, hello=hello)
        return await listener.received(len(NAMES))


@pytest.mark.lab
@pytest.mark.parametrize("hello", BROWSERS)
@pytest.mark.parametrize("retry", RETRIES.values(), ids=RETRIES)
async def test_a_probe_sends_what_the_browser_sends(hello: Hello, retry: Retry | None) -> None:
    """Over 80 connections each, every field has the same values, constant or drawn; one that has moved is named.

    After a HelloRetryRequest both change the same fields to the same values, and the records are the same.
    """
    sides = await of_browser(hello, retry=retry), await of_probes(hello, retry)
    for hellos in ([both.first for both in side] for side in sides), ([both.second for both in side] for side in sides):
        theirs, ours = (describe(filter(None, side)) for side in hellos)
        assert differences(theirs, ours) == [], REMAKE
    changed = [{str(changes(both.first, both.second)) for both in side if both.second} for side in sides]
    assert changed[0] == changed[1], REMAKE
    records = [{both.records for both in side} for side in sides]
    assert records[0] == records[1]


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_variations(case: Case) -> None:
    """What the writer can leave out is what the browser leaves out when it is made to."""
    theirs = await of_browser(case.hello, *case.settings, page=case.page)
    ours = script.written(case.hello, alpn=case.alpn, small=case.small)
    moved = differences(describe(both.first for both in theirs), describe(both.first for both in ours))
    assert moved == [], REMAKE


@pytest.mark.lab
@pytest.mark.parametrize("hello", BROWSERS)
async def test_an_address_has_no_server_name(hello: Hello) -> None:
    """To an IP literal a browser sends the same hello without server_name."""
    (theirs,) = await of_browser(hello, page=ADDRESS, count=1)
    ours = describe(both.first for both in script.written(hello, None))
    drawn = {"order of extensions"} if data_set.shipped().client_hellos.of(hello).shuffled else set()
    found = decode(theirs.first)
    assert found.keys() == ours.keys()
    assert [name for name, value in found.items() if name not in drawn and value not in ours[name]] == [], REMAKE


@pytest.mark.lab
@pytest.mark.parametrize("hello", BROWSERS)
async def test_fingerprints_are_the_same(hello: Hello, capsys: pytest.CaptureFixture[str]) -> None:
    """JA4 and the decoded list are the browser's; the order of extensions varies where the browser's does."""
    theirs, ours = await of_browser(hello), await of_probes(hello)
    columns = []
    for side in (theirs, ours):
        read = [parse_client_hello(both.first) for both in side]
        fields = {name: " | ".join(sorted(values)) for name, values in describe(both.first for both in side).items()}
        orders = {tuple(kind for kind, _ in hello.extensions if kind not in GREASE) for hello in read}
        fields["orders of extensions, of so many connections"] = f"{len(orders)} of {len(read)}"
        fields["JA4"] = " ".join({hello.ja4 for hello in read})
        columns.append(fields)
    with capsys.disabled():
        recorded, installed = data_set.shipped().client_hellos.of(hello).client, script.version(PROGRAMS[hello])
        print(f"\n{recorded} as recorded, and {installed} as installed")  # noqa: T201 - what the test is to show
        for name, value in columns[1].items():
            same = "both" if columns[0].get(name) == value else f"ours; the browser: {columns[0].get(name)}"
            print(f"  {name:32} {value}  ({same})")  # noqa: T201 - what the test is to show
    assert differences(*columns) == [], REMAKE


class TestScript:
    """The script itself, without a browser."""

    @pytest.mark.parametrize("hello", BROWSERS)
    def test_a_profile_comes_back(self, hello: Hello) -> None:
        """From what is written of a profile the script derives this profile."""
        shipped = data_set.shipped().client_hellos.of(hello)
        connections = script.written(hello, retry=Retry(cookie=COOKIE))
        assert script.profile(hello, shipped.client, shipped.recorded, connections) == shipped

    def test_a_moved_field_is_named(self) -> None:
        """A list that is not the same is one line, with both values."""
        ours = describe(both.first for both in script.written(Hello.BROWSER))
        theirs = describe(both.first for both in script.written(Hello.READABLE))
        (line,) = differences(theirs, ours)
        assert line.startswith("signature_algorithms: {'GREASE 0403 ")
        assert "'GREASE 0904 " in line

    def test_an_order_that_is_drawn_is_reported(self) -> None:
        """A browser that begins to draw its order, or ceases to, has moved."""
        drawn, fixed = (describe(both.first for both in script.written(hello)) for hello in BROWSERS)
        assert drawn["order of extensions"] == {"drawn on each connection"}
        assert len(fixed["order of extensions"]) == 1
        assert "drawn on each connection" not in fixed["order of extensions"]

    def test_changes_are_named(self) -> None:
        """A second hello that draws what it should repeat is reported."""
        one, other = script.written(Hello.FIREFOX)[:2]
        assert changes(one.first, one.first) == {}
        assert changes(one.first, other.first).keys() == {
            "random",
            "session_id",
            "key_share",
            "encrypted_client_hello",
        }
