"""Name constraints: which names a CA allows below itself, of every form that clients compare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.crafting import name, oid, sequence, subtrees

from detector.trust import der
from detector.trust import distinguished_name as names
from detector.trust.certificate import ALTERNATIVE_NAMES_MAX
from detector.trust.name_constraints import (
    _COVERING,
    ADDRESS,
    DIRECTORY_NAME,
    DNS_NAME,
    MAILBOX,
    OTHER_NAME,
    REGISTERED_ID,
    SUBTREES_MAX,
    URI,
    GeneralName,
    cost,
    names_of,
    read_constraints,
    read_names,
)

Tree = tuple[int, bytes]


def allowed(
    form: int,
    value: bytes,
    *,
    permitted: tuple[bytes, ...] = (),
    excluded: tuple[bytes, ...] = (),
    critical: bool = True,
) -> bool:
    """Whether constraints of one form allow a name of it."""
    trees = subtrees(tuple((form, one) for one in permitted), tuple((form, one) for one in excluded))
    return read_constraints(trees, critical=critical).allow([(form, value)])


@pytest.mark.parametrize(
    ("tree", "covers", "leaves_out"),
    [
        (b"example.edu", [b"example.edu", b"a.b.Example.EDU", b"example.edu."], [b"badexample.edu", b"edu"]),
        (b"EXAMPLE.edu.", [b"a.example.edu"], [b"example.org"]),
        (b".example.edu", [b"a.example.edu", b"a.b.example.edu"], [b"example.edu", b"xexample.edu"]),
        (b"", [b"example.edu", b"localhost"], []),
        (b"example.edu", [b"*.example.edu", b"*.a.example.edu"], [b"*.edu"]),
        (b".example.edu", [b"*.example.edu"], []),
        (b"a_b.example.edu", [b"x.a_b.example.edu"], [b"x.ab.example.edu"]),
    ],
)  # fmt: skip
def test_dns_names(tree: bytes, covers: list[bytes], leaves_out: list[bytes]) -> None:
    """A subtree covers itself and what is below, with a leading dot only what is below, whatever the case."""
    for one in covers:
        assert allowed(DNS_NAME, one, permitted=(tree,))
        assert not allowed(DNS_NAME, one, excluded=(tree,))
    for one in leaves_out:
        assert not allowed(DNS_NAME, one, permitted=(tree,))


def test_a_wildcard_is_every_name_that_it_covers() -> None:
    """It is refused where one of its names is excluded or is not permitted (CVE-2025-61727)."""
    assert not allowed(DNS_NAME, b"*.example.edu", excluded=(b"exam.example.edu",))
    assert not allowed(DNS_NAME, b"*.example.edu", permitted=(b"exam.example.edu",))
    assert allowed(DNS_NAME, b"*.example.edu", excluded=(b"a.exam.example.edu",))
    assert allowed(DNS_NAME, b"other.example.edu", excluded=(b"exam.example.edu",))
    assert allowed(DNS_NAME, b"*.edu", excluded=(b"exam.example.edu",))


def test_permitted_and_excluded_together() -> None:
    """What is excluded is excluded though it is permitted; one of several permitted subtrees is enough."""
    both = {"permitted": (b"example.edu", b"example.org"), "excluded": (b"exam.example.edu",)}
    assert allowed(DNS_NAME, b"lms.example.org", **both)  # type: ignore[arg-type] # both are tuples
    assert not allowed(DNS_NAME, b"exam.example.edu", **both)  # type: ignore[arg-type] # as above
    assert not allowed(DNS_NAME, b"example.net", **both)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    "value", [b".example.edu", b"a..example.edu", b"a b.example.edu", b"*", b"x.*.example.edu", b""]
)
def test_what_is_no_host_name_is_in_no_subtree(value: bytes) -> None:
    """A DNS name that is malformed is refused where DNS names are constrained, and there alone."""
    assert not allowed(DNS_NAME, value, permitted=(b"example.edu", b""))
    assert not allowed(DNS_NAME, value, excluded=(b"example.org",))
    only_addresses = read_constraints(subtrees(((ADDRESS, bytes(8)),)), critical=True)
    assert only_addresses.allow([(DNS_NAME, value)])


def test_addresses() -> None:
    """A network covers its addresses; one of IPv4 says nothing of IPv6 but that it is not permitted."""
    network = bytes([192, 0, 2, 0, 255, 255, 255, 0])
    inside, outside, six = bytes([192, 0, 2, 77]), bytes([192, 0, 3, 77]), bytes(15) + b"\x01"
    assert allowed(ADDRESS, inside, permitted=(network,))
    assert not allowed(ADDRESS, inside, excluded=(network,))
    for other in (outside, six):
        assert not allowed(ADDRESS, other, permitted=(network,))
        assert allowed(ADDRESS, other, excluded=(network,))
    assert not allowed(ADDRESS, six, excluded=(bytes(32),))
    host = six + b"\xff" * 16
    assert allowed(ADDRESS, six, permitted=(host,))
    assert allowed(ADDRESS, inside, permitted=(bytes([192, 0, 2, 99]) + b"\xff\xff\xff\x00",))


@pytest.mark.parametrize(
    ("tree", "covers", "leaves_out"),
    [
        (b"exam@example.edu", [b"exam@EXAMPLE.edu"], [b"Exam@example.edu", b"lms@example.edu"]),
        (b"example.EDU", [b"exam@example.edu"], [b"exam@a.example.edu"]),
        (b".example.edu", [b"exam@a.example.edu", b"exam@a.b.example.edu"], [b"exam@example.edu"]),
    ],
)
def test_mailboxes(tree: bytes, covers: list[bytes], leaves_out: list[bytes]) -> None:
    """One mailbox, those of a host, or those of the hosts below; two signs or none are no mailbox."""
    for one in covers:
        assert allowed(MAILBOX, one, permitted=(tree,))
        assert not allowed(MAILBOX, one, excluded=(tree,))
    for one in leaves_out:
        assert not allowed(MAILBOX, one, permitted=(tree,))
        assert allowed(MAILBOX, one, excluded=(tree,))
    for one in (b"example.edu", b"a@b@example.edu", b"@example.edu", b"exam@"):
        assert not allowed(MAILBOX, one, excluded=(tree,))


def test_directory_names() -> None:
    """A subtree covers the names that begin with it, by whole relative names, whatever the case."""
    tree, below = name(O="Example"), name(O="EXAMPLE", CN="exam")
    assert allowed(DIRECTORY_NAME, below, permitted=(tree,))
    assert not allowed(DIRECTORY_NAME, below, excluded=(tree,))
    assert not allowed(DIRECTORY_NAME, name(CN="exam", O="Example"), permitted=(tree,))
    assert not allowed(DIRECTORY_NAME, name(O="Exam"), permitted=(tree,))
    assert not allowed(DIRECTORY_NAME, tree, permitted=(below,))
    pairs = b"".join(sequence(oid(kind), b"\x0c\x01x") for kind in ("2.5.4.10", "2.5.4.3"))
    several = sequence(der.encode(der.SET, pairs))
    assert allowed(DIRECTORY_NAME, several, excluded=(name(O="x"),))


def test_forms_that_are_not_compared() -> None:
    """They refuse names of their form where the constraints are critical, and nothing else."""
    for form, value in ((URI, b"https://exam.example.edu/"), (OTHER_NAME, oid("1.2.3")), (REGISTERED_ID, b"\x2a\x03")):
        assert not allowed(form, value, excluded=(value,))
        assert allowed(form, value, permitted=(value,), critical=False)
        constraints = read_constraints(subtrees(((form, value),)), critical=True)
        assert constraints.allow([(DNS_NAME, b"exam.example.edu")])


def test_names_of_a_certificate() -> None:
    """The subject counts where it is not empty, and the mailboxes in it where nothing else names the holder."""

    def subject(**attributes: str) -> names.Name:
        data = name(**attributes)
        return names.read(data, der.element(data, 0, len(data)))

    mailbox = (MAILBOX, b"exam@example.edu")
    plain, with_mail = subject(CN="exam"), subject(CN="exam", E="exam@example.edu")
    alternative: tuple[GeneralName, ...] = ((DNS_NAME, b"exam.example.edu"),)
    assert list(names_of(plain, alternative)) == [(DIRECTORY_NAME, plain.der), *alternative]
    assert list(names_of(subject(), alternative)) == list(alternative)
    assert list(names_of(with_mail, None)) == [(DIRECTORY_NAME, with_mail.der), mailbox]
    assert list(names_of(with_mail, ())) == [(DIRECTORY_NAME, with_mail.der)]


@pytest.mark.parametrize(
    "trees",
    [
        sequence(),
        sequence(der.encode(0xA0, b"")),
        sequence(der.encode(0xA0, b""), der.encode(0xA1, b"")),
        sequence(b"\x05\x00", b"\x05\x00"),
        sequence(b"\x80\x00", b"\x81\x00"),
        subtrees(((DNS_NAME, b"*.example.edu"),)),
        subtrees(((DNS_NAME, b"exa mple.edu"),)),
        subtrees(((DNS_NAME, b"..example.edu"),)),
        subtrees(((DNS_NAME, b"."),)),
        subtrees(((DNS_NAME, "bücher.example".encode()),)),
        subtrees(((MAILBOX, b"a@b@c"),)),
        subtrees(((MAILBOX, b""),)),
        subtrees(((ADDRESS, bytes(4)),)),
        subtrees(((ADDRESS, bytes(7)),)),
        subtrees(((ADDRESS, bytes(4) + b"\xff\x00\xff\x00"),)),
        subtrees(((DIRECTORY_NAME, b"\x05\x00"),)),
        subtrees(((0x89, b"x"),)),
        sequence(der.encode(0xA0, sequence(der.encode(DNS_NAME, b"example.edu"), b"\x80\x01\x01"))),
        sequence(der.encode(0xA1, sequence(der.encode(DNS_NAME, b"edu"))), der.encode(0xA0, sequence(b"\x82\x03edu"))),
        sequence(*[der.encode(0xA0, sequence(b"\x82\x03edu"))] * 2),
        sequence(der.encode(0xA0, der.encode(der.SET, b"\x82\x03edu"))),
    ],
)
def test_constraints_that_cannot_be_read(trees: bytes) -> None:
    """Empty, with a minimum, out of order, or with a subtree that does not have its form: refused as a whole."""
    with pytest.raises(ValueError):  # noqa: PT011 - which of the two does not matter
        read_constraints(trees, critical=True)


@pytest.mark.parametrize(
    "data",
    [
        b"not DER",
        sequence(),
        sequence(der.encode(ADDRESS, bytes(5))),
        sequence(der.encode(ADDRESS, bytes(8))),
        sequence(der.encode(DNS_NAME, "😜.example".encode())),
        sequence(der.encode(0xA2, b"")),
        sequence(der.encode(DIRECTORY_NAME, name(CN="x") + b"\x05\x00")),
        sequence(der.encode(DIRECTORY_NAME, sequence(sequence(sequence(oid("2.5.4.3"), b"\x0c\x01x"))))),
    ],
)
def test_names_that_cannot_be_read(data: bytes) -> None:
    """A SubjectAltName with a part that does not have its form is refused as a whole."""
    with pytest.raises(ValueError):  # noqa: PT011 - which of the two does not matter
        read_names(data)


def test_numbers_are_bounded() -> None:
    """So many names, subtrees and bytes of a name are read, and more is distinguished from what is malformed."""
    tree = sequence(der.encode(DNS_NAME, b"example.edu"))
    for count, fits in ((SUBTREES_MAX, True), (SUBTREES_MAX + 1, False)):
        data = sequence(der.encode(0xA0, tree * count))
        if fits:
            assert read_constraints(data, critical=True).allow([(DNS_NAME, b"example.edu")])
        else:
            with pytest.raises(der.LimitError):
                read_constraints(data, critical=True)
    one = der.encode(DNS_NAME, b"example.edu")
    assert len(read_names(sequence(one * ALTERNATIVE_NAMES_MAX))) == ALTERNATIVE_NAMES_MAX
    with pytest.raises(der.LimitError):
        read_names(sequence(one * (ALTERNATIVE_NAMES_MAX + 1)))
    with pytest.raises(der.LimitError):
        read_names(sequence(der.encode(DNS_NAME, b"a" * 256)))


def test_cost_is_what_a_comparison_takes() -> None:
    """No name has more keys than its cost and a few: that is what bounds the time."""
    for form, value in (
        (DNS_NAME, b".".join([b"a"] * 127)),
        (ADDRESS, bytes(16)),
        (MAILBOX, b"a@" + b".".join([b"a"] * 100)),
        (DIRECTORY_NAME, name(CN="a", O="b", E="c")),
    ):
        assert len(list(_COVERING[form](value))) <= cost((form, value)) + 4


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(trees: bytes, found: bytes, critical: bool) -> None:  # noqa: FBT001 - drawn
    """Only ValueError leaves the readers, and nothing the comparison."""
    try:
        constraints = read_constraints(trees, critical=critical)
    except ValueError:
        constraints = read_constraints(
            subtrees(((DNS_NAME, b"edu"), (MAILBOX, b"edu"), (ADDRESS, bytes(8)))), critical=True
        )
    try:
        constraints.allow(read_names(found))
    except ValueError:
        return


labels = st.lists(st.sampled_from(["a", "b", "example", "edu", "*"]), min_size=1, max_size=5)


@given(labels, st.lists(labels.filter(lambda drawn: "*" not in drawn), min_size=1, max_size=4))
def test_dns_names_by_brute_force(host: list[str], trees: list[list[str]]) -> None:
    """The keys find what comparing each subtree label by label finds, wildcards written out."""
    text = ".".join(host).encode()
    encoded = tuple(".".join(tree).encode() for tree in trees)
    well_formed = "*" not in host[1:] and (host[0] != "*" or len(host) > 1)

    def covers(tree: list[str], labels: list[str]) -> bool:
        return labels[-len(tree) :] == tree

    expansions = [[label, *host[1:]] for label in ("a", "b", "example", "edu", "other")] if host[0] == "*" else [host]
    expected_excluded = well_formed and not any(covers(tree, one) for tree in trees for one in expansions)
    expected_permitted = well_formed and all(any(covers(tree, one) for tree in trees) for one in expansions)
    assert allowed(DNS_NAME, text, excluded=encoded) is expected_excluded
    assert allowed(DNS_NAME, text, permitted=encoded) is expected_permitted
