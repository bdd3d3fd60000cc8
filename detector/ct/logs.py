"""Which logs are followed: those of a list that can be, and those that the caller names with their keys.

Room: ct. Reads the key files that are named.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import serialization

from detector.errors import InputError
from detector.model.files import read_file
from detector.trust.ct_logs import LogKind
from detector.trust.signature import REFUSALS, SPKI_BYTES_MAX, KeyType, read_key

from .findings import LogName, shown
from .monitor import FollowedLog
from .source import open_server, open_source

if TYPE_CHECKING:
    import datetime as dt

    from detector.trust.ct_logs import LogList

    from .source import DialerFor

KEY_FILE_BYTES_MAX: Final = 2 * SPKI_BYTES_MAX
"""Bytes of a key file: a key in PEM is a third longer."""
_KEY_TYPES: Final = frozenset({KeyType.EC, KeyType.RSA})
"""RFC 6962 section 2.1.4."""
_ADVICE: Final = (
    "Write URL=KEY: where the log's files are (https://…, file:///… or a directory), and its public key (PEM or DER)."
)


class Selection(NamedTuple):
    """Logs of a list: those to follow, and how many others with certificates of today are not.

    `dynamic` have only the interface of RFC 6962; of `unplaced` the list does not say where they are read.
    """

    followed: tuple[FollowedLog, ...]
    dynamic: int
    unplaced: int


def select(listed: LogList, at: dt.datetime, dialer_for: DialerFor) -> Selection:
    """Choose from a list at this moment. Raises `InputError` for a URL that cannot be requested."""
    # Certificates of today can be in a log that has not retired, and takes some that have not ended.
    current = [
        log
        for log in listed.logs.values()
        if (log.retired is None or log.retired > at) and (log.shard is None or log.shard.end > at)
    ]
    static = [log for log in current if log.kind is LogKind.STATIC_CT]
    followed = tuple(
        FollowedLog(_name(log.key, log.description, log.operator), log.key, open_server(log.monitoring_url, dialer_for))
        for log in static
        if log.monitoring_url is not None
    )
    return Selection(followed, len(current) - len(static), len(static) - len(followed))


def named(text: str, dialer_for: DialerFor) -> FollowedLog:
    """A log as the caller names it: `URL=KEY` or `DIRECTORY=KEY`. Raises `InputError`."""
    place, equals, file = text.rpartition("=")
    if not equals or not place or not file:
        raise InputError(f"{text!r} has no key file.", advice=_ADVICE)
    source = open_source(place, dialer_for)
    key = read_public_key(file)
    return FollowedLog(_name(key, source.name), key, source)


def read_public_key(file: str) -> bytes:
    """The DER SubjectPublicKeyInfo in a key file, PEM or DER. Raises `InputError`."""
    data = read_file(file, most=KEY_FILE_BYTES_MAX, kind="key of a log", error=InputError)
    if b"-----BEGIN" in data:
        try:
            data = serialization.load_pem_public_key(data).public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        except REFUSALS as error:
            raise InputError(f"{file}: is not a public key.", advice=_ADVICE) from error
    loaded = read_key(data)
    if loaded.key is None or loaded.key_type not in _KEY_TYPES:
        raise InputError(f"{file}: is not the public key of a log.", advice="Logs have ECDSA P-256 or RSA keys.")
    return data


def _name(key: bytes, name: str, operator: str = "") -> LogName:
    return LogName(id=hashlib.sha256(key).hexdigest(), name=str(shown(name)), operator=str(shown(operator)))
