"""A second resolver over HTTPS: what it is asked, what is believed of its answers, and that differences accuse nobody.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import socket
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
from detector_testing import serve_files, serve_origin
from detector_testing.origin import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conversations import exam, pki
from support.profiles import examples

from detector import Detector, Outcome, Verdict
from detector.errors import MissingExtraError, TargetError
from detector.knowledge import ct_logs
from detector.model import ResolutionOutcome
from detector.probe import DirectDialer
from detector.probe.http import doh
from detector.probe.http.https import connect
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector_testing.origin import Request

    from detector.trust.roots import Roots

HOST, OTHER = "exam.example.edu", "lms.example.org"
RESOLVER = "resolver.example"


def answering(addresses: Mapping[str, tuple[str, ...]]) -> Callable[[Request], Response]:
    """A resolver that knows these names."""

    def handle(request: Request) -> Response:
        encoded = request.target.partition("dns=")[2]
        question = dns.message.from_wire(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        reply = dns.message.make_response(question)
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True)
        if name not in addresses:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        kind = "AAAA" if asked.rdtype == dns.rdatatype.AAAA else "A"
        fitting = [a for a in addresses.get(name, ()) if (":" in a) is (kind == "AAAA")]
        if fitting:
            alias = f"edge.{name}."
            reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "CNAME", alias))
            reply.answer.append(dns.rrset.from_text(alias, 60, "IN", kind, *fitting))
        return Response(headers=(("Content-Type", doh.MEDIA_TYPE),), body=reply.to_wire())

    return handle


async def resolve(url: str, *names: str, where: tuple[str, int]) -> Any:  # noqa: ANN401 - an observation or None, and answers; each test knows which
    dialer = DirectDialer({(RESOLVER, 443): where})
    deadline = asyncio.get_running_loop().time() + 20
    async with connect(url, dialer=dialer, deadline=deadline) as server:
        assert server is not None
        return server.observation, await doh.resolve(server, names)


async def test_names_are_resolved_over_one_connection() -> None:
    """Both families of every name, CNAMEs followed, in the form that caches like."""
    known = {HOST: ("192.0.2.1", "192.0.2.2", "2001:db8::1"), OTHER: ("192.0.2.9",)}
    async with serve_origin(pki().issue([RESOLVER]), handler=answering(known)) as server:
        observation, answers = await resolve(
            f"https://{RESOLVER}/dns-query", HOST, OTHER, "unknown.example", "bad..name", where=server.address
        )
        await server.settled()
    assert observation.outcome is Outcome.COMPLETE
    assert answers == {
        HOST: (ResolutionOutcome.ANSWERED, ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
        OTHER: (ResolutionOutcome.ANSWERED, ("192.0.2.9",)),
        "unknown.example": (ResolutionOutcome.NO_SUCH_NAME, ()),
        "bad..name": (ResolutionOutcome.NO_ANSWER, ()),
    }
    assert server.connections == 1
    assert {request.target.partition("?")[0] for request in server.requests} == {"/dns-query"}
    assert dict(server.requests[0].headers)["accept"] == doh.MEDIA_TYPE


async def test_a_resolver_that_is_not_asked_gets_no_request() -> None:
    """The caller assesses the connection first; where it does not ask, nothing is sent."""
    async with serve_origin(pki().issue([RESOLVER]), handler=answering({})) as server:
        dialer = DirectDialer({(RESOLVER, 443): server.address})
        async with connect(
            f"https://{RESOLVER}/q", dialer=dialer, deadline=asyncio.get_running_loop().time() + 20
        ) as it:
            assert it is not None
            assert (it.endpoint.host, it.path) == (RESOLVER, "/q")
            assert it.observation.chain
        await server.settled()
    assert server.requests == []


@pytest.mark.parametrize(
    "response",
    [
        Response(status=404),
        Response(body=b""),
        Response(body=b"not a message"),
        Response(body=bytes(12)),
        Response(body=b"x" * (doh.MESSAGE_BYTES_MAX + 1)),
        Response(headers=(("Connection", "close"),), body=b"no"),
    ],
)
async def test_answers_that_are_none(response: Response) -> None:
    """Whatever else comes is no answer."""
    async with serve_origin(pki().issue([RESOLVER]), handler=lambda _: response) as server:
        _, answers = await resolve(f"https://{RESOLVER}/q", HOST, OTHER, where=server.address)
    assert answers == dict.fromkeys((HOST, OTHER), (ResolutionOutcome.NO_ANSWER, ()))


async def test_nobody_there() -> None:
    """An unreachable resolver is reported by how the connection ended."""
    async with serve_files({}) as plain:
        observation, answers = await resolve(f"https://{RESOLVER}/q", HOST, where=plain.address)
    assert observation.outcome in {Outcome.NOT_TLS, Outcome.CLOSED, Outcome.RESET}
    assert answers[HOST] == (ResolutionOutcome.NO_ANSWER, ())
    async with connect("http://x/", dialer=DirectDialer(), deadline=0) as nobody:
        assert nobody is None


QUESTION = dns.message.make_query(HOST, "A", id=0)


@pytest.mark.parametrize(("records", "outcome"), [(64, "answered"), (65, "no-answer")])
def test_records_are_bounded(records: int, outcome: str) -> None:
    """A message of more records than an address list has is not parsed: each may take a millisecond."""
    answer = dns.message.make_response(QUESTION)
    answer.answer = [
        dns.rrset.from_text_list(f"{HOST}.", 60, "IN", "A", [f"192.0.2.{n}" for n in range(1, records + 1)])
    ]
    assert doh.read(answer.to_wire(), QUESTION)[0] == outcome


@settings(max_examples=examples(300))
@given(
    body=st.one_of(
        st.binary(max_size=120),
        st.tuples(st.integers(0, 400), st.binary(max_size=6)).map(
            lambda at: (
                wire := dns.message.make_response(QUESTION).to_wire() + bytes(20),
                wire[: at[0] % len(wire)] + at[1] + wire[at[0] % len(wire) + len(at[1]) :],
            )[1]
        ),
    )
)
def test_no_message_raises(body: bytes) -> None:
    """Whatever a resolver sends, an outcome and addresses come out."""
    outcome, addresses = doh.read(body, QUESTION)
    assert isinstance(outcome, ResolutionOutcome)
    assert len(addresses) <= doh.ADDRESSES_MAX


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({HOST: ("127.0.0.1",)}, "same"),
        ({HOST: ("93.184.216.34",)}, "private-here"),
        ({HOST: ("127.0.0.9",)}, "differs"),
        ({}, "unknown-there"),
    ],
)
async def test_a_different_answer_is_a_finding_and_no_verdict(
    known: dict[str, tuple[str, ...]],
    expected: str,
    settings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However the answers differ, the endpoint is assessed by its chain; the resolver is one more endpoint."""
    system = socket.getaddrinfo

    def look_up(host: str, *args: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - as the original
        return list(system("127.0.0.1" if host == HOST else host, *args, **options))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with (
        serve_origin(exam()) as origin,
        serve_origin(pki().issue([RESOLVER]), handler=answering(known)) as server,
    ):
        given_ = settings_of(doh=f"https://{RESOLVER}/dns-query", resolve={(RESOLVER, 443): server.address})
        logs = ct_logs.parse(pki().ct_log_list_json(), name="test logs")
        async with Detector(**{**given_, "roots": roots(), "logs": logs}) as subject:
            report = await subject.check([f"{HOST}:{origin.port}"])
    assert [result.endpoint.host for result in report.results] == [HOST, RESOLVER]
    result, resolver = report.results
    assert [f.outcome for f in result.findings if f.check == "resolution"] == [expected]
    assert (resolver.verdict, resolver.observation.key_proved) == (Verdict.CLEAN, True)


async def test_a_forged_resolver_is_assessed_like_any_endpoint(settings_of: Callable[..., dict[str, Any]]) -> None:
    """TLS to the resolver that is decrypted is decrypted; its answers are not asked for."""
    forged = pki().private_ca("Filter CA").issue([RESOLVER])
    async with serve_origin(exam()) as origin, serve_origin(forged, handler=answering({})) as server:
        where = {(RESOLVER, 443): server.address, (OTHER, 443): origin.address}
        given_ = settings_of(doh=f"https://{RESOLVER}/dns-query", resolve=where)
        async with Detector(**{**given_, "roots": roots()}) as subject:
            report = await subject.check(["unmapped.invalid"])
    result, resolver = report.results
    assert [f.outcome for f in result.findings if f.check == "resolution"] == ["not-vouched"]
    assert resolver.verdict is Verdict.MIDDLEWARE
    assert server.requests == []


def roots() -> Roots:
    return from_der([pki().root_a.certificate, pki().root_b.certificate], name="test roots")


@pytest.mark.parametrize("url", ["", "http://resolver.example/", "https://u:p@resolver.example/", "resolver.example"])
def test_urls_that_cannot_be(url: str, settings_of: Callable[..., dict[str, Any]]) -> None:
    """Only https, and no credentials: refused at once."""
    with pytest.raises(TargetError):
        Detector(**settings_of(doh=url))


def test_without_the_extra(settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named with the extra that brings it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        Detector(**settings_of(doh="https://resolver.example/"))
    assert "[doh]" in caught.value.advice
