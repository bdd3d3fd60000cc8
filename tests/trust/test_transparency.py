"""Whether a leaf was logged: every kind of timestamp, by lists of every age, over every kind of issuer.

Room: tests of trust. The table is written out: what is expected stands with the kind and is computed by nothing.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import Mock

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from detector_testing import CTLog, generate_key
from detector_testing.pki import encode_sct_list, encode_tls_scts
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import signature, transparency
from detector.trust.certificate import EXTENSIONS_MAX, OID_SCT_LIST, Certificate
from detector.trust.ct_logs import FormerOperator, Log, LogList, Shard
from detector.trust.transparency import Logging, SCTSource, SCTStatus

if TYPE_CHECKING:
    from detector_testing import CA, Issued, PrivatePKI

HOST: Final = "exam.example.edu"
DAY: Final = dt.timedelta(days=1)
HOUR: Final = dt.timedelta(hours=1)
LETTERS: Final = {Logging.LOGGED: "L", Logging.UNKNOWABLE: "?", Logging.UNLOGGED: "U"}


class World:
    """Logs of every sort, by short names, and lists that know them.

    a, b, c are three operators' logs; a2 and a3 the first operator's too. `retired` retired ten days before the usual
    leaf was issued, `retires` ten days after. `ended` takes leaves that ended last year. `test` is a test log. n1 to
    n3 are logs that no list has.
    """

    def __init__(self, pki: PrivatePKI) -> None:
        self.pki = pki
        self.now = pki.now
        self.issued = pki.now - 30 * DAY
        operators = {"a": "Ash", "a2": "Ash", "a3": "Ash", "b": "Beech", "c": "Cedar", "test": "Gum"}
        operators |= {"retired": "Dogwood", "retires": "Elm", "ended": "Fir", "n1": "?", "n2": "?", "n3": "?"}
        self.signers = {
            name: CTLog(description=name, operator=operator, url="https://ct.example/", key=generate_key())
            for name, operator in operators.items()
        }
        special: dict[str, dict[str, Any]] = {
            "retired": {"retired": self.issued - 10 * DAY},
            "retires": {"retired": self.issued + 10 * DAY},
            "ended": {"shard": Shard(self.now - 400 * DAY, self.now - 35 * DAY)},
            "a": {"shard": Shard(self.now - 4000 * DAY, self.now + 4000 * DAY)},
            "test": {"why": "a test log"},
        }
        self.known = {
            signer.log_id: Log(
                log_id=signer.log_id,
                key=signer.public_key_der,
                operator=signer.operator,
                description=name,
                **special.get(name, {}),
            )
            for name, signer in self.signers.items()
            if signer.operator != "?"
        }

    def list_of(self, date: dt.date | None) -> LogList:
        logs = {log_id: log for log_id, log in self.known.items() if log.accepted}
        untrusted = {log_id: log for log_id, log in self.known.items() if not log.accepted}
        return LogList(name="list", date=date, logs=logs, untrusted=untrusted)

    def sign(self, names: str, entry: bytes, key_hash: bytes | None, at: dt.datetime) -> list[bytes]:
        """SCTs of these logs; a name with `!` is signed over something else."""
        return [
            self.signers[name.rstrip("!")].sct(entry, key_hash, at=at, wrong_signature=name.endswith("!"))
            for name in names.split()
        ]


class Kind(NamedTuple):
    """A leaf's timestamps and what they come to.

    `embedded`, `tls` and `ocsp` name logs; `hours` is their time after issue. `days` is the leaf's life. `expected` is
    logged, unknowable (?) or unlogged, in this order: over the leaf's issuer by a list that knows every log of the time
    of issue, and by a list past its horizon; the same two where the issuer is another key, or none is at hand.
    """

    what: str
    expected: str
    embedded: str = ""
    tls: str = ""
    ocsp: str = ""
    hours: float = 1
    days: int = 90
    carried: bool = True
    other_leaf: bool = False


TABLE: Final = (
    Kind("no timestamps at all", "UUUU"),
    Kind("two operators' logs", "LLUU", embedded="a b"),
    Kind("one log", "UUUU", embedded="a"),
    Kind("one log twice", "UUUU", embedded="a a"),
    Kind("two logs of one operator", "UUUU", embedded="a a2"),
    Kind("three logs of two operators", "LLUU", embedded="a a2 b"),
    Kind("a log and a test log", "UUUU", embedded="a test"),
    Kind("a log and an unknown one", "ULUU", embedded="a n1"),
    Kind("one unknown log", "UUUU", embedded="n1"),
    Kind("one unknown log twice", "UUUU", embedded="n1 n1"),
    Kind("two unknown logs", "U?U?", embedded="n1 n2"),
    Kind("an unknown and a test log", "UUUU", embedded="n1 test"),
    Kind("two unknown logs and two bad signatures", "U?U?", embedded="a! b! n1 n2"),
    Kind("two bad signatures", "UUUU", embedded="a! b!"),
    Kind("a bad signature and a good one", "UUUU", embedded="a b!"),
    Kind("a bad signature and an unknown log", "UUUU", embedded="a! n1"),
    Kind("a bad signature, a good one, an unknown log", "ULUU", embedded="a b! n1"),
    # retirement and shards
    Kind("a log that had retired", "UUUU", embedded="a retired"),
    Kind("a log that retired since", "LLUU", embedded="a retires"),
    Kind("a log at the moment of its retirement", "UUUU", embedded="a retires", hours=10 * 24),
    Kind("a log after its retirement", "UUUU", embedded="a retires", hours=11 * 24),
    Kind("a log of another shard", "UUUU", embedded="a ended"),
    Kind("a retired log and an unknown one", "UUUU", embedded="retired n1"),
    Kind("only logs that do not count, and an unknown one", "UUUU", embedded="retired ended test n1"),
    # time
    Kind("a day before issue, less an hour", "LLUU", embedded="a b", hours=-23),
    Kind("a day before issue and an hour", "UUUU", embedded="a b", hours=-25),
    Kind("unknown logs a day before issue and an hour", "UUUU", embedded="n1 n2", hours=-25),
    Kind("a day from now, less an hour", "LLUU", embedded="a b", hours=31 * 24 - 1),
    Kind("a day from now and an hour", "UUUU", embedded="a b", hours=31 * 24 + 1),
    Kind("unknown logs a day from now and an hour", "UUUU", embedded="n1 n2", hours=31 * 24 + 1),
    Kind("before Certificate Transparency", "UUUU", embedded="a b", hours=-20 * 365 * 24),
    # number by lifetime
    Kind("two logs for 180 days", "LLUU", embedded="a b", days=180),
    Kind("two logs for 181 days", "UUUU", embedded="a b", days=181),
    Kind("three logs for 181 days", "LLUU", embedded="a b c", days=181),
    Kind("three logs of two operators for 181 days", "LLUU", embedded="a a2 c", days=181),
    Kind("two logs, one of them twice, for 181 days", "UUUU", embedded="a a b", days=181),
    Kind("three logs of one operator for 181 days", "UUUU", embedded="a a2 a3", days=181),
    Kind("two logs and an unknown one for 181 days", "ULUU", embedded="a b n1", days=181),
    Kind("one operator's two logs and an unknown one for 181 days", "ULUU", embedded="a a2 n1", days=181),
    Kind("two unknown logs for 181 days", "UUUU", embedded="n1 n2", days=181),
    Kind("three unknown logs for 181 days", "U?U?", embedded="n1 n2 n3", days=181),
    # outside the certificate: what is signed is the leaf itself, so no issuer is needed
    Kind("two operators by TLS", "LLLL", tls="a b"),
    Kind("two operators by OCSP", "LLLL", ocsp="a b"),
    Kind("one by TLS, one by OCSP", "LLLL", tls="a", ocsp="b"),
    Kind("the same log by TLS and OCSP", "UUUU", tls="a", ocsp="a"),
    Kind("one embedded, another by TLS", "LLUU", embedded="a", tls="b"),
    Kind("one embedded, the same by TLS", "UUUU", embedded="a", tls="a"),
    Kind("one operator by TLS", "UUUU", tls="a a2"),
    Kind("two by TLS for 181 days", "LLLL", tls="a b", days=181),
    Kind("two embedded and one by OCSP for 181 days", "LLUU", embedded="a b", ocsp="c", days=181),
    Kind("bad signatures by TLS and OCSP", "UUUU", tls="a! b!", ocsp="b! c!"),
    Kind("unknown logs by TLS", "U?U?", tls="n1 n2"),
    Kind("a log and an unknown one by TLS", "ULUL", tls="a n1"),
    Kind("unknown logs embedded, a log by OCSP", "ULUL", embedded="n1 n2", ocsp="a"),
    Kind("another leaf's by TLS", "UUUU", tls="a b", other_leaf=True),
    Kind("another leaf's by OCSP", "UUUU", ocsp="a b", other_leaf=True),
    Kind("another leaf's and one embedded", "UUUU", embedded="a", ocsp="b", other_leaf=True),
    Kind("retired logs by TLS", "UUUU", tls="a retired"),
    # what was not carried
    Kind("none, and none could be carried", "????", carried=False),
    Kind("one embedded, and none could be carried", "UUUU", embedded="a", carried=False),
    Kind("a bad one embedded, and none could be carried", "UUUU", embedded="a!", carried=False),
    Kind("two embedded, and none could be carried", "LLUU", embedded="a b", carried=False),
    Kind("unknown ones embedded, and none could be carried", "U?U?", embedded="n1 n2", carried=False),
)


@pytest.fixture(scope="module")
def world(pki: PrivatePKI) -> World:
    return World(pki)


@pytest.fixture(scope="module")
def bare_leaf(pki: PrivatePKI) -> Issued:
    return pki.intermediate_ec.issue([HOST])


def issue(world: World, kind: Kind, ca: CA) -> tuple[Issued, list[tuple[SCTSource, bytes]]]:
    at = world.issued + kind.hours * HOUR
    leaf = ca.issue(
        [HOST],
        not_before=world.issued,
        not_after=world.issued + kind.days * DAY,
        sct_list=(lambda tbs, key_hash: world.sign(kind.embedded, tbs, key_hash, at)) if kind.embedded else None,
    )
    signed = ca.issue([HOST]).leaf if kind.other_leaf else leaf.leaf
    outside = []
    if kind.tls:
        outside.append((SCTSource.TLS_EXTENSION, encode_tls_scts(world.sign(kind.tls, signed, None, at))))
    if kind.ocsp:
        response = ca.ocsp_response(leaf.leaf, scts=world.sign(kind.ocsp, signed, None, at))
        outside.append((SCTSource.OCSP, response))
    return leaf, outside


@pytest.mark.parametrize("kind", TABLE, ids=[kind.what for kind in TABLE])
def test_every_kind_by_every_age_over_every_issuer(pki: PrivatePKI, world: World, kind: Kind) -> None:
    """The whole table: a list of any age, the right issuer, several of its name, another key, and none."""
    issued, outside = issue(world, kind, pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    namesake = Certificate.read(pki.private_ca(copy_from=pki.intermediate_ec.certificate).certificate)
    dates = {age: world.issued.date() - age * DAY for age in (-40, 0, 70, 71, 180, 1000)}

    def letter(issuers: list[Certificate], date: dt.date | None) -> str:
        found = transparency.assess(
            leaf, issuers, world.list_of(date), world.now, outside=outside, carried=kind.carried
        )
        assert found.not_carried == (found.logging is Logging.UNKNOWABLE and not kind.carried and not kind.embedded)
        return LETTERS[found.logging]

    young, old, young_bare, old_bare = tuple(kind.expected)
    for ages, by_issuer, bare in (((-40, 0, 70), young, young_bare), ((71, 180, 1000), old, old_bare)):
        for age in ages:
            assert letter([issuer], dates[age]) == letter([namesake, issuer], dates[age]) == by_issuer, age
            assert letter([namesake], dates[age]) == letter([], dates[age]) == bare, age
    # A list without a date is held to be current.
    assert letter([issuer], None) == young


@pytest.mark.parametrize(
    ("names", "hours", "expected"),
    [("a b", 23, "L"), ("a b", 49, "U"), ("n1 n2", 23, "?"), ("n1 n2", 49, "U"), ("a n1", 49, "U")],
)
def test_a_distrusted_roots_last_day(pki: PrivatePKI, world: World, names: str, hours: int, expected: str) -> None:
    """A leaf dated back to the last day that browsers take has timestamps from after it, which are worth nothing."""
    kind = Kind("dated back", "", embedded=names, hours=hours)
    issued, _ = issue(world, kind, pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    listed = world.list_of(world.issued.date() - 71 * DAY)
    found = transparency.assess(leaf, [issuer], listed, world.now, until=world.issued.date())
    assert LETTERS[found.logging] == expected
    assert (expected == "U") == {one.status for one in found.scts}.isdisjoint({SCTStatus.VALID, SCTStatus.OPEN})


@pytest.mark.parametrize("kind", TABLE, ids=[kind.what for kind in TABLE])
def test_claims_are_the_table_without_signatures(pki: PrivatePKI, world: World, kind: Kind) -> None:
    """Embedded timestamps claim what they would come to if every one were signed; what came outside claims nothing."""
    unspoiled = kind._replace(embedded=kind.embedded.replace("!", ""), tls="", ocsp="")
    issued, _ = issue(world, unspoiled, pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    for date in (world.issued.date(), world.issued.date() - 71 * DAY):
        listed = world.list_of(date)
        assessed = transparency.assess(leaf, [issuer], listed, world.now).logging
        assert transparency.claims_logging(leaf, listed, world.now) is (assessed is not Logging.UNLOGGED)
        spoiled, _ = issue(world, kind, pki.intermediate_ec)
        claims = transparency.claims_logging(Certificate.read(spoiled.leaf), listed, world.now)
        assert claims is (assessed is not Logging.UNLOGGED)


def statuses(found: transparency.Assessment) -> dict[str | None, SCTStatus]:
    return {one.log: one.status for one in found.scts}


def test_statuses_say_which_limit_was_not_met(pki: PrivatePKI, world: World) -> None:
    """Each timestamp gets one status, its log's name and operator, and how it came."""
    kind = Kind("all", "LLUU", embedded="a b! retired ended test n1", tls="c")
    issued, outside = issue(world, kind, pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    found = transparency.assess(leaf, [issuer], world.list_of(world.issued.date()), world.now, outside=outside)
    assert [(one.log, one.status, one.operator, one.source) for one in found.scts] == [
        ("a", SCTStatus.VALID, "Ash", SCTSource.EMBEDDED),
        ("b", SCTStatus.INVALID_SIGNATURE, "Beech", SCTSource.EMBEDDED),
        ("retired", SCTStatus.AFTER_RETIREMENT, "Dogwood", SCTSource.EMBEDDED),
        ("ended", SCTStatus.OUTSIDE_SHARD, "Fir", SCTSource.EMBEDDED),
        (None, SCTStatus.UNTRUSTED_LOG, None, SCTSource.EMBEDDED),
        (None, SCTStatus.UNKNOWN_LOG, None, SCTSource.EMBEDDED),
        ("c", SCTStatus.VALID, "Cedar", SCTSource.TLS_EXTENSION),
    ]
    assert {one.timestamp for one in found.scts} == {world.issued + HOUR}
    past = transparency.assess(leaf, [], world.list_of(dt.date(2020, 1, 1)), world.now, outside=outside)
    assert statuses(past)["a"] is SCTStatus.NOT_CHECKABLE
    assert [one.status for one in past.scts if one.log is None] == [SCTStatus.UNTRUSTED_LOG, SCTStatus.OPEN]


@pytest.mark.parametrize(("hours", "status"), [(-25, "before-issuance"), (31 * 24 + 1, "in-the-future")])
def test_times_that_cannot_be(pki: PrivatePKI, world: World, hours: int, status: str) -> None:
    """A log signed it, and still it cannot belong to this leaf; of unknown logs no such thing is said."""
    issued, _ = issue(world, Kind("times", "UUUU", embedded="a n1", hours=hours), pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    found = transparency.assess(leaf, [issuer], world.list_of(dt.date(2020, 1, 1)), world.now)
    assert [one.status.value for one in found.scts] == [status, "unknown-log"]


def test_time_past_the_calendar(pki: PrivatePKI, world: World) -> None:
    """Milliseconds that no date can hold are the future, of known and unknown logs."""

    def far(tbs: bytes, key_hash: bytes) -> list[bytes]:
        return [one[:33] + b"\xff" * 8 + one[41:] for one in world.sign("a n1", tbs, key_hash, world.now)]

    leaf = Certificate.read(pki.intermediate_ec.issue([HOST], sct_list=far).leaf)
    listed = world.list_of(dt.date(2020, 1, 1))
    assert not transparency.claims_logging(leaf, listed, world.now)
    assert {one.timestamp for one in transparency.assess(leaf, [], listed, world.now).scts} == {None}


def test_a_leaf_of_2018_hides_behind_no_age(pki: PrivatePKI, world: World) -> None:
    """Issued before browsers asked for timestamps, or in the far future: neither opens anything."""
    for not_before in (dt.datetime(2018, 1, 1, tzinfo=dt.UTC), dt.datetime(9998, 1, 1, tzinfo=dt.UTC)):
        for names in ("", "n1 n2", "a! b!"):
            leaf = pki.intermediate_ec.issue(
                [HOST],
                not_before=not_before,
                not_after=world.now + 60 * DAY if not_before < world.now else not_before + 60 * DAY,
                sct_list=functools.partial(world.sign, names, at=world.now),
            )
            for listed in (world.list_of(world.now.date()), world.list_of(None)):
                found = transparency.assess(Certificate.read(leaf.leaf), [], listed, world.now)
                assert found.logging is Logging.UNLOGGED


def two_by_tls(world: World, leaf: bytes) -> list[tuple[SCTSource, bytes]]:
    return [(SCTSource.TLS_EXTENSION, encode_tls_scts(world.sign("a b", leaf, None, world.now)))]


@pytest.mark.parametrize("count", [EXTENSIONS_MAX, EXTENSIONS_MAX + 1])
def test_more_extensions_than_are_read(world: World, count: int) -> None:
    """Extensions past the limit might be anything, so no timestamp of that leaf counts."""
    key, name = generate_key("ec"), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, world.issued, world.issued + 90 * DAY)
    for number in range(count):
        identifier = x509.ObjectIdentifier(f"1.3.6.1.4.1.55555.{number}")
        builder = builder.add_extension(x509.UnrecognizedExtension(identifier, b""), critical=False)
    leaf = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    listed = world.list_of(world.now.date())
    found = transparency.assess(
        Certificate.read(leaf), [], listed, world.now, outside=two_by_tls(world, leaf), carried=False
    )
    assert found.logging is (Logging.LOGGED if count == EXTENSIONS_MAX else Logging.UNLOGGED)
    assert not found.not_carried


def test_dates_that_contradict_each_other(pki: PrivatePKI, world: World) -> None:
    """A leaf that ends before it begins has a short life by subtraction, and no life."""
    issued = pki.intermediate_ec.issue([HOST], not_before=world.issued, not_after=world.now + 60 * DAY).leaf
    begin, end = (f"{moment:%y%m%d%H%M%S}Z".encode() for moment in (world.issued, world.now + 60 * DAY))
    swapped = issued.replace(begin + b"\x17\x0d" + end, end + b"\x17\x0d" + begin)
    assert swapped != issued
    for leaf, expected in ((issued, Logging.LOGGED), (swapped, Logging.UNLOGGED), (b"junk", Logging.UNLOGGED)):
        listed, outside = world.list_of(world.now.date()), two_by_tls(world, leaf)
        found = transparency.assess(Certificate.read(leaf), [], listed, world.now, outside=outside, carried=False)
        assert found == (expected, found.scts, False)


def test_operators_are_those_of_the_time(pki: PrivatePKI, world: World) -> None:
    """A log that changed hands counts for the operator who signed: before the change for one, afterwards for two."""
    issued, _ = issue(world, Kind("sold", "LLUU", embedded="a a2"), pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    listed, sold = world.list_of(world.now.date()), world.signers["a2"].log_id
    for days, expected in ((1, Logging.LOGGED), (-1, Logging.UNLOGGED)):
        former = (FormerOperator("Yew", world.issued - 900 * DAY), FormerOperator("Oak", world.issued + days * DAY))
        changed = msgspec.structs.replace(listed.logs[sold], former_operators=former)
        logs = msgspec.structs.replace(listed, logs={**listed.logs, sold: changed})
        assert transparency.assess(leaf, [issuer], logs, world.now).logging is expected


def test_forged_copy_of_a_logged_certificate(pki: PrivatePKI, world: World) -> None:
    """The same names and timestamps under another issuer's key: every signature fails, over any issuer's key."""
    genuine, _ = issue(world, Kind("genuine", "LLUU", embedded="a b"), pki.intermediate_ec)
    ca = pki.private_ca("Filter CA")
    copied = Certificate.read(genuine.leaf).extensions[OID_SCT_LIST]
    leaf = Certificate.read(ca.issue(copy_from=genuine.leaf, sct_list=copied).leaf)
    issuers = [Certificate.read(one) for one in (ca.certificate, pki.intermediate_ec.certificate)]
    found = transparency.assess(leaf, issuers, world.list_of(world.now.date()), world.now)
    assert found.logging is Logging.UNLOGGED
    assert set(statuses(found).values()) == {SCTStatus.INVALID_SIGNATURE}
    assert transparency.claims_logging(leaf, world.list_of(world.now.date()), world.now)


def test_timestamps_of_other_observations_count(pki: PrivatePKI, world: World) -> None:
    """What any observation of this leaf brought is read, with unreadable ones between, each timestamp once."""
    leaf = pki.intermediate_ec.issue([HOST]).leaf
    [[_, both]] = two_by_tls(world, leaf)
    tls, ocsp = SCTSource.TLS_EXTENSION, SCTSource.OCSP
    outside = [(tls, b"junk"), (ocsp, b"junk"), (tls, both), (ocsp, both), (tls, both)]
    found = transparency.assess(Certificate.read(leaf), [], world.list_of(world.now.date()), world.now, outside=outside)
    assert found.logging is Logging.LOGGED
    assert len(found.scts) == 2


def test_no_more_are_checked_than_the_bound(pki: PrivatePKI, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends lists without end costs so many verifications, and the leaf's own timestamps are among them."""
    verify = Mock(wraps=signature.verify_sct)
    monkeypatch.setattr("detector.trust.transparency.verify_sct", verify)
    issued, _ = issue(world, Kind("bound", "LLUU", embedded="a b"), pki.intermediate_ec)
    leaf, issuer, *_ = map(Certificate.read, issued.chain)
    forged = world.sign("a!", issued.leaf, None, world.now)[0]
    lists = [encode_tls_scts([forged[:-1] + bytes((n,)), forged[:-2] + bytes((n, 0))]) for n in range(256)]
    outside = [(SCTSource.TLS_EXTENSION, one) for one in lists]
    found = transparency.assess(leaf, [issuer], world.list_of(world.now.date()), world.now, outside=outside)
    assert found.logging is Logging.LOGGED
    assert verify.call_count == len(found.scts) == transparency.CHECKED_MAX


LOG_NAMES = ("a", "a2", "b", "test", "retired", "ended", "n1", "n2", "n3")


@given(
    junk=st.lists(st.tuples(st.sampled_from(LOG_NAMES), st.integers(0, 2**64 - 1), st.binary(max_size=80)), max_size=6),
    raw=st.lists(st.tuples(st.sampled_from(SCTSource), st.binary(max_size=120)), max_size=3),
    age=st.integers(-100, 70),
)
def test_nothing_unsigned_helps_while_the_list_knows_every_log(
    bare_leaf: Issued, world: World, junk: list[tuple[str, int, bytes]], raw: list[tuple[SCTSource, bytes]], age: int
) -> None:
    """Whatever a forger without a log's key sends, a leaf without timestamps of its own stays what it was."""
    scts = [
        b"\0"
        + world.signers[name].log_id
        + time.to_bytes(8, "big")
        + b"\0\0\4\3"
        + len(signed).to_bytes(2, "big")
        + signed
        for name, time, signed in junk
    ]
    listed = world.list_of(world.issued.date() - age * DAY)
    outside = [*raw, (SCTSource.TLS_EXTENSION, encode_tls_scts(scts))]
    leaf, issuer, *_ = map(Certificate.read, bare_leaf.chain)
    for carried, expected in ((True, Logging.UNLOGGED), (False, Logging.UNKNOWABLE)):
        found = transparency.assess(leaf, [issuer], listed, world.now, outside=outside, carried=carried)
        assert found.logging is expected


@given(content=st.binary(max_size=200), framed=st.booleans(), dates=st.tuples(st.datetimes(), st.datetimes()))
def test_any_leaf_is_assessed(
    world: World,
    content: bytes,
    framed: bool,  # noqa: FBT001 - an example
    dates: tuple[dt.datetime, dt.datetime],
) -> None:
    """Any list and any dates, to the ends of the calendar, give an assessment and no exception."""
    leaf = Certificate(b"")
    leaf.__dict__["extensions"] = {OID_SCT_LIST: encode_sct_list([content]) if framed else content}
    leaf.__dict__["validity"] = tuple(moment.replace(tzinfo=dt.UTC) for moment in dates)
    for date in (dt.date.min, world.now.date(), dt.date.max, None):
        found = transparency.assess(leaf, [], world.list_of(date), world.now)
        assert found.logging is Logging.UNLOGGED
        assert not transparency.claims_logging(leaf, world.list_of(date), world.now)
