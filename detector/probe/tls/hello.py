"""ClientHello and ServerHello as records, and the fingerprints that are made of them: JA3 and JA3S.

Room: probe. Pure: one handshake message with its header goes in, a record comes out; no sockets, no clock, no TLS
library.

`wire` follows a conversation and reads what judging needs; here one message is read as it stands, in the order of the
wire, for whoever compares what was sent with what arrived. Of these fingerprints only JA3 and JA3S are free to
implement (BSD licence, salesforce/ja3).

Nothing but `WireError` is raised, whatever the octets.

Example::

    hello = parse_client_hello(message)
    hello.server_name, hello.ja3
"""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import TYPE_CHECKING, Final

from detector.model import Record

from .codepoints import HELLO_RETRY_REQUEST_RANDOM, ExtensionType, HandshakeType
from .wire import MESSAGE_HEADER_OCTETS, RANDOM_OCTETS, SESSION_ID_OCTETS_MAX, WireError, WireErrorKind, _Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST_NAME: Final = 0
"""NameType host_name, the only one there is (RFC 6066 section 3)."""

_GREASE: Final = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Reserved values that clients mix in at random (RFC 8701 section 2); a fingerprint leaves them out."""


class ClientHello(Record, frozen=True, kw_only=True):
    """A ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2), every list in the order of the wire.

    `extensions` are all of them (type, body), GREASE and repetitions included; of a repeated type the first is read.
    `server_name`, `groups`, `point_formats`, `alpn` and `versions` are what the extensions of these purposes say.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    compression_methods: tuple[int, ...]
    extensions: tuple[tuple[int, bytes], ...] = ()
    server_name: str | None = None
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    alpn: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()

    @property
    def extended_master_secret(self) -> bool:
        """Whether the client offers to bind the master secret to the handshake (RFC 7627)."""
        return any(kind == ExtensionType.EXTENDED_MASTER_SECRET for kind, _ in self.extensions)

    @property
    def asks_for_timestamps(self) -> bool:
        """Whether the client asks for all that can carry SCTs outside of the certificate (RFC 6962 section 3.3).

        That is the extension of TLS, and an OCSP response to staple (RFC 6066 section 8).
        """
        return {ExtensionType.STATUS_REQUEST, ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP} <= {
            kind for kind, _ in self.extensions
        }

    @property
    def ja3_text(self) -> str:
        """What JA3 hashes: version, cipher suites, extensions, groups and point formats, in decimal."""
        kinds = (kind for kind, _ in self.extensions)
        lists = (self.cipher_suites, kinds, self.groups, self.point_formats)
        return ",".join((str(self.legacy_version), *map(_joined, lists)))

    @property
    def ja3(self) -> str:
        """The JA3 hash, in hexadecimal."""
        return _md5(self.ja3_text)


class ServerHello(Record, frozen=True, kw_only=True):
    """A ServerHello (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3), extensions in the order of the wire.

    `selected_version` is what TLS 1.3 says in an extension; before it, `legacy_version` is the version.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: tuple[tuple[int, bytes], ...] = ()
    selected_version: int | None = None

    @property
    def version(self) -> int:
        """The version the server chose."""
        return self.legacy_version if self.selected_version is None else self.selected_version

    @property
    def is_retry(self) -> bool:
        """Whether it is a HelloRetryRequest (RFC 8446 section 4.1.4)."""
        return self.random == HELLO_RETRY_REQUEST_RANDOM

    @property
    def extended_master_secret(self) -> bool:
        """Whether the master secret is bound to the handshake (RFC 7627)."""
        return any(kind == ExtensionType.EXTENDED_MASTER_SECRET for kind, _ in self.extensions)

    @property
    def ja3s_text(self) -> str:
        """What JA3S hashes: version, cipher suite and extensions, in decimal."""
        return f"{self.legacy_version},{self.cipher_suite},{_joined(kind for kind, _ in self.extensions)}"

    @property
    def ja3s(self) -> str:
        """The JA3S hash, in hexadecimal."""
        return _md5(self.ja3s_text)


def parse_client_hello(message: bytes) -> ClientHello:
    """Read one ClientHello, a handshake message with its header of four octets. Raises `WireError`."""
    reader = _body(message, HandshakeType.CLIENT_HELLO, "ClientHello")
    version, random, session_id = reader.number(2), reader.octets(RANDOM_OCTETS), _session_id(reader, "ClientHello")
    suites = _numbers(reader.vector(2), 2, "the cipher suites")
    compression = _numbers(reader.vector(1), 1, "the compression methods")
    extensions = _all_extensions(reader, "ClientHello")
    first = dict(reversed(extensions))
    return ClientHello(
        legacy_version=version,
        random=random,
        session_id=session_id,
        cipher_suites=suites,
        compression_methods=compression,
        extensions=extensions,
        server_name=_server_name(first.get(ExtensionType.SERVER_NAME)),
        groups=_list(first.get(ExtensionType.SUPPORTED_GROUPS), 2, 2, "the supported_groups extension"),
        point_formats=_list(first.get(ExtensionType.EC_POINT_FORMATS), 1, 1, "the ec_point_formats extension"),
        alpn=_protocols(first.get(ExtensionType.ALPN)),
        versions=_list(first.get(ExtensionType.SUPPORTED_VERSIONS), 1, 2, "the supported_versions extension"),
    )


def ja3_of(message: bytes | None) -> str | None:
    """The JA3 fingerprint of a ClientHello; None where there is none, or none that can be read."""
    return None if (hello := _own(message)) is None else hello.ja3


def asks_for_timestamps(message: bytes) -> bool:
    """As `ClientHello.asks_for_timestamps`, of a message; one that cannot be read asks for nothing."""
    hello = _own(message)
    return hello is not None and hello.asks_for_timestamps


@functools.lru_cache(maxsize=1)
def _own(message: bytes | None) -> ClientHello | None:
    """A ClientHello that we sent ourselves, read once for its fingerprint and for what it asks for."""
    try:
        return None if message is None else parse_client_hello(message)
    except WireError:
        return None


def parse_server_hello(message: bytes) -> ServerHello:
    """Read one ServerHello or HelloRetryRequest, a handshake message with its header. Raises `WireError`."""
    reader = _body(message, HandshakeType.SERVER_HELLO, "ServerHello")
    version, random, session_id = reader.number(2), reader.octets(RANDOM_OCTETS), _session_id(reader, "ServerHello")
    suite, compression = reader.number(2), reader.number(1)
    extensions = _all_extensions(reader, "ServerHello")
    selected: int | None = None
    if (body := dict(reversed(extensions)).get(ExtensionType.SUPPORTED_VERSIONS)) is not None:
        inner = _Reader(body, "the supported_versions extension")
        selected = inner.number(2)
        inner.end()
    return ServerHello(
        legacy_version=version,
        random=random,
        session_id=session_id,
        cipher_suite=suite,
        compression_method=compression,
        extensions=extensions,
        selected_version=selected,
    )


def _body(message: bytes, kind: HandshakeType, what: str) -> _Reader:
    """What follows the header, when the header is right and the message is one."""
    reader = _Reader(message, what)
    if (found := reader.number(1)) != kind:
        raise WireError(WireErrorKind.MALFORMED, f"handshake message {found} where {what} was expected")
    if reader.number(MESSAGE_HEADER_OCTETS - 1) != reader.left:
        raise WireError(WireErrorKind.MALFORMED, f"{what} is not as long as it says")
    return reader


_FORMATS: Final = {1: "B", 2: "H"}
"""Of `struct`, by octets of a number."""


def _session_id(reader: _Reader, what: str) -> bytes:
    session_id = reader.vector(1)
    if len(session_id) > SESSION_ID_OCTETS_MAX:
        raise WireError(WireErrorKind.MALFORMED, f"{what} has a session id of more than 32 octets")
    return session_id


def _all_extensions(reader: _Reader, what: str) -> tuple[tuple[int, bytes], ...]:
    """Every extension in order; a hello of TLS 1.2 and older may end before them (RFC 5246 section 7.4.1.2)."""
    if not reader.left:
        return ()
    block = _Reader(reader.vector(2), what)
    reader.end()
    found = []
    while block.left:
        kind = block.number(2)
        found.append((kind, block.vector(2)))
    return tuple(found)


def _numbers(data: bytes, octets: int, what: str) -> tuple[int, ...]:
    if len(data) % octets:
        raise WireError(WireErrorKind.MALFORMED, f"{what} ends before its content does")
    return struct.unpack(f">{len(data) // octets}{_FORMATS[octets]}", data)


def _list(body: bytes | None, length_octets: int, octets: int, what: str) -> tuple[int, ...]:
    """Read an extension that is one list of numbers."""
    if body is None:
        return ()
    reader = _Reader(body, what)
    found = _numbers(reader.vector(length_octets), octets, what)
    reader.end()
    return found


def _server_name(body: bytes | None) -> str | None:
    """Read the first host name (RFC 6066 section 3)."""
    if body is None:
        return None
    outer = _Reader(body, "the server_name extension")
    names = _Reader(outer.vector(2), "the server_name extension")
    outer.end()
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "backslashreplace")
    return None


def _protocols(body: bytes | None) -> tuple[str, ...]:
    """Read the protocols a client offers (RFC 7301 section 3.1)."""
    if body is None:
        return ()
    outer = _Reader(body, "the ALPN extension")
    names = _Reader(outer.vector(2), "the ALPN extension")
    outer.end()
    found = []
    while names.left:
        found.append(names.vector(1).decode("ascii", "backslashreplace"))
    return tuple(found)


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(str(number) for number in numbers if number not in _GREASE)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()
