"""HTTP CONNECT (RFC 9110 section 9.3.6), and the authentication a proxy requests.

Room: probe. Pure: see `negotiation`. Only Basic is supported; the other schemes a proxy offers are reported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.model import Outcome

from .dialing import literal
from .negotiation import Negotiation, encoded_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import h11
else:
    h11 = LazyModule("h11")  # 6 ms that a direct route need not wait for

PROXY_HEAD_BYTES_MAX: Final = 16 * 1024  # of a proxy's answer. Common servers allow 8 KiB, browsers more
INTERIM_RESPONSES_MAX: Final = 8  # of class 1xx before the real one (RFC 9110 section 15.2 sets no bound)
AUTH_SCHEMES_MAX: Final = 8  # authentication schemes kept: real proxies offer up to four
AUTH_SCHEME_CHARACTERS_MAX: Final = 32  # the longest registered one (IANA, HTTP Authentication Schemes) has 14

BASIC: Final = "basic"

_SUCCESS: Final = range(200, 300)
_AUTHENTICATION_REQUIRED: Final = 407  # Proxy Authentication Required (RFC 9110 section 15.5.8)
_REDIRECTION: Final = frozenset({*range(300, 400), 511})
"""Section 15.4, and Network Authentication Required (RFC 6585 section 6): there is a page to sign in on, or of a block.
No browser follows it in the place of a tunnel."""
_SERVER_ERROR: Final = range(500, 600)
"""Section 15.6: the proxy could not reach the host, or cannot do what was requested."""

_OTHER_PROTOCOL: Final = re.compile(rb"\x05|\x00[\x5a-\x5d]|[\x15\x16]\x03|SSH-")
"""The first bytes of a SOCKS5 answer, a SOCKS4 answer, a TLS alert or handshake record, and of SSH (RFC 4253)."""

_SPACE_BEFORE_COLON: Final = re.compile(rb"^([^\s:]{1,100})[ \t]{1,8}:", re.MULTILINE)
"""Whitespace that a response may have and that is to be removed (RFC 9112 section 5.1); h11 refuses it."""

_CHALLENGE: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?:[ \t]++(?!=)|$)")
"""An auth-scheme at the start of a list element (RFC 9110 section 11.6.1): a token not followed by '=', before which it
would be a parameter of the previous challenge."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
"""A quoted-string (RFC 9110 section 5.6.4), or one that never ends. Possessive, and a match from any quote: a proxy
writes this, and 16 KiB of escaped quotes took a second where the expression could fail and begin again."""


class ConnectNegotiation(Negotiation):
    """Requests a tunnel to `host` and `port`. `authorization` is the Proxy-Authorization value, if any.

    Raises `RouteError` DNS_FAILURE on construction for what cannot be a host name.
    """

    def __init__(self, host: str, port: int, authorization: bytes | None) -> None:
        super().__init__()
        name = encoded_host(literal(host) or host)
        # authority-form, RFC 9112 section 3.2.3
        authority = b"[%b]:%d" % (name, port) if b":" in name else b"%b:%d" % (name, port)
        headers = [(b"Host", authority)]
        if authorization is not None:
            headers.append((b"Proxy-Authorization", authorization))
        self._authorized = authorization is not None
        self._request = h11.Request(method=b"CONNECT", target=authority, headers=headers)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PROXY_HEAD_BYTES_MAX)
        self._interim_responses = 0
        self._answered = False

    def start(self) -> bytes:
        """Return the request."""
        return (self._http.send(self._request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> bytes:
        """Parse the proxy's answer."""
        if self.settled or not data:
            return b""
        if not self._answered and _OTHER_PROTOCOL.match(data):
            self.failure = Outcome.PROXY_OTHER_KIND
            return b""
        self._answered = True
        try:
            head, end, tunnel = data.partition(b"\r\n\r\n")
            self._http.receive_data(_SPACE_BEFORE_COLON.sub(rb"\1:", head) + end + tunnel)
            self._read_answer()
        except (h11.RemoteProtocolError, ValueError):
            # ValueError: h11 before 0.16 converts a Content-Length of any number of digits; Python refuses above 4300.
            self.failure = Outcome.PROXY_PROTOCOL
        return b""

    def _read_answer(self) -> None:
        while isinstance(event := self._http.next_event(), h11.InformationalResponse):
            self._interim_responses += 1
            if self._interim_responses > INTERIM_RESPONSES_MAX:
                self.failure = Outcome.PROXY_PROTOCOL
                return
        if event is h11.NEED_DATA:
            return
        if not isinstance(event, h11.Response):
            self.failure = Outcome.PROXY_PROTOCOL
            return
        self.status = event.status_code
        if self.status in _SUCCESS:
            # Content-Length and Transfer-Encoding mean nothing here (RFC 9110 section 9.3.6).
            self.leftover, _ = self._http.trailing_data
            self.established = True
        elif self.status == _AUTHENTICATION_REQUIRED:
            self.failure = self._missing_authentication(event)
        elif self.status in _REDIRECTION:
            self.failure = Outcome.PROXY_REDIRECTED
        else:
            self.failure = Outcome.PROXY_GATEWAY if self.status in _SERVER_ERROR else Outcome.PROXY_REFUSED

    def _missing_authentication(self, response: h11.Response) -> Outcome:
        self.auth_schemes = auth_schemes(value for name, value in response.headers if name == b"proxy-authenticate")
        if self.auth_schemes and BASIC not in self.auth_schemes:
            return Outcome.PROXY_AUTH_UNSUPPORTED
        return Outcome.PROXY_AUTH_REJECTED if self._authorized else Outcome.PROXY_AUTH_REQUIRED


def auth_schemes(values: Iterable[bytes]) -> tuple[str, ...]:
    """Return the schemes that Proxy-Authenticate headers offer, lower case, in their order, bounded. Raises nothing."""
    found = dict.fromkeys(scheme for value in values for scheme in _schemes(value.decode("latin-1")))
    return tuple(found)[:AUTH_SCHEMES_MAX]


def _schemes(value: str) -> Iterator[str]:
    for element in _QUOTED.sub('""', value).split(","):
        challenge = _CHALLENGE.match(element.strip(" \t"))
        if challenge is not None and len(challenge[1]) <= AUTH_SCHEME_CHARACTERS_MAX:
            yield challenge[1].lower()
