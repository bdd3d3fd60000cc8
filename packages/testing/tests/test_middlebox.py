"""Room: testing. The forging middlebox between stock OpenSSL and an honest origin."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from cryptography import x509
from detector_testing import CopiedField, Issued, Mode, Origin, PrivatePKI, serve_files, serve_middlebox, serve_origin
from detector_testing.pki import sct_list_of
from detector_testing.streams import connect
from loopback_client import EXAM, read_all, tunnel, visit

from detector.model import Endpoint
from detector.probe import DirectDialer, open_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LMS, BANK = "lms.example.org", "bank.example.com"
HOSTS = (EXAM, LMS, BANK)


@pytest.fixture(scope="module")
def certificates(tls_pki: PrivatePKI) -> dict[str, Issued]:
    return {host: tls_pki.issue([host, f"www.{host}"]) for host in HOSTS}


@pytest_asyncio.fixture
async def origin(certificates: dict[str, Issued]) -> AsyncIterator[Origin]:
    async with serve_origin(certificates) as running:
        yield running


def everywhere(origin: Origin) -> dict[tuple[str, int], tuple[str, int]]:
    return {(host, 443): origin.address for host in HOSTS}


def load(certificate: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate)


async def test_it_forges_and_reads_along(tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin) -> None:
    """The client gets a leaf of the middlebox's CA with the genuine names, and the origin's page; the box reads all."""
    ca = tls_pki.private_ca("School Proxy CA")
    async with serve_middlebox(ca, upstream=everywhere(origin)) as box:
        seen = await visit(box.address, through=f"{EXAM}:443")
        await box.settled()
    forged, genuine = load(seen.chain[0]), load(certificates[EXAM].leaf)
    forged.verify_directly_issued_by(load(ca.certificate))
    san = x509.SubjectAlternativeName
    assert forged.extensions.get_extension_for_class(san) == genuine.extensions.get_extension_for_class(san)
    assert len(seen.chain) == 1
    assert sct_list_of(seen.chain[0]) is None
    assert f"This is {EXAM}".encode() in seen.body
    assert (box.intercepted, box.passed) == ([EXAM], [])
    assert box.overheard.startswith(b"GET / HTTP/1.1\r\n")
    assert origin.requests[0].host == EXAM


async def test_one_key_for_every_host_or_one_each(tls_pki: PrivatePKI, origin: Origin) -> None:
    """By default all forged leaves share a key; on request each has its own, or all have the CA's."""
    ca = tls_pki.private_ca()
    for options, keys in (({}, 1), ({"one_leaf_key": False}, 2), ({"leaf_key_is_ca_key": True}, 1)):
        async with serve_middlebox(ca, upstream=everywhere(origin), **options) as box:  # type: ignore[arg-type] # booleans
            leaves = [(await visit(box.address, host, through=f"{host}:443")).chain[0] for host in (EXAM, LMS)]
        found = [load(leaf).public_key() for leaf in leaves]
        assert (found[0] == found[1]) is (keys == 1)
        assert (ca.key.public_key() in found) is ("leaf_key_is_ca_key" in options)


async def test_a_ca_with_a_leaf_key_decides(tls_pki: PrivatePKI, origin: Origin) -> None:
    """A CA made with `leaf_key_is_ca_key` issues with that key whatever the middlebox says."""
    ca = tls_pki.private_ca(leaf_key_is_ca_key=True)
    async with serve_middlebox(ca, upstream=everywhere(origin), one_leaf_key=False) as box:
        assert load((await visit(box.address, through=f"{EXAM}:443")).chain[0]).public_key() == ca.key.public_key()


async def test_the_genuine_chain_can_hide_the_forged_leaf(
    tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin
) -> None:
    """With both options the chain is the forged leaf, its root, then everything genuine."""
    ca = tls_pki.private_ca()
    async with serve_middlebox(ca, upstream=everywhere(origin), append_upstream_chain=True, present_root=True) as box:
        seen = await visit(box.address, through=f"{EXAM}:443")
    assert seen.chain[1:] == (ca.certificate, *certificates[EXAM].chain)
    assert seen.chain[0] not in certificates[EXAM].chain


@pytest.mark.parametrize("options", [{"only_hosts": [EXAM, LMS]}, {"except_hosts": [BANK]}])
async def test_it_decrypts_selectively(
    tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin, options: dict[str, list[str]]
) -> None:
    """Hosts it leaves alone get the origin's own chain through it, the others a forged one."""
    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), **options) as box:  # type: ignore[arg-type] # host lists
        chains = {host: (await visit(box.address, host, through=f"{host}:443")).chain for host in HOSTS}
    assert chains[BANK] == certificates[BANK].chain
    assert chains[EXAM] != certificates[EXAM].chain
    assert (box.intercepted, box.passed) == ([EXAM, LMS], [BANK])


@pytest.mark.parametrize("mode", [Mode.REVERSE, Mode.TRANSPARENT])
async def test_it_works_without_connect(tls_pki: PrivatePKI, origin: Origin, mode: Mode) -> None:
    """Clients that connect directly are known by the server name they ask for."""
    ca = tls_pki.private_ca()
    async with serve_middlebox(ca, mode=mode, upstream=everywhere(origin)) as box:
        seen = await visit(box.address, LMS)
    load(seen.chain[0]).verify_directly_issued_by(load(ca.certificate))
    assert f"This is {LMS}".encode() in seen.body


async def test_a_transparent_box_carries_what_is_not_tls(tls_pki: PrivatePKI) -> None:
    """Plain HTTP goes through untouched to the one upstream address; in reverse mode it is cut off."""
    async with serve_files({"/a": b"plain"}) as server:
        for mode, expected in ((Mode.TRANSPARENT, True), (Mode.REVERSE, False)):
            async with serve_middlebox(tls_pki.private_ca(), mode=mode, upstream=server.address) as box:
                stream = await connect(box.address)
                await stream.write(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer, _ = await read_all(stream)
            assert answer.endswith(b"plain") is expected


async def test_a_transparent_box_forges_without_a_server_name(tls_pki: PrivatePKI, origin: Origin) -> None:
    """A client that names nobody gets the names of whatever certificate the upstream has."""
    async with serve_middlebox(tls_pki.private_ca(), mode="transparent-like", upstream=origin.address) as box:
        seen = await visit(box.address, "")
    assert seen.error == ""
    assert box.intercepted == ["127.0.0.1"]


async def test_without_an_upstream_it_shows_a_block_page(tls_pki: PrivatePKI) -> None:
    """The certificate is forged from the name alone and the answer is the middlebox's own."""
    async with serve_middlebox(tls_pki.private_ca()) as box:
        seen = await visit(box.address, through=f"{EXAM}:443")
    names = load(seen.chain[0]).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [EXAM]
    assert seen.body.startswith(b"HTTP/1.1 403")


async def test_it_copies_the_fields_asked_for(
    tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin
) -> None:
    """Nothing, or serial, dates and the very SCTs of the genuine leaf."""
    genuine = load(certificates[EXAM].leaf)
    ca = tls_pki.private_ca()
    async with serve_middlebox(ca, upstream=everywhere(origin), copies=list(CopiedField), copy_scts=True) as box:
        copied = (await visit(box.address, through=f"{EXAM}:443")).chain[0]
    async with serve_middlebox(ca, upstream=everywhere(origin), copy_upstream=False) as box:
        own = (await visit(box.address, through=f"{EXAM}:443")).chain[0]
    assert load(copied).serial_number == genuine.serial_number
    assert load(copied).not_valid_after_utc == genuine.not_valid_after_utc
    assert sct_list_of(copied) == sct_list_of(certificates[EXAM].leaf)
    assert load(own).serial_number != genuine.serial_number


@pytest.mark.parametrize(("cache", "leaves"), [(True, 1), (False, 2)])
async def test_forged_leaves_are_kept_or_not(tls_pki: PrivatePKI, origin: Origin, cache: bool, leaves: int) -> None:  # noqa: FBT001 - the parameter
    """With a cache the second visitor gets the same leaf, without one a new one."""
    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), cache=cache) as box:
        seen = {(await visit(box.address, through=f"{EXAM}:443")).chain[0] for _ in range(2)}
    assert len(seen) == leaves


async def test_it_can_wake_up_later(tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin) -> None:
    """The first connections pass untouched, the next is decrypted."""
    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), pass_first=2) as box:
        genuine = [(await visit(box.address, through=f"{EXAM}:443")).chain == certificates[EXAM].chain for _ in "abc"]
    assert genuine == [True, True, False]


async def test_it_can_drop_the_first_connection_to_each_host(tls_pki: PrivatePKI, origin: Origin) -> None:
    """As one real interceptor does: the first visitor of a host is cut off, the second served."""
    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), drop_first_per_host=True) as box:
        errors = [(await visit(box.address, host, through=f"{host}:443")).error for host in (EXAM, EXAM, LMS, LMS)]
    assert [bool(error) for error in errors] == [True, False, True, False]


async def test_its_tls_is_its_own(tls_pki: PrivatePKI, origin: Origin) -> None:
    """Version and ALPN are the middlebox's, whatever the origin has."""
    async with serve_middlebox(
        tls_pki.private_ca(), upstream=everywhere(origin), max_version=ssl.TLSVersion.TLSv1_2, alpn=()
    ) as box:
        seen = await visit(box.address, through=f"{EXAM}:443", alpn=(b"h2", b"http/1.1"))
    assert (seen.version, seen.alpn) == ("TLSv1.2", b"")


async def test_a_dead_origin_becomes_a_block_page(tls_pki: PrivatePKI) -> None:
    """What cannot be reached, or speaks no TLS, is answered under a forged certificate."""
    async with serve_files({}) as gone:
        dead = gone.address
    async with serve_files({}) as plain:
        for address in (dead, plain.address):
            async with serve_middlebox(tls_pki.private_ca(), upstream={(EXAM, 443): address}) as box:
                assert b"403" in (await visit(box.address, through=f"{EXAM}:443")).body


async def test_it_refuses_what_is_no_connect(tls_pki: PrivatePKI) -> None:
    """A proxy that only knows CONNECT says so, and a client that leaves before its hello harms nothing."""
    async with serve_middlebox(tls_pki.private_ca()) as box:
        stream = await connect(box.address)
        await stream.write(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert (await read_all(stream))[0].startswith(b"HTTP/1.1 405")
        stream, answer = await tunnel(box.address, f"{EXAM}:443")
        await stream.close()
        assert answer.startswith(b"HTTP/1.1 200")
        await box.settled()
    assert box.intercepted == []


async def test_it_can_hold_the_origins_own_key(
    tls_pki: PrivatePKI, certificates: dict[str, Issued], origin: Origin
) -> None:
    """What it presents is then the genuine chain, proved by the genuine key, and it reads along all the same."""
    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), present=certificates[EXAM]) as box:
        seen = await visit(box.address, through=f"{EXAM}:443")
        await box.settled()
    assert (seen.error, seen.chain) == ("", certificates[EXAM].chain)
    assert box.overheard.startswith(b"GET / HTTP/1.1\r\n")


async def test_it_can_rewrite_what_the_origin_says(tls_pki: PrivatePKI, origin: Origin) -> None:
    """The client gets the changed page; the origin does not notice."""

    def rewrite(data: bytes) -> bytes:
        return data.replace(b"This is", b"That is")

    async with serve_middlebox(tls_pki.private_ca(), upstream=everywhere(origin), rewrite=rewrite) as box:
        seen = await visit(box.address, through=f"{EXAM}:443")
    assert f"That is {EXAM}".encode() in seen.body


async def test_its_tls_can_be_older_than_extended_master_secret(tls_pki: PrivatePKI) -> None:
    """Then its TLS 1.2 has nothing that both ends could compare, although the client offers it."""
    version = ssl.TLSVersion.TLSv1_2
    ca = tls_pki.private_ca()
    seen = []
    for offered in (True, False):
        async with serve_middlebox(ca, mode=Mode.REVERSE, max_version=version, extended_master_secret=offered) as box:
            opened = await open_tls(Endpoint(host=EXAM, address=box.address), dialer=DirectDialer())
            assert opened.connection is not None
            seen.append(opened.handshake.channel_binding() is not None)
            opened.connection.abort()
            await opened.connection.closed.wait()
    assert seen == [True, False]
