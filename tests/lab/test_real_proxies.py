"""Proxies that other people wrote, from Debian: microsocks, Dante, and Squid over TCP and over TLS.

Room: tests. Starts programs on loopback and opens connections to them.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from detector_testing import serve_origin
from detector_testing.streams import LOOPBACK
from support.guarding import guard_of, guarded
from support.lab_programs import free_port, running

from detector.guard import UnconfirmedError
from detector.model import Endpoint, Outcome, Route
from detector.probe import ProxyDialer, Timeouts, parse_proxy, probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World
    from detector_testing import Issued, PrivatePKI

    from detector.model import Observation

pytestmark = pytest.mark.lab

HOST: Final = "exam.example.edu"


@contextlib.contextmanager
def readable_folder() -> Iterator[Path]:
    """A folder that a program which gave up its rights can read, too."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


async def probed(url: str, port: int, *, patience: float = 30.0, name: str = "localhost") -> Observation:
    """Probe the origin on `port` through a proxy, which resolves `name` itself."""
    endpoint = Endpoint(host=HOST, address=(name, port))
    dialer = ProxyDialer(parse_proxy(url), trusts=lambda *_: True)
    return (await probe(endpoint, dialer=dialer, timeouts=Timeouts(proxy=patience))).single


def pem(issued: Issued) -> bytes:
    certificates = [
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in issued.chain
    ]
    key = issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"".join((*certificates, key))


async def test_microsocks_asks_for_a_password(tls_pki: PrivatePKI) -> None:
    """SOCKS5 with the right, a wrong, and no password."""
    port, issued = free_port(), tls_pki.issue([HOST])
    async with (
        serve_origin(issued, host="localhost") as origin,
        running(port, "microsocks", "-i", LOOPBACK, "-p", str(port), "-u", "user", "-P", "secret"),
    ):
        seen = [
            await probed(f"socks5://{who}{LOOPBACK}:{port}", origin.port) for who in ("user:secret@", "user:no@", "")
        ]
    assert [o.outcome for o in seen] == [
        Outcome.COMPLETE,
        Outcome.PROXY_AUTH_REJECTED,
        Outcome.PROXY_AUTH_REQUIRED,
    ]
    assert seen[0].route is Route.SOCKS5
    assert tuple(c.der for c in seen[0].chain) == issued.chain


@pytest.mark.parametrize("account", ["user:secret@", "user:wrong@", ""])
async def test_a_guarded_client_through_microsocks(account: str, world: World, pki: PrivatePKI) -> None:
    """The guard assesses what SOCKS5 leads to and hands in through it; without the right password nothing is sent."""
    port = free_port()
    async with (
        serve_origin(pki.issue([HOST])) as origin,
        running(port, "microsocks", "-i", LOOPBACK, "-p", str(port), "-u", "user", "-P", "secret"),
        guarded(
            guard_of(world),
            proxy=f"socks5h://{account}{LOOPBACK}:{port}",
            resolve={(HOST, 443): origin.address},
        ) as client,
    ):
        if account == "user:secret@":
            async with client.post(f"https://{HOST}/answers", data="42") as response:
                assert response.status == 200
        else:
            with pytest.raises(UnconfirmedError, match="proxy-auth"):
                await client.post(f"https://{HOST}/answers", data="42")
        assert len(origin.requests) == (account == "user:secret@")


@pytest.mark.parametrize("scheme", ["socks4a", "socks5"])
async def test_dante(scheme: str, world: World, pki: PrivatePKI) -> None:
    """Both versions, in the guard, too; a refused target is a refusal, and so is a name in version 4.

    Dante does not know those. Asked in HTTP it closes the connection.
    """
    port, issued = free_port(), pki.issue([HOST])
    with readable_folder() as folder:
        configuration = folder / "danted.conf"
        configuration.write_text(
            f"logoutput: /dev/null\ninternal: {LOOPBACK} port = {port}\nexternal: lo\nsocksmethod: none\n"
            "clientmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
            "client pass { from: 0/0 to: 0/0 }\nsocks pass { from: 0/0 to: 127.0.0.0/8 }\n"
            "socks block { from: 0/0 to: 0/0 }\n"
        )
        async with (
            serve_origin(issued) as origin,
            running(port, "danted", "-N", "1", "-p", str(folder / "pid"), "-f", str(configuration)),
        ):
            seen = await probed(f"{scheme}://{LOOPBACK}:{port}", origin.port, name=LOOPBACK)
            guard, where = guard_of(world), {(HOST, 443): (LOOPBACK, origin.port)}
            async with (
                guarded(guard, proxy=f"{scheme}://{LOOPBACK}:{port}", resolve=where) as client,
                client.post(f"https://{HOST}/answers", data="42") as response,
            ):
                assert response.status == 200
            named = await probed(f"{scheme}://{LOOPBACK}:{port}", origin.port)
            elsewhere = Endpoint(host=HOST, address=("192.0.2.1", 443))
            blocked = (await probe(elsewhere, dialer=ProxyDialer(parse_proxy(f"{scheme}://{LOOPBACK}:{port}")))).single
            mistaken = await probed(f"http://{LOOPBACK}:{port}", origin.port)
    assert (seen.outcome, seen.route) == (Outcome.COMPLETE, Route(scheme))
    assert named.outcome is (Outcome.PROXY_REFUSED if scheme == "socks4a" else Outcome.COMPLETE)
    assert blocked.outcome is Outcome.PROXY_REFUSED
    assert mistaken.outcome in {Outcome.PROXY_CLOSED, Outcome.PROXY_OTHER_KIND}


@pytest.mark.parametrize(("helper", "offered"), [("basic", "basic"), ("digest", "digest")])
async def test_squid(helper: str, offered: str, tls_pki: PrivatePKI) -> None:
    """CONNECT over TCP and over TLS, with Basic; with Digest only, it is reported that this is not supported."""
    plain, tls, issued, own = free_port(), free_port(), tls_pki.issue([HOST]), tls_pki.issue([LOOPBACK])
    with readable_folder() as folder:
        passwords, certificate, configuration = folder / "passwords", folder / "proxy.pem", folder / "squid.conf"
        passwords.write_text("user:$apr1$exemplar$IIV5pAn087hfzV/MW88hM1\n" if helper == "basic" else "user:secret\n")
        certificate.write_bytes(pem(own))
        program = {"basic": "basic_ncsa_auth", "digest": "digest_file_auth"}[helper]
        configuration.write_text(
            f"http_port {LOOPBACK}:{plain}\nhttps_port {LOOPBACK}:{tls} tls-cert={certificate}\n"
            f"auth_param {helper} program /usr/lib/squid/{program} {passwords}\nauth_param {helper} realm exemplar\n"
            "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
            "cache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nshutdown_lifetime 0 seconds\n"
            f"coredump_dir {folder}\nhosts_file /etc/hosts\nmax_filedescriptors 1024\n"
        )
        async with serve_origin(issued) as origin, running(plain, "squid", "-N", "-f", str(configuration)):
            seen = [
                await probed(f"{scheme}://{who}{LOOPBACK}:{port}", origin.port)
                for scheme, port in (("http", plain), ("https", tls))
                for who in ("user:secret@", "user:wrong@", "")
            ]
            mistaken = await probed(f"socks5://{LOOPBACK}:{plain}", origin.port, patience=0.3)
    right, wrong, missing = (
        (Outcome.COMPLETE, Outcome.PROXY_AUTH_REJECTED, Outcome.PROXY_AUTH_REQUIRED)
        if helper == "basic"
        else (Outcome.PROXY_AUTH_UNSUPPORTED,) * 3
    )
    assert [o.outcome for o in seen] == [right, wrong, missing] * 2
    assert all(o.proxy is not None and offered in o.proxy.auth_schemes for o in seen if o.outcome is not right)
    assert mistaken.outcome is Outcome.PROXY_UNREACHABLE  # it waits for the rest of the line
    over_tls = seen[3].proxy
    assert over_tls is not None
    assert over_tls.tls is not None
    assert tuple(c.der for c in over_tls.tls.chain) == own.chain
