"""A guarded connector for aiohttp: every TLS connection is assessed before it carries a request.

Room: guard. Opens connections through `probe`; those that may carry requests go to aiohttp's own pool.

`GuardedConnector` replaces `aiohttp.TCPConnector` and overrides `_create_connection`, the one method in which aiohttp's
connectors differ. A connection is assessed once, when it is made; the pool reuses it only for the same host, port and
proxy. Redirects, websockets and retries request connections from the connector like any other request.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from detector import errors
from detector.aio.tasks import run_in_thread
from detector.errors import InputError, ProxyError
from detector.exam import student
from detector.language import Sentence
from detector.model import Category
from detector.pins import parse_host
from detector.probe import open_tls, parse_proxy
from detector.probe.client import close
from detector.probe.http.witness import with_witness
from detector.probe.tls.openssl import strict_context
from detector.session.plan import MACHINE, Planner, read_route
from detector.session.settings import NetworkSettings

from .guard import Guard, Refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.tracing import Trace

    from detector.model import Endpoint, Report
    from detector.probe import Dialer, Opened, Proxy, Timeouts
    from detector.probe.tls.transport import TLSTransport
    from detector.session.settings import ResolveRules

    from .guard import Assessment

LIMIT_DEFAULT: Final = 100
KEEPALIVE_SECONDS_DEFAULT: Final = 15.0
"""aiohttp's own defaults: connections at once, and the lifetime of an idle one."""

PROXY_AUTHORIZATION: Final = "Proxy-Authorization"
"""RFC 9110 section 11.7.2."""


class _ClientRefusal(errors.GuardError):
    """What the three refusals below have in common."""

    def __init__(self, connection_key: ConnectionKey, assessment: Assessment) -> None:
        if isinstance(self, aiohttp.ClientConnectorCertificateError):
            cause = ssl.SSLCertVerificationError(assessment.message)
            aiohttp.ClientConnectorCertificateError.__init__(self, connection_key, cause)
        elif isinstance(self, aiohttp.ClientConnectorError):
            aiohttp.ClientConnectorError.__init__(self, connection_key, OSError(assessment.message))
        self.message, self.advice, self.result = assessment.message, assessment.advice, assessment.result
        self.for_student: str = assessment.for_student
        self.report: Report = assessment.report
        self.args = (connection_key, assessment)


class ClientMiddlewareDetected(_ClientRefusal, errors.MiddlewareDetected, aiohttp.ClientConnectorCertificateError):
    """Probable or proven interception; no byte of the request was sent. `result` and `report` hold the evidence."""


class ClientCertificateError(_ClientRefusal, errors.CertificateError, aiohttp.ClientConnectorCertificateError):
    """No careful client on this device would accept the certificate: expired, another name, no known root…"""


class ClientUnconfirmedError(_ClientRefusal, errors.UnconfirmedError, aiohttp.ClientConnectorError):
    """The server was not confirmed, or not reached; `result` says why."""


class ClientPlaintextError(errors.PlaintextError, aiohttp.ClientConnectorError):
    """A request, or a redirect, to an `http:` or `ws:` URL whose host is not among `plaintext_hosts`."""

    def __init__(self, connection_key: ConnectionKey, message: str, *, for_student: str) -> None:
        aiohttp.ClientConnectorError.__init__(self, connection_key, OSError(message))
        self.message, self.for_student, self.result = message, for_student, None
        self.advice = (
            "Use https; or, for a host where it does not matter, name it: GuardedConnector(plaintext_hosts=...)."
        )
        self.args = (connection_key, message)


_REFUSALS: Final[dict[Refused, type[_ClientRefusal]]] = {
    Refused.MIDDLEWARE: ClientMiddlewareDetected,
    Refused.CERTIFICATE: ClientCertificateError,
    Refused.UNCONFIRMED: ClientUnconfirmedError,
}


class GuardedConnector(aiohttp.TCPConnector):
    """Connections for an `aiohttp.ClientSession`, none of which sends a byte of a request to a middlebox.

    Where the endpoint has a `witness`, each new connection first requests its statement, then carries the request.

    Refused connections raise `MiddlewareDetected`, `CertificateError`, `UnconfirmedError` or `PlaintextError`, all of
    which are `aiohttp.ClientConnectorError` and `detector.errors.GuardError`. A request with an `ssl` or
    `server_hostname` argument raises `InputError`: a request does not choose how it is verified. A proxy that cannot be
    read raises `ProxyError`. aiohttp's timeouts apply as usual; `sock_connect` includes the assessment.

    Args:
        guard: assesses the connections; default: a new one, with the shipped pins.
        proxy: the proxy where neither the request nor the session names one, as in `detector.NetworkSettings`: `system`
            (this machine's settings, else those of the environment; read in a thread at the first connection), `env`,
            `none`, `pac:` and a file, or a proxy URL (HTTP, HTTPS, SOCKS), with credentials if needed.
        resolve: where to connect instead of resolving, as in `detector.NetworkSettings`.
        plaintext_hosts: the hosts for which `http:` and `ws:` are allowed; aiohttp's own code makes those connections.
        timeouts: limits for the phases of making a connection.
        limit, limit_per_host, keepalive_timeout, force_close: aiohttp's.

    Raises:
        ProxyError, TargetError: for a proxy or a host that cannot be used; and what `Guard` raises.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the guard; each is one choice a caller may make
        self,
        guard: Guard | None = None,
        *,
        proxy: str = MACHINE,
        resolve: ResolveRules | None = None,
        plaintext_hosts: Collection[str] = (),
        timeouts: Timeouts | None = None,
        limit: int = LIMIT_DEFAULT,
        limit_per_host: int = 0,
        keepalive_timeout: float = KEEPALIVE_SECONDS_DEFAULT,
        force_close: bool = False,
    ) -> None:
        # Few attributes of our own: aiohttp has many, and each version has others.
        self._connections: Final = _GuardedConnections(guard or Guard(), proxy, resolve, timeouts)
        self._plaintext_hosts: Final = frozenset(map(parse_host, plaintext_hosts))
        keeping: dict[str, Any] = {"force_close": True} if force_close else {"keepalive_timeout": keepalive_timeout}
        super().__init__(limit=limit, limit_per_host=limit_per_host, **keeping)

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's interface
    ) -> ResponseHandler:
        """Make one connection: aiohttp's extension point for connectors."""
        if not req.is_ssl():
            self._refuse_plaintext(req)
            return await super()._create_connection(req, traces, timeout)
        connection = await self._connections.open(req, timeout)
        protocol: ResponseHandler = self._factory()
        protocol.connection_made(connection)
        connection.set_protocol(protocol)
        connection.resume_reading()
        return protocol

    def _refuse_plaintext(self, req: ClientRequest) -> None:
        if parse_host(req.host) not in self._plaintext_hosts:
            message = f"{req.host}: {req.url.scheme} is not encrypted, and this client is not to use it there."
            for_student = self._connections.guard.say(
                map(Sentence, (student.NOT_ENCRYPTED, student.NOT_YOU)), category=Category.OTHER
            )
            raise ClientPlaintextError(
                req.connection_key, f"{message} Nothing of the request was sent.", for_student=for_student
            )


class _GuardedConnections:
    """Makes TLS connections and returns only those that may carry a request."""

    def __init__(self, guard: Guard, proxy: str, resolve: ResolveRules | None, timeouts: Timeouts | None) -> None:
        settings = NetworkSettings.of(resolve=resolve, proxy=proxy)
        self.guard: Final = guard
        self._rules: Final = settings.rules
        self._timeouts: Final = timeouts
        self._planner: Final = Planner(
            read_route(settings.route, settings.proxy), self._rules, None, trusts=guard.trusts, clock=guard.now
        )

    async def open(self, req: ClientRequest, timeout: aiohttp.ClientTimeout) -> TLSTransport:  # noqa: ASYNC109 - aiohttp's interface
        """Connect, ask the witness, assess. Raises the errors of `GuardedConnector`, and closes the connection then."""
        _refuse_arguments(req)
        endpoint = self.guard.endpoint(req.host, req.port)
        deadline = None
        if timeout.sock_connect is not None:
            deadline = asyncio.get_running_loop().time() + timeout.sock_connect
        opened = await open_tls(
            endpoint,
            dialer=await self._dialer(req, endpoint),
            timeouts=self._timeouts,
            deadline=deadline,
            context=strict_context(),
        )
        try:
            assessment = await self._assess(endpoint, opened, deadline)
            if assessment.refused is not None and opened.connection is not None:
                await close(opened.connection)
        except BaseException:  # cancellation included: the socket must not outlive this call
            if opened.connection is not None:
                opened.connection.abort()
            raise
        if assessment.refused is not None:
            raise _REFUSALS[assessment.refused](req.connection_key, assessment)
        if opened.connection is None or opened.connection.is_closing():
            raise aiohttp.ServerDisconnectedError(
                f"{endpoint.name}: the server closed the connection before a request could be sent on it."
                + (" A witness must keep its connections open (HTTP keep-alive)." if endpoint.witness else "")
            )
        return opened.connection

    async def _assess(self, endpoint: Endpoint, opened: Opened, deadline: float | None) -> Assessment:
        if endpoint.witness:
            opened = await with_witness(opened, endpoint, timeouts=self._timeouts, deadline=deadline)
            if opened.connection is not None:
                opened.connection.pause_reading()  # what arrives from now on belongs to the request
        return await run_in_thread(lambda: self.guard.assess(endpoint, opened.observation))

    async def _dialer(self, req: ClientRequest, endpoint: Endpoint) -> Dialer:
        """Return the dialer: the proxy of the request or its session takes precedence over the connector's."""
        proxy = _proxy_of(req)
        if proxy is not None:
            return self._planner.through(proxy)
        await self._planner.read_machine_settings()
        return self._planner.first_route(endpoint)


def _refuse_arguments(req: ClientRequest) -> None:
    """Raise `InputError` for a request that chooses how it is verified."""
    if req.ssl is not True:
        raise InputError(
            f"The request to {req.host} has an ssl argument, and a guarded connector does not let a request choose how "
            "it is verified.",
            advice="Leave ssl out. Pins, private roots and CT logs go into detector.guard.Guard.",
        )
    if req.server_hostname not in {None, req.host}:
        raise InputError(
            f"The request to {req.host} is to be verified for another name.",
            advice="Put that name into the URL, and where to connect into GuardedConnector(resolve=...).",
        )


def _proxy_of(req: ClientRequest) -> Proxy | None:
    """Return the proxy of the request or its session. Raises `ProxyError`, without the credentials.

    Only Basic credentials of the proxy headers are sent: aiohttp mixes the session's own headers into them, and those
    must not be sent before the connection is assessed.
    """
    if req.proxy is None:
        return None
    proxy = parse_proxy(str(req.proxy))
    if proxy.username is not None:
        return proxy
    if req.proxy_auth is not None:
        return proxy.with_credentials(req.proxy_auth.login, req.proxy_auth.password)
    header = None if req.proxy_headers is None else req.proxy_headers.get(PROXY_AUTHORIZATION)
    if header is None:
        return proxy
    return proxy.with_credentials(*_basic_credentials(header))


def _basic_credentials(header: str) -> tuple[str, str]:
    """Read a Proxy-Authorization value for Basic authentication (RFC 7617 section 2). Raises `ProxyError`."""
    scheme, _, encoded = header.partition(" ")
    try:
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, not ASCII, not UTF-8
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise ProxyError(
            "The request's Proxy-Authorization header is not Basic authentication, the only kind that is supported.",
            advice="Use a user name and a password in the proxy URL.",
        )
    return username, password
