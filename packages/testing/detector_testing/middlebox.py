"""A forging middlebox on loopback: what a school's firewall, a cloud proxy or a filter on the device does to TLS.

Room: testing. Opens sockets on loopback through `streams`; connects only to the `upstream` it is given and to loopback;
in a `lab` also to where a connection was going when it was redirected.
It reads the ClientHello, decides by host whether to decrypt, gets the genuine certificate from the origin (without
verifying it, as the worst of them do), issues a forged one under its own CA and carries decrypted octets both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from .origin import Request, Response, answer
from .pki import CA, CopiedField, Issued, KeyKind, PrivateKey, generate_key, sct_list_of
from .proxy import locate, receive_connect
from .redirected import original_destination
from .streams import (
    LOOPBACK,
    NO_EXTENDED_MASTER_SECRET,
    Address,
    Listener,
    PlainStream,
    TLSStream,
    as_it_is,
    connect,
    listen,
    relay,
    server_context,
)
from .tls_wire import ClientHello, TLSWireError, find_client_hello

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

OVERHEARD_LIMIT: Final = 1 << 20
"""Octets of decrypted client data that a middlebox keeps to show that it could read them."""

COPIED_BY_MOST: Final = frozenset({CopiedField.SUBJECT, CopiedField.NAMES})
"""What mitmproxy, squid and sslsplit take over from the genuine leaf; bettercap takes the dates too."""


GREASE: Final = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Values that browsers mix into their hellos and hardly anybody else does (RFC 8701 section 2)."""


def looks_like_browser(hello: ClientHello) -> bool:
    """What an interceptor goes by that wants to decrypt browsers only: GREASE among the cipher suites."""
    return not GREASE.isdisjoint(hello.cipher_suites)


class Mode(enum.StrEnum):
    """How clients come to a middlebox.

    `CONNECT`: as their HTTP proxy. `REVERSE`: directly; the server name says where they want to go. `TRANSPARENT`:
    directly and unknowingly; what is not TLS, or has no server name, is carried too, to the one `upstream` address; or,
    without an `upstream`, to where the packet filter that redirected it here says it was going (Linux).
    """

    CONNECT = "connect"
    REVERSE = "reverse"
    TRANSPARENT = "transparent-like"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Policy:
    """What `serve_middlebox` was asked for."""

    mode: Mode
    upstream: Mapping[Address, Address] | Address
    upstream_port: int
    only_hosts: frozenset[str] | None
    except_hosts: frozenset[str]
    only_hellos: Callable[[ClientHello], bool] | None
    append_upstream_chain: bool
    present_root: bool
    copy_upstream: bool
    copies: frozenset[CopiedField]
    copy_scts: bool
    cache: bool
    certificate_delay: float
    drop_first_per_host: bool
    pass_first: int
    min_version: ssl.TLSVersion | None
    max_version: ssl.TLSVersion | None
    alpn: tuple[str, ...]
    extended_master_secret: bool
    present: Issued | None
    rewrite: Callable[[bytes], bytes]

    def locate(self, target: Address) -> Address | None:
        """Say where `target` really is; None when this middlebox must not go there."""
        if isinstance(self.upstream, tuple):
            return self.upstream
        return locate(target, self.upstream)

    def decrypts(self, host: str, hello: ClientHello) -> bool:
        """Whether connections to `host` that begin with `hello` are decrypted."""
        named = (self.only_hosts is None or host in self.only_hosts) and host not in self.except_hosts
        return named and (self.only_hellos is None or self.only_hellos(hello))


class Middlebox(Listener):
    """A running middlebox.

    `intercepted` and `passed` are the hosts of connections it decrypted and of those it carried untouched, in order.
    `overheard` is what clients sent, in the clear.
    """

    def __init__(self, ca: CA) -> None:
        super().__init__()
        self.ca = ca
        self.connections = 0
        self.intercepted: list[str] = []
        self.passed: list[str] = []
        self.overheard = b""

    @property
    def url(self) -> str:
        """What to give a client as its proxy, in mode CONNECT."""
        return f"http://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def serve_middlebox(  # noqa: PLR0913 - every option is something real interceptors do
    ca: CA,
    *,
    mode: Mode | str = Mode.CONNECT,
    upstream: Mapping[Address, Address] | Address | None = None,
    upstream_port: int = 443,
    only_hosts: Collection[str] | None = None,
    except_hosts: Collection[str] = (),
    only_hellos: Callable[[ClientHello], bool] | None = None,
    append_upstream_chain: bool = False,
    present_root: bool = False,
    one_leaf_key: bool = True,
    leaf_key_is_ca_key: bool = False,
    leaf_key: KeyKind = "ec",
    copy_upstream: bool = True,
    copies: Collection[CopiedField] = COPIED_BY_MOST,
    copy_scts: bool = False,
    cache: bool = True,
    certificate_delay: float = 0.0,
    drop_first_per_host: bool = False,
    pass_first: int = 0,
    min_version: ssl.TLSVersion | None = None,
    max_version: ssl.TLSVersion | None = None,
    alpn: Collection[str] = ("http/1.1",),
    extended_master_secret: bool = True,
    present: Issued | None = None,
    rewrite: Callable[[bytes], bytes] = as_it_is,
    host: str = LOOPBACK,
    port: int = 0,
) -> AsyncIterator[Middlebox]:
    """Run a middlebox that forges under `ca` until the block ends.

    Where things are: `upstream` maps (host, port) to a loopback address, or is the one address everything goes to; in
    the modes without CONNECT the port asked for is `upstream_port`. Without an upstream the middlebox forges from the
    name alone and answers requests with a block page.

    Whom it decrypts: `only_hosts` (None: everyone) less `except_hosts`, lower-case names; everyone else is carried
    untouched. `only_hellos` picks by how the ClientHello looks, as `looks_like_browser` does. `pass_first` connections
    are carried untouched too: an interceptor that wakes up after the check.

    What it presents: with `copy_upstream` the `copies` are taken over from the genuine leaf, and with `copy_scts` its
    embedded SCTs. All leaves share one key of kind `leaf_key`, unless not `one_leaf_key`; or the CA's own key, with
    `leaf_key_is_ca_key`; a CA that has a `leaf_key` itself decides. `present_root` sends the CA's certificate along,
    `append_upstream_chain` the whole genuine chain behind the forged one. `cache` keeps a forged leaf per host, else
    each connection gets a new one. `min_version`, `max_version` and `alpn` are the middlebox's own, and without
    `extended_master_secret` its TLS 1.2, towards both sides, is older than RFC 7627. `present` is shown to everybody
    instead of anything forged: a certificate bought or stolen for the purpose, such as the origin's own with its key.
    `rewrite` says what clients get instead of what the origin sends, decrypted octets as they come.

    How it fails: `certificate_delay` seconds go by before a host's first certificate; `drop_first_per_host` closes the
    first connection to each.
    """
    policy = _Policy(
        mode=Mode(mode),
        upstream=upstream if upstream is not None else {},
        upstream_port=upstream_port,
        only_hosts=None if only_hosts is None else frozenset(only_hosts),
        except_hosts=frozenset(except_hosts),
        only_hellos=only_hellos,
        append_upstream_chain=append_upstream_chain,
        present_root=present_root,
        copy_upstream=copy_upstream,
        copies=frozenset(copies),
        copy_scts=copy_scts,
        cache=cache,
        certificate_delay=certificate_delay,
        drop_first_per_host=drop_first_per_host,
        pass_first=pass_first,
        min_version=min_version,
        max_version=max_version,
        alpn=tuple(alpn),
        extended_master_secret=extended_master_secret,
        present=present,
        rewrite=rewrite,
    )
    shared_key = ca.leaf_key
    if shared_key is None and leaf_key_is_ca_key:
        shared_key = ca.key
    if shared_key is None and one_leaf_key:
        shared_key = generate_key(leaf_key)
    box = Middlebox(ca)
    interceptor = _Interceptor(box, policy, shared_key or leaf_key)
    async with listen(interceptor.serve, box, host=host, port=port):
        yield box


class _Interceptor:
    """The work on one connection after another."""

    def __init__(self, box: Middlebox, policy: _Policy, leaf_key: PrivateKey | KeyKind) -> None:
        self._box = box
        self._policy = policy
        self._leaf_key = leaf_key
        self._forged: dict[str, Issued] = {}
        self._dropped: set[str] = set()

    async def serve(self, client: PlainStream) -> None:
        """Take one connection to its end."""
        self._box.connections += 1
        target: Address | None = None
        if self._policy.mode is Mode.CONNECT:
            request = await receive_connect(client)
            if request is None:
                return
            target = request.target
            await client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        hello = await _peek(client)
        server_name = None if hello is None else hello.server_name
        if target is None:
            target = server_name or "", self._policy.upstream_port
        host = server_name or target[0]
        destination = self._policy.locate(target)
        if destination is None and self._policy.mode is Mode.TRANSPARENT:
            destination = original_destination(client.socket)
        if not host and destination is not None:
            host = destination[0]
        if not host or (hello is None and self._policy.mode is Mode.REVERSE):
            return
        awake = self._box.connections > self._policy.pass_first
        if hello is not None and awake and self._policy.decrypts(host, hello):
            await self._intercept(client, host, destination)
        elif destination is not None:
            self._box.passed.append(host)
            server = await connect(destination)
            try:
                await relay(client, server)
            finally:
                server.abort()

    async def _intercept(self, client: PlainStream, host: str, destination: Address | None) -> None:
        if self._policy.drop_first_per_host and host not in self._dropped:
            self._dropped.add(host)
            return
        self._box.intercepted.append(host)
        server = None if destination is None else await _connect_tls(destination, host, self._policy)
        try:
            genuine = () if server is None else _chain_of(server.connection)
            issued = await self._issue(host, genuine)
            context = server_context(
                issued,
                min_version=self._policy.min_version,
                max_version=self._policy.max_version,
                alpn=self._policy.alpn,
                extended_master_secret=self._policy.extended_master_secret,
            )
            connection = SSL.Connection(context, None)
            connection.set_accept_state()
            stream = TLSStream(connection, client)
            await stream.handshake()
            if server is None:
                await answer(stream, _block_page, [])
            else:
                await relay(stream, server, self._overhear, self._policy.rewrite)
        finally:
            if server is not None:
                server.abort()

    async def _issue(self, host: str, genuine: tuple[bytes, ...]) -> Issued:
        """Forge a leaf for `host`, or take the one forged before, and line up what is presented behind it."""
        if self._policy.present is not None:
            return self._policy.present
        issued = self._forged.get(host)
        if issued is None:
            await asyncio.sleep(self._policy.certificate_delay)
            issued = self._forge(host, genuine)
            if self._policy.cache:
                self._forged[host] = issued
        behind = (self._box.ca.certificate,) if self._policy.present_root else ()
        appended = genuine if self._policy.append_upstream_chain else ()
        return issued.with_chain(*issued.chain, *behind, *appended)

    def _forge(self, host: str, genuine: tuple[bytes, ...]) -> Issued:
        if not genuine or not self._policy.copy_upstream:
            return self._box.ca.issue([host], key=self._leaf_key)
        sct_list = sct_list_of(genuine[0]) if self._policy.copy_scts else None
        names = () if CopiedField.NAMES in self._policy.copies else (host,)
        return self._box.ca.issue(
            names, key=self._leaf_key, copy_from=genuine[0], copies=self._policy.copies, sct_list=sct_list
        )

    def _overhear(self, data: bytes) -> None:
        self._box.overheard = (self._box.overheard + data)[:OVERHEARD_LIMIT]


async def _peek(client: PlainStream) -> ClientHello | None:
    """What the client says first, if it speaks TLS; all it sent stays to be read."""
    data = b""
    try:
        while (hello := find_client_hello(data)) is None:
            received = await client.read()
            if not received:
                raise ConnectionAbortedError("the client closed the connection before its ClientHello")
            data += received
    except TLSWireError:
        return None
    finally:
        client.unread(data)
    return hello


async def _connect_tls(address: Address, host: str, policy: _Policy) -> TLSStream | None:
    """Connect to the origin without verifying anything; None when that fails."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.set_min_proto_version(0)
    if not policy.extended_master_secret:
        context.set_options(NO_EXTENDED_MASTER_SECRET)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    connection.set_tlsext_host_name(host.encode("ascii", "replace"))
    if policy.alpn:
        connection.set_alpn_protos([name.encode() for name in policy.alpn])
    try:
        stream = TLSStream(connection, await connect(address))
    except OSError:
        return None
    ready = False
    try:
        await stream.handshake()
        ready = True
    except (OSError, SSL.Error):
        return None
    finally:
        if not ready:
            stream.abort()
    return stream


def _chain_of(connection: SSL.Connection) -> tuple[bytes, ...]:
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain)


def _block_page(request: Request) -> Response:
    return Response(status=403, body=f"<!doctype html><title>Blocked</title><p>{request.host} is blocked.\n".encode())
