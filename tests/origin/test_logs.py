"""Reading the logs of nginx, HAProxy and others: what was offered is read exactly, and nothing else gets in."""

from __future__ import annotations

import json
import ssl
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.log_lines import haproxy_line, nginx_default, nginx_json, nginx_line
from support.offers import recorded

from detector.origin import Claims, Family, Offer, judge
from detector.origin.logs import FAULTS_NAMED, LINE_BYTES_MAX, LogFormat, LogReader, Unreadable, _names
from detector.origin.offer import LIST_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.knowledge.browser_offers import RecordedOffer
    from detector.origin.logs import Entry

CHROMIUM = (0x4A4A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014)
GROUPS = (0x1A1A, 0x11EC, 0x001D, 0x0017, 0x0018)
AGENT = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
PREFIX = b"<142>Nov 30 18:19:41 lb1 haproxy[3094]: "
CODES = st.lists(st.integers(0, 0xFFFF), max_size=60, unique=True).map(tuple)
HEADER = st.binary(max_size=200).map(lambda value: value.replace(b"\0", b"").replace(b"\n", b""))


def read(form: str, *chunks: bytes) -> tuple[list[Entry], LogReader]:
    reader = LogReader(LogFormat(form))
    return list(reader.entries(chunks)), reader


def only(form: str, line: bytes) -> Entry:
    (entry,), reader = read(form, line)
    assert (reader.lines, reader.unreadable) == (1, 0)
    return entry


def unordered(offer: Offer) -> Offer:
    """The offer as the reader keeps it: the order of extensions is not kept."""
    kept = Offer.of_lists(extensions=sorted(offer.extensions or ())).extensions
    return Offer(**{**{name: getattr(offer, name) for name in offer.__struct_fields__}, "extensions": kept})


def test_a_line_of_nginx() -> None:
    """What nginx 1.22 wrote for a Chromium: names, GREASE as code points, and the headers."""
    line = (
        b'{"time":"2026-11-30T18:08:46+00:00","address":"127.0.0.1","account":"ab12",'
        b'"ciphers":"0x4a4a:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:'
        b'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256","curves":"0x1a1a:0x11ec:X25519:prime256v1:secp384r1",'
        b'"user_agent":"' + AGENT + b'","sec_ch_ua":"\\"Not:A-Brand\\";v=\\"8\\", \\"Chromium\\";v=\\"156\\""}\n'
    )
    entry = only("nginx", line)
    assert entry.offer == Offer.of_lists(cipher_suites=CHROMIUM[:6], groups=GROUPS)
    assert entry.offer.reserved_cipher_suites
    assert entry.claims == Claims.of(AGENT.decode(), '"Not:A-Brand";v="8", "Chromium";v="156"')
    assert entry[3:] == ("127.0.0.1", "ab12", "2026-11-30T18:08:46+00:00", None)


def test_a_line_of_haproxy() -> None:
    """What HAProxy 2.6 sent to a syslog daemon for a Chromium: lists in hexadecimal, GREASE included."""
    line = PREFIX + (
        b'{"time":"2026-11-30T18:10:37Z","address":"127.0.0.1","account":"-","capture":512,'
        b'"ciphers":"CACA130113021303C02BC02F","extensions":"DADAFF0144CD001700120033000B0005AAAA",'
        b'"groups":"8A8A11EC001D00170018","formats":"00","user_agent":"Mozilla\\/5.0 (X11) Chrome\\/156.0.0.0",'
        b'"sec_ch_ua":"-"}\n'
    )
    entry = only("haproxy", line)
    assert entry.offer == Offer.of_lists(
        cipher_suites=CHROMIUM[:6],
        groups=GROUPS,
        extensions=sorted((0xFF01, 0x44CD, 0x17, 0x12, 0x33, 0x0B, 0x05, 0x0A0A)),
    )
    assert (entry.account, entry.claims.major) == ("", 156)


@given(CODES, CODES, CODES)
def test_what_was_offered_is_read_exactly(
    suites: tuple[int, ...], groups: tuple[int, ...], kinds: tuple[int, ...]
) -> None:
    """Whatever lists a client sends, the entry has them, by either server's line and by JSON Lines."""
    if suites:
        nginx = only("nginx", nginx_line(suites, groups, AGENT))
        assert nginx.offer == Offer.of_lists(cipher_suites=suites, groups=groups or None)
        haproxy = only("haproxy", haproxy_line(suites, groups, kinds, AGENT, prefix=PREFIX))
        assert (
            haproxy.offer
            == unordered(Offer.of_lists(cipher_suites=suites, groups=groups or None, extensions=kinds or None))
            or not kinds
        )
    fields = {"user_agent": AGENT.decode(), "cipher_suites": suites, "groups": groups, "extensions": kinds}
    ours = only("jsonl", json.dumps(fields).encode())
    assert ours.offer == unordered(Offer.of_lists(cipher_suites=suites, groups=groups, extensions=kinds))


@pytest.mark.parametrize("one", recorded(), ids=lambda one: one.client)
def test_recorded_hellos_come_through_both_servers(one: RecordedOffer) -> None:
    """Every recorded ClientHello is read from either server's line as it was sent, and no browser's is contradicted."""
    grease = (0x0A0A,) if one.reserved else ()
    suites, groups, kinds = (grease + codes for codes in (one.cipher_suites, one.groups, one.extensions))
    for form, line in {
        "nginx": nginx_line(suites, groups, AGENT),
        "haproxy": haproxy_line(suites, groups, kinds, AGENT, prefix=PREFIX),
    }.items():
        found = only(form, line).offer
        assert (found.cipher_suites, found.groups) == (one.cipher_suites, one.groups or None)
        assert found.reserved_cipher_suites is one.reserved
        assert found.extensions == (None if form == "nginx" else tuple(sorted(one.extensions)))
        if one.family is not Family.UNKNOWN:
            assert judge(found, Claims(family=one.family, major=one.major)).confidence is None


def test_the_order_of_extensions_and_the_values_of_grease_do_not_make_another_offer() -> None:
    """Chromium draws both for each connection; the entry's identifier is the same."""
    one = only("haproxy", haproxy_line(CHROMIUM, GROUPS, (0x2A2A, 0, 23, 27, 51, 0xFAFA), AGENT))
    other = only("haproxy", haproxy_line((0xBABA, *CHROMIUM[1:]), GROUPS, (0x0A0A, 51, 0, 27, 23, 0x3A3A), AGENT))
    assert one.offer_id == other.offer_id
    assert one.offer_id != only("haproxy", haproxy_line(CHROMIUM[:-1], GROUPS, (0, 23, 27, 51), AGENT)).offer_id


@given(HEADER, HEADER)
@example(b'x","address":"198.51.100.1","account":"of somebody else', b"")
@example(b"x\\", b'"}')
@example(rb"\x22,\x22account\x22:\x22other", b"\xff\xfe\\u0022")
@example(b'{"user_agent":"', b"\r\t\x01\x7f")
@settings(max_examples=300)
def test_no_header_reaches_another_field_or_line(agent: bytes, hints: bytes) -> None:
    """Whatever bytes a client sends in its headers, the line is one entry with the server's own address and session."""
    expected = ("192.0.2.7", "ab12", CHROMIUM[1:])
    lines: dict[str, list[bytes]] = {
        "nginx": [
            nginx_line(CHROMIUM, GROUPS, agent, account="ab12", sec_ch_ua=hints, escape=escape)
            for escape in (nginx_json, nginx_default)
        ],
        "haproxy": [haproxy_line(CHROMIUM, GROUPS, (0, 23), agent, account="ab12", sec_ch_ua=hints, prefix=PREFIX)],
    }
    for form, written in lines.items():
        for line in written:
            entry = only(form, line)
            assert (entry.address, entry.account, entry.offer.cipher_suites) == expected


@given(st.text(max_size=100).filter(lambda text: "\0" not in text))
def test_both_escapes_of_nginx_give_the_same_text(agent: str) -> None:
    """The same header is read the same, whichever escape the operator chose."""
    versions = f"Mozilla/5.0 ({agent}) Chrome/131.0.0.0".encode("utf-8", "replace")
    by_json, by_default = (
        only("nginx", nginx_line(CHROMIUM, GROUPS, versions, escape=e)) for e in (nginx_json, nginx_default)
    )
    assert by_json == by_default


@pytest.mark.parametrize("limit", range(24, 74, 2))
def test_a_full_buffer_is_not_an_absence(limit: int) -> None:
    """Where HAProxy's buffer is full, the offer says that it may be cut; where it is not, it does not."""
    kinds, room = (0, 23, 27, 51), limit
    lists = []
    for codes in (CHROMIUM, kinds, GROUPS):
        lists.append(codes[: room // 2] or None)
        room -= 2 * len(lists[-1] or ())
    suites, extensions, groups = lists
    line = haproxy_line(suites, groups, extensions, AGENT, capture=limit).replace(b'"formats":"00"', b'"formats":"-"')
    entry = only("haproxy", line)
    assert entry.offer.is_cut == (limit <= 2 * (len(CHROMIUM) + len(kinds) + len(GROUPS)) + 1)
    assert entry.offer.extensions is None or set(entry.offer.extensions) <= set(kinds)


@pytest.mark.parametrize("number", [LIST_MAX, LIST_MAX + 1, 2000])
def test_a_list_longer_than_any_browsers_is_read_as_such(number: int) -> None:
    """A client that fills its lists, so that a server logs no more of them, does not escape by that."""
    suites = [*CHROMIUM, *[0x2A2A] * (number - len(CHROMIUM))]
    texts = {
        "nginx": nginx_line(tuple(suites), GROUPS, AGENT),
        "haproxy": haproxy_line(tuple(suites[:256]), None, None, AGENT).replace(b'"formats":"00"', b'"formats":"-"'),
        "jsonl": json.dumps({"user_agent": AGENT.decode(), "cipher_suites": suites}).encode(),
    }
    for form, line in texts.items():
        offer = only(form, line).offer
        assert offer.is_malformed is offer.is_cut is (form == "haproxy" or number > LIST_MAX), form


@pytest.mark.parametrize(
    ("form", "line", "why"),
    [
        ("nginx", b"GET / HTTP/1.1", Unreadable.NOT_JSON),
        ("nginx", b'{"user_agent":"x","ciphers":"AES128-SHA', Unreadable.NOT_JSON),
        ("nginx", b'{"user_agent":"x\0","ciphers":"AES128-SHA"}', Unreadable.NOT_JSON),
        ("nginx", b'{"user_agent":1,"ciphers":"AES128-SHA"}', Unreadable.FIELDS),
        ("nginx", b'{"ciphers":"AES128-SHA"}', Unreadable.FIELDS),
        ("nginx", b'{"user_agent":"x","ciphers":"AES128-SHA:NO-SUCH-SUITE"}', Unreadable.HELLO),
        ("nginx", b'{"user_agent":"x","ciphers":"AES128-SHA:0x123"}', Unreadable.HELLO),
        ("nginx", b'{"user_agent":"' + b"x" * LINE_BYTES_MAX + b'","ciphers":"AES128-SHA"}', Unreadable.TOO_LONG),
        ("nginx", b"[" * 50_000, Unreadable.NOT_JSON),
        ("nginx", b'{"user_agent":' + b"[" * 50_000, Unreadable.FIELDS),
        ("haproxy", haproxy_line((1,), None, None).replace(b"0001", b"001"), Unreadable.HELLO),
        ("haproxy", haproxy_line((1,), None, None).replace(b"0001", b"0 01"), Unreadable.HELLO),
        ("haproxy", haproxy_line((1,), None, None).replace(b'"capture":512,', b""), Unreadable.FIELDS),
        ("jsonl", b'{"user_agent":"x","cipher_suites":[65536]}', Unreadable.HELLO),
        ("jsonl", b'{"user_agent":"x","cipher_suites":["1301"]}', Unreadable.FIELDS),
        ("jsonl", b'{"user_agent":"x","ja4":"t13d"}', Unreadable.HELLO),
        ("jsonl", b'{"user_agent":"x","client_hello":"1603"}', Unreadable.HELLO),
        ("jsonl", b'{"user_agent":"x","client_hello":"zz"}', Unreadable.HELLO),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_read_is_counted_and_named(form: str, line: bytes, why: Unreadable) -> None:
    """An unreadable line costs that line alone, and is named by its number."""
    good = {"nginx": nginx_line((0x2F,), None), "haproxy": haproxy_line((0x2F,), None, None)}.get(
        form, b'{"user_agent":"x","cipher_suites":[47]}\n'
    )
    entries, reader = read(form, good + line.rstrip(b"\n") + b"\n" + good)
    assert len(entries) == 2
    assert (reader.lines, reader.unreadable, reader.faults) == (3, 1, [(2, why)])


def test_only_the_first_unreadable_lines_are_named() -> None:
    """A log of another program is counted, and named by ten lines."""
    _, reader = read("nginx", b"no log of ours\n" * 5000)
    assert (reader.unreadable, len(reader.faults)) == (5000, FAULTS_NAMED)


def test_lines_without_tls_are_counted() -> None:
    """A line of plain HTTP says nothing of a hello, and is no fault."""
    lines = nginx_line(None, None) + nginx_line((0x2F,), None)
    entries, reader = read("nginx", lines)
    assert (len(entries), reader.without_hello, reader.unreadable) == (1, 1, 0)


@given(st.lists(st.binary(max_size=60), max_size=30), st.sampled_from(LogFormat))
def test_any_bytes_only_count(parts: list[bytes], form: LogFormat) -> None:
    """Nothing that a file holds raises, and every line is an entry, counted, or empty."""
    reader = LogReader(form)
    entries = list(reader.entries(parts))
    assert len(entries) + reader.unreadable + reader.without_hello <= reader.lines
    assert reader.lines == len(b"".join(parts).removesuffix(b"\n").split(b"\n")) or not any(parts)


@given(st.data())
def test_a_changed_line_gives_no_other_session(data: st.DataObject) -> None:
    """A line with bytes changed is unreadable, or says what it says: it never raises and never gives two entries."""
    form: str = data.draw(st.sampled_from(("nginx", "haproxy")))
    line = bytearray(
        nginx_line(CHROMIUM, GROUPS, AGENT) if form == "nginx" else haproxy_line(CHROMIUM, GROUPS, (0,), AGENT)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 2))] = data.draw(st.integers(0, 255).filter(lambda byte: byte != 10))
    entries, reader = read(form, bytes(line))
    assert len(entries) + reader.unreadable + reader.without_hello == reader.lines == 1


@given(st.integers(1, 400))
def test_chunks_of_any_size_give_the_same(size: int) -> None:
    """How a file is read in parts does not matter."""
    log = nginx_line(CHROMIUM, GROUPS, AGENT) * 3 + b"bad\n" + nginx_line(CHROMIUM, None, b"x").rstrip(b"\n")
    whole, counted = read("nginx", log)
    parts, again = read("nginx", *(log[at : at + size] for at in range(0, len(log), size)))
    assert (parts, again.lines, again.faults) == (whole, counted.lines, counted.faults)


def test_a_line_without_an_end_is_not_kept() -> None:
    """A gigabyte without a line feed costs one chunk, and is one unreadable line."""
    chunk = b"x" * (1 << 20)
    entries, reader = read("nginx", *([chunk] * 64), b"\n" + nginx_line(CHROMIUM, GROUPS, AGENT))
    assert len(entries) == 1
    assert reader.faults == [(1, Unreadable.TOO_LONG)]


@pytest.mark.parametrize("form", ["nginx", "haproxy", "jsonl"])
def test_long_lists_cost_no_memory(form: str) -> None:
    """Thousands of different lists that no browser sends are read and forgotten: 16 MiB, where kept ones take 60."""
    suites = [tuple(range(number, number + 250)) for number in range(2000)]
    lines: dict[str, Callable[[tuple[int, ...]], bytes]] = {
        "nginx": lambda codes: nginx_line(codes, codes, AGENT),
        "haproxy": lambda codes: haproxy_line(codes, codes, codes, AGENT),
        "jsonl": lambda codes: (
            json.dumps({"user_agent": "x", "cipher_suites": codes, "groups": codes}).encode() + b"\n"
        ),
    }
    make, reader = lines[form], LogReader(LogFormat(form))
    tracemalloc.start()
    try:
        read_entries = sum(1 for _ in reader.entries(make(codes) for codes in suites))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read_entries == 2000
    assert peak < 16 << 20


def test_names_are_those_of_openssl() -> None:
    """Every cipher suite that this machine's OpenSSL knows has its code point in the table."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    known: dict[str, int] = _names()[0]
    assert {one["name"]: one["id"] & 0xFFFF for one in context.get_ciphers()}.items() <= known.items()
