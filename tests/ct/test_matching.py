"""Room: tests of ct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from detector_testing import PrivatePKI, StaticLog
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.ct import matching
from detector.ct.entries import Entry, read_tile
from detector.ct.matching import Watched
from detector.knowledge import data_set
from detector.model import Endpoint
from detector.pins import parse_host
from detector.trust import der
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from detector_testing import CA, Issued

HOST = "exam.example.edu"


def watched(*endpoints: Endpoint | str, **options: object) -> Watched:
    """Hosts to watch for, by name or with their pins."""
    given_ = [Endpoint(host=one) if isinstance(one, str) else one for one in endpoints]
    return Watched(given_, roots=frozenset(), **options)  # type: ignore[arg-type] # what the test gives


def entry_of(body: bytes) -> Entry:
    """A certificate as an entry."""
    log = StaticLog.create()
    log.add(body)
    (entry,) = read_tile(log.entries[0].timestamped + log.entries[0].rest, 0, 1)
    return entry


def both(ca: CA, names: list[str], **options: object) -> tuple[Issued, Entry, Entry]:
    """A certificate, and its entries as precertificate and as itself."""
    log = StaticLog.create()
    issued = log.issue(ca, names, **options)
    log.add(issued.leaf, issued.chain[1:])
    first, second = read_tile(b"".join(one.timestamped + one.rest for one in log.entries), 0, 2)
    return issued, first, second


@pytest.mark.parametrize(
    ("names", "host", "concerns"),
    [
        (["exam.example.edu"], HOST, True),
        (["www.example.org", "EXAM.Example.EDU"], HOST, True),
        (["*.example.edu"], HOST, True),
        (["*.EXAMPLE.edu"], HOST, True),
        (["*.exam.example.edu"], HOST, False),
        (["*.edu"], HOST, False),
        (["example.edu"], HOST, False),
        (["myexam.example.edu"], HOST, False),
        (["exam.example.edu.evil.example"], HOST, False),
        (["example.edu"], "example.edu", True),
        (["*.edu"], "example.edu", False),
        (["xn--prfung-4ya.example"], "prüfung.example", True),
        (["*.xn--prfung-4ya.example"], "www.prüfung.example", True),
        (["*.example"], "prüfung.example", False),
        (["*.uni.example"], "xn--prfung-4ya.uni.example", True),
        (["a.b.c.d.example.edu"], "a.b.c.d.example.edu", True),
        (["*.b.c.d.example.edu"], "a.b.c.d.example.edu", True),
    ],
)
def test_which_certificates_concern_a_host(names: list[str], host: str, concerns: bool, pki: PrivatePKI) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A name or a wildcard that a client would accept for the host, as precertificate and as certificate."""
    hosts = watched(parse_host(host))
    for entry in both(pki.intermediate_ec, names)[1:]:
        match = hosts.match(entry)
        assert (match is not None and match.is_readable) is concerns


def test_a_common_name_counts_where_there_is_no_other(pki: PrivatePKI) -> None:
    """As for old clients, and only without alternative names."""
    alone = pki.intermediate_ec.issue([], subject_cn=HOST)
    along = pki.intermediate_ec.issue(["www.example.org"], subject_cn=HOST)
    assert watched(HOST).match(entry_of(alone.leaf)) is not None
    assert watched(HOST).match(entry_of(along.leaf)) is None


LABEL = st.text("abcxyz-019", min_size=1, max_size=8).filter(
    lambda label: not label.startswith("-") and label[-1] != "-"
)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "edu"]))


@settings(max_examples=60)
@given(st.lists(NAME, min_size=1, max_size=60, unique=True), st.data())
def test_the_search_misses_nothing(hosts: list[str], data: st.DataObject) -> None:
    """What names a host exactly or by a wildcard is found in bytes, whatever surrounds it, and however many hosts."""
    found = watched(*hosts)
    host = data.draw(st.sampled_from(hosts))
    parent = host.partition(".")[2]
    name = data.draw(st.sampled_from([host, f"*.{parent}"] if "." in parent else [host]))
    cased = "".join(data.draw(st.sampled_from((c, c.upper()))) for c in name)
    around = data.draw(st.binary(max_size=6)), data.draw(st.binary(max_size=6))
    assert found.concerns(around[0] + cased.encode() + around[1])


def test_only_hosts_that_public_cas_certify_are_watched() -> None:
    """Names without a dot and addresses are left out, and said."""
    found = watched(HOST, "intranet", "192.0.2.7", "2001:db8::1")
    assert (set(found.expected), found.unwatched) == ({HOST}, ("192.0.2.7", "2001:db8::1", "intranet"))


def test_pinned_keys_and_certificates_are_known(pki: PrivatePKI) -> None:
    """The leaf's key as pin or backup pin, and the hash of the certificate, for its own host alone."""
    issued, before, after = both(pki.intermediate_ec, [HOST, "lms.example.edu"])
    key, sha256 = issued.spki_sha256, Certificate(issued.leaf).sha256
    for pinned in (Endpoint(host=HOST, pins=(key,)), Endpoint(host=HOST, backup_pins=(key,))):
        hosts = watched(pinned, "lms.example.edu")
        for entry in (before, after):
            match = hosts.match(entry)
            assert match is not None
            assert hosts.unknown(match) == ("lms.example.edu",)
    hosts = watched(Endpoint(host=HOST, certificates=(sha256,)))
    match = hosts.match(after)
    assert match is not None
    assert hosts.unknown(match) == ()


def test_a_pinned_ca_makes_known_what_it_issues(pki: PrivatePKI) -> None:
    """The issuer's key by the entry or by its signature, a key further up by signatures; never with leaf keys only."""
    issued, before, after = both(pki.intermediate_ec, [HOST])
    chain = [Certificate(one) for one in (*issued.chain[1:], pki.root_b.certificate)]
    issuer, root = pki.intermediate_ec.spki_sha256, pki.root_b.spki_sha256
    for pin in (issuer, root):
        hosts = watched(Endpoint(host=HOST, pins=(pin,)))
        strict = watched(Endpoint(host=HOST, pins=(pin,)), leaf_keys_only=True)
        for entry in (before, after):
            match = hosts.match(entry)
            assert match is not None
            assert hosts.unknown(match, chain) == ()
            assert strict.unknown(match, chain) == (HOST,)
            assert not strict.needs_issuers(match)
    match = watched(Endpoint(host=HOST, pins=(issuer,))).match(before)
    assert match is not None
    assert not watched(Endpoint(host=HOST, pins=(issuer,))).needs_issuers(match)


def test_a_ca_that_signed_nothing_makes_nothing_known(pki: PrivatePKI) -> None:
    """A log, or somebody in between, may name any certificate as an issuer: only a signature counts."""
    _, before, after = both(pki.intermediate_rsa, [HOST])
    hosts = watched(Endpoint(host=HOST, pins=(pki.intermediate_ec.spki_sha256,)))
    for entry in (before, after):
        match = hosts.match(entry)
        assert match is not None
        assert hosts.needs_issuers(match)
        assert hosts.unknown(match, [Certificate(pki.intermediate_ec.certificate)]) == (HOST,)


def test_a_public_root_makes_nothing_known() -> None:
    """Pins of the keys of known public roots are left out."""
    roots = data_set.shipped().known_roots.keys
    hosts = Watched([Endpoint(host=HOST, pins=(next(iter(roots)),))], roots=roots)
    assert hosts.expected[HOST].pins == frozenset()


def test_a_history_makes_known_what_it_proved(pki: PrivatePKI) -> None:
    """A key seen pinned or witnessed on the endpoint is known; one that was only logged is reported as seen."""
    issued, before, _ = both(pki.intermediate_ec, [HOST])
    keys = {f"{HOST}:443": frozenset({issued.spki_sha256})}
    proved, logged = watched(HOST, history=keys), watched(HOST, logged=keys)
    match = proved.match(before)
    assert match is not None
    assert proved.unknown(match) == ()
    assert logged.unknown(match) == (HOST,)
    assert logged.was_logged(match, (HOST,))
    assert not watched(HOST).was_logged(match, (HOST,))


def damaged(leaf: bytes) -> list[bytes]:
    """A certificate broken in several places, each with the name still in it."""
    outer = der.element(leaf, 0, len(leaf))
    tbs = der.element(leaf, outer.content, outer.end)
    *_, spki, _ = list(der.children(leaf, tbs))
    names = leaf.index(HOST.encode(), spki.end)
    return [
        leaf[: names + len(HOST)],  # cut short
        leaf[: spki.start] + b"\x04" + leaf[spki.start + 1 :],  # no key
        leaf[: names - 1] + b"\x7f" + leaf[names:],  # a name longer than its list
        b"exam.example.edu" + leaf,
        b"text with *.example.edu in it",
    ]


def test_what_cannot_be_read_is_not_dropped(pki: PrivatePKI) -> None:
    """An entry with the bytes of the name that cannot be read as a certificate is reported as that."""
    leaf = pki.intermediate_ec.issue([HOST]).leaf
    for body in damaged(leaf):
        match = watched(HOST).match(entry_of(body))
        assert match is not None
        assert (match.hosts, match.is_readable) == ((HOST,), False)


def test_what_only_mentions_a_host_is_dropped(pki: PrivatePKI) -> None:
    """A readable certificate for others, with our name in a URL, is not one of ours."""
    leaf = pki.intermediate_ec.issue(["www.example.org"], aia=[f"http://{HOST}/ca.crt"]).leaf
    assert watched(HOST).concerns(leaf)
    assert watched(HOST).match(entry_of(leaf)) is None


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_entry_raises(before: bytes, after: bytes) -> None:
    """Whatever an entry is, it matches, may match, or does not."""
    hosts = watched(HOST, "example.edu")
    for body in (before, before + b"\x82\x10exam.example.edu" + after):
        for entry in (entry_of(body), entry_of(body)._replace(issuer_key_hash=bytes(32), precertificate=after)):
            match = hosts.match(entry)
            if match is not None:
                assert match.tbs_sha256
                assert hosts.unknown(match) == match.hosts or not match.is_readable


def test_the_hash_of_a_precertificate_that_does_not_fit_is_not_shown(pki: PrivatePKI) -> None:
    """The precertificate in a tile is not covered by the tree: another one in its place names nothing."""
    _, before, _ = both(pki.intermediate_ec, [HOST])
    match = watched(HOST).match(before)
    assert match is not None
    assert match.certificate_sha256 == Certificate(before.precertificate or b"").sha256
    other = before._replace(precertificate=pki.issue([HOST]).leaf)
    assert matching.Match(other, match.certificate, match.hosts).certificate_sha256 is None


def test_a_certificate_and_its_precertificate_have_one_id(pki: PrivatePKI) -> None:
    """What is reported once is recognized in the other form."""
    _, before, after = both(pki.intermediate_ec, [HOST])
    found = [watched(HOST).match(entry) for entry in (before, after)]
    assert len({match.tbs_sha256 for match in found if match is not None}) == 1
