"""ClientHello and ServerHello as records, and the JA4 fingerprint of a ClientHello.

Room: probe. Pure: one handshake message with its header goes in, a record comes out.

`wire` follows a conversation; this module parses a single message, in wire order, for comparing what was sent with what
arrived. JA4 of a TLS client is free to implement (BSD-3 licence, FoxIO-LLC/ja4), the rest of JA4+ is not.

Nothing but `WireError` is raised.

Example::

    hello = parse_client_hello(message)
    hello.server_name, hello.ja4
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, TypeVar

from detector.model import Record

from .codepoints import HELLO_RETRY_REQUEST_RANDOM, ExtensionType, HandshakeType
from .reader import Reader, WireError, malformed

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

MESSAGE_HEADER_BYTES: Final = 4  # handshake type and 24-bit length (RFC 8446 section 4)
RANDOM_BYTES: Final = 32  # RFC 8446 section 4.1.2
SESSION_ID_BYTES_MAX: Final = 32  # RFC 5246 section 7.4.1.2
_HOST_NAME: Final = 0  # NameType host_name, the only one there is (RFC 6066 section 3)

GREASE: Final = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Reserved values that clients mix in at random (RFC 8701 section 2); a fingerprint leaves them out."""

_JA4_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_JA4_COUNT_MAX: Final = 99  # two digits
_JA4_HASH_DIGITS: Final = 12

_FORMATS: Final = {1: "B", 2: "H"}  # `struct` formats by size of a number

Extensions = tuple[tuple[int, bytes], ...]


class ClientHello(Record, frozen=True, kw_only=True):
    """A ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2), every list in wire order.

    `extensions` are all of them (type, body), including GREASE and repetitions; of a repeated type the first is parsed.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    compression_methods: tuple[int, ...]
    extensions: Extensions = ()
    server_name: str | None = None
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    alpn: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    signature_schemes: tuple[int, ...] = ()
    compressions: tuple[int, ...] = ()

    @property
    def requests_scts(self) -> bool:
        """Whether the client requests everything that can carry SCTs outside the certificate (RFC 6962 section 3.3).

        That is the TLS extension and a stapled OCSP response (RFC 6066 section 8).
        """
        return {ExtensionType.STATUS_REQUEST, ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP} <= {
            kind for kind, _ in self.extensions
        }

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint: a readable part, a hash of the cipher suites, and one of extensions and schemes.

        Reserved values (RFC 8701) do not count, and neither does the order of suites and extensions.
        """
        suites = [f"{suite:04x}" for suite in self.cipher_suites if suite not in GREASE]
        kinds = [kind for kind, _ in self.extensions if kind not in GREASE]
        schemes = [f"{scheme:04x}" for scheme in self.signature_schemes if scheme not in GREASE]
        version = max((*(set(self.versions) - GREASE),), default=self.legacy_version)
        start = (
            "q" if ExtensionType.QUIC_TRANSPORT_PARAMETERS in kinds else "t",
            _JA4_VERSIONS.get(version, "00"),
            "d" if ExtensionType.SERVER_NAME in kinds else "i",
            f"{min(len(suites), _JA4_COUNT_MAX):02}{min(len(kinds), _JA4_COUNT_MAX):02}",
            _ja4_protocol(dict(reversed(self.extensions)).get(ExtensionType.ALPN)),
        )
        others = [f"{kind:04x}" for kind in kinds if kind not in {ExtensionType.SERVER_NAME, ExtensionType.ALPN}]
        lists = [",".join(numbers) for numbers in (sorted(others), schemes)]
        return "_".join(("".join(start), ja4_hash(",".join(sorted(suites))), ja4_hash("_".join(filter(None, lists)))))


class ServerHello(Record, frozen=True, kw_only=True):
    """A ServerHello (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3), extensions in wire order.

    `selected_version` is what TLS 1.3 puts into an extension; before it, `legacy_version` is the version.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: Extensions = ()
    selected_version: int | None = None

    @property
    def version(self) -> int:
        """The version the server chose."""
        return self.legacy_version if self.selected_version is None else self.selected_version

    @property
    def is_retry(self) -> bool:
        """Whether it is a HelloRetryRequest (RFC 8446 section 4.1.4)."""
        return self.random == HELLO_RETRY_REQUEST_RANDOM


def parse_client_hello(message: bytes, *, damaged: set[int] | None = None) -> ClientHello:
    """Parse a ClientHello, a handshake message with its header.

    Where `damaged` is given, an extension whose content breaks its format counts as empty, and its type is added there:
    servers accept what is damaged in an extension that they do not know.
    """

    def content(kind: int, parse: Callable[..., _T], *arguments: object) -> _T:
        try:
            return parse(first.get(kind), *arguments)
        except WireError:
            if damaged is None:
                raise
            damaged.add(kind)
            return parse(None, *arguments)

    reader = _body(message, HandshakeType.CLIENT_HELLO, "ClientHello")
    version, random, session_id = _start(reader, "ClientHello")
    suites = _numbers(reader.vector(2), 2, "the cipher suites")
    compression = _numbers(reader.vector(1), 1, "the compression methods")
    extensions = _extensions(reader)
    first = dict(reversed(extensions))
    return ClientHello(
        legacy_version=version,
        random=random,
        session_id=session_id,
        cipher_suites=suites,
        compression_methods=compression,
        extensions=extensions,
        server_name=content(ExtensionType.SERVER_NAME, _server_name),
        groups=content(ExtensionType.SUPPORTED_GROUPS, _list, 2, 2, "the supported_groups extension"),
        point_formats=content(ExtensionType.EC_POINT_FORMATS, _list, 1, 1, "the ec_point_formats extension"),
        alpn=content(ExtensionType.ALPN, _protocols),
        versions=content(ExtensionType.SUPPORTED_VERSIONS, _list, 1, 2, "the supported_versions extension"),
        signature_schemes=content(
            ExtensionType.SIGNATURE_ALGORITHMS, _list, 2, 2, "the signature_algorithms extension"
        ),
        compressions=content(ExtensionType.COMPRESS_CERTIFICATE, _list, 1, 2, "the compress_certificate extension"),
    )


def parse_server_hello(message: bytes) -> ServerHello:
    """Parse a ServerHello or HelloRetryRequest, a handshake message with its header."""
    reader = _body(message, HandshakeType.SERVER_HELLO, "ServerHello")
    version, random, session_id = _start(reader, "ServerHello")
    suite, compression = reader.number(2), reader.number(1)
    extensions = _extensions(reader)
    selected = dict(reversed(extensions)).get(ExtensionType.SUPPORTED_VERSIONS)
    return ServerHello(
        legacy_version=version,
        random=random,
        session_id=session_id,
        cipher_suite=suite,
        compression_method=compression,
        extensions=extensions,
        selected_version=None if selected is None else Reader(selected, "the supported_versions extension").number(2),
    )


def _body(message: bytes, kind: HandshakeType, what: str) -> Reader:
    """Check the header, and return a reader of what follows it."""
    reader = Reader(message, what)
    if (found := reader.number(1)) != kind:
        raise malformed(f"handshake message {found} where {what} was expected")
    if reader.number(MESSAGE_HEADER_BYTES - 1) != reader.left:
        raise malformed(f"{what} is not as long as it says")
    return reader


def _start(reader: Reader, what: str) -> tuple[int, bytes, bytes]:
    """Read legacy_version, random and session id, which both hellos begin with."""
    version, random, session_id = reader.number(2), reader.take(RANDOM_BYTES), reader.vector(1)
    if len(session_id) > SESSION_ID_BYTES_MAX:
        raise malformed(f"{what} has a session id of more than {SESSION_ID_BYTES_MAX} bytes")
    return version, random, session_id


def _extensions(reader: Reader) -> Extensions:
    """Read all extensions and the end; a hello of TLS 1.2 and older may end before them (RFC 5246 section 7.4.1.2)."""
    found = tuple(reader.extensions()) if reader.left else ()
    reader.end()
    return found


def _numbers(data: bytes, size: int, what: str) -> tuple[int, ...]:
    if len(data) % size:
        raise malformed(f"{what} ends before its content does")
    return struct.unpack(f">{len(data) // size}{_FORMATS[size]}", data)


def _list(body: bytes | None, length_size: int, size: int, what: str) -> tuple[int, ...]:
    """Read an extension that is one list of numbers."""
    if body is None:
        return ()
    reader = Reader(body, what)
    found = _numbers(reader.vector(length_size), size, what)
    reader.end()
    return found


def _server_name(body: bytes | None) -> str | None:
    """Read the first host name (RFC 6066 section 3)."""
    names = None if body is None else Reader(body, "the server_name extension").only(2)
    while names is not None and names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "backslashreplace")
    return None


def _protocols(body: bytes | None) -> tuple[str, ...]:
    """Read the protocols a client offers (RFC 7301 section 3.1)."""
    names = [] if body is None else Reader(body, "the ALPN extension").only(2).vectors(1)
    return tuple(name.decode("ascii", "backslashreplace") for name in names)


def ja4_hash(text: str) -> str:
    """Return the hash that JA4 has of a list; zeros for an empty one."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_JA4_HASH_DIGITS] if text else "0" * _JA4_HASH_DIGITS


def _ja4_protocol(alpn: bytes | None) -> str:
    """The ends of the first protocol offered: characters where both are letters or digits, else hexadecimal digits."""
    if not alpn or not (name := alpn[3 : 3 + alpn[2]] if len(alpn) > 3 else b""):  # noqa: PLR2004 - two lengths precede it
        return "00"
    ends = name[:1] + name[-1:]
    return ends.decode("ascii") if ends.isalnum() else f"{name[0] >> 4:x}{name[-1] & 0xF:x}"
