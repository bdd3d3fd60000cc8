"""A guarded `ssl.SSLContext`: for every HTTP client that takes one, as far as Python's own TLS allows.

Room: guard. Opens nothing: connections belong to the library that uses the context (docs/guard.md lists them).

A context can set the classes of its connections (`SSLContext.sslsocket_class` and `sslobject_class`). Those of a
guarded context assess the presented chain as soon as the handshake is complete, before the library can send anything,
and raise what the library treats as a failed verification. OpenSSL checks only that the server has the leaf's key; the
guard verifies the rest, more strictly.

Python's TLS does not provide: the exporter that a witness signs (so an endpoint that only a witness confirms is
refused), SCTs outside the certificate, the chain byte for byte (OpenSSL encodes it again), and whether there was a
proxy.
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

    from .guard import Assessment

EXCEPTIONS_MAX: Final = 64
"""Exceptions followed from one. Libraries wrap them three or four deep."""

_DER: Final = 2
"""`_ssl.ENCODING_DER`: the argument with which certificates of Python 3.11 and 3.12 return their bytes."""


class _TLSRefusal(ssl.SSLCertVerificationError):
    """A failed verification to a library, with the assessment of the guard."""

    def __init__(self, assessment: Assessment) -> None:
        ssl.SSLCertVerificationError.__init__(self, assessment.message)
        self.message, self.advice, self.for_student = assessment.message, assessment.advice, assessment.for_student
        self.result: Result | None = assessment.result
        self.report: Report = assessment.report
        self.args = (assessment,)

    __str__ = errors.DetectorError.__str__
    __repr__ = errors.GuardError.__repr__


class TLSMiddlewareDetected(_TLSRefusal, errors.MiddlewareDetected, errors.GuardError):
    """Probable or proven interception; no byte of the request was sent. `result` and `report` hold the evidence."""


class TLSCertificateError(_TLSRefusal, errors.CertificateError):
    """No careful client on this device would accept the certificate."""


class TLSUnconfirmedError(_TLSRefusal, errors.UnconfirmedError):
    """The server was not confirmed."""


_REFUSALS: Final[dict[Refused, type[_TLSRefusal]]] = {
    Refused.MIDDLEWARE: TLSMiddlewareDetected,
    Refused.CERTIFICATE: TLSCertificateError,
    Refused.UNCONFIRMED: TLSUnconfirmedError,
}


class _Guarded:
    """What both kinds of connections have in common: they carry nothing before they are assessed.

    OpenSSL would handshake implicitly on the first read or write.
    """

    _assessed: bool = False

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - the signature of the standard library
        """Read application data; every receiving method calls this."""
        self._require()
        return super().read(len, buffer)  # type: ignore[misc] # of the class in ssl

    def write(self, data: Any) -> int:  # noqa: ANN401 - the signature of the standard library
        """Write application data."""
        self._require()
        return int(super().write(data))  # type: ignore[misc] # as above

    def _require(self) -> None:
        if not self._assessed:
            self.do_handshake()

    def do_handshake(self) -> None:
        """Handshake and assess."""
        raise NotImplementedError


class GuardedSocket(_Guarded, ssl.SSLSocket):
    """A TLS connection over a socket."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the standard library
        """Handshake and assess. A refused connection is closed: the rest of it would be a plain socket."""
        ssl.SSLSocket.do_handshake(self, block)
        if not self._assessed:
            try:
                _assess(self)
            except errors.DetectorError:
                self.close()
                raise
            self._assessed = True

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - the signature of the standard library
        """Write application data; every sending method calls this."""
        self._require()
        return super().send(data, flags)


class GuardedObject(_Guarded, ssl.SSLObject):
    """A TLS connection over memory buffers, as asyncio and anyio use them."""

    def do_handshake(self) -> None:
        """Handshake and assess."""
        ssl.SSLObject.do_handshake(self)
        if not self._assessed:
            _assess(self)
            self._assessed = True


class GuardedContext(ssl.SSLContext):
    """A client context whose connections are assessed by a `Guard`. Made by `guarded_context`.

    It reports to libraries that it verifies certificates and names, which the guard does: setting `verify_mode` or
    `check_hostname` and loading other roots have no effect. Client certificates, ALPN and ciphers are set as on any
    context.
    """

    sslsocket_class = GuardedSocket
    sslobject_class = GuardedObject

    def __new__(cls, guard: Guard, port: int | None = None) -> Self:  # noqa: ARG004 - as `__init__`
        """Make the context."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, guard: Guard, port: int | None = None) -> None:
        self.guard: Final = guard
        self.port: Final = port
        # OpenSSL must accept every chain, so that the guard can distinguish a forged one from an expired one.
        ssl.SSLContext.check_hostname.__set__(self, False)  # type: ignore[attr-defined]  # noqa: FBT003 - a descriptor
        ssl.SSLContext.verify_mode.__set__(self, ssl.CERT_NONE)  # type: ignore[attr-defined] # a property at run time
        self.minimum_version = ssl.TLSVersion.TLSv1_2

    @property  # type: ignore[override] # typeshed has it as two types in two base classes
    def verify_mode(self) -> ssl.VerifyMode:
        """Certificates are required: the guard checks them."""
        return ssl.CERT_REQUIRED

    @verify_mode.setter
    def verify_mode(self, value: ssl.VerifyMode) -> None: ...

    @property
    def check_hostname(self) -> bool:
        """Names are checked: by the guard."""
        return True

    @check_hostname.setter
    def check_hostname(self, value: bool) -> None: ...

    def load_verify_locations(self, *_args: object, **_options: object) -> None:
        """Change nothing: roots are the guard's."""

    def load_default_certs(self, *_args: object, **_options: object) -> None:
        """Change nothing: roots are the guard's."""


def guarded_context(guard: Guard | None = None, *, port: int | None = None) -> GuardedContext:
    """Return a context that rejects every connection the guard refuses, before a byte of the request is sent.

    For `ssl_context=` of urllib3, `verify=` of httpx, `context=` of `http.client` and `urllib.request`, and requests
    through an adapter (docs/guard.md). `guard` is a new one with the shipped pins when None. `port` selects the pins of
    hosts that are pinned at several ports, because Python's TLS does not know it.

    Refused connections raise `ssl.SSLCertVerificationError`s that are also `detector.errors.GuardError`s; libraries
    wrap them in their own, see `refusal_behind`. The assessment blocks the thread for a few milliseconds, the first one
    for up to a second. Raises `InputError` on a Python without `get_unverified_chain`, and what `Guard` raises.
    """
    if not hasattr(ssl.SSLSocket, "get_unverified_chain") and not _has_private_chain():
        raise InputError(
            "This Python does not show the chain that a server presents.",
            advice="Use CPython, or GuardedConnector, which brings its own TLS.",
        )
    return GuardedContext(guard or Guard(), port)


def refusal_behind(error: BaseException) -> errors.GuardError | None:
    """Return the guard's exception that a library's exception wraps, or None.

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
    """Return whether this is a CPython before 3.13 that has the method privately."""
    import _ssl  # noqa: PLC0415 - private, and absent elsewhere

    return hasattr(getattr(_ssl, "_SSLSocket", None), "get_unverified_chain")


def _assess(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Assess a connection whose handshake is complete. Raises the refusal."""
    context = connection.context
    if not isinstance(context, GuardedContext) or connection.server_hostname is None:
        raise InputError(
            "A guarded connection was made without the name of its host, or given another context.",
            advice="Use guarded_context() for connections to named hosts only, and leave their context alone.",
        )
    endpoint = context.guard.endpoint(str(connection.server_hostname), context.port)
    assessment = context.guard.assess(
        endpoint,
        Observation(
            outcome=Outcome.COMPLETE,
            key_proved=True,  # OpenSSL completes no handshake whose signature is wrong
            tls_version=connection.version(),
            alpn=connection.selected_alpn_protocol(),
            chain=tuple(Certificate.read(certificate).presented() for certificate in _chain(connection)),
        ),
    )
    if assessment.refused is not None:
        raise _REFUSALS[assessment.refused](assessment)


def _chain(connection: ssl.SSLSocket | ssl.SSLObject) -> Iterable[bytes]:
    """Return the chain as OpenSSL has it, leaf first."""
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13 and newer
        return tuple(connection.get_unverified_chain() or ())
    before_3_13: Any = connection
    presented = before_3_13._sslobj.get_unverified_chain() or ()  # noqa: SLF001 - not public before Python 3.13
    return tuple(certificate.public_bytes(_DER) for certificate in presented)
