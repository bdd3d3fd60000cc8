"""Property lists with pins: TrustKit, Apple's App Transport Security, settings of Safe Exam Browser.

Room: pins. Pure.

TrustKit evaluates pins until the beginning of its expiration date (UTC), so the last day here is the one before. App
Transport Security separates keys of leaves from keys of CAs, which pins here do not; where an entry names both, both
have to fit, which no pin file can say.
"""

from __future__ import annotations

import plistlib
import zlib
from typing import TYPE_CHECKING, Any, Final

from detector.errors import ChainError, PinFileError
from detector.model.toml_files import MAX_BYTES, shown
from detector.trust import certificate_files
from detector.trust.certificate import Certificate

from . import markup
from .entry import (
    Entry,
    Found,
    Scope,
    Written,
    base64_of,
    bounded,
    day_after,
    day_before,
    plain,
    read_host,
    read_pins,
    refuse,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

# TrustKit: the constants of TSKTrustKitConfig.h without their k

_CONFIGURATION: Final = "TSKConfiguration"
_DOMAINS: Final = "TSKPinnedDomains"
_HASHES: Final = "TSKPublicKeyHashes"
_SUBDOMAINS: Final = "TSKIncludeSubdomains"
_EXPIRATION: Final = "TSKExpirationDate"
_ENFORCE: Final = "TSKEnforcePinning"
_EXCLUDE: Final = ("TSKExcludeSubdomainFromParentPolicy", "kSKExcludeSubdomainFromParentPolicy")
"""The second is the value that the library has."""
_LEFT_OUT: Final = (
    "TSKReportUris",
    "TSKDisableDefaultReportUri",
    "TSKPublicKeyAlgorithms",
)


def read_trustkit(data: bytes, _: dt.date) -> Found:
    """Read TrustKit's configuration, by itself or in an app's Info.plist."""
    top = markup.property_list(data)
    configuration = _dictionary(top.get(_CONFIGURATION, top), _CONFIGURATION)
    domains = _dictionary(configuration.get(_DOMAINS), _DOMAINS)
    notes: dict[str, None] = {}
    return Found(bounded(_of_trustkit(name, table, notes) for name, table in domains.items()), tuple(notes))


def _of_trustkit(name: str, value: object, notes: dict[str, None]) -> Entry:
    where = f"{_DOMAINS}.{plain(name)}"
    table = _dictionary(value, where)
    _known(table, where, (_HASHES, _SUBDOMAINS, _EXPIRATION, _ENFORCE, *_EXCLUDE, *_LEFT_OUT))
    for key in _LEFT_OUT:
        if key in table:
            notes[f"{key} is left out: it says nothing of the host's keys."] = None
    if not _flag(table, _ENFORCE, where, default=True):
        refuse(f"{where}.{_ENFORCE}", "is false, so the pins are on trial", "Import them once they are enforced.")
    host = read_host(where, name)
    is_excluded = any(_flag(table, key, where) for key in _EXCLUDE)
    if is_excluded and _HASHES in table:
        refuse(f"{where}.{_HASHES}", "is given for an excluded subdomain", "Remove one of the two.")
    pins = () if is_excluded else read_pins(f"{where}.{_HASHES}", _texts(table, _HASHES, where))
    expires = None if is_excluded else table.get(_EXPIRATION)
    last = None if expires is None else day_before(f"{where}.{_EXPIRATION}", expires)
    scope = Scope.SUBDOMAINS if _flag(table, _SUBDOMAINS, where) else Scope.HOST
    return Entry(host, scope, pins, last)


def write_trustkit(written: Written) -> str:
    """Write TrustKit's configuration as it stands in an app's Info.plist."""
    domains: dict[str, dict[str, Any]] = {}
    for endpoint in written.endpoints:
        domains[endpoint.host] = {_HASHES: [base64_of(pin) for pin in endpoint.pins]}
        if endpoint.expires is not None:
            domains[endpoint.host][_EXPIRATION] = day_after(endpoint.name, endpoint.expires)
    return _dumped({_CONFIGURATION: {"TSKSwizzleNetworkDelegates": False, _DOMAINS: domains}})


# App Transport Security: keys of Apple's Information Property List

_SECURITY: Final = "NSAppTransportSecurity"
_PINNED: Final = "NSPinnedDomains"
_CHILDREN: Final = "NSIncludesSubdomains"
_IDENTITIES: Final = {True: "NSPinnedCAIdentities", False: "NSPinnedLeafIdentities"}
_SPKI: Final = "SPKI-SHA256-BASE64"


def read_ats(data: bytes, _: dt.date) -> Found:
    """Read the pinned domains of an Info.plist."""
    security = _dictionary(markup.property_list(data).get(_SECURITY), _SECURITY)
    domains = _dictionary(security.get(_PINNED), f"{_SECURITY}.{_PINNED}")
    return Found(bounded(_of_ats(name, table) for name, table in domains.items()))


def _of_ats(name: str, value: object) -> Entry:
    where = f"{_PINNED}.{plain(name)}"
    table = _dictionary(value, where)
    _known(table, where, (_CHILDREN, *_IDENTITIES.values()))
    given = [key for key in _IDENTITIES.values() if key in table]
    if len(given) != 1:
        refuse(
            f"{where}.{_IDENTITIES[False]}",
            "both lists have to fit, which pins cannot say" if given else "there are no pins",
            "Keep one of NSPinnedLeafIdentities and NSPinnedCAIdentities.",
        )
    field = f"{where}.{given[0]}"
    listed = table[given[0]]
    if not isinstance(listed, list):
        refuse(field, "is not an array", f"Give an array of dictionaries with {_SPKI}.")
    texts = []
    for index, identity in enumerate(listed):
        one = _dictionary(identity, f"{field}[{index}]")
        _known(one, f"{field}[{index}]", (_SPKI,))
        texts.append(_text(one.get(_SPKI), f"{field}[{index}].{_SPKI}"))
    scope = Scope.CHILDREN if _flag(table, _CHILDREN, where) else Scope.HOST
    return Entry(read_host(where, name), scope, read_pins(field, texts))


def write_ats(written: Written) -> str:
    """Write the part of an Info.plist with the pinned domains. Raises `PinFileError`."""
    if written.issuers is None:
        raise PinFileError(
            "App Transport Security separates the keys of leaves from those of CAs, and pins do not.",
            advice="Say whose keys all of these pins are: --keys-of leaf or --keys-of ca.",
        )
    key = _IDENTITIES[written.issuers]
    domains = {one.host: {key: [{_SPKI: base64_of(pin)} for pin in one.pins]} for one in written.endpoints}
    return _dumped({_SECURITY: {_PINNED: domains}})


# Safe Exam Browser: certificateTypes of its Constants.h, and the prefixes of its file manager

_EMBEDDED: Final = "embeddedCertificates"
_ONLY_EMBEDDED: Final = "pinEmbeddedCertificates"
_DATA: Final = ("certificateDataBase64", "certificateDataWin", "certificateData")
_SERVER, _IDENTITY, _CA = 0, 1, 2
_GZIP: Final = b"\x1f\x8b"
_WINDOW_GZIP: Final = 31
"""zlib's window bits for gzip (RFC 1952)."""
_PLAIN: Final = b"plnd"
_ENCRYPTED: Final = (b"pswd", b"pwcc", b"pkhs", b"phsk")
_SEB_ADVICE: Final = "Save the settings without password and certificate, or as plain XML."


def read_seb(data: bytes, _: dt.date) -> Found:
    """Read the pinned certificates of unencrypted settings of Safe Exam Browser. They hold for every host."""
    settings = markup.property_list(_opened(data))
    if settings.get(_ONLY_EMBEDDED) is not True:
        refuse(
            _ONLY_EMBEDDED,
            "is not true, so that the embedded certificates are trusted in addition to others and pin nothing",
            "Learn the pins instead: detector pins learn HOST.",
        )
    embedded = settings.get(_EMBEDDED)
    if not isinstance(embedded, list):
        refuse(_EMBEDDED, "is not an array", "Give settings with embedded certificates.")
    notes: dict[str, None] = {}
    found = [pin for index, one in enumerate(embedded) for pin in _of_seb(f"{_EMBEDDED}[{index}]", one, notes)]
    pins = read_pins(_EMBEDDED, [base64_of(pin) for pin in found])
    return Found(bounded((Entry("", Scope.EVERY, pins),)), tuple(notes))


def _opened(data: bytes) -> bytes:
    """The property list of a settings file. Raises `PinFileError`."""
    data = _unpacked(data)
    if data.startswith(_ENCRYPTED):
        raise PinFileError("These settings are encrypted.", advice=_SEB_ADVICE)
    return _unpacked(data.removeprefix(_PLAIN)) if data.startswith(_PLAIN) else data


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    stream = zlib.decompressobj(_WINDOW_GZIP)
    try:
        unpacked = stream.decompress(data, MAX_BYTES + 1)
    except zlib.error:
        raise PinFileError("The compressed data is damaged.", advice=_SEB_ADVICE) from None
    if len(unpacked) > MAX_BYTES or not stream.eof:
        raise PinFileError(f"Unpacked, this is cut off or larger than {MAX_BYTES} bytes.", advice=_SEB_ADVICE)
    return unpacked


def _of_seb(where: str, value: object, notes: dict[str, None]) -> Iterator[bytes]:
    """The key of a server's or a CA's certificate."""
    table = _dictionary(value, where)
    kind = table.get("type")
    if kind == _IDENTITY and kind is not True:
        notes["An embedded identity, the client's own, is left out."] = None
        return
    if kind not in (_SERVER, _CA) or isinstance(kind, bool):
        refuse(
            f"{where}.type", f"{shown(kind)} is neither that of a server's certificate (0) nor a CA's (2)", _SEB_ADVICE
        )
    given = {key: table[key] for key in _DATA if table.get(key)}
    contents = {one.encode() if isinstance(one, str) else one for one in given.values() if isinstance(one, str | bytes)}
    if len(given) != 1 or len(contents) != 1:
        refuse(where, f"does not have exactly one of {', '.join(_DATA)}", "Embed the certificate again.")
    try:
        certificates = certificate_files.read(contents.pop()).certificates
    except ChainError as error:
        refuse(f"{where}.{next(iter(given))}", error.message.removesuffix("."), "Embed the certificate again.")
    certificate = Certificate.read(certificates[0])
    if len(certificates) != 1 or certificate.spki_sha256 is None:
        refuse(where, "is not one certificate whose key can be read", "Embed the certificate again.")
    if kind == _CA and certificate.is_self_issued:
        refuse(
            where,
            f"is a root, {shown(certificate.subject.text if certificate.subject else '')}, whose key is not a pin",
            "Name a public root in roots, and a private one's PEM file in private_roots of the pin file.",
        )
    yield certificate.spki_sha256


# Values


def _known(table: Mapping[str, object], where: str, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            refuse(f"{where}.{plain(key)}", "is not known here", f"Known: {', '.join(known)}.")


def _dictionary(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(where, "is missing" if value is None else "is not a dictionary", "Check the name of the format.")
    return value


def _flag(table: Mapping[str, object], key: str, where: str, *, default: bool = False) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        refuse(f"{where}.{key}", "is neither true nor false", "Write <true/> or <false/>.")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        refuse(where, "is not text", "Write a <string>.")
    return value


def _texts(table: Mapping[str, object], key: str, where: str) -> list[str]:
    values = table.get(key)
    if not isinstance(values, list) or not values:
        refuse(f"{where}.{key}", "is not an array of pins", "Write an <array> of <string>.")
    return [_text(value, f"{where}.{key}[{index}]") for index, value in enumerate(values)]


def _dumped(content: dict[str, Any]) -> str:
    return plistlib.dumps(content, sort_keys=False).decode("utf-8")
