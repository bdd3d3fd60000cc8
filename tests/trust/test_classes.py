"""The nine classes of a chain, as one literal table: what stands above the leaf, and what its own root is here."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Final

import pytest
from detector_testing import generate_key
from support.odd_keys import GOST_2012, GOST_SPKI, rewritten
from support.worlds import DAY, FOR_MAIL, below, in_name_of, logged, revocations

from detector.knowledge import ct_logs
from detector.model import RootOrigin
from detector.trust import classes, transparency
from detector.trust.acceptance import DATE_REFUSALS, Refusal
from detector.trust.budget import SIGNATURES_MAX, SIGNATURES_ORDINARY, Budget
from detector.trust.certificate import Certificate
from detector.trust.classes import ChainClass, Classified, Stores
from detector.trust.roots import NO_LIMITS, NO_ROOTS, Limits, Root, Roots, from_der

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector_testing import CA, PrivatePKI

    from detector.trust.budget import Budget as BudgetType

EXAM: Final = "exam.example.edu"

STANDINGS: Final = ("nothing", "declared", "added", "policy", "shipped", "unknown")
"""What the CA's own root is on this machine, or for this endpoint."""

TABLE: Final = """
                                     nothing    | declared | added           | policy          | shipped    | unknown

# the leaf of a CA that has a root of its own, sent with it and with what a public root signed for the same key
nothing else                       : private    | declared | added           | added           | unfamiliar | unfamiliar
a sub-CA                           : accepted   | accepted | accepted        | accepted        | accepted   | accepted
a sub-CA, and an expired one       : accepted   | accepted | accepted        | accepted        | accepted   | accepted
an expired sub-CA                  : retired    | declared | added           | added           | retired    | retired
a sub-CA of next month             : retired    | declared | added           | added           | retired    | retired
an expired sub-CA, and one for mail: retired    | declared | added           | added           | retired    | retired
a sub-CA of a former root          : retired    | declared | added           | added           | retired    | retired
a sub-CA for mail                  : defective  | declared | added defective | added defective | defective  | defective
a sub-CA for mail of a former root : defective  | declared | added defective | added defective | defective  | defective
an expired sub-CA for mail         : defective  | declared | added defective | added defective | defective  | defective
a sub-CA too deep                  : defective  | declared | added defective | added defective | defective  | defective
a revoked sub-CA                   : defective  | declared | added defective | added defective | defective  | defective
a revoked sub-CA, and another      : accepted   | accepted | accepted        | accepted        | accepted   | accepted
a revoked and an expired sub-CA    : retired    | declared | added           | added           | retired    | retired
a revoked one, and a former root's : retired    | declared | added           | added           | retired    | retired
a sub-CA that expired revoked      : defective  | declared | added defective | added defective | defective  | defective
a sub-CA revoked after it expired  : retired    | declared | added           | added           | retired    | retired
below a distrusted root            : defective  | declared | added defective | added defective | defective  | defective
below that, and another            : accepted   | accepted | accepted        | accepted        | accepted   | accepted
below one that is distrusted since : accepted   | accepted | accepted        | accepted        | accepted   | accepted
below a root for other names       : defective  | declared | added defective | added defective | defective  | defective
below a former, distrusted root    : defective  | declared | added defective | added defective | defective  | defective
a sub-CA for other names           : defective  | declared | added defective | added defective | defective  | defective
a certificate that is no CA        : private    | declared | added           | added           | unfamiliar | unfamiliar
a signature nobody reads           : unreadable | declared | added           | added           | unfamiliar | unfamiliar
the chain of a genuine leaf        : private    | declared | added           | added           | unfamiliar | unfamiliar

# the leaf of a public CA, in its form
a public leaf                      : accepted
a public leaf, cross-signed        : accepted
a leaf that expired                : retired
a leaf of next month               : retired
a leaf of three years              : defective
a leaf of three years that expired : defective
a leaf with a weak key             : defective
a leaf signed with SHA-1           : defective
a revoked leaf                     : defective
a CA whose key is revoked          : defective
a twin of a CA whose key is revoked: defective

# the issuer is not available
a public leaf alone                : incomplete
without timestamps                 : private
with one timestamp                 : private
with timestamps of unknown logs    : private
a forged leaf with copied ones     : incomplete
the issuer's name, another key     : private
and its genuine issuer             : accepted

# signed by no CA at all
signed by a public leaf's key      : private
self-signed                        : private

# not to be verified, by form or by size
an unknown algorithm               : unreadable
of a CA with an unknown key        : unreadable
of a CA whose issuer is unreadable : unreadable
one name and seventy keys          : private
"""
"""One answer in a line is that of every standing, for chains without a root of their own."""


def root_of(ca: CA, limits: Limits = NO_LIMITS) -> Root:
    """The certificate of a CA as a root that browsers trust within these limits."""
    return Root(ca.subject.rfc4514_string(), Certificate.read(ca.certificate), limits=limits)


class Chains:
    """The chains of the table, each made once. `own` is the CA that has a root of its own."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.pki = pki
        self.own = pki.private_ca("Campus CA")
        self.former = pki.private_ca("Former Root")
        self.before, self.since = (Limits(distrust_after=(pki.now - days * DAY).date()) for days in (60, 0))
        self.distrusted, self.distrusted_since = pki.private_ca("Distrusted Root"), pki.private_ca("Leaving Root")
        self.national, self.former_distrusted = pki.private_ca("National Root"), pki.private_ca("Worst Root")
        genuine, self.leaf = pki.issue([EXAM]), self.own.issue([EXAM]).leaf
        own, public = self.own, pki.root_b
        shallow = below(public, "Shallow CA", path_length=0)

        def with_own_root(*crosses: CA) -> tuple[bytes, ...]:
            above = [certificate for cross in crosses for certificate in cross.chain]
            return (self.leaf, *above, own.certificate)

        good, expired = in_name_of(own, public), in_name_of(own, public, days=(-900, -200))
        mail = in_name_of(own, public, purposes=FOR_MAIL)
        revoked, late = in_name_of(own, public), in_name_of(own, public, days=(-900, -200))
        ended, by_key = in_name_of(own, public, days=(-900, -200)), below(public, "Lost CA")
        twin, revoked_leaf = in_name_of(by_key, pki.root_a), pki.issue([EXAM])
        self.revoked = revocations(
            {
                revoked.certificate: pki.now - 9 * DAY,
                ended.certificate: pki.now - 300 * DAY,
                late.certificate: pki.now - 100 * DAY,
                revoked_leaf.leaf: pki.now,
            },
            {by_key.certificate: pki.now - 9 * DAY},
        )
        sha1 = dataclasses.replace(pki.intermediate_rsa, signature_hash="sha1")
        other = pki.private_ca("Other CA")
        namesakes = [pki.private_ca("Filter CA") for _ in range(SIGNATURES_MAX + 6)]
        server = below(pki.intermediate_ec, "www.example.org", is_ca=False)
        self.chains: dict[str, tuple[bytes, ...]] = {
            "nothing else": with_own_root(),
            "a sub-CA": with_own_root(good),
            "a sub-CA, and an expired one": with_own_root(expired, good),
            "an expired sub-CA": with_own_root(expired),
            "a sub-CA of next month": with_own_root(in_name_of(own, public, days=(30, 400))),
            "an expired sub-CA, and one for mail": with_own_root(mail, expired),
            "a sub-CA of a former root": with_own_root(in_name_of(own, self.former)),
            "a sub-CA for mail": with_own_root(mail),
            "a sub-CA for mail of a former root": with_own_root(in_name_of(own, self.former, purposes=FOR_MAIL)),
            "an expired sub-CA for mail": with_own_root(in_name_of(own, public, days=(-900, -200), purposes=FOR_MAIL)),
            "a sub-CA too deep": with_own_root(in_name_of(own, shallow)),
            "a revoked sub-CA": with_own_root(revoked),
            "a revoked sub-CA, and another": with_own_root(revoked, good),
            "a revoked and an expired sub-CA": with_own_root(revoked, expired),
            "a revoked one, and a former root's": with_own_root(revoked, in_name_of(own, self.former)),
            "a sub-CA that expired revoked": with_own_root(ended),
            "a sub-CA revoked after it expired": with_own_root(late),
            "below a distrusted root": with_own_root(in_name_of(own, self.distrusted)),
            "below that, and another": with_own_root(in_name_of(own, self.distrusted), good),
            "below one that is distrusted since": with_own_root(in_name_of(own, self.distrusted_since)),
            "below a root for other names": with_own_root(in_name_of(own, self.national)),
            "below a former, distrusted root": with_own_root(in_name_of(own, self.former_distrusted)),
            "a sub-CA for other names": with_own_root(in_name_of(own, public, only_under="example.org")),
            "a certificate that is no CA": with_own_root(in_name_of(own, public, is_ca=False)),
            "a signature nobody reads": (
                self.leaf,
                rewritten(good.certificate, algorithm=GOST_2012),
                own.certificate,
            ),
            "the chain of a genuine leaf": (*with_own_root(), *genuine.chain),
            "a public leaf": genuine.chain,
            "a public leaf, cross-signed": pki.issue([EXAM], cross_signed=True).chain,
            "a leaf that expired": pki.issue([EXAM], not_before=pki.now - 99 * DAY, not_after=pki.now - 9 * DAY).chain,
            "a leaf of next month": pki.issue([EXAM], not_before=pki.now + 30 * DAY).chain,
            "a leaf of three years": pki.issue([EXAM], not_after=pki.now + 1000 * DAY).chain,
            "a leaf of three years that expired": pki.issue(
                [EXAM], not_before=pki.now - 1100 * DAY, not_after=pki.now - 9 * DAY
            ).chain,
            "a leaf with a weak key": pki.issue([EXAM], key="rsa1024").chain,
            "a leaf signed with SHA-1": logged(pki, sha1, EXAM).chain,
            "a revoked leaf": revoked_leaf.chain,
            "a CA whose key is revoked": by_key.issue([EXAM]).chain,
            "a twin of a CA whose key is revoked": twin.issue([EXAM]).chain,
            "a public leaf alone": genuine.chain[:1],
            "without timestamps": pki.issue([EXAM], scts=0).chain[:1],
            "with one timestamp": pki.issue([EXAM], scts=1).chain[:1],
            "with timestamps of unknown logs": pki.issue([EXAM], foreign_sct=True).chain[:1],
            "a forged leaf with copied ones": logged(pki, other, EXAM).chain[:1],
            "the issuer's name, another key": (
                genuine.leaf,
                pki.private_ca(copy_from=pki.intermediate_ec.certificate).certificate,
            ),
            "and its genuine issuer": (
                genuine.leaf,
                pki.private_ca(copy_from=pki.intermediate_ec.certificate).certificate,
                genuine.chain[1],
            ),
            "signed by a public leaf's key": server.issue([EXAM]).chain,
            "self-signed": pki.self_signed([EXAM]).chain,
            "an unknown algorithm": (rewritten(genuine.leaf, algorithm=GOST_2012), *genuine.chain[1:]),
            "of a CA with an unknown key": (
                other.issue([EXAM]).leaf,
                rewritten(other.certificate, key=GOST_SPKI),
            ),
            "of a CA whose issuer is unreadable": (
                other.issue([EXAM]).leaf,
                rewritten(in_name_of(other, public).certificate, algorithm=GOST_2012),
            ),
            "one name and seventy keys": (
                below(pki.private_ca("Filter CA"), is_ca=False).certificate,
                *(ca.certificate for ca in namesakes),
            ),
        }

    def classify(
        self, chain: Sequence[bytes], standing: str = "nothing", budget: BudgetType | None = None
    ) -> Classified:
        """This chain on a machine where the CA's own root has this standing."""
        own = {"policy": RootOrigin.POLICY, "added": RootOrigin.ADDED, "shipped": RootOrigin.SHIPPED}
        machine = from_der([self.own.certificate], name="machine", origin=own.get(standing, RootOrigin.UNKNOWN))
        presented, pki = [Certificate.read(data) for data in chain], self.pki
        logs = ct_logs.parse(pki.ct_log_list_json(), name="test logs")
        limits = {
            pki.root_a: NO_LIMITS,
            pki.root_b: NO_LIMITS,
            self.distrusted: self.before,
            self.distrusted_since: self.since,
            self.national: Limits(permitted_names=("example.org",)),
        }
        public = Roots(
            [root_of(ca, limit) for ca, limit in limits.items()],
            name="public",
            version="",
            retired=Roots([root_of(self.former), root_of(self.former_distrusted, self.before)], name="old", version=""),
        )
        return classes.classify(
            presented,
            Stores(
                public,
                from_der([self.own.certificate], name="declared") if standing == "declared" else NO_ROOTS,
                lambda: NO_ROOTS if standing in {"nothing", "declared"} else machine,
                self.revoked,
            ),
            pki.now,
            claims_logging=lambda: transparency.claims_logging(presented[0], logs, pki.now),
            budget=budget,
        )


@pytest.fixture(scope="module")
def chains(pki: PrivatePKI) -> Chains:
    return Chains(pki)


def expected() -> dict[tuple[str, str], set[str]]:
    """Chain and standing to classes, as the table has them."""
    lines = [line for line in TABLE.splitlines()[2:] if line and not line.startswith("#")]
    answers = {}
    for line in lines:
        chain, _, cells = line.partition(":")
        found = cells.split("|")
        for standing, cell in zip(STANDINGS, found * len(STANDINGS) if len(found) == 1 else found, strict=False):
            answers[chain.strip(), standing] = set(cell.split())
    return answers


def test_every_cell_of_the_table(chains: Chains) -> None:
    """Each chain has the classes that are written, whatever its own root is here."""
    found = {
        (name, standing): {str(kind) for kind in chains.classify(chain, standing).classes}
        for (name, chain), standing in itertools.product(chains.chains.items(), STANDINGS)
    }
    assert {key: classes for key, classes in found.items() if classes != expected().get(key)} == {}
    assert set(expected()) == set(found)


def test_the_table_has_every_class_and_only_allowed_pairs() -> None:
    """All nine occur; only added and defective hold together."""
    cells = {frozenset(classes) for classes in expected().values()}
    assert set().union(*cells) == {str(kind) for kind in ChainClass}
    assert {cell for cell in cells if len(cell) != 1} == {frozenset({"added", "defective"})}


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("an expired sub-CA", [(Refusal.EXPIRED, 1)]),
        ("a sub-CA of next month", [(Refusal.NOT_YET_VALID, 1)]),
        ("an expired sub-CA, and one for mail", [(Refusal.EXPIRED, 1)]),
        ("a leaf that expired", [(Refusal.EXPIRED, 0)]),
        ("a sub-CA of a former root", []),
        ("a sub-CA for mail", [(Refusal.NOT_FOR_SERVERS, 1)]),
        ("an expired sub-CA for mail", [(Refusal.NOT_FOR_SERVERS, 1), (Refusal.EXPIRED, 1)]),
        ("a sub-CA too deep", [(Refusal.PATH_LENGTH, 2)]),
        ("a revoked sub-CA", [(Refusal.REVOKED, 1)]),
        ("a sub-CA that expired revoked", [(Refusal.REVOKED, 1), (Refusal.EXPIRED, 1)]),
        ("a sub-CA revoked after it expired", [(Refusal.EXPIRED, 1)]),
        ("a revoked leaf", [(Refusal.REVOKED, 0)]),
        ("below a distrusted root", [(Refusal.DISTRUSTED, 0)]),
        ("below a former, distrusted root", [(Refusal.DISTRUSTED, 0)]),
        ("below a root for other names", [(Refusal.NAME_OUTSIDE_ROOT, 0)]),
        ("a sub-CA for other names", [(Refusal.NAME_NOT_PERMITTED, 0)]),
        ("a leaf of three years", [(Refusal.LIFETIME, 0)]),
        ("a leaf with a weak key", [(Refusal.WEAK_KEY, 0)]),
        ("a leaf signed with SHA-1", [(Refusal.BROKEN_HASH, 0)]),
        ("a public leaf", []),
        ("nothing else", []),
    ],
)
def test_why_the_deciding_path_is_not_taken(name: str, refused: list[tuple[Refusal, int]], chains: Chains) -> None:
    """The path nearest to being taken says why it is not."""
    found = chains.classify(chains.chains[name])
    assert [tuple(one) for one in found.refused] == refused
    assert found.is_a(ChainClass.RETIRED) <= ({one.refusal for one in found.refused} <= DATE_REFUSALS)


def test_a_declared_root_is_held_to_less(chains: Chains, pki: PrivatePKI) -> None:
    """The lifetime limits of public CAs bind no private one; what else no client takes is said."""
    long = chains.own.issue([EXAM], not_after=pki.now + 2000 * DAY).chain
    assert chains.classify(long, "declared").refused == ()
    weak = chains.classify(chains.own.issue([EXAM], key="rsa1024").chain, "declared")
    assert [str(one.refusal) for one in weak.refused] == ["weak-key"]
    expired = chains.own.issue([EXAM], not_before=pki.now - 99 * DAY, not_after=pki.now - 9 * DAY)
    found = chains.classify(expired.chain, "declared")
    assert (set(found.classes), [str(one.refusal) for one in found.refused]) == ({ChainClass.DECLARED}, ["expired"])


def test_the_machine_is_asked_only_where_it_matters(chains: Chains) -> None:
    """A chain that is accepted or declared costs no reading of the machine's trust store."""
    asked: list[str] = []

    def classify(name: str, declared: Roots = NO_ROOTS) -> None:
        def machine() -> Roots:
            asked.append(name)
            return NO_ROOTS

        public = from_der([chains.pki.root_b.certificate], name="public")
        presented = [Certificate.read(data) for data in chains.chains[name]]
        classes.classify(presented, Stores(public, declared, machine), chains.pki.now)

    classify("a public leaf")
    classify("a sub-CA for mail", from_der([chains.own.certificate], name="declared"))
    assert asked == []
    classify("nothing else")
    classify("a sub-CA for mail")
    assert asked == ["nothing else", "a sub-CA for mail"]


def test_what_exceeds_its_share_is_not_unreadable(chains: Chains) -> None:
    """Seventy keys of one name are the sender's doing, and the chain stays private."""
    found = chains.classify(chains.chains["one name and seventy keys"])
    assert (found.paths.exceeded, found.paths.unreadable, found.paths.postponed) == (True, False, False)


def test_what_others_spent_is_said(chains: Chains, pki: PrivatePKI) -> None:
    """With nothing left of the run's time, only the first signatures of a chain are checked."""
    namesakes = [pki.private_ca("Campus CA").certificate for _ in range(SIGNATURES_ORDINARY)]
    crowded = (chains.leaf, *namesakes, chains.own.certificate)

    def clock() -> Callable[[], float]:
        return itertools.count().__next__

    spent = chains.classify(crowded, budget=Budget(clock(), run_seconds=0, chain_seconds=1000))
    assert (spent.paths.postponed, spent.paths.exceeded) == (True, False)
    rich = chains.classify(crowded, "added", budget=Budget(clock(), run_seconds=1000, chain_seconds=1000))
    assert (rich.paths.postponed, set(rich.classes)) == (False, {ChainClass.ADDED})
    usual = chains.classify(chains.chains["a public leaf"], budget=Budget(clock(), run_seconds=0))
    assert (usual.paths.postponed, set(usual.classes)) == (False, {ChainClass.ACCEPTED})


def test_fetched_issuers_count_like_sent_ones(chains: Chains, pki: PrivatePKI) -> None:
    """An issuer fetched from where the leaf says completes its chain, and makes no root of itself."""
    leaf = Certificate.read(chains.chains["a public leaf"][0])
    stores = Stores(from_der([pki.root_b.certificate], name="public"))
    found = classes.classify([leaf], stores, pki.now, extra=iter([Certificate.read(pki.intermediate_ec.certificate)]))
    assert set(found.classes) == {ChainClass.ACCEPTED}
    forged = Certificate.read(chains.leaf)
    fetched = [Certificate.read(chains.own.certificate)]
    found = classes.classify([forged], stores, pki.now, extra=fetched, claims_logging=lambda: True)
    assert set(found.classes) == {ChainClass.PRIVATE}


def test_a_leaf_that_is_itself_declared_needs_no_issuer(pki: PrivatePKI) -> None:
    """A self-signed server whose certificate the pin file declares is what is declared."""
    own = pki.self_signed([EXAM], key=generate_key())
    stores = Stores(NO_ROOTS, from_der([own.leaf], name="declared"))
    found = classes.classify([Certificate.read(own.leaf)], stores, pki.now)
    assert (set(found.classes), found.refused) == ({ChainClass.DECLARED}, ())
