"""The world of generated scenes: one PKI with its roots and logs, genuine certificates, two canaries.

Pure apart from randomness. The test kit's PKI replaces the public one: its two roots are the public roots, its four
logs the public CT logs.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from detector_testing import PrivatePKI
from detector_testing.pki import distinguished_name

from detector import Endpoint
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import ct_logs, data_set
from detector.knowledge.known_roots import KnownRoot
from detector.model import Category, RecordedIdentity, RootOrigin
from detector.pins import learn_all
from detector.trust.certificate import Certificate
from detector.trust.ct_logs import Log
from detector.trust.revocations import Revocations
from detector.trust.roots import NO_LIMITS, Limits, Roots, from_der, label_of

from .material import Item, Known, Scene, Truth, known_of, observe
from .past import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector_testing import CA, Issued
    from detector_testing.pki import CTLog

    from detector import Observation
    from detector.knowledge.data_set import DataSet
    from detector.trust.ct_logs import LogList

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
HOSTS: Final = (EXAM, LMS, SEARCH)
"""Three hosts whose registrable domains differ: unrelated operators."""

ROOT_B: Final = "Exemplar Root X2"
"""The label of the root of the test PKI's ECDSA chains."""

RIVALS: Final = tuple(
    Endpoint(
        host=f"www.{name}.example.net",
        category=Category.CANARY,
        operator=name,
        roots=(ROOT_B,),
        canary=True,
        runs_ca=True,
    )
    for name in ("cloud-one", "cloud-two")
)
"""Two canaries whose operators run their own CAs, which the follow-up probes when something is not cleared."""

ALONE: Final = "alone, nothing known"
STATED: Final = "alone, roots stated"
PINNED: Final = "alone, learned pins"
NETWORK: Final = "three operators, nothing known"

AIA: Final = ("http://ca.example/issuing.der",)
"""A caIssuers URL that cannot resolve (RFC 2606): nothing is fetched for generated material."""

Options = dict[str, Any]
"""Options of `Lab.item` and `Lab.scene`."""

DAY: Final = dt.timedelta(days=1)
YEAR: Final = 365 * DAY


class Lab:
    """The world of generated material. `logs` and `roots` are as of today."""

    def __init__(self, pki: PrivatePKI | None = None) -> None:
        self.pki: Final = pki or PrivatePKI.create()
        self.now: Final = self.pki.now
        self.roots: Final = roots_of(self.pki.root_a, self.pki.root_b, date=self.now.date())
        self.logs: Final[LogList] = ct_logs.parse(self.pki.ct_log_list_json(), name="test logs")
        self.current: Final = self.data_set(self.pki.root_a, self.pki.root_b)
        self.genuine: Final = cache(lambda host: self.pki.issue([host], aia=AIA))
        self.rival_cas: Final = tuple(below(self.pki.root_b, f"{one.operator} CA", self) for one in RIVALS)

    def known(self, issued: Issued) -> Known:
        """Return what a checker knows that has seen this certificate."""
        return known_of([issued.leaf], issued.chain[1:])

    def learned(self, host: str, issued: Issued) -> Endpoint:
        """Return the endpoint with pins as `detector pins learn --allow-private` writes them the day after issue."""
        leaf = Certificate.read(issued.leaf)
        context = Context(
            at=(leaf.not_before or self.now) + DAY, data=data_set.shipped(), roots=self.roots, logs=self.logs
        )
        evidence = EndpointEvidence(Endpoint(host=host), observe(issued.chain), context)
        return learn_all((evidence,), allow_private=True)[0].endpoint

    def item(  # noqa: PLR0913 - an item is made of these
        self,
        host: str,
        presented: Issued,
        truth: Truth,
        *,
        pinned: Sequence[Issued] = (),
        by_hand: bool = False,
        others: Sequence[Observation] = (),
        seen: Mapping[str, Any] | None = None,
        **expected: Any,  # noqa: ANN401 - fields of Endpoint
    ) -> Item:
        """Return one endpoint. `pinned` are certificates from which pins were learned, with their CAs' keys.

        With `by_hand` only their leaves' keys are pinned, in a file without their origin. `seen` are further fields of
        the observation.
        """
        known = None
        if pinned:
            known = known_of([one.leaf for one in pinned], () if by_hand else (c for p in pinned for c in p.chain[1:]))
            before = [self.learned(host, one) for one in pinned]
            public = not by_hand and all(one.identity is RecordedIdentity.PUBLIC for one in before)
            expected = {
                "pins": tuple(sorted(known.keys if by_hand else {pin for one in before for pin in one.pins})),
                "identity": RecordedIdentity.PUBLIC if public else RecordedIdentity.UNKNOWN,
                **expected,
            }
        observation = observe(presented.chain, **(seen or {}))
        return Item(Endpoint(host=host, **expected), observation, truth, known, presented.key, others=tuple(others))

    def items(self, truth: Truth) -> Callable[..., Item]:
        """Return `item` for one truth."""
        return functools.partial(self.item, truth=truth)

    def knowledge(self) -> dict[str, Options]:
        """Return the options of an item for the exam host by setting: nothing known, roots stated, learned pins."""
        return {ALONE: {}, STATED: {"roots": (ROOT_B,)}, PINNED: {"pinned": [self.genuine(EXAM)]}}

    def canaries(
        self,
        truth: Truth = Truth.GENUINE,
        present: Callable[[str, Issued], Issued] | None = None,
        not_before: dt.datetime | None = None,
    ) -> tuple[Item, ...]:
        """Return two canaries with chains of their operators' CAs, or what `present` returns for host and chain."""
        items = []
        for endpoint, ca in zip(RIVALS, self.rival_cas, strict=True):
            shown = logged(ca, self, **({"not_before": not_before} if not_before else {}))(endpoint.host)
            if present is not None:
                shown = present(endpoint.host, shown)
            items.append(Item(endpoint, observe(shown.chain), truth, key=shown.key))
        return tuple(items)

    def scene(  # noqa: PLR0913 - a scene is made of these
        self,
        group: str,
        name: str,
        setting: str,
        *items: Item,
        at: dt.datetime | None = None,
        public: Roots | None = None,
        logs: LogList | None = None,
        data: DataSet | None = None,
        **more: Any,  # noqa: ANN401 - further fields of Scene
    ) -> Scene:
        """Return endpoints probed together, by default in this lab's world; with `data`, as a copy that has it."""
        if data is not None:
            return Scene(group, name, setting, at or self.now, items, data.public_roots(), data.logs, data, **more)
        return Scene(group, name, setting, at or self.now, items, public or self.roots, logs or self.logs, **more)

    def data_set(
        self,
        *roots: CA,
        logs: LogList | None = None,
        days: int = 0,
        limits: Mapping[bytes, Limits] | None = None,
        revoked: Iterable[bytes] = (),
    ) -> DataSet:
        """Return the data set of a copy that was last updated so many days ago, with these roots and logs.

        `limits` are those of roots, by certificate (DER); `revoked` are the certificates that were revoked that day.
        """
        known, day = [], (self.now - days * DAY).date()
        serials: dict[bytes, dict[int, dt.date]] = {}
        for one in map(Certificate.read, revoked):
            if one.issuer is not None and one.serial is not None:
                serials.setdefault(one.issuer.der, {})[one.serial] = day
        for ca in roots:
            read = Certificate.read(ca.certificate)
            limit = (limits or {}).get(ca.certificate, NO_LIMITS)
            known.append(
                KnownRoot(
                    label=label_of(read),
                    sha256=read.sha256.hex(),
                    spki_sha256=ca.spki_sha256.hex(),
                    subject=ca.subject.rfc4514_string(),
                    first_seen="",
                    last_seen="",
                    distrust_after=limit.distrust_after,
                    permitted_names=limit.permitted_names,
                )
            )
        certified = [(one, ca.certificate) for one, ca in zip(known, roots, strict=True)]
        return made(certified, logs or self.logs, Revocations(serials=serials), date=day)

    def with_logs(self, more: Iterable[CTLog]) -> LogList:
        """Return today's log list with these logs as well, each of an operator of its own."""
        listed = {
            one.log_id: Log(
                log_id=one.log_id, key=one.public_key_der, operator=one.description, description=one.description
            )
            for one in more
        }
        return msgspec.structs.replace(self.logs, logs={**self.logs.logs, **listed})

    def aged_logs(self, days: int, *, known: bool = True) -> LogList:
        """Return the log list of a copy of this age; without `known`, one that is older than all logs."""
        old = msgspec.structs.replace(self.logs, date=(self.now - days * DAY).date())
        return old if known else msgspec.structs.replace(old, logs={})


def roots_of(
    *cas: CA, name: str = "test roots", date: dt.date | None = None, origin: RootOrigin = RootOrigin.UNKNOWN
) -> Roots:
    """Return CAs as roots."""
    return from_der([ca.certificate for ca in cas], name=name, date=date, origin=origin)


def installed(*cas: CA, origin: RootOrigin = RootOrigin.ADDED) -> Roots:
    """Return CAs as private roots of the machine."""
    return roots_of(*cas, name="machine", origin=origin)


def dn(**attributes: str) -> x509.Name:
    """Return a name from attributes of NameOID, in the given order."""
    return x509.Name([x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in attributes.items()])


def with_root(issued: Issued, ca: CA) -> Issued:
    """Append the private CA's certificate to the chain."""
    return issued.with_chain(*issued.chain, ca.certificate)


def signed(
    logs: Sequence[CTLog], at: dt.datetime, *, wrong_signature: bool = False
) -> Callable[[bytes, bytes], Sequence[bytes]]:
    """Return a function that makes timestamps of these logs at that time, for `CA.issue`."""
    return lambda tbs, key: [log.sct(tbs, key, at=at, wrong_signature=wrong_signature) for log in logs]


def logged(ca: CA, lab: Lab, **options: Any) -> Callable[[str], Issued]:  # noqa: ANN401 - of CA.issue
    """Return a function that issues leaves with valid timestamps of three logs."""
    begins: dt.datetime = options.get("not_before", lab.now - 30 * DAY)
    make = signed(lab.pki.ct_logs[:3], min(begins + DAY / 24, lab.now))
    return lambda host: ca.issue([host], sct_list=make, **options)


def below(  # noqa: PLR0913 - what makes one sub-CA different from another
    issuer: CA,
    name: str,
    lab: Lab,
    *,
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    constraints: x509.NameConstraints | None = None,
    ca: bool = True,
    not_before: dt.datetime | None = None,
    not_after: dt.datetime | None = None,
) -> CA:
    """Return a customer's CA below a public one."""
    subordinate = issuer.subordinate(distinguished_name(name, "Other Customer"))
    template = x509.load_der_x509_certificate(subordinate.certificate)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(template.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or lab.now - YEAR)
        .not_valid_after(not_after or lab.now + 2 * YEAR)
    )
    changed: dict[type, x509.ExtensionType] = {
        x509.BasicConstraints: x509.BasicConstraints(ca=ca, path_length=0 if ca else None),
        x509.ExtendedKeyUsage: x509.ExtendedKeyUsage(usages),
    }
    for extension in template.extensions:
        builder = builder.add_extension(changed.get(type(extension.value), extension.value), extension.critical)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    algorithm = template.signature_hash_algorithm
    signed_by = builder.sign(issuer.key, algorithm)  # type: ignore[arg-type] # the hash that the template has
    certificate = signed_by.public_bytes(serialization.Encoding.DER)
    return dataclasses.replace(subordinate, certificate=certificate, chain=(certificate, *issuer.chain))
