"""Tests of detector.pins.formats: what goes to another program comes back equal, and nothing is lost in silence."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import PinFileError
from detector.knowledge import catalogue
from detector.knowledge.data_set import shipped as shipped_data
from detector.model import Category, Endpoint, RecordedIdentity
from detector.pins import PinSet, encode_pin
from detector.pins.formats import FIELDS_LEFT_OUT, FORMATS, KeysOf, PinFormat, export_pins, import_pins

DATA = shipped_data()
TODAY = dt.date(2026, 11, 30)
EXAM = "exam.example.edu"
WRITTEN = [form for form in PinFormat if FORMATS[form].write is not None]
PIN, NEXT = bytes(32), bytes([1]) * 32
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda text: text[2:4] != "--")
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))


def read_back(text: str, form: PinFormat, *hosts: str) -> PinSet:
    """What an import of this text makes."""
    return import_pins(text.encode(), form, file="given", at=TODAY, known=DATA, name="exam", hosts=hosts)[0]


@st.composite
def sayable(draw: st.DrawFn, form: PinFormat) -> PinSet:
    """Draw any pin set that a format can say."""
    known = FORMATS[form]
    last = st.dates(TODAY + dt.timedelta(days=1), TODAY + dt.timedelta(days=3650))
    is_header = form is PinFormat.HPKP
    expires = draw(last if is_header else st.none() | last) if known.expires else None
    names = draw(st.lists(NAME, min_size=1, max_size=1 if is_header else 4, unique=True))
    pins = st.lists(st.binary(min_size=32, max_size=32), min_size=known.least, max_size=4, unique=True).map(tuple)
    endpoints = tuple(Endpoint(host=name, pins=draw(pins), expires=expires) for name in names)
    return PinSet(name="exam", updated=TODAY, expires=expires, endpoints=endpoints)


@given(st.data(), st.sampled_from(WRITTEN), st.sampled_from(KeysOf))
def test_what_is_exported_is_imported_equal(data: st.DataObject, form: PinFormat, keys_of: KeysOf) -> None:
    """Hosts, pins, their order and the last day are the same after a way through each format."""
    pin_set = data.draw(sayable(form))
    text = export_pins(pin_set, form, at=TODAY, keys_of=keys_of)
    hosts = [endpoint.host for endpoint in pin_set.endpoints] if form is PinFormat.HPKP else []
    assert read_back(text, form, *hosts) == pin_set


UNSAYABLE: dict[str, Any] = {
    "category": Category.EXAM,
    "operator": "Example Exams Ltd",
    "identity": RecordedIdentity.PUBLIC,
    "certificates": (PIN,),
    "roots": ("ISRG Root X1",),
    "private_roots": (b"root",),
    "witness": (PIN,),
    "witness_is_end": True,
    "quic": True,
    "address": ("127.0.0.1", 8443),
    "expires": dt.date(2027, 1, 1),
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("field", UNSAYABLE)
def test_what_a_format_cannot_say_is_refused(form: PinFormat, field: str) -> None:
    """The refusal names endpoint and field; the field is lost only where the caller says so."""
    plain = Endpoint(host=EXAM, pins=(PIN, NEXT), expires=dt.date(2027, 1, 1) if FORMATS[form].expires else None)
    endpoint = msgspec.structs.replace(plain, **{field: UNSAYABLE[field]})
    pin_set = PinSet(name="exam", endpoints=(endpoint,))
    if field == "expires" and FORMATS[form].expires:
        expected = read_back(export_pins(pin_set, form, at=TODAY), form, EXAM)
        assert expected.endpoints[0].expires == UNSAYABLE["expires"]
        return
    with pytest.raises(PinFileError, match=rf"^{EXAM}:443: {field}: .* cannot say it\. .*--leave-out {field}"):
        export_pins(pin_set, form, at=TODAY, keys_of=KeysOf.CA)
    text = export_pins(pin_set, form, at=TODAY, keys_of=KeysOf.CA, leave_out=[field])
    assert read_back(text, form, EXAM).endpoints[0] == msgspec.structs.replace(plain)


def test_every_field_of_an_endpoint_is_handled() -> None:
    """A field that is new is refused, or may be left out; none is forgotten."""
    assert set(UNSAYABLE) == set(FIELDS_LEFT_OUT)
    always = {"host", "port", "pins", "backup_pins", "source", "canary", "runs_ca"}
    assert set(Endpoint.__struct_fields__) == always | set(FIELDS_LEFT_OUT)


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Endpoint(host=EXAM, port=8443, pins=(PIN, NEXT)), "8443: port: "),
        (Endpoint(host="192.0.2.1", pins=(PIN, NEXT)), "192.0.2.1:443: host: "),
        (Endpoint(host="2001:db8::1", pins=(PIN, NEXT)), "443: host: "),
        (Endpoint(host=EXAM, pins=(PIN,), backup_pins=(NEXT,)), "backup_pins: .*--backups-as-pins"),
        (Endpoint(host=EXAM), "443: pins: .* needs at least"),
        (Endpoint(host=EXAM, pins=(PIN, NEXT), canary=True), "canary: "),
    ],
    ids=["port", "address", "IPv6", "backup", "none", "canary"],
)
def test_what_no_format_can_say_is_refused(form: PinFormat, endpoint: Endpoint, words: str) -> None:
    """Ports, addresses and the role of a pin have no place anywhere."""
    with pytest.raises(PinFileError, match=words):
        export_pins(PinSet(name="exam", endpoints=(endpoint,)), form, at=TODAY, keys_of=KeysOf.LEAF)


def test_backup_pins_become_pins_on_request() -> None:
    """They follow the others, once each."""
    endpoint = Endpoint(host=EXAM, pins=(PIN,), backup_pins=(NEXT, PIN))
    text = export_pins(PinSet(name="exam", endpoints=(endpoint,)), PinFormat.OKHTTP, at=TODAY, backups_as_pins=True)
    assert read_back(text, PinFormat.OKHTTP).endpoints[0].pins == (PIN, NEXT)


def test_formats_with_rules_of_their_own() -> None:
    """One header is of one host and has an end; two lists of keys need a name each; certificates are not known."""
    two = PinSet(name="exam", endpoints=tuple(Endpoint(host=f"{n}.example", pins=(PIN, NEXT)) for n in "ab"))
    with pytest.raises(PinFileError, match=r"b\.example:443: host: "):
        export_pins(two, PinFormat.HPKP, at=TODAY)
    one = PinSet(name="exam", endpoints=two.endpoints[:1])
    with pytest.raises(PinFileError, match=r"a\.example:443: expires: "):
        export_pins(one, PinFormat.HPKP, at=TODAY)
    with pytest.raises(PinFileError, match=r"--keys-of leaf or --keys-of ca"):
        export_pins(one, PinFormat.ATS, at=TODAY)
    with pytest.raises(PinFileError, match=r"Safe Exam Browser cannot be written"):
        export_pins(one, PinFormat.SEB, at=TODAY)
    last = Endpoint(host=EXAM, pins=(PIN, NEXT), expires=dt.date.max)
    with pytest.raises(PinFileError, match=r"expires: no date follows it"):
        export_pins(PinSet(name="exam", endpoints=(last,)), PinFormat.ANDROID, at=TODAY)


@pytest.mark.parametrize("form", WRITTEN)
def test_a_public_root_is_no_pin(form: PinFormat) -> None:
    """Anyone can have a certificate below a public root: such a file is refused, and the root is named."""
    root = DATA.known_roots.roots[0]
    endpoint = Endpoint(host=EXAM, pins=(NEXT, bytes.fromhex(root.spki_sha256)), expires=TODAY + dt.timedelta(days=30))
    text = export_pins(
        PinSet(name="exam", endpoints=(endpoint,)),
        form,
        at=TODAY,
        keys_of=KeysOf.CA,
        leave_out=() if FORMATS[form].expires else ["expires"],
    )
    with pytest.raises(PinFileError, match=rf"^given: {EXAM}:443: pins: .*is the public root"):
        read_back(text, form, EXAM)


def test_a_product_s_key_is_no_pin() -> None:
    """The key of an interception product is known to others: importing it would clear the interceptor."""
    facts = [fact for entry in DATA.catalogue.entries if entry.id == "superfish" for fact in entry.facts]
    key = next(bytes.fromhex(fact.value) for fact in facts if fact.field is catalogue.Field.SPKI_SHA256)
    text = export_pins(PinSet(name="exam", endpoints=(Endpoint(host=EXAM, pins=(key,)),)), PinFormat.OKHTTP, at=TODAY)
    with pytest.raises(PinFileError, match=rf"^given: {EXAM}:443: pins: .* others have its key"):
        read_back(text, PinFormat.OKHTTP)


def test_too_many_entries_are_refused() -> None:
    """A pin set has a limit, and so has a file that becomes one."""
    calls = "".join(f'.add("k{number}.example", "{encode_pin(PIN)}")' for number in range(5001))
    with pytest.raises(PinFileError, match=r"^given: This holds more than 5000 entries"):
        read_back(f"CertificatePinner.Builder(){calls}.build()", PinFormat.OKHTTP)


@pytest.mark.parametrize("form", PinFormat)
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused(form: PinFormat, data: bytes) -> None:
    """Whatever is in a file, only the documented error comes out, and it names the file."""
    with pytest.raises(PinFileError, match=r"^given: "):
        import_pins(data, form, file="given", at=TODAY, known=DATA, name="exam", hosts=[EXAM])


@given(st.data(), st.sampled_from(WRITTEN))
def test_a_damaged_file_is_read_or_refused(data: st.DataObject, form: PinFormat) -> None:
    """A file with a piece taken out, or put in, ends in a pin set or in the documented error."""
    pin_set = data.draw(sayable(form))
    text = export_pins(pin_set, form, at=TODAY, keys_of=KeysOf.LEAF).encode()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    damaged = text[:start] + data.draw(st.binary(max_size=8)) + text[end:]
    try:
        found, _ = import_pins(
            damaged,
            form,
            file="given",
            at=TODAY,
            known=DATA,
            name="exam",
            hosts=[pin_set.endpoints[0].host],
        )
    except PinFileError as error:
        assert str(error).startswith("given: ")  # noqa: PT017 - either end is right
    else:
        assert found.endpoints[0].host == pin_set.endpoints[0].host
