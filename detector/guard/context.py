"""A guarded `ssl.SSLContext`: for every HTTP client that takes one, as far as Python's own TLS allows.

Room: guard. Opens nothing: connections belong to the library that uses the context. docs/guard.md says which do.

Python lets a context name the classes of its connections (`SSLContext.sslsocket_class` and `sslobject_class`). Those of
a guarded context judge the presented chain as soon as the handshake is complete, which is before the library can send
anything, and raise what the library takes for a failed verification. OpenSSL proves the key; it verifies nothing else,
because the guard does, more strictly.

What cannot be had from Python's TLS: the exporter that a witness signs (so an endpoint that only a witness confirms is
refused), SCTs outside the certificate, the chain byte for byte (OpenSSL encodes it again), and whether a proxy was in
between.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from detector import errors
from detector.errors import InputError
from detector.model import Observation, Outcome
from detector.trust.certificate import Certificate

from .guard import Guard, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from detector.model import Report, Result

    from .guard import Judged

EXCEPTIONS_MAX: Final = 64
"""Exceptions looked at behind one. Libraries wrap them three or four deep."""

_DER: Final = 2
"""`_ssl.ENCODING_DER`: how the certificates of Python 3.11 and 3.12 are asked for their octets."""


class _TLSRefusal(ssl.SSLCertVerificationError):
    """What a library takes for a failed verification, with what the guard has to say."""

    message: str
    advice: str
    result: Result | None

    def __init__(self, judged: Judged) -> None:
        super().__init__(judged.message)
        self.message, self.advice, self.result = judged.message, judged.advice, judged.result
        self.args = (judged,)


class TLSMiddlewareDetected(errors.MiddlewareDetected, errors.GuardError, _TLSRefusal):
    """Probable or proven interception; nothing of the request was sent. `result` and `report` hold the evidence."""

    def __init__(self, judged: Judged) -> None:
        _TLSRefusal.__init__(self, judged)
        self.report: Report = judged.report


class TLSCertificateError(errors.CertificateError, _TLSRefusal):
    """No careful client on this device would take the certificate."""

    def __init__(self, judged: Judged) -> None:
        _TLSRefusal.__init__(self, judged)


class TLSUnconfirmedError(errors.UnconfirmedError, _TLSRefusal):
    """The server was not confirmed."""

    def __init__(self, judged: Judged) -> None:
        _TLSRefusal.__init__(self, judged)


_REFUSALS: Final[dict[Refused, type[_TLSRefusal]]] = {
    Refused.MIDDLEWARE: TLSMiddlewareDetected,
    Refused.CERTIFICATE: TLSCertificateError,
    Refused.UNCONFIRMED: TLSUnconfirmedError,
}


class GuardedSocket(ssl.SSLSocket):
    """A TLS connection over a socket that carries nothing before it was judged, whoever makes the handshake."""

    _judged: bool = False

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the standard library
        """Shake hands and judge. A refused connection is closed: what is left of it would be a plain socket."""
        super().do_handshake(block)
        if not self._judged:
            try:
                _judge(self)
            except errors.DetectorError:
                self.close()
                raise
            self._judged = True

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - as above
        """Read application data; everything that receives comes through here."""
        self._require()
        return super().read(len, buffer)

    def write(self, data: Any) -> int:  # noqa: ANN401 - as above
        """Write application data."""
        self._require()
        return super().write(data)

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - as above
        """Write application data; everything that sends comes through here."""
        self._require()
        return super().send(data, flags)

    def _require(self) -> None:
        """OpenSSL shakes hands by itself when somebody reads or writes first: not here."""
        if not self._judged:
            self.do_handshake()


class GuardedObject(ssl.SSLObject):
    """A TLS connection over memory buffers, as asyncio and anyio use it, that carries nothing before it was judged."""

    _judged: bool = False

    def do_handshake(self) -> None:
        """Shake hands and judge."""
        super().do_handshake()
        if not self._judged:
            _judge(self)
            self._judged = True

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - the signature of the standard library
        """Read application data."""
        self._require()
        return super().read(len, buffer)

    def write(self, data: Any) -> int:  # noqa: ANN401 - as above
        """Write application data."""
        self._require()
        return super().write(data)

    def _require(self) -> None:
        if not self._judged:
            self.do_handshake()


class GuardedContext(ssl.SSLContext):
    """A client context whose connections are judged by a `Guard`. Made by `guarded_context`.

    It tells libraries that it verifies certificates and names, which the guard does, and takes no orders about it:
    setting `verify_mode` or `check_hostname` and loading other roots change nothing. Client certificates, ALPN and
    ciphers are set as on any context.
    """

    sslsocket_class = GuardedSocket
    sslobject_class = GuardedObject

    def __new__(cls, guard: Guard, port: int | None = None) -> Self:  # noqa: ARG004 - as `__init__`
        """Make the context."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, guard: Guard, port: int | None = None) -> None:
        self.guard: Final = guard
        self.port: Final = port
        # OpenSSL is to show every chain, so that a forged one is told from an expired one.
        ssl.SSLContext.check_hostname.__set__(self, False)  # type: ignore[attr-defined]  # noqa: FBT003 - a descriptor
        ssl.SSLContext.verify_mode.__set__(self, ssl.CERT_NONE)  # type: ignore[attr-defined] # a property at run time
        self.minimum_version = ssl.TLSVersion.TLSv1_2

    @property  # type: ignore[override] # typeshed has it as two types in two base classes
    def verify_mode(self) -> ssl.VerifyMode:
        """That certificates are required: the guard refuses what does not pass."""
        return ssl.CERT_REQUIRED

    @verify_mode.setter
    def verify_mode(self, value: ssl.VerifyMode) -> None: ...

    @property
    def check_hostname(self) -> bool:
        """That names are checked: the guard does."""
        return True

    @check_hostname.setter
    def check_hostname(self, value: bool) -> None: ...

    def load_verify_locations(self, *_args: object, **_options: object) -> None:
        """Change nothing: roots are the guard's."""

    def load_default_certs(self, *_args: object, **_options: object) -> None:
        """Change nothing: roots are the guard's."""


def guarded_context(guard: Guard | None = None, *, port: int | None = None) -> GuardedContext:
    """A context that refuses every connection the guard refuses, before a byte of the request is sent.

    For `ssl_context=` of urllib3, `verify=` of httpx, `context=` of `http.client` and `urllib.request`, and requests
    through an adapter (docs/guard.md). `guard` is a new one with the shipped pins when None. `port` is the port that
    pins are looked up for; it is needed for hosts that are pinned at several, because Python's TLS does not know it.

    Refused connections raise `ssl.SSLCertVerificationError`s that are also `detector.errors.GuardError`s; libraries
    wrap them in their own, see `refusal_behind`. Judging blocks the thread for a few milliseconds, the first of
    a kind for up to a second. Raises `InputError` on a Python without `get_unverified_chain`, and what `Guard` raises.
    """
    if not hasattr(ssl.SSLSocket, "get_unverified_chain") and not _has_private_chain():
        raise InputError(
            "This Python does not show the chain that a server presents.",
            advice="Use CPython, or GuardedConnector, which brings its own TLS.",
        )
    return GuardedContext(guard or Guard(), port)


def refusal_behind(error: BaseException) -> errors.GuardError | None:
    """What the guard raised behind an exception of the library that used its context; None when it was not the guard.

    urllib3 keeps it as `reason`, requests and urllib as an argument, httpx as the cause of the cause.
    """
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending and len(seen) < EXCEPTIONS_MAX:
        found = pending.pop()
        if isinstance(found, errors.GuardError):
            return found
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            pending += [found.__context__, found.__cause__, getattr(found, "reason", None), *found.args]
    return None


def _has_private_chain() -> bool:
    """Whether the chain can be had as on CPython 3.10 to 3.12, where the method is there but not public."""
    import _ssl  # noqa: PLC0415 - asked for a capability only

    return hasattr(getattr(_ssl, "_SSLSocket", None), "get_unverified_chain")


def _judge(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Judge a connection whose handshake is complete. Raises what the guard refuses it for."""
    context = connection.context
    if not isinstance(context, GuardedContext) or connection.server_hostname is None:
        raise InputError(
            "A guarded connection was made without the name of its host, or given another context.",
            advice="Use guarded_context() for connections to named hosts only, and leave their context alone.",
        )
    endpoint = context.guard.endpoint(str(connection.server_hostname), context.port)
    judged = context.guard.judge(
        endpoint,
        Observation(
            outcome=Outcome.COMPLETE,
            key_proved=True,  # OpenSSL completes no handshake whose signature is wrong
            tls_version=connection.version(),
            alpn=connection.selected_alpn_protocol(),
            chain=tuple(Certificate.read(certificate).presented() for certificate in _chain(connection)),
        ),
    )
    if judged.refused is not None:
        raise _REFUSALS[judged.refused](judged)


def _chain(connection: ssl.SSLSocket | ssl.SSLObject) -> Iterable[bytes]:
    """The chain as OpenSSL has it, leaf first."""
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13 and newer
        return tuple(connection.get_unverified_chain() or ())
    before_3_13: Any = connection
    presented = before_3_13._sslobj.get_unverified_chain() or ()  # noqa: SLF001 - not public before Python 3.13
    return tuple(certificate.public_bytes(_DER) for certificate in presented)
