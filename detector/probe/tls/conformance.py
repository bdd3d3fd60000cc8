"""What a browser's TLS library takes in answer to its hello; anything else is parsed, and refused.

Room: probe. Pure: parsed messages in, reasons out. The measure is what BoringSSL, which Chrome uses, takes and refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .codepoints import TLS_1_2, TLS_1_3, ExtensionType
from .hello import GREASE
from .reader import Reader, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .hello import ClientHello, ServerHello

    Extensions = Mapping[int, bytes]
    Listed = Sequence[tuple[int, bytes]]

_IN_SERVER_HELLO: Final = frozenset({ExtensionType.SUPPORTED_VERSIONS, ExtensionType.KEY_SHARE})
"""Without PSK (RFC 8446 section 4.2)."""
_IN_RETRY: Final = _IN_SERVER_HELLO | {ExtensionType.COOKIE, ExtensionType.ENCRYPTED_CLIENT_HELLO}
"""RFC 8446 section 4.1.4, RFC 9849 section 7.2.1."""
_EMPTY: Final = frozenset(
    {
        *(ExtensionType.SERVER_NAME, ExtensionType.STATUS_REQUEST),
        *(ExtensionType.EXTENDED_MASTER_SECRET, ExtensionType.SESSION_TICKET),
    }
)
"""Extensions that are empty where a server of TLS 1.2 answers with them (RFC 6066 sections 3 and 8, RFC 7627 section
5.1, RFC 5077 section 3.2); server_name in TLS 1.3, too."""
_IN_OLD_SERVER_HELLO: Final = _EMPTY | {
    *(ExtensionType.SUPPORTED_GROUPS, ExtensionType.EC_POINT_FORMATS, ExtensionType.ALPN),
    *(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, ExtensionType.RENEGOTIATION_INFO, ExtensionType.RECORD_SIZE_LIMIT),
}
"""Before TLS 1.3. No RFC lets a server answer with supported_groups, but some do, and browsers tolerate it."""
_IN_ENCRYPTED_EXTENSIONS: Final = frozenset(
    {
        *(ExtensionType.SERVER_NAME, ExtensionType.SUPPORTED_GROUPS, ExtensionType.ALPN),
        ExtensionType.RECORD_SIZE_LIMIT,
        *(ExtensionType.APPLICATION_SETTINGS, ExtensionType.TRUST_ANCHORS, ExtensionType.ENCRYPTED_CLIENT_HELLO),
    }
)
"""RFC 8446 section 4.2, RFC 8449 section 4, RFC 9849 section 5, and the drafts of the others."""
_IN_LEAF_ENTRY: Final = frozenset(
    {
        *(ExtensionType.STATUS_REQUEST, ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP),
        *(ExtensionType.DELEGATED_CREDENTIAL, ExtensionType.TRUST_ANCHORS),
    }
)
"""RFC 8446 section 4.4.2, RFC 9345 section 4.1.1, draft-ietf-tls-trust-anchor-ids."""
_ECH_SIGNAL: Final = bytes(8)  # what encrypted_client_hello is in a HelloRetryRequest (RFC 9849 section 7.2.1)
_FIRST_RENEGOTIATION: Final = b"\x00"  # renegotiation_info of a first handshake (RFC 5746 section 3.4)
_UNCOMPRESSED_POINT: Final = 0  # ECPointFormat that every list must have (RFC 8422 section 5.1.2)
_DOWNGRADED: Final = (b"DOWNGRD\x00", b"DOWNGRD\x01")
"""How the random of a server of TLS 1.3 ends that was made to negotiate less (RFC 8446 section 4.1.3)."""
_VERSION_BYTES: Final = 2  # ProtocolVersion (RFC 8446 section 4.1.2)
_ALPN_OVERHEAD_BYTES: Final = 3  # both length fields of a list of one name (RFC 7301 section 3.1)
_OCSP: Final = b"\x01"  # CertificateStatusType ocsp, the only one we request (RFC 6066 section 8)


def unoffered(hello: ServerHello, group: int | None, offered: ClientHello) -> str | None:
    """What the server chose and our hello did not offer (RFC 8446 sections 4.1.3 and 4.2.8), in words."""
    if hello.version not in set(offered.versions) - GREASE:
        return f"version 0x{hello.version:04x} was not offered"
    if hello.cipher_suite not in set(offered.cipher_suites) - GREASE:
        return f"cipher suite 0x{hello.cipher_suite:04x} was not offered"
    if group is not None and group not in set(offered.groups) - GREASE:
        return f"group 0x{group:04x} was not offered"
    return None


def of_server_hello(hello: ServerHello, extensions: Extensions, offered: ClientHello) -> Iterator[str]:
    """What RFC 8446 sections 4.1.3 and 4.1.4 forbid."""
    expected = extensions.keys() <= _IN_RETRY if hello.is_retry else extensions.keys() == _IN_SERVER_HELLO
    if (
        (hello.legacy_version, hello.session_id, hello.compression_method) != (TLS_1_2, offered.session_id, 0)
        or not expected
        or len(extensions.get(ExtensionType.ENCRYPTED_CLIENT_HELLO, _ECH_SIGNAL)) != len(_ECH_SIGNAL)
        or len(extensions) != len(hello.extensions)
        or len(extensions[ExtensionType.SUPPORTED_VERSIONS]) != _VERSION_BYTES
    ):
        yield "a nonconforming ServerHello"
    if hello.is_retry and extensions.keys() <= {ExtensionType.SUPPORTED_VERSIONS}:
        yield "a HelloRetryRequest that changes nothing"


def of_old_server_hello(
    hello: ServerHello, extensions: Extensions, offered: ClientHello, selected: str | None
) -> Iterator[str]:
    """What the RFCs of these extensions forbid before TLS 1.3, and a downgrade (RFC 8446 section 4.1.3)."""
    if hello.random.endswith(_DOWNGRADED) and TLS_1_3 in offered.versions:
        yield "the server speaks TLS 1.3, and was made to negotiate less"
    if hello.session_id and hello.session_id == offered.session_id:
        yield "the resumption of a session that there is not"
    allowed = _IN_OLD_SERVER_HELLO & {kind for kind, _ in offered.extensions}
    if (
        hello.compression_method
        or not extensions.keys() <= allowed
        or len(extensions) != len(hello.extensions)
        or not all(_is_old_extension(kind, body) for kind, body in hello.extensions)
    ):
        yield "a nonconforming ServerHello"
    yield from _of_alpn(hello.extensions, offered, selected)


def of_encrypted_extensions(listed: Listed, offered: ClientHello, selected: str | None) -> Iterator[str]:
    """What RFC 8446 section 4.3.1 and the RFCs of these extensions forbid; `selected` is the protocol by ALPN."""
    extensions = dict(reversed(listed))
    kinds = {kind for kind, _ in offered.extensions}
    configurations = extensions.get(ExtensionType.ENCRYPTED_CLIENT_HELLO)
    anchors = extensions.get(ExtensionType.TRUST_ANCHORS)
    if (
        not extensions.keys() <= _IN_ENCRYPTED_EXTENSIONS & kinds
        or len(extensions) != len(listed)
        or extensions.get(ExtensionType.SERVER_NAME)
        or (configurations is not None and not _is_ech_config_list(configurations))
        or (anchors is not None and not _is_trust_anchor_list(anchors))
        or (ExtensionType.APPLICATION_SETTINGS in extensions and selected not in _with_settings(offered))
    ):
        yield "nonconforming EncryptedExtensions"
    yield from _of_alpn(listed, offered, selected)


def of_certificate_entry(listed: Listed, offered: ClientHello | None) -> Iterator[str]:
    """What RFC 8446 sections 4.4.2 and 4.4.2.1 forbid in the extensions of one certificate."""
    extensions = dict(reversed(listed))
    scts = extensions.get(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP)
    status = extensions.get(ExtensionType.STATUS_REQUEST)
    kinds = {kind for kind, _ in offered.extensions} if offered is not None else set()
    if (
        not extensions.keys() <= _IN_LEAF_ENTRY & kinds
        or len(extensions) != len(listed)
        or (scts is not None and not _is_sct_list(scts))
        or (status is not None and ocsp_response(status) is None)
        or extensions.get(ExtensionType.TRUST_ANCHORS)
    ):
        yield "nonconforming extensions of a certificate"


def _of_alpn(listed: Listed, offered: ClientHello, selected: str | None) -> Iterator[str]:
    """One protocol of those offered is selected (RFC 7301 section 3.1)."""
    for kind, body in listed:
        if kind == ExtensionType.ALPN and (
            selected not in offered.alpn or len(body) != _ALPN_OVERHEAD_BYTES + len(selected or "")
        ):
            yield "a protocol that was not offered"


def ocsp_response(status: bytes) -> bytes | None:
    """Return the OCSPResponse of a CertificateStatus (RFC 6066 section 8); None if it is not one."""
    response = status[4:]
    is_one = status[:1] == _OCSP and 0 < len(response) == int.from_bytes(status[1:4], "big")
    return response if is_one else None


def _is_sct_list(body: bytes) -> bool:
    """Return whether this is a list of at least one SCT, none of them empty (RFC 6962 section 3.3)."""
    return all(_listed(body, 2) or [b""])


def _listed(body: bytes, length_size: int) -> list[bytes] | None:
    """Return the vectors of which this is a list; None where it is not one."""
    try:
        return Reader(body, "a list").only(2).vectors(length_size)
    except WireError:
        return None


def _is_old_extension(kind: int, body: bytes) -> bool:
    """Return whether a server may answer so before TLS 1.3, as far as that does not depend on our hello."""
    if kind in _EMPTY:
        return not body
    if kind == ExtensionType.RENEGOTIATION_INFO:
        return body == _FIRST_RENEGOTIATION
    if kind == ExtensionType.EC_POINT_FORMATS:
        return bool(body) and body[0] == len(body) - 1 and _UNCOMPRESSED_POINT in body[1:]
    return kind != ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP or _is_sct_list(body)


def _with_settings(offered: ClientHello) -> tuple[str, ...]:
    """Return the protocols for which application settings were offered (draft-vvv-tls-alps section 4)."""
    names = Reader(dict(offered.extensions)[ExtensionType.APPLICATION_SETTINGS], "our hello").inner(2).vectors(1)
    return tuple(name.decode("ascii", "backslashreplace") for name in names)


def _is_trust_anchor_list(body: bytes) -> bool:
    """Return whether this is a list of trust anchor ids, none of them empty (draft-ietf-tls-trust-anchor-ids)."""
    anchors = _listed(body, 1)
    return anchors is not None and all(anchors)


def _is_ech_config_list(body: bytes) -> bool:
    """Return whether this is a list of ECHConfigs, those of the one known version well-formed (RFC 9849 section 4)."""
    try:
        configurations = Reader(body, "an ECHConfigList").only(2)
        complete = configurations.left > 0
        while configurations.left:
            version, contents = configurations.number(2), configurations.vector(2)
            if version == ExtensionType.ENCRYPTED_CLIENT_HELLO:
                complete = complete and _is_ech_config(Reader(contents, "an ECHConfig"))
    except WireError:
        return False
    return complete


def _is_ech_config(reader: Reader) -> bool:
    """Return whether these are ECHConfigContents. Raises `WireError`."""
    reader.number(1)
    reader.number(2)
    key, suites = reader.vector(2), reader.vector(2)
    reader.number(1)
    name = reader.vector(1)
    reader.extensions()
    return bool(key and suites and name) and not len(suites) % 4 and not reader.left
