"""Tests of detector.pins.lint. Room: pins; pure."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from detector.knowledge.catalogue import Field
from detector.knowledge.data_set import shipped as shipped_data
from detector.model import Category, Endpoint, RecordedIdentity
from detector.pins import PinSet, Severity, lint

DATA = shipped_data()
PUBLIC = RecordedIdentity.PUBLIC
ROOT = next(root for root in DATA.known_roots.roots if root.label == "ISRG Root X1")
ROOT_KEY, ROOT_SHA256 = bytes.fromhex(ROOT.spki_sha256), bytes.fromhex(ROOT.sha256)
SUPERFISH = next(
    bytes.fromhex(fact.value)
    for entry in DATA.catalogue.entries
    for fact in entry.facts
    if entry.id == "superfish" and fact.field is Field.SPKI_SHA256
)
TODAY = dt.date(2026, 11, 23)
PINNED = Endpoint(
    host="exam.example.edu",
    category=Category.EXAM,
    pins=(b"a" * 32,),
    backup_pins=(b"b" * 32,),
    expires=dt.date(2027, 2, 1),
    source="exam.toml",
)


def messages(endpoint: Endpoint, roots: set[str] | None = None) -> list[tuple[Severity, str]]:
    """Lint a set of one endpoint and give severities and texts."""
    pin_set = PinSet(name="exam", endpoints=(endpoint,), sources=("exam.toml",))
    return [(found.severity, found.message) for found in lint(pin_set, at=TODAY, data=DATA, root_labels=roots)]


def test_sound_set_has_nothing_to_say() -> None:
    """Pins, backup pins and a date well ahead are what lint asks for."""
    assert not messages(PINNED)


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"expires": TODAY - dt.timedelta(days=1)}, Severity.ERROR, "expired on 2026-11-22"),
        ({"expires": TODAY + dt.timedelta(days=14)}, Severity.WARNING, "within 14 days"),
        ({"expires": None}, Severity.WARNING, "expires is missing"),
        ({"backup_pins": ()}, Severity.WARNING, "no backup pin"),
        ({"backup_pins": (b"a" * 32,)}, Severity.WARNING, "backs up nothing"),
        ({"pins": ()}, Severity.WARNING, "backup_pins without pins"),
        ({"pins": (), "backup_pins": ()}, Severity.WARNING, "exam endpoint without pins"),
        (
            {"pins": (), "backup_pins": (), "certificates": (b"c" * 32,), "category": Category.OTHER},
            Severity.WARNING,
            "only whole certificates",
        ),
        ({"witness_is_end": True}, Severity.WARNING, "witness_is_end without witness"),
        ({"pins": (b"a" * 32, ROOT_KEY)}, Severity.ERROR, "a root's key as pin clears nothing"),
        ({"backup_pins": (ROOT_KEY,)}, Severity.ERROR, "public root ISRG Root X1"),
        ({"certificates": (ROOT_SHA256,)}, Severity.ERROR, "name the root in roots"),
        ({"pins": (SUPERFISH,)}, Severity.ERROR, "belongs to Superfish"),
        (
            {"pins": (), "backup_pins": (), "category": Category.OTHER, "roots": ("New Root",), "identity": PUBLIC},
            Severity.WARNING,
            'identity = "public" without pins',
        ),
        ({"pins": (), "backup_pins": (), "category": Category.BANK}, Severity.WARNING, "neither pins nor roots"),
    ],
)
def test_each_weakness_is_said_once(changes: dict[str, object], severity: Severity, text: str) -> None:
    """One weakness gives one message that names it."""
    ((found, message),) = messages(msgspec.structs.replace(PINNED, **changes))
    assert found is severity
    assert text in message


def test_public_pins_need_nothing_more() -> None:
    """What `pins learn` writes of a public endpoint is sound but for the backup that only its operator can give."""
    learned = msgspec.structs.replace(PINNED, identity=PUBLIC, witness=(b"w" * 32,), witness_is_end=True)
    assert not messages(learned)
    ((severity, text),) = messages(msgspec.structs.replace(learned, backup_pins=()))
    assert severity is Severity.WARNING
    assert "no backup pin" in text


def test_day_before_notice_is_quiet() -> None:
    """Fifteen days ahead there is nothing to do yet."""
    assert not messages(msgspec.structs.replace(PINNED, expires=TODAY + dt.timedelta(days=15)))


def test_roots_that_left_the_bundle_are_named() -> None:
    """One lost root is a warning, all of them an error, and not asking is quiet."""
    endpoint = msgspec.structs.replace(PINNED, roots=("Old Root", "New Root"))
    assert not messages(endpoint)
    assert not messages(endpoint, {"Old Root", "New Root"})
    ((severity, text),) = messages(endpoint, {"New Root"})
    assert severity is Severity.WARNING
    assert "Old Root" in text
    ((severity, text),) = messages(endpoint, set())
    assert severity is Severity.ERROR
    assert "Old Root, New Root" in text


def test_shipped_files_state_no_keys_and_name_former_roots() -> None:
    """What a user cannot change is no warning; an expectation that nothing meets any more is an error everywhere."""
    endpoint = Endpoint(host="exam.example", category=Category.EXAM, roots=("Old Root", "New Root"), source="s.toml")
    pin_set = PinSet(name="s", endpoints=(endpoint,))
    today = dt.date(2026, 1, 1)
    assert len(lint(pin_set, at=today, data=DATA, root_labels={"New Root"})) == 2
    assert lint(pin_set, at=today, data=DATA, root_labels={"New Root"}, shipped={"s.toml"}) == ()
    (message,) = lint(pin_set, at=today, data=DATA, root_labels=(), shipped={"s.toml"})
    assert message.severity is Severity.ERROR


def test_expiry_without_pins_does_not_matter() -> None:
    """Root names do not expire, so a file of root names has no stale pins."""
    endpoint = Endpoint(host="ca.example", roots=("New Root",), expires=dt.date(2020, 1, 1), source="roots.toml")
    assert not messages(endpoint, {"New Root"})


def test_update_from_the_future_is_doubted() -> None:
    """Either the file's date or this clock is wrong."""
    pin_set = PinSet(name="exam", updated=TODAY + dt.timedelta(days=1), endpoints=(PINNED,), sources=("exam.toml",))
    (message,) = lint(pin_set, at=TODAY, data=DATA)
    assert "in the future" in message.message
    assert (message.source, message.endpoint) == ("exam.toml", None)


def test_messages_of_several_files_name_their_file() -> None:
    """Each file answers for its own dates."""
    stale = msgspec.structs.replace(PINNED, host="old.example", expires=dt.date(2020, 1, 1), source="old.toml")
    pin_set = PinSet(name="both", endpoints=(PINNED, stale), sources=("exam.toml", "old.toml"))
    (message,) = lint(pin_set, at=TODAY, data=DATA)
    assert message.source == "old.toml"
