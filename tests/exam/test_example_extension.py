"""The example extension's script alone: what it reports, in which pieces, and what it never reports."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.example_extension import ADDED, EXAMPLE
from support.system import program

from detector.exam.browser_view import CONNECTIONS_MAX
from detector.exam.protocol import LANGUAGES_MAX, REQUEST_BYTES_MAX, Task, read_request

if TYPE_CHECKING:
    from collections.abc import Iterable

URL = "https://exam.example.edu/student/7?secret=1"
Event = tuple[str, object]


def run(browser: str, *events: Event) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let these events happen in a browser; return the listeners, and what the host got. Every report can be read."""
    said = "\n".join(json.dumps(event) for event in ([browser], *events))
    done = subprocess.run(  # noqa: S603 - node, with our own scripts
        [program("node"), str(ADDED / "dialogue.js"), str(EXAMPLE / "background.js")],
        input=said,
        capture_output=True,
        text=True,
        check=True,
    )
    registered, *sent = map(json.loads, done.stdout.splitlines())
    for message in sent:
        assert len(json.dumps(message)) <= REQUEST_BYTES_MAX
        read_request(json.dumps(message).encode())
    return registered, sent


def info(*chain: bytes, **more: object) -> dict[str, object]:
    return {"state": "secure", "certificates": [{"rawDER": list(der)} for der in chain], **more}


def visit(number: int, *chain: bytes, url: str = URL, **details: Any) -> Iterable[Event]:  # noqa: ANN401 - a browser's
    """A request in Firefox, from its headers to its body."""
    request = {"requestId": str(number), "url": url, "ip": "192.0.2.7"}
    yield "onHeadersReceived", {**request, "info": details.pop("info", info(*chain)), **details}
    yield "onResponseStarted", {**request, **details}


ASK: Event = ("ask", {"deadline": 3.0})


def connections(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for message in sent if message.get("task") == "observe" for one in message["connections"]]


def test_firefox_reports_what_it_saw() -> None:
    """The host, the whole chain and the parameters; the page's address and everything else stays in the browser."""
    parameters = {"protocolVersion": "TLSv1.3", "keaGroupName": "x25519", "cipherSuite": "TLS_AES_128_GCM_SHA256"}
    proxy = {"type": "http", "host": "192.0.2.9", "port": 3128, "username": "student", "failoverTimeout": 1}
    seen = visit(1, info=info(b"leaf", b"ca", **parameters), proxyInfo=proxy, originUrl=URL, tabId=3, cookieStoreId="x")
    registered, sent = run("FIREFOX", *seen, ASK)
    (one,) = connections(sent)
    assert [base64.b64decode(der) for der in one.pop("chain")] == [b"leaf", b"ca"]
    assert one.pop("time").endswith("Z")
    assert one == {
        "host": "exam.example.edu",
        "protocol": "TLSv1.3",
        "group": "x25519",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "address": "192.0.2.7",
        "proxy": {"scheme": "http", "host": "192.0.2.9", "port": 3128},
    }
    assert "student" not in json.dumps(sent)
    assert {name: listener["filter"] for name, listener in registered.items() if name.startswith("on")} == {
        name: {"urls": ["https://exam.example.edu/*"]}
        for name in ("onHeadersReceived", "onResponseStarted", "onBeforeRedirect", "onErrorOccurred")
    }


@pytest.mark.parametrize("browser", ["FIREFOX", "CHROMIUM"])
def test_the_gate_hears_the_languages_of_the_browser(browser: str) -> None:
    """Preferred first, as many and as long as the host reads; a page that asks for others gets those."""
    _, (asked, chosen) = run(browser, ASK, ("ask", {"languages": ["en"]}))
    assert asked["languages"] == ["de-CH", *["fr-FR"] * (LANGUAGES_MAX - 1)]
    assert chosen["languages"] == ["en"]


def test_chromium_reports_the_leaf() -> None:
    """With its feature on the leaf, with the address that comes later; with it off, that there is no interface."""
    request = {"requestId": "1", "url": URL}
    started = ("onResponseStarted", {**request, "ip": "192.0.2.7"})
    received = ("onHeadersReceived", {**request, "securityInfo": info(b"leaf")})
    registered, sent = run("CHROMIUM", received, started, ASK)
    assert registered["onHeadersReceived"]["extra"] == ["securityInfoRawDer"]
    (one,) = connections(sent)
    assert (one["chain"], one["address"]) == ([base64.b64encode(b"leaf").decode()], "192.0.2.7")
    _, without = run("CHROMIUM", started, ASK)
    assert [one["not_reported"] for one in connections(without)] == ["no-api"]


def test_what_is_not_reported_is_said() -> None:
    """A response from the cache, and an answer without a certificate; a private window is not even mentioned."""
    cached = visit(1, b"leaf", fromCache=True)
    insecure = visit(2, info={"state": "insecure"})
    _, sent = run("FIREFOX", *cached, *insecure, ASK)
    assert [one["not_reported"] for one in connections(sent)] == ["cached", "no-certificate"]
    _, private = run("FIREFOX", *visit(1, b"leaf", incognito=True), ASK)
    assert [message.get("task") for message in private] == [None]


@pytest.mark.parametrize("end", ["onBeforeRedirect", "onErrorOccurred"])
def test_a_request_that_ends_early_is_reported(end: str) -> None:
    """What a connection showed counts however its request went on; a request without a response is nothing."""
    received, _ = visit(1, b"leaf")
    gone: Event = (end, {"requestId": "1", "url": URL})
    _, sent = run("FIREFOX", received, gone, (end, {"requestId": "2", "url": URL}), ASK)
    assert len(connections(sent)) == 1


def test_the_same_again_is_reported_once_a_minute() -> None:
    """A page of a hundred requests on one connection is one report."""
    hundred = [event for number in range(100) for event in visit(number, b"leaf")]
    _, sent = run(
        "FIREFOX", *hundred, ("later", 59_000), *visit(100, b"leaf"), ("later", 2_000), *visit(101, b"leaf"), ASK
    )
    assert len(connections(sent)) == 2


def test_reports_fit_what_the_host_reads() -> None:
    """Many connections go in several requests, in order, before the gate is asked; one that is too long is left out."""
    leaves = [str(number).encode() * 1500 for number in range(100, 300)]
    many = [event for number, leaf in enumerate(leaves) for event in visit(number, leaf)]
    _, sent = run("FIREFOX", *visit(999, b"x" * 90_000), *many, ASK)
    reported = [base64.b64decode(one["chain"][0]) for one in connections(sent)]
    assert reported == leaves
    assert max(len(message["connections"]) for message in sent[:-1]) <= CONNECTIONS_MAX
    assert (sent[-1].get("task", Task.GATE), sent[-1]["deadline"]) == (Task.GATE, 3.0)
