"""What the pure parsers cost on their worst input: processor time at the largest size that is read, and its growth.

`python -m benchmark.parsers` prints the table; `tests/test_parser_costs.py` requires every growth to be linear. A
parser that is new, or a kind of input that hurts an old one, is one more line in `PARSERS`.

The bytes come from a peer, or from a file that somebody else wrote. A limit in bytes bounds the processor time only
where the time is linear in them: a proxy's head of 16 KiB once took a second, a pin file of 32 KiB two.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import gzip
import itertools
import json
import re
import struct
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dns.message

from detector.audit import files, p11_kit
from detector.bundle import form
from detector.ct import entries, matching, notes, source
from detector.errors import BundleError, DetectorError
from detector.exam import native_messaging, protocol
from detector.history import store
from detector.knowledge import ct_logs, data_set, known_roots, part
from detector.knowledge.catalogue import entries as catalogue_entries
from detector.knowledge.catalogue import match, patterns
from detector.locate import tracing
from detector.model import Endpoint, Result, toml_files
from detector.origin import Claims, engine, logs, offer
from detector.pins import failure_report, formats
from detector.probe.http import client, doh, issuers, portal
from detector.probe.quic import wire as quic
from detector.probe.routes import connect, pac, proxies, socks
from detector.probe.tls import framing, hello, reader
from detector.probe.tls import wire as tls
from detector.trust import (
    certificate,
    certificate_files,
    der,
    envelope,
    hostname,
    name_constraints,
    pkcs12,
    roots,
    sct,
    strict_parsing,
)
from detector.trust import witness_statement as witness

if TYPE_CHECKING:
    from collections.abc import Callable

    Parse = Callable[[Any], object]
    Make = Callable[[int], bytes]

LEAST_SECONDS: Final = 0.01
"""Processor time of one sample, for which a parse is repeated: the clock is exact to a microsecond, and a sample of
this length is seldom interrupted."""

SAMPLES: Final = 5
"""Samples of each size, of which the fastest counts: whatever disturbs a measurement makes it longer."""

KIB: Final = 1024
MIB: Final = 1024 * KIB

_AS_ISSUER: Final = "1.3.6.1.5.5.7.48.2"


class Parser(NamedTuple):
    """A parser on one kind of input.

    `make` returns an input of about as many bytes as asked for; `most` is how many the parser reads, `measured` how
    many the test of growth gives it where that is less.
    """

    name: str
    parse: Parse
    make: Callable[[int], Any]
    most: int
    measured: int | None = None


class Cost(NamedTuple):
    """Processor time in seconds at half of a size and at the whole."""

    half: float
    whole: float

    @property
    def growth(self) -> float:
        """2 for linear time, 4 for quadratic; less where a fixed part outweighs the input."""
        return self.whole / self.half


def cost(parser: Parser, size: int) -> Cost:
    """Measure a parser at half of `size` bytes and at `size`, in alternation."""
    inputs = parser.make(size // 2), parser.make(size)
    gc.disable()  # as in `timeit`: when it runs depends on what other code left behind
    try:
        repeats = [suitable_repeats(parser.parse, data) for data in inputs]
        pairs = [
            [seconds_of(parser.parse, data, repeat) for data, repeat in zip(inputs, repeats, strict=True)]
            for _ in range(SAMPLES)
        ]
    finally:
        gc.enable()
    return Cost(*map(min, zip(*pairs, strict=True)))


def suitable_repeats(parse: Parse, data: object) -> int:
    """How often to parse in one sample."""
    for repeats in (1 << power for power in itertools.count()):
        if (seconds := seconds_of(parse, data, repeats) * repeats) >= LEAST_SECONDS / 2:
            return max(round(repeats * LEAST_SECONDS / seconds), 1)
    raise AssertionError  # counting never ends


def seconds_of(parse: Parse, data: object, repeats: int) -> float:
    """Processor time of one parse, in seconds."""
    begun = time.process_time()
    for _ in range(repeats):
        parse(data)
    return (time.process_time() - begun) / repeats


# Inputs


def filled(unit: bytes, before: bytes = b"", after: bytes = b"") -> Make:
    """An input of as many whole `unit` as fit between two parts."""
    return lambda size: before + unit * max((size - len(before) - len(after)) // len(unit), 0) + after


def _text(make: Make) -> Callable[[int], str]:
    return lambda size: make(size).decode("latin-1")


def _numbered(unit: str, before: str = "", after: str = "") -> Make:
    """An input of units with a different number in each, for what refuses repetitions."""
    length = len(unit % 0) + 4

    def make(size: int) -> bytes:
        return (before + "".join(unit % number for number in range(size // length)) + after).encode()

    return make


def _oid(dotted: str) -> bytes:
    first, second, *arcs = map(int, dotted.split("."))
    encoded = b""
    for arc in (40 * first + second, *arcs):
        groups = [arc >> shift & 0x7F for shift in range(0, max(arc.bit_length(), 1), 7)][::-1]
        encoded += bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
    return der.encode(der.OBJECT_IDENTIFIER, encoded)


def _sequence(*parts: bytes) -> bytes:
    return der.encode(der.SEQUENCE, b"".join(parts))


def _certificate(subject: bytes = b"", extensions: bytes = b"", serial: bytes = b"\x01") -> bytes:
    """A certificate with this content of its subject and extensions; it is not signed."""
    algorithm = _sequence(_oid("1.2.840.10045.4.3.2"))
    moment = der.encode(der.UTC_TIME, b"260101000000Z")
    spki = _sequence(_sequence(_oid("1.2.840.10045.2.1"), _oid("1.2.840.10045.3.1.7")), b"\x03\x42\x00" + bytes(65))
    return _sequence(
        _sequence(
            der.encode(0xA0, b"\x02\x01\x02"),
            der.encode(der.INTEGER, serial),
            algorithm,
            _sequence(),
            _sequence(moment, moment),
            _sequence(subject),
            spki,
            der.encode(0xA3, _sequence(extensions)),
        ),
        algorithm,
        b"\x03\x01\x00",
    )


def _extension(dotted: str, value: bytes) -> bytes:
    return _sequence(_oid(dotted), der.encode(der.OCTET_STRING, value))


def _nested(tag: int) -> Make:
    """Elements within elements: one for every five bytes, as their lengths need four."""
    return lambda size: b"".join(
        bytes((tag, 0x83)) + (5 * left).to_bytes(3, "big") for left in range(size // 5 - 1, -1, -1)
    )


def _in_subject(make: Make) -> Make:
    return lambda size: _certificate(subject=make(size))


def _in_extension(dotted: str, make: Make) -> Make:
    return lambda size: _certificate(extensions=_extension(dotted, make(size)))


def _listed(make: Make) -> Make:
    return lambda size: _sequence(make(size))


def _mailboxes(size: int) -> bytes:
    """A name as long as it may be for each mailbox: every second byte begins a key."""
    return filled(der.encode(0x81, b"a@" + b"a." * 150 + b"a"))(size)


def _attribute(kind: bytes, tag: int, value: bytes) -> bytes:
    return der.encode(der.SET, _sequence(kind, der.encode(tag, value)))


_RDN: Final = _attribute(_oid("2.5.4.3"), 0x0C, b"\xef\xbf\xbd")


def _crypto(gaps: int) -> Make:
    """CRYPTO frames of one byte, next to each other or with gaps between them."""

    def make(size: int) -> bytes:
        message = itertools.chain(b"\x02\x0f\xff\xff", itertools.repeat(0))
        frames = (
            b"\x06" + struct.pack(">I", 0x80000000 | offset * (1 + gaps) + gaps) + b"\x01" + bytes([next(message)])
            for offset in range(size // 7)
        )
        return b"".join(frames)

    return make


def _record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


_SERVER_HELLO: Final = _message(2, b"\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2b\x00")


def _flight(make: Make) -> Make:
    """A ServerHello of TLS 1.2, and handshake messages after it, in records."""

    def records(size: int) -> bytes:
        data = _SERVER_HELLO + make(size)
        return b"".join(_record(22, data[at : at + 0x4000]) for at in range(0, len(data), 0x4000))

    return records


def _in_message(make: Make) -> Make:
    """A Certificate message of TLS 1.2 with this list."""
    return lambda size: _message(11, _vector(3, make(size)))


def _vector(length_bytes: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_bytes, "big") + content


def _hello(unit: bytes) -> Make:
    """A ServerHello whose extensions are repetitions of one."""

    def make(size: int) -> bytes:
        extensions = filled(unit)(min(size, 0xFFFF))
        body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x13\x01\x00" + len(extensions).to_bytes(2, "big") + extensions
        return _message(2, body)

    return make


def _client_hello(suites: Make, extensions: Make) -> Make:
    """A ClientHello whose cipher suites or extensions are as many as fit."""

    def make(size: int) -> bytes:
        lists = [made(min(size - KIB, 0xFFFF)) for made in (suites, extensions)]
        first, second = (len(one).to_bytes(2, "big") + one for one in lists)
        return _message(1, b"\x03\x03" + bytes(32) + b"\x00" + first + b"\x01\x00" + second)

    return make


def _dns(unit: bytes) -> Make:
    """An answer whose records are repetitions of one."""

    def make(size: int) -> bytes:
        count = min(size // len(unit), doh.RECORDS_MAX)
        return struct.pack(">HHHHHH", 0, 0x8180, 1, count, 0, 0) + _QUESTION_BYTES + unit * count

    return make


_QUESTION: Final = dns.message.make_query("a." * 120 + "a", "A", id=0)
_QUESTION_BYTES: Final = _QUESTION.to_wire()[12:]


def _bundle(parts: str, payload: bytes = b"") -> bytes:
    sealed = json.loads(envelope.seal(payload, payload_type=form.PAYLOAD_TYPE, keys=()))
    return f'{{"format":"{form.FORMAT}","envelope":{json.dumps(sealed)},"parts":[{parts}]}}'.encode()


def _part(number: int) -> str:
    return f'{{"name":"endpoint-{number}","salt":"{"A" * 43}","content":"{{}}"}}'


# Parsers


def _answer(data: bytes) -> client.Answer:
    answer = client.Answer(client.request_for("a.example", "/"), client.Limits(body_bytes=pac.FILE_BYTES_MAX))
    answer.receive(data)
    return answer


def _proxy_answer(data: bytes) -> None:
    negotiation = connect.ConnectNegotiation("a.example", 443, None)
    negotiation.receive(data)


def _socks_answer(data: bytes) -> None:
    negotiation = socks.Socks5Negotiation("a.example", 443, None)
    negotiation.start()
    for at in range(len(data)):
        negotiation.receive(data[at : at + 1])


def _quic_frames(data: bytes) -> None:
    parsed = quic.QuicWire()
    for at in range(0, len(data), 1200 // 7 * 7):
        if parsed.error is None:  # else the client has closed the connection
            parsed._take(0, data[at : at + 1200 // 7 * 7])  # noqa: SLF001 - parsing alone is measured; the public method decrypts first


def _quic_datagrams(data: bytes) -> None:
    parsed = quic.QuicWire()
    for at in range(0, len(data), 1500):
        parsed.server(data[at : at + 1500])


def _tls_server(data: bytes) -> None:
    parsed = tls.Wire()
    try:
        for at in range(0, len(data), 4096):
            parsed.server(data[at : at + 4096])
    except reader.WireError:
        return


def _tls_bytewise(data: bytes) -> None:
    parsed = tls.Wire()
    try:
        for at in range(len(data)):
            parsed.server(data[at : at + 1])
    except reader.WireError:
        return


def _but(failure: type[Exception], parse: Parse) -> Parse:
    """A parser that may refuse its input with its own error."""

    def parsed(data: object) -> None:
        try:
            parse(data)
        except failure:
            return

    return parsed


def _read_certificate(data: bytes) -> None:
    read = certificate.Certificate(data)
    _ = read.problems, read.presented(), read.issuer_urls, read.ip_addresses, read.tbs_without_scts
    strict_parsing.parse(read)
    _but(der.DERError, sct.embedded)(read)


def _name_match(data: bytes) -> None:
    hostname.match(certificate.Certificate(data), "exam.example.edu")


def _constrained(data: bytes) -> None:
    constraints = name_constraints.read_constraints(_TREES, critical=True)
    try:
        constraints.allow(name_constraints.read_names(data))
    except ValueError:
        return


_TREES: Final = _sequence(der.encode(0xA0, _sequence(der.encode(0x82, b"edu")) + _sequence(der.encode(0x81, b"edu"))))


def _frames(data: bytes) -> None:
    frames = native_messaging.FrameReader(64 * KIB)
    for at in range(0, len(data), 64 * KIB):
        frames.feed(data[at : at + 64 * KIB])
        while frames.next() is not None:
            pass


def _history_row(data: bytes) -> Result:
    return store._stored(data, Result)  # noqa: SLF001 - decoding alone is measured; public methods query a database


def _log_list(data: bytes) -> None:
    ct_logs.parse(data, name="list")


_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_LABEL: Final = b'# Label: "x'
_HEAD: Final = b"HTTP/1.1 200 OK\r\n"
_CHUNKED: Final = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_407: Final = b"HTTP/1.1 407 \r\nProxy-Authenticate: "
_SCT: Final = b"\x00\x2f" + bytes(47)


def _of_pem(name: str, parse: Parse, most: int) -> list[Parser]:
    inputs = {
        "begin lines": filled(_BEGIN),
        "blocks without content": filled(_BEGIN + _END),
        "comments": filled(_LABEL),
        "labels": filled(b'# Label: "%s\n' % (b"x" * 190)),
        "one block": filled(b"A\n", _BEGIN, _END),
        "a block that never ends": filled(b"A ", _BEGIN),
        "dashes": filled(b"-"),
    }
    return [Parser(f"{name}: {kind}", parse, make, most, min(most, 128 * KIB)) for kind, make in inputs.items()]


def _of_http(name: str, parse: Parse, most: int) -> list[Parser]:
    inputs = {
        "chunks of one byte": filled(b"1\r\na\r\n", _CHUNKED),
        "chunk extensions": filled(b'1;a="b"\r\na\r\n', _CHUNKED),
        "headers": filled(b"a:\r\n", _HEAD),
        "one header": filled(b"a", _HEAD + b"a:"),
        "folded lines": filled(b"\r\n ", _HEAD + b"a:"),
        "interim responses": filled(b"HTTP/1.1 100 \r\n\r\n"),
        "line ends": filled(b"\r\n"),
    }
    return [Parser(f"{name}: {kind}", parse, make, most) for kind, make in inputs.items()]


def _of_json(name: str, parse: Parse, most: int, before: str = "", after: str = "") -> list[Parser]:
    inputs = {
        "lists in lists": filled(b"[", before.encode(), after.encode()),
        "a number": filled(b"9", before.encode(), after.encode()),
        "escapes": filled(b"\\u0041", before.encode() + b'"', b'"' + after.encode()),
        "keys": _numbered('"%d":0,', before + "{", '"a":0}' + after),
        "one key": filled(b'"a":0,', before.encode() + b"{", b'"a":0}' + after.encode()),
    }
    # Distinct keys become a dictionary: past the processor's cache, growth would be that of memory's delays.
    measured = dict.fromkeys(inputs, 256 * KIB) | {"keys": 64 * KIB}
    return [Parser(f"{name}: {kind}", parse, make, most, min(most, measured[kind])) for kind, make in inputs.items()]


def _of_certificates() -> list[Parser]:
    kinds = {
        "nested": _nested(der.SEQUENCE),
        "attributes": _in_subject(filled(_RDN)),
        "one long attribute": _in_subject(
            lambda size: _attribute(_oid("2.5.4.3"), 0x0C, b"\xef\xb7\xba" * (size // 3))
        ),
        "serial": lambda size: _certificate(serial=b"\x7f" * size),
        "extensions": lambda size: _certificate(extensions=filled(_extension("1.2.3", b""))(size)),
        "extension's value": _in_extension("2.5.29.37", filled(b"\x30\x00")),
        "names": _in_extension("2.5.29.17", _listed(filled(der.encode(0x82, b"a.example")))),
        "empty names": _in_extension("2.5.29.17", _listed(filled(b"\x82\x00"))),
        "mailboxes": _in_extension("2.5.29.17", _listed(_mailboxes)),
        "directory names": _in_extension("2.5.29.17", _listed(filled(der.encode(0xA4, _sequence(_RDN * 60))))),
        "constraints": _in_extension(
            "2.5.29.30", _listed(lambda size: der.encode(0xA0, filled(_sequence(der.encode(0x82, b"a.a")))(size)))
        ),
        "purposes": _in_extension("2.5.29.37", _listed(filled(_oid("1.2.999999999.4")))),
        "object identifier": _in_extension("2.5.29.37", lambda size: der.encode(6, b"\x81" * size + b"\x01")),
        "locations": _in_extension(
            "1.3.6.1.5.5.7.1.1", _listed(filled(_sequence(_oid(_AS_ISSUER), der.encode(0x86, b"http://a"))))
        ),
        "timestamps": _in_extension(
            "1.3.6.1.4.1.11129.2.4.2",
            lambda size: der.encode(der.OCTET_STRING, _in_list(size)),
        ),
    }
    most = certificate.CERTIFICATE_BYTES_MAX - KIB  # room for the rest of it
    return [Parser(f"certificate: {kind}", _read_certificate, make, most) for kind, make in kinds.items()]


def _offered(data: bytes) -> None:
    with contextlib.suppress(DetectorError):
        offer.Offer.of_hello(data)


def _of_tls() -> list[Parser]:
    flights = {
        "empty messages": _flight(filled(b"\x00\x00\x00\x00")),
        "certificates": _flight(_in_message(filled(b"\x00\x00\x01\x30"))),
        "one certificate": _flight(_in_message(lambda size: (size - 3).to_bytes(3, "big") + bytes(size - 3))),
        "empty records": filled(_record(22, b"")),
        "records of one byte": lambda size: _record(22, b"\x0b\x0f\xff\xff") + filled(_record(22, b"\x00"))(size),
        "change-cipher-spec": filled(_record(20, b"\x01")),
        "alerts": filled(_record(21, b"\x01\x00")),
    }
    return [
        *(
            Parser(f"TLS: {kind}", _tls_server, make, framing.MESSAGE_BYTES_MAX - KIB, 16 * KIB)
            for kind, make in flights.items()
        ),
        Parser("TLS: byte by byte", _tls_bytewise, flights["one certificate"], 256 * KIB),
        Parser("ServerHello: empty extensions", hello.parse_server_hello, _hello(bytes(4)), 64 * KIB),
        Parser("ServerHello: extensions", hello.parse_server_hello, _hello(b"\xff\x01\x00\x01\x00"), 64 * KIB),
    ]


def _of_servers() -> list[Parser]:
    """What a client sends to a server that assesses its requests."""
    most = 64 * KIB
    hellos = {
        "cipher suites": _client_hello(filled(b"\x13\x01"), lambda _size: b""),
        "reserved values": _client_hello(filled(b"\x0a\x0a\x13\x01"), lambda _size: b""),
        "extensions": _client_hello(lambda _size: b"", filled(b"\x00\x16\x00\x00")),
    }
    return [
        *(Parser(f"ClientHello: {kind}", _offered, make, most) for kind, make in hellos.items()),
        *(
            Parser(f"JA4: {kind}", lambda data: hello.parse_client_hello(data).ja4, make, most)
            for kind, make in hellos.items()
        ),
        Parser("ClientHello: records of one byte", _offered, filled(b"\x16\x03\x01\x00\x01\x01"), most),
        Parser(
            "engine: features", engine.engine_of, filled(b'"a":true,', b'{"version":1,"features":{', b'"b":1}}'), KIB
        ),
        Parser("User-Agent", Claims.of, _text(filled(b"Chrome/", b"Mozilla/5.0 (")), MIB),
    ]


def _of_quic() -> list[Parser]:
    inputs = {
        "frames in order": _crypto(0),
        "frames with gaps": _crypto(1),
        "one frame": filled(b"\x06\x00\x01\x02"),
        "padding": filled(b"\x00"),
        "pings": filled(b"\x01"),
        "acknowledgments": filled(b"\x00", b"\x02\x00\x00\xbf\xff\xff\xff"),
    }
    # Past `FRAMES_MAX` frames nothing is read; growth is measured within it.
    frames = [Parser(f"QUIC: {kind}", _quic_frames, make, MIB, 14 * KIB) for kind, make in inputs.items()]
    packet = b"\xe0\x00\x00\x00\x01\x00\x00\x15" + bytes(21)
    return [
        *frames,
        Parser("QUIC: packets without keys", _quic_datagrams, filled(packet), MIB, 256 * KIB),
        Parser("QUIC: bytes", _quic_datagrams, filled(b"\xc0"), MIB, 256 * KIB),
    ]


def _of_proxies() -> list[Parser]:
    challenges = {
        "escaped quotes": filled(b'"\\', _407, b"\r\n\r\n"),
        "odd quotes": filled(b'"\\"', _407, b"\r\n\r\n"),
        "quotes": filled(b'"', _407, b"\r\n\r\n"),
        "backslashes": filled(b"\\", _407 + b'"', b"\r\n\r\n"),
        "commas": filled(b",", _407, b"\r\n\r\n"),
        "spaces": filled(b" ", _407 + b"a", b"=\r\n\r\n"),
        "a scheme": filled(b"a", _407, b"=\r\n\r\n"),
        "schemes": _numbered("a%d b,", _407.decode(), "\r\n\r\n"),
        "headers": filled(b'Proxy-Authenticate: "\r\n', b"HTTP/1.1 407 \r\n", b"\r\n"),
    }
    most = connect.PROXY_HEAD_BYTES_MAX
    return [
        *(Parser(f"proxy's 407: {kind}", _proxy_answer, make, most) for kind, make in challenges.items()),
        Parser("proxy's answer: headers", _proxy_answer, filled(b"a:\r\n", _HEAD), most),
        Parser("SOCKS: byte by byte", _socks_answer, filled(b"a", b"\x05\x00\x05\x00\x00\x03\xff"), 266),
        Parser("PAC answer: routes", pac.read_answer, _text(filled(b"PROXY a:1;")), 4096),
        Parser("PAC answer: spaces", pac.read_answer, _text(filled(b" ", b"PROXY", b";")), 4096),
        Parser("PAC answer: a word", pac.read_answer, _text(filled(b"a", b"PROXY ")), 4096),
        Parser("proxy URL", _but(DetectorError, proxies.parse_proxy), _text(filled(b"a", b"http://")), 4096),
    ]


def _of_answers() -> list[Parser]:
    def read_dns(data: bytes) -> object:
        return doh.read(data, _QUESTION)

    pointer = b"\xc0\x0c"
    address = pointer + b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"
    alias = pointer + b"\x00\x05\x00\x01\x00\x00\x00\x00\x00\x02" + pointer
    fetched = _but(der.DERError, sct.of_ocsp)
    return [
        *_of_http("HTTP", _answer, 2 * (pac.FILE_BYTES_MAX + client.HEAD_BYTES_DEFAULT)),
        Parser("DNS: addresses", read_dns, _dns(address), doh.MESSAGE_BYTES_MAX, KIB),
        Parser("DNS: aliases", read_dns, _dns(alias), doh.MESSAGE_BYTES_MAX, 768),
        Parser("DNS: empty names", read_dns, _dns(b"\x00" + address[2:]), doh.MESSAGE_BYTES_MAX, KIB),
        *_of_json("portal", portal.read_api, 64 * KIB, '{"captive":true,"a":', "}"),
        Parser("Date header", client.parse_date, _text(filled(b" ", b"Mon, 01")), 16 * KIB),
        Parser("issuers: certificates", issuers.certificates_in, filled(_sequence(_sequence())), 64 * KIB),
        Parser("OCSP: nested", fetched, _nested(der.SEQUENCE), sct.OCSP_BYTES_MAX),
        Parser("SCT list", _but(der.DERError, sct.of_tls_extension), _in_list, 64 * KIB),
        *_of_json("witness", lambda data: witness.read(data, keys=[bytes(32)]), 64 * KIB, '{"payload":', "}"),
        Parser("hop report", lambda data: tracing.read_extended_error(0, 11, data), filled(b"a"), 1024),
    ]


def _in_list(size: int) -> bytes:
    return _vector(2, filled(_SCT)(min(size, 0xFFFF)))


def _of_files() -> list[Parser]:
    toml = {
        "dotted keys": filled(b"a.", b"", b"a=1"),
        "quoted keys": filled(b'"\\"".', b"", b"a=1"),
        "keys of many parts": lambda size: b"\n".join(b"a." * 30 + b"k%d=1" % n for n in range(size // 70)),
        "tables of many parts": lambda size: b"[" + b"a." * 30 + b"a]\n" + _numbered("k%d=1\n")(size),
        "tables": _numbered("[a%d]\n"),
        "arrays": filled(b"[", b"a="),
        "inline tables": filled(b"{b=", b"a="),
        "escapes": filled(b"\\n", b'a="', b'"'),
        "quotes": filled(b'"'),
        "comments": filled(b"#\n"),
    }

    def read_bundle(data: bytes) -> object:
        return form.read(data)

    return [
        *(
            Parser(f"TOML: {kind}", _but(ValueError, toml_files.decode), make, toml_files.MAX_BYTES, 128 * KIB)
            for kind, make in toml.items()
        ),
        *_of_pem("PEM", roots.certificates_in_pem, 16 * MIB),
        *_of_pem("PEM of a store", files.certificates, files.BUNDLE_BYTES_MAX),
        *_of_pem("PEM of an issuer", issuers.certificates_in, 64 * KIB),
        *_of_certificate_files(),
        *_of_pins_of_others(),
        Parser("p11-kit: objects", p11_kit.parse, filled(b"[p11-kit-object-v1]\n"), 16 * MIB, MIB),
        Parser("p11-kit: spaces", p11_kit.parse, filled(b" ", b"[p11-kit-object-v1]", b"x"), 16 * MIB, MIB),
        Parser("p11-kit: attributes", p11_kit.parse, filled(b"a: b\n", b"[p11-kit-object-v1]\n"), 16 * MIB, MIB),
        *_of_json("bundle", _but(BundleError, read_bundle), form.BUNDLE_BYTES_MAX),
        Parser(
            "bundle: parts",
            _but(BundleError, read_bundle),
            lambda size: _bundle(",".join(_part(number) for number in range(size // 70))),
            form.BUNDLE_BYTES_MAX,
            128 * KIB,
        ),
        *_of_log_lines(),
        *_of_json("CT log list", _but(DetectorError, _log_list), ct_logs.LIST_BYTES_MAX, '{"operators":', "}"),
        *_of_data_files(),
        *_of_json("history row", _but(DetectorError, _history_row), MIB, '{"endpoint":', "}"),
        *_of_json("exam request", _but(DetectorError, protocol.read_request), protocol.REQUEST_BYTES_MAX),
        Parser("native frames: empty", _frames, filled(bytes(4)), MIB, 256 * KIB),
        Parser("native frames: one byte", _frames, filled(b"\x01\x00\x00\x00a"), MIB, 256 * KIB),
    ]


def _of_log_lines() -> list[Parser]:
    start, end = b'{"ciphers":"AES128-SHA","user_agent":"', b'"}\n'
    lines = {
        "escapes that are no JSON": filled(rb"\x22", start, end),
        "backslashes": filled(b"\\", start, end),
        "no UTF-8": filled(b"\xff", start, end),
        "a line that never ends": filled(b"x"),
        "empty lines": filled(b"\n"),
        "arrays": filled(b"[", b'{"user_agent":'),
        "suites": filled(b"0x1301:", b'{"user_agent":"","ciphers":"', end),
    }

    def read_log(data: bytes) -> object:
        chunks = (data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB))
        return list(logs.LogReader(logs.LogFormat.NGINX).entries(chunks))

    return [Parser(f"log: {kind}", read_log, make, logs.LINE_BYTES_MAX) for kind, make in lines.items()]


def _of_data_files() -> list[Parser]:
    """The files of a data set, and the patterns that a catalogue brings, each on the longest value that is matched."""
    forms: dict[str, type[part.Head]] = {
        "roots": known_roots.KnownRoots,
        "logs": ct_logs.LogsFile,
        "catalogue": catalogue_entries.CatalogueFile,
    }

    def reader(form: type[part.Head]) -> Parse:
        return _but(DetectorError, lambda data: part.decode(data, form, name="part", schema=1))

    found = [
        one
        for name, form in forms.items()
        for one in _of_json(f"data: {name}", reader(form), part.PART_BYTES_MAX, '{"schema":1,"date":', "}")
    ]
    for pattern, unit in (
        ("^a{0,63}[a-z]*b$", b"a"),
        ("^(a|aa|aaa)[^b]*(a|b)(a|b)(a|b)c", b"a"),
        ("(?i)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)c", b"aB"),
        ("^ *(?!a|aa|aaa)b", b" "),
    ):
        patterns.check(pattern)
        found.append(Parser(f"pattern {pattern}", re.compile(pattern).search, _text(filled(unit)), match.MAX_VALUE))
    for kind, unit in (("atoms", b"a"), ("groups", b"(a)"), ("sets", b"[a-z]")):
        check = _but(ValueError, patterns.check)
        found.append(Parser(f"pattern: {kind}", check, _text(filled(unit)), patterns.PATTERN_CHARACTERS_MAX))
    return found


def _of_certificate_files() -> list[Parser]:
    leaf = _certificate()

    def message(size: int) -> bytes:
        within = _sequence(b"\x02\x01\x01", der.encode(0xA0, filled(_sequence())(size)))
        return _sequence(_oid("1.2.840.113549.1.7.2"), der.encode(0xA0, within))

    def packed(size: int) -> bytes:
        bags = _sequence(filled(_sequence(_oid("1.2.3"), _sequence()))(size))
        data = _oid("1.2.840.113549.1.7.1")
        parts = _sequence(_sequence(data, der.encode(0xA0, der.encode(der.OCTET_STRING, bags))))
        return _sequence(b"\x02\x01\x03", _sequence(data, der.encode(0xA0, der.encode(der.OCTET_STRING, parts))))

    inputs = {
        "quoted lines": filled(b"> AAAA\n", _BEGIN, _END),
        "log lines": filled(b"1 A 2 AAAA\n", _BEGIN, _END),
        "escapes": filled(b"\\n&#10;%0A", _BEGIN, _END),
        "tags": filled(b"<a>", _BEGIN, _END),
        "open tags": filled(b"<"),
        "edges": filled(b"-BEGIN "),
        "long labels": filled(b"-BEGIN " + b"A" * 49),
        "ends": filled(b"-----END A-----"),
        "blocks of others": filled(b"-----BEGIN A-----\n-----END A-----\n"),
        "base64": filled(b"MIIB"),
        "listed certificates": filled(b" 1 s:a\n", _BEGIN),
        "spaces": filled(b" "),
        "zeros": filled(b"\x00", leaf),
        "UTF-16": filled(b"-\x00", b"\xff\xfe"),
        "certificates": filled(leaf),
        "nested": _nested(der.SEQUENCE),
        "JSON": filled(b'{"log":', b""),
    }
    read = _but(DetectorError, certificate_files.read)
    unpack = _but(DetectorError, pkcs12.certificates)
    most = certificate_files.FILE_BYTES_MAX
    return [
        *_of_pem("certificate file", read, most),
        *(Parser(f"certificate file: {kind}", read, make, most, 128 * KIB) for kind, make in inputs.items()),
        Parser("certificate file: PKCS #7", read, message, most, 128 * KIB),
        Parser("PKCS #12: bags", unpack, packed, most, 128 * KIB),
        Parser("PKCS #12: nested", unpack, _nested(der.SEQUENCE), most, 128 * KIB),
    ]


def _of_pins_of_others() -> list[Parser]:
    today = dt.date(2026, 11, 30)
    pin = "A" * 43 + "="

    def reader(form: formats.PinFormat) -> Parse:
        def read(hosts: tuple[str, ...]) -> Parse:
            return _but(
                DetectorError,
                lambda data: formats.import_pins(
                    data, form, file="f", at=today, known=data_set.shipped(), name="n", hosts=hosts
                ),
            )

        all_hosts, some = read(()), read(("k1.example", "a.k2.example"))
        return lambda data: (all_hosts(data), some(data))

    def plist(before: str, after: str, make: Make) -> Make:
        around = (f"<plist><dict>{before}".encode(), f"{after}</dict></plist>".encode())
        return lambda size: make(size - sum(map(len, around))).join(around)

    def wrapped(unit: str, before: str, after: str) -> Make:
        return plist(before, after, _numbered(unit))

    domains = "<key>TSKPinnedDomains</key><dict>"
    hashes = f"<key>TSKPublicKeyHashes</key><array><string>{pin}</string></array>"
    pinned = f'<pin-set><pin digest="SHA-256">{pin}</pin></pin-set>'
    config = f"<network-security-config><domain-config>{pinned}"
    builder = "CertificatePinner.Builder()"
    inputs: dict[formats.PinFormat, dict[str, Make]] = {
        formats.PinFormat.TRUSTKIT: {
            "domains": wrapped(f"<key>k%d.example</key><dict>{hashes}</dict>", domains, "</dict>"),
            "keys": wrapped("<key>k%d</key><true/>", "", ""),
            "text": plist("<key>a</key><string>", "</string>", filled(b"a&amp;")),
            "data": plist("<key>a</key><data>", "</data>", filled(b"AAAA\n")),
            "elements": filled(b"<a/>", b"<a>", b"</a>"),
            "nested": filled(b"<a>"),
            "attributes": _numbered('a%d="" ', "<a ", "/>"),
            "comments": filled(b"<!---->", b"<a>", b"</a>"),
            "a declaration": filled(b"a", b"<!DOCTYPE a ", b"><a/>"),
        },
        formats.PinFormat.ANDROID: {
            "domains": _numbered("<domain>k%d.example</domain>", config, "</domain-config></network-security-config>"),
            "sets": filled(
                f"<domain-config>{pinned}</domain-config>".encode(),
                b"<network-security-config>",
                b"</network-security-config>",
            ),
            "a name": filled(
                b"a.", config.encode() + b"<domain>", b"</domain></domain-config></network-security-config>"
            ),
        },
        formats.PinFormat.OKHTTP: {
            "calls": _numbered(f'.add("k%d.example", "sha256/{pin}")', builder),
            "patterns": _numbered(f'.add("*.k%d.example", "sha256/{pin}")', builder),
            "pins of one call": filled(f',"sha256/{pin}"'.encode(), f'{builder}.add("k1.example"'.encode(), b")"),
            "a long argument": filled(b"a", f'{builder}.add("'.encode(), b'")'),
            "comments without end": filled(b"/*"),
            "comments": filled(b"/***/"),
            "quotes": filled(b'"'),
            "escaped quotes": filled(b'\\"'),
            "words": filled(b"add("),
            "calls without end": filled(b'.add("a",', builder.encode()),
            "signs": filled(b"/"),
        },
        formats.PinFormat.HPKP: {
            "pins": filled(f'pin-sha256="{pin}";'.encode(), b"Public-Key-Pins: ", b"max-age=86400"),
            "semicolons": filled(b";", b"Public-Key-Pins: "),
            "spaces": filled(b" ", b"Public-Key-Pins: a", b"="),
            "names": filled(b"a", b"Public-Key-Pins: "),
            "quotes": filled(b'a="";', b"Public-Key-Pins: "),
            "lines": filled(b"a:\n", b"Public-Key-Pins: a\n"),
        },
        formats.PinFormat.SEB: {
            "certificates": wrapped(
                "<dict><key>type</key><integer>0</integer><key>certificateData</key><data>%d</data></dict>",
                "<key>pinEmbeddedCertificates</key><true/><key>embeddedCertificates</key><array>",
                "</array>",
            ),
        },
    }
    most = toml_files.MAX_BYTES
    read_report = _but(DetectorError, lambda data: failure_report.read(data, now=dt.datetime.now(dt.UTC)))
    return [
        *(
            Parser(f"{form} pins: {kind}", reader(form), make, most, 128 * KIB)
            for form, kinds in inputs.items()
            for kind, make in kinds.items()
        ),
        *_of_json("pin report", read_report, certificate_files.FILE_BYTES_MAX, '{"hostname":"a.example","port":', "}"),
        Parser(
            "pin report: chain",
            read_report,
            filled(b'"' + b"A" * 60 + b'",', b'{"hostname":"a.example","served-certificate-chain":[', b'""]}'),
            certificate_files.FILE_BYTES_MAX,
            128 * KIB,
        ),
        Parser(
            "pin report: one certificate",
            read_report,
            filled(b"MIIB", b'{"hostname":"a.example","served-certificate-chain":["', b'"]}'),
            certificate_files.FILE_BYTES_MAX,
            128 * KIB,
        ),
    ]


def _of_names() -> list[Parser]:
    many = _in_extension("2.5.29.17", _listed(filled(der.encode(0x82, b"*.example.edu"))))
    return [
        Parser("host name: names", _name_match, many, 255 * KIB, 32 * KIB),
        Parser("constraints: mailboxes", _constrained, _listed(_mailboxes), 32 * KIB),
        Parser(
            "constraints: one mailbox",
            _constrained,
            _listed(lambda size: der.encode(0x81, b"a@" + b"a." * (size // 2) + b"a")),
            32 * KIB,
        ),
        Parser("constraints: names", _constrained, _listed(filled(der.encode(0x82, b"a." * 100 + b"edu"))), 32 * KIB),
        Parser(
            "constraints: directory names",
            _constrained,
            _listed(filled(der.encode(0xA4, _sequence(_RDN * 60)))),
            32 * KIB,
        ),
    ]


def _of_ct_logs() -> list[Parser]:
    def verify(data: bytes) -> object:
        return notes.verify(data, b"key")

    def read_tile(data: bytes) -> object:
        return entries.read_tile(data, 0, 1 << 40)

    def match(data: bytes) -> object:
        return watched.match(entries.Entry(0, 0, None, data, None, None, (), bytes(32)))

    def unpack(data: bytes) -> object:
        return source.inflated(data, 4 * MIB)

    hosts = [f"exam{number}.school.example.edu" for number in range(100)]
    watched = matching.Watched([Endpoint(host=host) for host in hosts], roots=frozenset())
    head = b"a\n1\n" + b"A" * 43 + b"=\n\n"
    inputs = {
        "lines": filled(b"\n", head),
        "signatures": filled("— a AAAAAAAA\n".encode(), head),
        "one signature": filled(b"A", head + "— a ".encode(), b"\n"),
        "a key name": filled(b"a", head + "— ".encode(), b" AAAA\n"),
        "digits": filled(b"1", b"a\n", b"\nA\n\n- a A\n"),
        "text": filled(b"a", b"", b"\n\n"),
    }
    tiles = {
        "empty entries": filled(bytes(17)),
        "extensions": filled(bytes(13) + b"\x00\xfc" + b"\x01\x00\x00" * 84 + bytes(2)),
        "fingerprints": filled(bytes(15) + b"\x20\x00" + bytes(8192)),
        "one entry": lambda size: bytes(10) + _vector(3, bytes(size)) + bytes(4),
    }
    names = {
        "dots": filled(b"."),
        "labels": filled(b".school"),
        "hosts": filled(b"exam1.school.example.edu "),
        "names": _in_extension("2.5.29.17", _listed(filled(der.encode(0x82, b"*.school.example.edu")))),
        "names of others": _in_extension("2.5.29.17", _listed(filled(der.encode(0x82, b"a.school.example")))),
    }
    refused = (notes.NoteError, entries.EntryError)
    return [
        *(
            Parser(f"checkpoint: {k}", _but(refused[0], verify), make, notes.NOTE_BYTES_MAX)
            for k, make in inputs.items()
        ),
        *(
            Parser(f"data tile: {kind}", _but(refused[1], read_tile), make, entries.TILE_BYTES_MAX, 256 * KIB)
            for kind, make in tiles.items()
        ),
        Parser("entry: extensions", entries.leaf_index, filled(b"\x01\x00\x00"), 64 * KIB - 1),
        Parser("tile: unpacked", unpack, lambda size: gzip.compress(bytes(size)), 4 * MIB),
        *(Parser(f"entry: {kind}", match, make, 255 * KIB, 32 * KIB) for kind, make in names.items()),
    ]


PARSERS: Final = (
    *_of_certificates(),
    *_of_names(),
    *_of_tls(),
    *_of_servers(),
    *_of_quic(),
    *_of_proxies(),
    *_of_answers(),
    *_of_ct_logs(),
    *_of_files(),
)
"""Every parser of foreign bytes, on the inputs that cost it most."""


def main() -> None:
    """Print the table."""
    print(f"{'parser':<44}{'bytes':>12}{'ms':>10}{'growth':>8}")
    for parser in PARSERS:
        found = cost(parser, min(parser.most, 4 * MIB))
        size = min(parser.most, 4 * MIB)
        print(f"{parser.name:<44}{size:>12,}{found.whole * 1000:>10.2f}{found.growth:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
