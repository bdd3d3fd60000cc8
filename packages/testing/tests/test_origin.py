"""Room: testing. Honest origins, visited by stock OpenSSL on loopback."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from detector_testing import PrivatePKI, Request, Response, serve_files, serve_origin
from detector_testing.streams import connect
from loopback_client import EXAM, read_all, visit

if TYPE_CHECKING:
    from detector_testing.pki import KeyKind

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


async def test_it_presents_its_chain_and_names_the_host(tls_pki: PrivatePKI) -> None:
    """A visitor sees the chain as issued and a page with the host's name, and is counted."""
    issued = tls_pki.issue([EXAM])
    async with serve_origin(issued) as origin:
        seen = await visit(origin.address)
        await origin.settled()
    assert seen.chain == issued.chain
    assert EXAM.encode() in seen.body
    assert (origin.connections, origin.handshakes) == (1, 1)
    assert [(request.method, request.host, request.server_name) for request in origin.requests] == [("GET", EXAM, EXAM)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_it_staples_for_who_asks(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """The response is the one that was given, and goes to clients that ask and to no others."""
    issued = tls_pki.issue([EXAM])
    response = tls_pki.intermediate_ec.ocsp_response(issued.leaf)
    async with serve_origin(issued, ocsp_response=response) as origin:
        asking = await visit(origin.address, version=version, asks=True)
        other = await visit(origin.address, version=version)
    assert (asking.stapled, other.stapled) == (response, b"")
    assert asking.error == other.error == ""


@pytest.mark.parametrize("name", VERSIONS)
async def test_every_tls_version_can_be_the_only_one(tls_pki: PrivatePKI, name: str) -> None:
    """From TLS 1.0 up, a server that knows one version speaks that version."""
    version = VERSIONS[name]
    async with serve_origin(tls_pki.issue([EXAM], key="rsa"), min_version=version, max_version=version) as origin:
        assert (await visit(origin.address)).version == name


@pytest.mark.parametrize("key", ["rsa1024", "ec384", "ed25519"])
async def test_unusual_keys_are_served(tls_pki: PrivatePKI, key: KeyKind) -> None:
    """Weak and rare keys complete a handshake."""
    async with serve_origin(tls_pki.issue([EXAM], key=key)) as origin:
        assert b"200" in (await visit(origin.address)).body


async def test_a_sha1_chain_is_served(tls_pki: PrivatePKI) -> None:
    """So does a leaf signed with SHA-1."""
    ca = tls_pki.private_ca(key="rsa", signature_hash="sha1")
    async with serve_origin(ca.issue([EXAM])) as origin:
        assert b"200" in (await visit(origin.address)).body


async def test_plain_rsa_key_exchange_can_be_forced(tls_pki: PrivatePKI) -> None:
    """A TLS 1.2 server with one cipher negotiates that one or nothing."""
    issued = tls_pki.issue([EXAM], key="rsa")
    async with serve_origin(issued, max_version=ssl.TLSVersion.TLSv1_2, ciphers="AES128-GCM-SHA256") as origin:
        assert b"200" in (await visit(origin.address)).body


async def test_alpn_follows_the_servers_preference(tls_pki: PrivatePKI) -> None:
    """The first of its protocols that the client offers; none in common, none negotiated."""
    issued = tls_pki.issue([EXAM])
    async with serve_origin(issued, alpn=("h2", "http/1.1")) as origin:
        assert (await visit(origin.address, alpn=(b"http/1.1", b"h2"))).alpn == b"h2"
        assert (await visit(origin.address, alpn=(b"http/1.1",))).alpn == b"http/1.1"
        assert (await visit(origin.address, alpn=(b"spdy/3",))).alpn == b""


async def test_certificates_take_turns(tls_pki: PrivatePKI) -> None:
    """Several certificates are presented one after the other, as by a CDN."""
    several = [tls_pki.issue([EXAM]) for _ in range(3)]
    async with serve_origin(several) as origin:
        leaves = [(await visit(origin.address)).chain[0] for _ in range(4)]
    assert leaves == [several[0].leaf, several[1].leaf, several[2].leaf, several[0].leaf]


async def test_certificates_are_chosen_by_server_name(tls_pki: PrivatePKI) -> None:
    """Each name gets its own certificate, chain included; an unknown name and none get the first."""
    by_name = {EXAM: tls_pki.issue([EXAM]), "lms.example.org": tls_pki.issue(["lms.example.org"], key="rsa")}
    async with serve_origin(by_name) as origin:
        assert (await visit(origin.address, "lms.example.org")).chain == by_name["lms.example.org"].chain
        assert (await visit(origin.address, "nobody.example")).chain == by_name[EXAM].chain
        assert (await visit(origin.address, "")).chain == by_name[EXAM].chain


async def test_a_handler_sees_the_exporter_the_client_sees(tls_pki: PrivatePKI) -> None:
    """Both ends of one connection derive the same keying material."""
    exported: list[bytes] = []

    def handle(request: Request) -> Response:
        assert request.export_keying_material is not None
        exported.append(request.export_keying_material(b"EXPORTER-test", 32, None))
        return Response(status=204)

    async with serve_origin(tls_pki.issue([EXAM]), handler=handle) as origin:
        seen = await visit(origin.address)
    assert exported == [seen.exporter]


async def test_a_failing_handler_is_not_passed_over(tls_pki: PrivatePKI) -> None:
    """A failure of the handler itself comes out where the server ends."""

    def fail(request: Request) -> Response:
        raise LookupError(request.target)

    with pytest.raises(LookupError, match="/"):
        async with serve_origin(tls_pki.issue([EXAM]), handler=fail) as origin:
            await visit(origin.address)


async def test_a_client_that_is_no_tls_client_harms_nobody(tls_pki: PrivatePKI) -> None:
    """Garbage ends its own connection, and the next visitor is served."""
    async with serve_origin(tls_pki.issue([EXAM])) as origin:
        stream = await connect(origin.address)
        await stream.write(b"GET / HTTP/1.0\r\n\r\n")
        await read_all(stream)
        assert b"200" in (await visit(origin.address)).body


async def test_an_origin_needs_a_certificate() -> None:
    """No certificate at all is refused at once."""
    with pytest.raises(ValueError, match="at least one certificate"):
        async with serve_origin([]):
            pass


async def test_files_are_served_over_plain_http() -> None:
    """What an AIA URL points to is there; anything else is 404; one connection carries several requests."""
    async with serve_files({"/issuer.crt": b"DER"}) as server:
        stream = await connect(server.address)
        await stream.write(b"GET /issuer.crt HTTP/1.1\r\nHost: a\r\n\r\nHEAD /issuer.crt HTTP/1.1\r\nHost: a\r\n\r\n")
        await stream.write(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answers, _ = await read_all(stream)
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.count(b"DER") == 1
    assert answers.count(b"HTTP/1.1 404") == 1
    assert [request.target for request in server.requests] == ["/issuer.crt", "/issuer.crt", "/none"]


async def test_an_oversized_request_is_cut_off() -> None:
    """A body larger than an origin keeps ends the connection instead of filling memory."""
    async with serve_files({}) as server:
        stream = await connect(server.address)
        await stream.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(1_100_000))
        answers, _ = await read_all(stream)
    assert answers == b""
    assert server.requests == []
