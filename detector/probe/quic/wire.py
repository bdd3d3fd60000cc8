"""Parser of both sides of a QUIC handshake.

Room: probe. Pure: datagrams and traffic secrets go in, facts come out; no sockets, no clock, no QUIC library.

The reasons are those of `tls.wire`. Initial packets are opened with keys that everybody can derive (RFC 9001 section
5.2), Handshake packets with the server handshake traffic secret, which QUIC libraries export for key logs. Their CRYPTO
frames carry the handshake messages of TLS 1.3 without records, which `tls.wire.Wire` parses.

A packet that cannot be opened or parsed is dropped, as RFC 9000 section 5.2 requires: anybody can send one. An opened
packet came from a holder of the keys. Nothing here raises.
"""

from __future__ import annotations

import heapq
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from detector.probe.tls.codepoints import AEAD, TLS_1_3_SUITES
from detector.probe.tls.keys import TrafficKeys, expand_label
from detector.probe.tls.reader import Reader, WireError, too_large
from detector.probe.tls.wire import FLIGHT_BYTES_MAX, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION_1: Final = 1  # QUIC version 1 (RFC 9000 section 15), the one that is offered
_INITIAL_SALT: Final = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # RFC 9001 section 5.2
_INITIAL_SUITE: Final = 0x1301  # protects Initial packets, whatever is negotiated (RFC 9001 section 5.2)
CONNECTION_ID_BYTES_MAX: Final = 20  # RFC 9000 section 17.2
PENDING_MAX: Final = 32  # Handshake packets kept until their secret is known; a genuine flight has under ten
FRAGMENTS_MAX: Final = 256
"""CRYPTO frames kept out of order. A server has at most about a hundred packets in flight before it hears of a loss;
aioquic compares each new frame with all gaps before it, so that this bounds its work as well."""

PACKETS_MAX: Final = 1024
"""Packets of the server that are opened: the largest message that is read (1 MiB) has 900 of them. aioquic compares the
number of each with all gaps before it."""

FRAMES_MAX: Final = 2048
"""Frames of the server that are read, without padding: two for each packet. Each costs about 10 microseconds with
aioquic's part, and a packet can hold hundreds."""

KEYS_MAX: Final = 4  # connection IDs that Initial keys are derived from: the client's first, and others after a Retry
_LONG_HEADER: Final = 0xC0  # header form and fixed bit of a packet with a long header (RFC 9000 section 17.2)
_INITIAL, _HANDSHAKE = 0, 2  # long packet types (RFC 9000 table 5)

_SAMPLE_BYTES: Final = 16
_SAMPLE_OFFSET: Final = 4
"""What header protection samples, and its offset from the start of the packet number (RFC 9001 section 5.4.2)."""

_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _CONNECTION_CLOSE = b"\x00", 0x01, 0x02, 0x03, 0x06, 0x1C
"""The frame types allowed in Initial and Handshake packets (RFC 9000 section 12.4)."""

CRYPTO_ERROR: Final = range(0x100, 0x200)  # error codes that carry a TLS alert (RFC 9001 section 4.8)


class _Packet(NamedTuple):
    """One protected packet with a long header; its packet number starts at `number_at` in `data`."""

    kind: int
    destination: bytes
    data: bytes
    number_at: int


class _Protection:
    """The keys of one direction at one level (RFC 9001 section 5.1)."""

    def __init__(self, suite: int, secret: bytes) -> None:
        self._aead, key_bytes, _, hash_name = TLS_1_3_SUITES[suite]
        self._keys = TrafficKeys(suite, secret, "quic ")
        self._header_key = expand_label(hash_name, secret, "quic hp", key_bytes)
        self._largest = -1

    def open(self, packet: _Packet) -> bytes | None:
        """Return the frames of a packet; None when it was not made with these keys."""
        data, at = packet.data, packet.number_at
        sample = data[at + _SAMPLE_OFFSET : at + _SAMPLE_OFFSET + _SAMPLE_BYTES]
        if len(sample) < _SAMPLE_BYTES:
            return None
        mask = self._mask(sample)
        first = data[0] ^ (mask[0] & 0x0F)
        length = (first & 0x03) + 1
        truncated = bytes(a ^ b for a, b in zip(data[at : at + length], mask[1:], strict=False))
        number = self._packet_number(int.from_bytes(truncated, "big"), 8 * length)
        header = bytes([first]) + data[1:at] + truncated
        try:
            frames = self._keys.cipher.decrypt(self._keys.nonce(number), data[at + length :], header)
        except (InvalidTag, ValueError):
            return None
        self._largest = max(self._largest, number)
        return frames

    def _mask(self, sample: bytes) -> bytes:
        """RFC 9001 sections 5.4.3 and 5.4.4."""
        if self._aead is AEAD.CHACHA20_POLY1305:
            return Cipher(algorithms.ChaCha20(self._header_key, sample), mode=None).encryptor().update(bytes(5))
        # One block, which is what RFC 9001 section 5.4.3 asks for; no message is encrypted with this.
        return Cipher(algorithms.AES(self._header_key), modes.ECB()).encryptor().update(sample)  # noqa: S305 - as said

    def _packet_number(self, truncated: int, bits: int) -> int:
        """Decode a packet number (RFC 9000 appendix A.3)."""
        expected, window = self._largest + 1, 1 << bits
        candidate = (expected & ~(window - 1)) | truncated
        if candidate <= expected - window // 2:
            return candidate + window
        if candidate > expected + window // 2 and candidate >= window:
            return candidate - window
        return candidate


class _Stream:
    """Reassembly of one CRYPTO stream (RFC 9000 section 19.6)."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: list[tuple[int, bytes]] = []
        """A heap, by offset."""

    def take(self, offset: int, data: bytes) -> bytes:
        """Add `data`; return what is contiguous now. Raises `WireError` when it exceeds a limit."""
        if offset + len(data) > FLIGHT_BYTES_MAX:
            raise too_large(f"the flight continues after {FLIGHT_BYTES_MAX} bytes")
        heapq.heappush(self._waiting, (offset, data))
        readable = bytearray()
        while self._waiting and self._waiting[0][0] <= self._next:
            start, fragment = heapq.heappop(self._waiting)
            readable += (fresh := fragment[self._next - start :])
            self._next += len(fresh)
        if len(self._waiting) > FRAGMENTS_MAX:
            raise too_large(f"more than {FRAGMENTS_MAX} fragments out of order")
        return bytes(readable)


class _InitialKeys(NamedTuple):
    """The Initial protection of both directions, and what we sent under it."""

    ours: _Protection
    theirs: _Protection
    our_stream: _Stream


class QuicWire:
    """The parsed state of one QUIC handshake, of TLS in `wire`. See the module for the rules.

    `opened` counts the packets of the server that could be opened; `close_code` is the error code with which it closed
    the connection during the handshake, `our_close_code` ours; `error` is why its flight cannot be parsed any further.
    """

    def __init__(self) -> None:
        self.wire: Final = Wire()
        self.opened = 0
        self.close_code: int | None = None
        self.our_close_code: int | None = None
        self.error: WireError | None = None
        self._initial: dict[bytes, _InitialKeys] = {}
        self._handshake: _Protection | None = None
        self._our_handshake: _Protection | None = None
        self._pending: list[_Packet] = []
        self._hello_from: _InitialKeys | None = None
        self._server_streams: Final = {_INITIAL: _Stream(), _HANDSHAKE: _Stream()}
        self._frames = 0

    @property
    def alert(self) -> int | None:
        """The TLS alert that ended the handshake, sent by either side (RFC 9001 section 4.8)."""
        for code in (self.our_close_code, self.close_code):
            if code is not None and code in CRYPTO_ERROR:
                return code & 0xFF
        return None

    def client(self, datagram: bytes) -> None:
        """Take a datagram that we sent."""
        for packet in _packets(datagram):
            if packet.kind == _INITIAL:
                if packet.destination not in self._initial and len(self._initial) < KEYS_MAX:
                    self._initial[packet.destination] = _initial_keys(packet.destination)
                for keys in self._initial.values():
                    if (frames := keys.ours.open(packet)) is not None:
                        self._frames_of_client(frames, keys)
                        break
            elif self._our_handshake is not None and (frames := self._our_handshake.open(packet)) is not None:
                self._frames_of_client(frames, None)

    def server(self, datagram: bytes) -> None:
        """Take a datagram of the server. Handshake packets wait for `secret`."""
        for packet in _packets(datagram):
            if packet.kind == _INITIAL:
                self._open(packet, [keys.theirs for keys in self._initial.values()])
            elif self._handshake is not None:
                self._open(packet, [self._handshake])
            elif packet.kind == _HANDSHAKE and len(self._pending) < PENDING_MAX:
                self._pending.append(packet)

    def our_secret(self, secret: bytes) -> None:
        """Take the client handshake traffic secret: our own packets show how we end a handshake."""
        if self._our_handshake is None and self.wire.suite in TLS_1_3_SUITES:
            self._our_handshake = _Protection(self.wire.suite, secret)

    def secret(self, secret: bytes) -> None:
        """Take the server handshake traffic secret (RFC 9001 section 5.1) and parse what waited for it."""
        suite = self.wire.suite
        if self._handshake is not None or suite not in TLS_1_3_SUITES:
            return
        self._handshake = _Protection(suite, secret)
        self.wire.secret(secret)
        waiting, self._pending = self._pending, []
        for packet in waiting:
            self._open(packet, [self._handshake])

    def _open(self, packet: _Packet, keys: list[_Protection]) -> None:
        frames = next((found for key in keys if (found := key.open(packet)) is not None), None)
        if frames is None:
            return
        self.opened += 1
        self._take(packet.kind, frames)

    def _take(self, kind: int, frames: bytes) -> None:
        """Parse the frames of a packet of the server of this kind."""
        read = _read_frames(frames)
        if self.close_code is None:
            self.close_code = read.close_code
        self._frames += read.number
        if self.opened > PACKETS_MAX or self._frames > FRAMES_MAX:
            self.error = too_large(f"more than {PACKETS_MAX} packets or {FRAMES_MAX} frames")
        if self.error is not None:
            return
        try:
            for offset, data in read.crypto:
                messages = self._server_streams[kind].take(offset, data)
                self.wire.server_messages(messages, in_clear=kind == _INITIAL)
        except WireError as error:
            self.error = error

    def _frames_of_client(self, frames: bytes, keys: _InitialKeys | None) -> None:
        read = _read_frames(frames)
        if self.our_close_code is None:
            self.our_close_code = read.close_code
        if keys is None:
            return
        try:
            for offset, data in read.crypto:
                if self._hello_from is not keys and self.wire.hello_retry_request is None:
                    # A Retry came before: the handshake begins again, with other keys and perhaps another hello.
                    self._hello_from = keys
                    self.wire.client_hellos.clear()
                    self.wire.client_random = self.wire.offered = None
                self.wire.client_messages(keys.our_stream.take(offset, data))
        except WireError:
            # Our own library's hello is well-formed; if it were not, only our own checks would be lost.
            return


class _Frames(NamedTuple):
    """The frames of a packet that matter: offset and content of CRYPTO, the code of CONNECTION_CLOSE.

    `number` is that of all, without padding.
    """

    crypto: list[tuple[int, bytes]]
    close_code: int | None
    number: int


def _read_frames(frames: bytes) -> _Frames:
    """Parse frames (RFC 9000 section 12.4); what is not allowed or malformed ends the parsing."""
    reader = Reader(frames, "a packet")
    crypto: list[tuple[int, bytes]] = []
    number = 0
    try:
        while reader.left and number <= FRAMES_MAX:
            if reader.skip(_PADDING):
                continue
            number += 1
            kind = reader.varint()
            if kind in {_ACK, _ACK_ECN}:
                _skip_ack(reader, ecn=kind == _ACK_ECN)
            elif kind == _CRYPTO:
                offset = reader.varint()
                crypto.append((offset, reader.take(reader.varint())))
            elif kind == _CONNECTION_CLOSE:
                return _Frames(crypto, reader.varint(), number)
            elif kind != _PING:
                break
    except WireError:
        pass
    return _Frames(crypto, None, number)


def _skip_ack(reader: Reader, *, ecn: bool) -> None:
    """RFC 9000 section 19.3."""
    reader.varint()
    reader.varint()
    ranges = reader.varint()
    for _ in range(1 + min(2 * ranges, reader.left) + (3 if ecn else 0)):
        reader.varint()


def _initial_keys(destination: bytes) -> _InitialKeys:
    """Derive the keys of the Initial packets of both sides (RFC 9001 section 5.2)."""
    secret = hmac.digest(_INITIAL_SALT, destination, "sha256")
    ours, theirs = (expand_label("sha256", secret, label, 32) for label in ("client in", "server in"))
    return _InitialKeys(_Protection(_INITIAL_SUITE, ours), _Protection(_INITIAL_SUITE, theirs), _Stream())


def _packets(datagram: bytes) -> Iterator[_Packet]:
    """Yield the Initial and Handshake packets of a datagram (RFC 9000 sections 12.2 and 17.2); others end it."""
    reader = Reader(datagram, "a datagram")
    try:
        while reader.left:
            start = reader.at
            first = reader.number(1)
            if first & _LONG_HEADER != _LONG_HEADER or reader.number(4) != VERSION_1:
                return
            destination, _source = reader.vector(1), reader.vector(1)
            kind = (first & 0x30) >> 4
            if len(destination) > CONNECTION_ID_BYTES_MAX or kind not in {_INITIAL, _HANDSHAKE}:
                return
            if kind == _INITIAL:
                reader.take(reader.varint())  # the token
            length = reader.varint()
            number_at = reader.at - start
            reader.take(length)
            yield _Packet(kind, destination, datagram[start : reader.at], number_at)
    except WireError:
        return
