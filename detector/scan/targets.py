"""Targets as people write them: lists, tables, networks; read as a stream, one line at a time.

Room: scan. Pure but for reading the stream it is given.

A line is a host, `HOST:PORT`, a URL, or a network in CIDR notation (RFC 4632, RFC 4291 section 2.3); `#` begins a
comment. A table (CSV, RFC 4180) has a header with `host` or `address` and any of `port`, `category`, `operator`, `sni`.
A bad line is yielded as a `BadLine` with its number, and reading goes on. Lines are bounded, so that a disk image given
by mistake costs no memory; a file in UTF-16 is refused as a whole, because every one of its lines would be bad.
"""

from __future__ import annotations

import csv
import ipaddress
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from detector.errors import TargetError
from detector.model import Category, Endpoint
from detector.model.validate import HTTPS_PORT
from detector.pins.target import parse_host, parse_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LINE_BYTES_MAX: Final = 4096
"""Bytes of one line: a host name has at most 253 characters, a line of a table a few such fields."""

SKIP_BYTES: Final = 64 * 1024
"""Bytes read at a time while the rest of an overlong line is skipped."""

NETWORK_HOSTS_MAX: Final = 1 << 24
"""Addresses of one network: an IPv4 /8. A larger one is a typing error, not a scan."""

COLUMNS: Final = ("host", "port", "address", "category", "operator", "sni")
"""The columns of a table; others are refused, because a misspelled one would silently change what is scanned."""

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"


class Target(NamedTuple):
    """One endpoint to probe, and its place in the source (`file:line`).

    `named` says that it was given by name or address, and not as one of a network or of a pin file: a network with an
    inconclusive named target is not clean.
    """

    endpoint: Endpoint
    where: str
    named: bool = True


class BadLine(NamedTuple):
    """A line that is not a target: where, and what to do about it."""

    where: str
    reason: str


class _Defaults(NamedTuple):
    """What applies where a line does not say: ports, and names to ask for in TLS where it is an address."""

    ports: Sequence[int]
    server_names: Sequence[str]

    def at(self, address: str, port: int) -> Iterator[Endpoint]:
        """The endpoints at an address."""
        if not self.server_names:
            yield Endpoint(host=address, port=port)
        for name in self.server_names:
            yield Endpoint(host=name, port=port, address=(address, port))


def read_targets(
    stream: IO[bytes], *, name: str, table: bool = False, server_names: Sequence[str] = (), ports: Sequence[int] = ()
) -> Iterator[Target | BadLine]:
    """Read targets from a binary stream called `name` in messages.

    `table` says that it is CSV. `ports` are those of lines that give none (default 443). `server_names` are asked for
    in TLS where a line gives only an address or a network: one target for each name.

    Raises `TargetError` for a stream that is not text in UTF-8, or a table without a usable header.
    """
    lines, defaults = _lines(stream, name), _Defaults(ports or (HTTPS_PORT,), server_names)
    if table:
        yield from _table(lines, name, defaults)
        return
    for where, line in lines:
        if isinstance(line, BadLine):
            yield line
        elif text := line.partition("#")[0].strip():
            try:
                endpoints = _line(text, defaults)
            except TargetError as error:
                yield BadLine(where, str(error))
            else:
                yield from (Target(endpoint, where, named=not _is_network(text)) for endpoint in endpoints)


def expand(network: str, ports: Sequence[int], server_names: Sequence[str] = ()) -> Iterator[Endpoint]:
    """Yield the endpoints of a network in CIDR notation, on each port, for each name to ask for.

    Raises `TargetError` at once.
    """
    try:
        parsed = ipaddress.ip_network(network, strict=False)
    except ValueError:
        raise TargetError(
            f"{network[:80]!r} is not a network.", advice="Write it as 192.0.2.0/24 or 2001:db8::/120."
        ) from None
    if parsed.num_addresses > NETWORK_HOSTS_MAX:
        raise TargetError(
            f"{network} stands for {parsed.num_addresses} addresses; at most {NETWORK_HOSTS_MAX} make one scan.",
            advice="Name the networks that are in use.",
        )
    addresses = parsed if parsed.num_addresses <= 2 else parsed.hosts()  # noqa: PLR2004 - a host or a pair
    defaults = _Defaults(ports, server_names)
    return (endpoint for address in addresses for port in ports for endpoint in defaults.at(str(address), port))


def _line(text: str, defaults: _Defaults) -> Iterator[Endpoint]:
    """Parse one line. Raises `TargetError` at once, not while its endpoints are taken."""
    if _is_network(text):
        return expand(text, defaults.ports, defaults.server_names)
    host, port = parse_target(text, port=0)
    ports = defaults.ports if port == 0 else (port,)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return iter([Endpoint(host=host, port=port) for port in ports])
    return iter([endpoint for port in ports for endpoint in defaults.at(host, port)])


def _is_network(text: str) -> bool:
    """Whether a line is meant as a network in CIDR notation: digits and dots, or colons, before the slash."""
    network, slash, bits = text.partition("/")
    return bool(slash) and bits.isdecimal() and not network.strip("0123456789abcdefABCDEF.:")


def _table(lines: Iterator[tuple[str, str | BadLine]], name: str, defaults: _Defaults) -> Iterator[Target | BadLine]:
    head = next((line for _, line in lines if isinstance(line, BadLine) or line.strip()), None)
    if head is None:
        return
    columns = [] if isinstance(head, BadLine) else _columns(head)
    unknown = [c for c in columns if c not in COLUMNS]
    if unknown or not {"host", "address"} & set(columns) or len(set(columns)) != len(columns):
        raise TargetError(
            f"{name}: the header {'names ' + repr(unknown[0][:80]) if unknown else 'has no column host or address'}.",
            advice=f"The first line names the columns; known are {', '.join(COLUMNS)}.",
        )
    for where, line in lines:
        if isinstance(line, BadLine):
            yield line
        elif line.strip():
            try:
                fields = next(csv.reader([line], strict=True), [])
                targets = list(_fields(dict(zip(columns, fields, strict=False)), defaults))
            except csv.Error:
                yield BadLine(where, "is not a line of CSV. Check its quotes.")
            except TargetError as error:
                yield BadLine(where, str(error))
            else:
                yield from (Target(endpoint, where) for endpoint in targets)


def _columns(head: str) -> list[str]:
    """The names of the columns; none where the line is not CSV."""
    try:
        return [column.strip().lower() for column in next(csv.reader([head]), [])]
    except csv.Error:
        return []


def _fields(fields: Mapping[str, str], defaults: _Defaults) -> Iterator[Endpoint]:
    given = {column: fields.get(column, "").strip() for column in COLUMNS}
    host, address, name = given["host"], given["address"], given["sni"]
    if not host and not address:
        raise TargetError("Neither host nor address is given.", advice="Fill in one of the two columns.")
    category = given["category"] or Category.OTHER.value
    if category not in set(Category):
        known = ", ".join(c.value for c in Category)
        raise TargetError(f"{category[:80]!r} is not a category.", advice=f"Choose one of {known}.")
    host, own_port = parse_target(host, port=0) if host else ("", 0)
    names = (parse_host(name),) if name else (host,) if host else defaults.server_names
    at = parse_host(address) if address else host if name else None
    port = parse_target(f"port.invalid:{given['port']}")[1] if given["port"] else own_port
    ports = (port,) if port else defaults.ports
    for port in ports:
        named = _Defaults(ports, names)
        for endpoint in [Endpoint(host=names[0], port=port)] if at is None else named.at(at, port):
            yield Endpoint(
                host=endpoint.host,
                port=endpoint.port,
                address=endpoint.address,
                category=Category(category),
                operator=given["operator"][:200] or None,
            )


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[str, str | BadLine]]:
    """Every line with its place: decoded, or what is wrong with it."""
    number = 0
    while raw := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        where = f"{name}:{number}"
        if number == 1:
            if raw.startswith(_UTF_16) or 0 in raw[:2]:
                raise TargetError(f"{name}: the text is UTF-16.", advice="Save it as UTF-8.")
            raw = raw.removeprefix(_UTF_8_MARK)
        if len(raw) > LINE_BYTES_MAX and not raw.endswith(b"\n"):
            while (more := stream.readline(SKIP_BYTES)) and not more.endswith(b"\n"):
                continue
            yield where, BadLine(where, f"is longer than {LINE_BYTES_MAX} bytes. Give one target a line.")
        elif b"\0" in raw:
            yield where, BadLine(where, "contains a NUL byte. Is this a text file?")
        else:
            try:
                yield where, raw.decode("utf-8")
            except UnicodeDecodeError:
                yield where, BadLine(where, "is not UTF-8. Save the file as UTF-8.")
