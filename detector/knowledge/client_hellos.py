"""The ClientHellos of browsers, recorded from real ones: what each offers, what it draws, and in which order.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file, which `scripts/build_client_hellos.py` records.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec resolves the annotations at run time
from typing import Annotated

import msgspec

from detector.model import Hello, Record

from .part import CodePoint, CodePointList, Head, Text

_Body = Annotated[str, msgspec.Meta(max_length=8192, pattern=r"\A(?:[0-9a-f]{2})*\Z")]
"""The body of an extension in hexadecimal; the longest shipped one has 372 characters."""
_Protocol = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
"""A protocol name (RFC 7301 section 3.1)."""
_FEW = 64
"""Extensions of one profile, its protocols, and profiles: a ClientHello has under 20 of the former."""


class EchGrease(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser without an ECHConfig sends as encrypted_client_hello (RFC 9849 section 6.2).

    `aeads` and `payload_bytes` are the values that it draws from. `is_key` says whether the encapsulated key is a
    public key of X25519 or random bytes: half of all strings are no point of the curve, which shows the difference.
    """

    aeads: CodePointList
    payload_bytes: CodePointList
    is_key: bool


class HelloProfile(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one browser sends. Lists are in wire order, without the reserved values of RFC 8701.

    `client` is its name and version, `recorded` the day. `grease` are the extensions whose list begins with a reserved
    value; a browser that has any puts one also before its cipher suites, and one as an extension at each end.
    `extensions` includes the cookie, at its place in a second ClientHello; where `shuffled`, the order is drawn for
    each connection. `bodies` holds, in hexadecimal, every extension that is the same on each connection and is not
    given by another field. `common_x25519` says whether X25519MLKEM768 and X25519 share one X25519 key.
    """

    hello: Hello
    client: Text
    recorded: dt.date
    grease: CodePointList
    shuffled: bool
    cipher_suites: CodePointList
    extensions: CodePointList
    groups: CodePointList
    key_shares: CodePointList
    common_x25519: bool
    signature_schemes: CodePointList
    versions: CodePointList
    alpn: Annotated[tuple[_Protocol, ...], msgspec.Meta(max_length=_FEW)]
    certificate_compression: CodePointList
    ech: EchGrease
    bodies: Annotated[dict[CodePoint, _Body], msgspec.Meta(max_length=_FEW)]


class HelloProfiles(Head, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """The content of client_hellos.json. Equal to itself alone, so that what is worked out from it can be kept."""

    profiles: Annotated[tuple[HelloProfile, ...], msgspec.Meta(max_length=_FEW)]

    def of(self, hello: Hello) -> HelloProfile:
        """The profile that this hello is written from. Raises KeyError for OpenSSL's, which OpenSSL writes itself."""
        written = Hello.BROWSER if hello is Hello.READABLE else hello
        for profile in self.profiles:
            if profile.hello is written:
                return profile
        raise KeyError(hello)
