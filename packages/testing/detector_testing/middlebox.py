"""A forging middlebox on loopback: what a school's firewall, a cloud proxy or a filter on the device does to TLS.

Room: testing. Opens sockets on loopback through `streams`; connects only to the given `upstream` and to loopback, in a
`lab` also to the original destination of a redirected connection. It reads the ClientHello, decides by host whether to
decrypt, fetches the genuine certificate (without verifying it, as the worst interceptors do), issues a forged one under
its own CA and relays the decrypted bytes.
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
    aborting,
    accept_tls,
    connect,
    listen,
    relay,
    server_context,
    unchanged,
)
from .tls_wire import ClientHello, TLSWireError, find_client_hello

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

OVERHEARD_LIMIT: Final = 1 << 20
"""Bytes of decrypted client data that a middlebox keeps as proof that it could read them."""

COPIED_BY_MOST: Final = frozenset({CopiedField.SUBJECT, CopiedField.NAMES})
"""What mitmproxy, squid and sslsplit copy from the genuine leaf; bettercap copies the dates too."""

GREASE: Final = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Reserved values that browsers, and few other clients, put into their hellos (RFC 8701 section 2)."""


def looks_like_browser(hello: ClientHello) -> bool:
    """Whether a hello has GREASE among its cipher suites, by which an interceptor can single out browsers."""
    return not GREASE.isdisjoint(hello.cipher_suites)


class Mode(enum.StrEnum):
    """How clients reach a middlebox.

    `CONNECT`: as their HTTP proxy. `REVERSE`: directly; the server name is their destination. `TRANSPARENT`: directly,
    without knowing; other protocols, and hellos without a server name, are relayed too: to the one `upstream` address,
    or without an `upstream` to the connection's destination before the packet filter redirected it (Linux).
    """

    CONNECT = "connect"
    REVERSE = "reverse"
    TRANSPARENT = "transparent-like"


class Middlebox(Listener):
    """A running middlebox.

    `intercepted` and `passed` are the hosts of decrypted and of relayed connections, in order. `overheard` is the
    plaintext that clients sent.
    """

    def __init__(self, ca: CA) -> None:
        super().__init__()
        self.ca = ca
        self.intercepted: list[str] = []
        self.passed: list[str] = []
        self.overheard = b""

    @property
    def url(self) -> str:
        """The proxy URL to configure a client with, in mode CONNECT."""
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
    rewrite: Callable[[bytes], bytes] = unchanged,
    host: str = LOOPBACK,
    port: int = 0,
) -> AsyncIterator[Middlebox]:
    """Run a middlebox that forges under `ca` until the block ends.

    Destinations: `upstream` maps (host, port) to a loopback address, or is the one address of everything; in the modes
    without CONNECT the port is `upstream_port`. Without an upstream the middlebox forges from the name alone and sends
    a block page.

    Targets: it decrypts `only_hosts` (None: all) except `except_hosts`, both lower case, and relays the rest untouched.
    `only_hellos` selects by ClientHello, as `looks_like_browser` does. The `pass_first` first connections are relayed
    untouched: an interceptor that starts after the check.

    Certificates: with `copy_upstream` the `copies` are taken from the genuine leaf, with `copy_scts` also its embedded
    SCTs. All leaves share one key of kind `leaf_key`; without `one_leaf_key` each has its own; `leaf_key_is_ca_key`
    gives them the CA's; the `leaf_key` of `ca` takes precedence. `present_root` adds the CA's certificate to the chain,
    `append_upstream_chain` the genuine chain. `cache` keeps one forged leaf per host; without it each connection gets a
    new one. `present` replaces the forgery: a certificate bought or stolen for the purpose, such as the origin's own
    with its key.

    TLS and contents: `min_version`, `max_version` and `alpn` are the middlebox's; without `extended_master_secret` its
    TLS 1.2 predates RFC 7627 on both sides. `rewrite` maps each decrypted chunk from the origin to what clients get.

    Failures: `certificate_delay` seconds pass before the first certificate of a host; `drop_first_per_host` closes the
    first connection to each.
    """
    shared_key = ca.leaf_key or (ca.key if leaf_key_is_ca_key else generate_key(leaf_key) if one_leaf_key else None)
    box = Middlebox(ca)
    interceptor = _Interceptor(
        box=box,
        leaf_key=shared_key or leaf_key,
        mode=Mode(mode),
        upstream=upstream if upstream is not None else {},
        upstream_port=upstream_port,
        only_hosts=only_hosts,
        except_hosts=except_hosts,
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
    async with listen(interceptor.serve, box, host=host, port=port):
        yield box


@dataclasses.dataclass(kw_only=True)
class _Interceptor:
    """Serves one connection after another as `serve_middlebox` was asked to."""

    box: Middlebox
    leaf_key: PrivateKey | KeyKind
    mode: Mode
    upstream: Mapping[Address, Address] | Address
    upstream_port: int
    only_hosts: Collection[str] | None
    except_hosts: Collection[str]
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
    forged: dict[str, Issued] = dataclasses.field(default_factory=dict)
    dropped: set[str] = dataclasses.field(default_factory=set)

    async def serve(self, client: PlainStream) -> None:
        """Serve one connection to its end."""
        target: Address | None = None
        if self.mode is Mode.CONNECT:
            if (request := await receive_connect(client)) is None:
                return
            target = request.target
            await client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        hello = await _peek(client)
        server_name = None if hello is None else hello.server_name
        if target is None:
            target = server_name or "", self.upstream_port
        destination = self.upstream if isinstance(self.upstream, tuple) else locate(target, self.upstream)
        if destination is None and self.mode is Mode.TRANSPARENT:
            destination = original_destination(client.socket)
        host = server_name or target[0] or (destination[0] if destination is not None else "")
        if not host or (hello is None and self.mode is Mode.REVERSE):
            return
        awake = self.box.connections > self.pass_first
        if hello is not None and awake and self._decrypts(host, hello):
            await self._intercept(client, host, destination)
        elif destination is not None:
            self.box.passed.append(host)
            server = await connect(destination)
            with aborting(server):
                await relay(client, server)

    def _decrypts(self, host: str, hello: ClientHello) -> bool:
        """Whether connections to `host` that begin with `hello` are decrypted."""
        named = (self.only_hosts is None or host in self.only_hosts) and host not in self.except_hosts
        return named and (self.only_hellos is None or self.only_hellos(hello))

    async def _intercept(self, client: PlainStream, host: str, destination: Address | None) -> None:
        if self.drop_first_per_host and host not in self.dropped:
            self.dropped.add(host)
            return
        self.box.intercepted.append(host)
        server = None if destination is None else await self._connect_tls(destination, host)
        with contextlib.nullcontext() if server is None else aborting(server):
            issued = await self._issue(host, () if server is None else _chain_of(server.connection))
            context = server_context(
                issued,
                min_version=self.min_version,
                max_version=self.max_version,
                alpn=self.alpn,
                extended_master_secret=self.extended_master_secret,
            )
            stream = await accept_tls(context, client)
            if server is None:
                await answer(stream, _block_page, [])
            else:
                await relay(stream, server, self._overhear, self.rewrite)

    async def _issue(self, host: str, genuine: tuple[bytes, ...]) -> Issued:
        """Forge a leaf for `host`, or take the cached one, and append what is presented with it."""
        if self.present is not None:
            return self.present
        issued = self.forged.get(host)
        if issued is None:
            await asyncio.sleep(self.certificate_delay)
            issued = self._forge(host, genuine)
            if self.cache:
                self.forged[host] = issued
        root = (self.box.ca.certificate,) if self.present_root else ()
        return issued.with_chain(*issued.chain, *root, *(genuine if self.append_upstream_chain else ()))

    def _forge(self, host: str, genuine: tuple[bytes, ...]) -> Issued:
        if not genuine or not self.copy_upstream:
            return self.box.ca.issue([host], key=self.leaf_key)
        sct_list = sct_list_of(genuine[0]) if self.copy_scts else None
        names = () if CopiedField.NAMES in self.copies else (host,)
        return self.box.ca.issue(names, key=self.leaf_key, copy_from=genuine[0], copies=self.copies, sct_list=sct_list)

    def _overhear(self, data: bytes) -> bytes:
        self.box.overheard = (self.box.overheard + data)[:OVERHEARD_LIMIT]
        return data

    async def _connect_tls(self, address: Address, host: str) -> TLSStream | None:
        """Connect to the origin and verify nothing; None when that fails."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        context.set_min_proto_version(0)
        if not self.extended_master_secret:
            context.set_options(NO_EXTENDED_MASTER_SECRET)
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        connection.set_tlsext_host_name(host.encode("ascii", "replace"))
        if self.alpn:
            connection.set_alpn_protos([name.encode() for name in self.alpn])
        with contextlib.ExitStack() as stack:
            try:
                stream = TLSStream(connection, await connect(address))
                stack.callback(stream.abort)
                await stream.handshake()
            except (OSError, SSL.Error):
                return None
            stack.pop_all()
        return stream


async def _peek(client: PlainStream) -> ClientHello | None:
    """Read the ClientHello and put all that was read back; None for a client that does not speak TLS."""
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


def _chain_of(connection: SSL.Connection) -> tuple[bytes, ...]:
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain)


def _block_page(request: Request) -> Response:
    return Response(status=403, body=f"<!doctype html><title>Blocked</title><p>{request.host} is blocked.\n".encode())
