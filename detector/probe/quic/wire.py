"""What both sides of a QUIC handshake said, read from the datagrams themselves.

Room: probe. Pure: datagrams and one traffic secret go in, facts come out; no sockets, no clock, no QUIC library.

The same reasons as in `wire`: a library refuses what it cannot parse before anybody can see it and says why only as
text. Here Initial packets are opened with keys that everybody can derive (RFC 9001 section 5.2) and Handshake packets
with the server handshake traffic secret, which QUIC libraries give away for key logs. What their CRYPTO frames carry
are the handshake messages of TLS 1.3 without records, and `wire.Wire` reads those.

A packet that cannot be opened or read is dropped, as RFC 9000 section 5.2 has it: anybody can send one. What was opened
came from who holds the keys. Nothing here raises.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from detector.probe.tls.codepoints import AEAD, TLS_1_3_SUITES
from detector.probe.tls.wire import FLIGHT_OCTETS_MAX, NONCE_OCTETS, Wire, WireError, WireErrorKind, expand_label

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION_1: Final = 1
"""QUIC version 1 (RFC 9000 section 15), the one that is offered."""

_INITIAL_SALT: Final = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
"""RFC 9001 section 5.2."""

_INITIAL_SUITE: Final = 0x1301
"""TLS_AES_128_GCM_SHA256 protects Initial packets, whatever is negotiated (RFC 9001 section 5.2)."""

CONNECTION_ID_OCTETS_MAX: Final = 20
"""RFC 9000 section 17.2."""

PENDING_MAX: Final = 32
"""Handshake packets kept until their secret is known; a genuine flight of the server has under ten."""

FRAGMENTS_MAX: Final = 1024
"""CRYPTO frames kept that do not connect to what was read yet: a flight of a megabyte, all of it out of order."""

KEYS_MAX: Final = 4
"""Connection IDs that Initial keys are derived from: the client's first, and one more after a Retry."""

_LONG_HEADER: Final = 0xC0
"""Header form and fixed bit of a packet with a long header (RFC 9000 section 17.2)."""
_INITIAL: Final = 0
_HANDSHAKE: Final = 2
"""Long packet types (RFC 9000 table 5)."""

_SAMPLE_OCTETS: Final = 16
_SAMPLE_BEHIND: Final = 4
"""What header protection samples, and how far behind the start of the packet number (RFC 9001 section 5.4.2)."""

_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _CONNECTION_CLOSE = 0x00, 0x01, 0x02, 0x03, 0x06, 0x1C
"""The frame types that Initial and Handshake packets may have (RFC 9000 section 12.4)."""

CRYPTO_ERROR: Final = range(0x100, 0x200)
"""Error codes that carry a TLS alert (RFC 9001 section 4.8)."""


class _MalformedError(Exception):
    """A packet or frame that cannot be read; it is dropped."""


class _Cursor:
    """Bounds-checked reading of one packet (RFC 9000 section 1.3)."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data: Final = data
        self.at = at

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def octets(self, count: int) -> bytes:
        if count > self.left:
            raise _MalformedError
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """A variable-length integer (RFC 9000 section 16)."""
        first = self.octets(1)[0]
        return int.from_bytes(bytes([first & 0x3F]) + self.octets((1 << (first >> 6)) - 1), "big")


class _Packet(NamedTuple):
    """One protected packet with a long header: where its packet number starts in `octets`."""

    kind: int
    destination: bytes
    octets: bytes
    number_at: int


class _Protection:
    """The keys of one direction at one level (RFC 9001 section 5.1)."""

    def __init__(self, suite: int, secret: bytes) -> None:
        aead, key_octets, tag_octets, hash_name = TLS_1_3_SUITES[suite]
        key = expand_label(hash_name, secret, "quic key", key_octets)
        self._iv = int.from_bytes(expand_label(hash_name, secret, "quic iv", NONCE_OCTETS), "big")
        self._header_key = expand_label(hash_name, secret, "quic hp", key_octets)
        self._largest = -1
        self._aead = aead
        self._cipher: AESGCM | AESCCM | ChaCha20Poly1305
        match aead:
            case AEAD.AES_GCM:
                self._cipher = AESGCM(key)
            case AEAD.AES_CCM:
                self._cipher = AESCCM(key, tag_length=tag_octets)
            case AEAD.CHACHA20_POLY1305:
                self._cipher = ChaCha20Poly1305(key)

    def open(self, packet: _Packet) -> bytes | None:
        """The frames of a packet; None when it was not made with these keys."""
        octets, at = packet.octets, packet.number_at
        sample = octets[at + _SAMPLE_BEHIND : at + _SAMPLE_BEHIND + _SAMPLE_OCTETS]
        if len(sample) < _SAMPLE_OCTETS:
            return None
        mask = self._mask(sample)
        first = octets[0] ^ (mask[0] & 0x0F)
        length = (first & 0x03) + 1
        truncated = bytes(a ^ b for a, b in zip(octets[at : at + length], mask[1:], strict=False))
        number = self._whole(int.from_bytes(truncated, "big"), 8 * length)
        nonce = (self._iv ^ number).to_bytes(NONCE_OCTETS, "big")
        header = bytes([first]) + octets[1:at] + truncated
        try:
            frames = self._cipher.decrypt(nonce, octets[at + length :], header)
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

    def _whole(self, truncated: int, bits: int) -> int:
        """The packet number (RFC 9000 appendix A.3)."""
        expected, window = self._largest + 1, 1 << bits
        candidate = (expected & ~(window - 1)) | truncated
        if candidate <= expected - window // 2:
            return candidate + window
        if candidate > expected + window // 2 and candidate >= window:
            return candidate - window
        return candidate


class _Stream:
    """One CRYPTO stream, put in order (RFC 9000 section 19.6)."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: dict[int, bytes] = {}

    def take(self, offset: int, data: bytes) -> bytes:
        """What is readable now that `data` has come.

        Raises `WireError` when it lies further on than any flight may.
        """
        if offset + len(data) > FLIGHT_OCTETS_MAX:
            raise WireError(WireErrorKind.TOO_LARGE, f"the flight goes on behind {FLIGHT_OCTETS_MAX} octets")
        if len(self._waiting) < FRAGMENTS_MAX and len(data) > len(self._waiting.get(offset, b"")):
            self._waiting[offset] = data
        readable = bytearray()
        while self._waiting and (start := min(self._waiting)) <= self._next:
            readable += (fresh := self._waiting.pop(start)[self._next - start :])
            self._next += len(fresh)
        return bytes(readable)


class _InitialKeys(NamedTuple):
    """The Initial protection of both directions, and what we sent under it."""

    ours: _Protection
    theirs: _Protection
    our_stream: _Stream


class QuicWire:
    """One QUIC handshake as its datagrams tell it. `wire` holds what TLS said; see the module for the rules.

    `opened` counts the packets of the server that could be opened; `close_code` is the error code with which it closed
    the connection during the handshake, `our_close_code` the one with which we did; `error` is why its flight could not
    be read on.
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
        """Take the client handshake traffic secret: how we end a handshake shows in our own packets."""
        if self._our_handshake is None and self.wire.suite in TLS_1_3_SUITES:
            self._our_handshake = _Protection(self.wire.suite, secret)

    def secret(self, secret: bytes) -> None:
        """Take the server handshake traffic secret (RFC 9001 section 5.1) and read what waited for it."""
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
        """The frames of a packet of the server of this kind."""
        read = _read_frames(frames)
        if self.close_code is None:
            self.close_code = read.close_code
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
                    self.wire.client_random = None
                self.wire.client_messages(keys.our_stream.take(offset, data))
        except WireError:
            # Our own library's hello is well-formed; were it not, only our own checks would be lost.
            return


class _Frames(NamedTuple):
    """What is wanted of a packet: offset and content of its CRYPTO frames, the code of its CONNECTION_CLOSE."""

    crypto: list[tuple[int, bytes]]
    close_code: int | None


def _read_frames(frames: bytes) -> _Frames:
    """RFC 9000 section 12.4: what cannot be there, or cannot be read, ends the reading."""
    cursor = _Cursor(frames)
    crypto: list[tuple[int, bytes]] = []
    try:
        while cursor.left:
            kind = cursor.number()
            if kind in {_ACK, _ACK_ECN}:
                _skip_ack(cursor, ecn=kind == _ACK_ECN)
            elif kind == _CRYPTO:
                offset = cursor.number()
                crypto.append((offset, cursor.octets(cursor.number())))
            elif kind == _CONNECTION_CLOSE:
                return _Frames(crypto, cursor.number())
            elif kind not in {_PADDING, _PING}:
                break
    except _MalformedError:
        pass
    return _Frames(crypto, None)


def _skip_ack(cursor: _Cursor, *, ecn: bool) -> None:
    """RFC 9000 section 19.3."""
    cursor.number()
    cursor.number()
    ranges = cursor.number()
    cursor.number()
    for _ in range(min(2 * ranges, cursor.left + 1)):
        cursor.number()
    for _ in range(3 if ecn else 0):
        cursor.number()


def _initial_keys(destination: bytes) -> _InitialKeys:
    """What protects the Initial packets of both sides (RFC 9001 section 5.2)."""
    secret = hmac.digest(_INITIAL_SALT, destination, "sha256")
    ours, theirs = (expand_label("sha256", secret, label, 32) for label in ("client in", "server in"))
    return _InitialKeys(_Protection(_INITIAL_SUITE, ours), _Protection(_INITIAL_SUITE, theirs), _Stream())


def _packets(datagram: bytes) -> Iterator[_Packet]:
    """The Initial and Handshake packets of a datagram (RFC 9000 sections 12.2 and 17.2); other kinds end it."""
    cursor = _Cursor(datagram)
    try:
        while cursor.left:
            start = cursor.at
            first = cursor.octets(1)[0]
            if first & _LONG_HEADER != _LONG_HEADER or int.from_bytes(cursor.octets(4), "big") != VERSION_1:
                return
            destination = cursor.octets(cursor.octets(1)[0])
            cursor.octets(cursor.octets(1)[0])
            kind = (first & 0x30) >> 4
            if len(destination) > CONNECTION_ID_OCTETS_MAX or kind not in {_INITIAL, _HANDSHAKE}:
                return
            if kind == _INITIAL:
                cursor.octets(cursor.number())
            length = cursor.number()
            number_at = cursor.at - start
            cursor.octets(length)
            yield _Packet(kind, destination, datagram[start : cursor.at], number_at)
    except _MalformedError:
        return
