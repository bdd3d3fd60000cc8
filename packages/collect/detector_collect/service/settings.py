"""How a service is run: keys, proxies, limits. Test seams are fields too.

Room: detector_collect.service. Pure.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from detector.errors import InputError
from detector.outbox.submission import SUBMISSION_BYTES_MAX
from detector.session.seams import utc_now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector_collect.review.access.oidc import Configuration

MIB: Final = 1024 * 1024

CertificateForm = Literal["rfc9440", "pem"]
"""How a proxy writes a client certificate: RFC 9440 section 2.1 (DER in base64 between colons), or PEM with URL
encoding, as nginx does (`$ssl_client_escaped_cert`)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientCertificates(NamedTuple):
    """Proxies that end TLS and pass the client's certificate in a header. Headers of every other peer are ignored."""

    peers: tuple[Network, ...]
    header: str = "client-cert"
    form: CertificateForm = "rfc9440"


class Limits(NamedTuple):
    """What one process gives to clients. Memory for bodies is bounded by `bodies_bytes`, whatever they send.

    A body has `body_seconds` and, of what has arrived, one second per `body_bytes_per_second`: 4 MiB may take four
    minutes on a line that carries 16 KiB/s, and a client that sends a byte at a time is cut off early.

    What has at most `short_bytes` is read at once (1 ms per 16 KiB, measured), anything larger in one of `reading`
    threads. A key counts for `key_seconds` after it was looked up.
    """

    body_bytes: int = SUBMISSION_BYTES_MAX
    body_seconds: float = 15.0
    body_bytes_per_second: int = 16 * 1024
    bodies_bytes: int = 256 * MIB
    short_bytes: int = 64 * 1024
    reading: int = 4
    key_seconds: float = 1.0
    connections: int = 4000
    head_seconds: float = 10.0
    stall_seconds: float = 20.0
    idle_seconds: float = 30.0
    shutdown_seconds: int = 30
    retry_seconds: int = 30


DEFAULT_LIMITS: Final = Limits()


class ServiceSettings(NamedTuple):
    """Settings of one service. `origin` is the address of the review pages, as browsers see it.

    `identity` is where their people sign in; `demo_people`, by number, are those whom anybody on this machine may be.
    """

    signing_key: Ed25519PrivateKey
    origin: str = "http://127.0.0.1"
    certificates: ClientCertificates | None = None
    limits: Limits = DEFAULT_LIMITS
    clock: Callable[[], dt.datetime] = utc_now
    identity: Configuration | None = None
    demo_people: tuple[int, ...] = ()


def client_certificates(
    peers: Iterable[str], *, header: str = "client-cert", form: str = "rfc9440"
) -> ClientCertificates | None:
    """Read the settings of proxies that pass client certificates; None without peers.

    Raises `InputError` that names the option.
    """
    networks: list[Network] = []
    for peer in peers:
        try:
            networks.append(ipaddress.ip_network(peer))
        except ValueError:
            raise InputError(
                f"--proxy: {peer[:100]!r} is no network that a proxy connects from.",
                advice="Give an address, or a network like 192.0.2.0/24 (no bits of a host).",
            ) from None
    if form not in get_args(CertificateForm):
        raise InputError(f"--certificate-form: {form!r} is unknown.", advice="Give rfc9440 or pem.")
    if not header or not header.isascii() or not header.replace("-", "").isalnum():
        raise InputError(f"--certificate-header: {header[:100]!r} is not the name of a header.", advice="Give a name.")
    if not networks:
        return None
    return ClientCertificates(tuple(networks), header.lower(), "pem" if form == "pem" else "rfc9440")
