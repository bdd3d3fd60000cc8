"""Says whose interceptor the devices of an institution's students met: the institution's, or their own.

Room: detector_collect. Pure: results in, assessments out.

One intercepted student says nothing about an institution: antivirus programs, employers and routers decrypt as well.
Three observations do: that most students of an exam meet one CA key, or one product that institutions manage; that such
a product, with a key of its own on each device, is in use here far more often than elsewhere; and that students in
several networks meet one key, which has one operator, known or not. The first two are tested exactly, for all
institutions and products together, with an error that is spent over all assessments to come. Only they name the
institution.

A student counts once: clients send a hash for each student, so several devices of one are one. Because a student has
another hash in each exam, the largest exam of the period stands for its institution.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError
from detector.model import ManagedBy, Record
from detector.model.validate import whole_number

from . import exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

ALPHA: Final = 0.001
"""The probability that any institution is ever named without reason, over all assessments: one in a thousand, because a
review of usage rights follows."""
ODDS: Final = 3.0
"""How many times the odds elsewhere must be exceeded: places differ in what is sold and recommended there, and the test
assumes that they differ by no more. A choice, not a measurement; `simulation` shows what follows from it."""
STUDENTS_LEAST: Final = 5
"""Groups of fewer students are not shown, so that no number is about a single person (k-anonymity)."""
ELSEWHERE_MOST: Final = 0.1
"""A key is one institution's own if no larger part of the students who met it are elsewhere. None at all would let one
report from elsewhere clear an institution; a service for many has most of its students elsewhere. A choice."""
MAJORITY: Final = 0.5
"""More students of an exam than this share no employer or dormitory, as a rule. The alternative is named anyway."""


class Interception(Record, frozen=True, kw_only=True):
    """What decrypted on one device: the catalogue's product and its CA's key, each where it is known.

    `key` is the SHA-256 of the CA's SubjectPublicKeyInfo in hexadecimal. Devices whose CA is not known may have met the
    same one: they count as one installation of their product, and show no shared operator.
    """

    product: str | None
    key: str | None


class DeviceResult(Record, frozen=True, kw_only=True):
    """One check of one student's device: at least probable interception, or none (`interception` is None).

    `student` and `network` are hashes with keys that this program never has; `student` is another one in each exam.
    """

    institution: str
    exam: str
    student: str
    network: str
    interception: Interception | None = None


class Policy(Record, frozen=True, kw_only=True):
    """How sure an assessment has to be. See the constants of this module."""

    alpha: float = ALPHA
    odds: float = ODDS
    students_least: int = STUDENTS_LEAST

    def __post_init__(self) -> None:
        """Refuse what would name everybody or show single students. Raises `InputError`."""
        whole_number("students_least", self.students_least, least=2, most=1000)
        for name, fits, allowed in (
            ("alpha", 0 < self.alpha < 1, "a probability between 0 and 1"),
            ("odds", 1 <= self.odds < math.inf, "a number from 1 on"),
        ):
            if not fits:
                raise InputError(f"{name}: {getattr(self, name)} is not allowed.", advice=f"Give {allowed}.")


class Conclusion(enum.StrEnum):
    """What an assessment concludes, gravest first."""

    INSTITUTION = "institution"  # by the share of students: by one key, or by one product
    SHARED_OPERATOR = "shared-operator"  # one key on several students' devices, in several networks
    ONE_NETWORK = "one-network"  # one key, behind one network
    SOLD_TO_INSTITUTIONS = "sold-to-institutions"  # some institution's product, not necessarily this one's
    SINGLE_DEVICES = "single-devices"  # nothing here is the institution's
    TOO_FEW = "too-few"  # fewer students than may be shown


_GRAVEST_FIRST: Final = tuple(Conclusion)


class Alternative(enum.StrEnum):
    """What else could explain a basis. Reports show it with the conclusion."""

    EMPLOYER = "employer"  # of several students, on devices that it manages
    DORMITORY = "dormitory"  # one router, many students
    POPULAR_HERE = "popular-here"  # recommended or sold in this place
    SERVICE_FOR_MANY = "service-for-many"  # its operator serves other institutions or households too
    PROVIDER_OF_THE_ROOM = "provider-of-the-room"  # a test centre or a partner runs the network
    FEW_BEHIND_MANY = "few-behind-many"  # one person sends as many students


class Share(NamedTuple):
    """Students hit, of how many, and the exact interval of the true share at the assessment's error."""

    students: int
    of: int
    low: float
    high: float


class Basis(Record, frozen=True, kw_only=True):
    """One reason for a conclusion.

    `key` is set where one key is the reason, else `product` is. `p_value` is adjusted for the number of tests, and None
    where nothing is tested. `elsewhere` is the share of installations among the students of the other institutions.
    """

    conclusion: Conclusion
    product: str | None
    key: str | None
    here: Share
    elsewhere: Share | None
    networks: int
    p_value: float | None
    alternatives: tuple[Alternative, ...]


class Assessment(Record, frozen=True, kw_only=True):
    """What one institution's evidence says: the gravest of its bases. `error` is what this assessment may spend."""

    institution: str
    conclusion: Conclusion
    students: int
    error: float
    bases: tuple[Basis, ...] = ()


class _Group(NamedTuple):
    """Those who met one key or one product.

    `installations` counts students with one key between them once, and a student with several keys once, too: the
    devices of one employer or one household are no independent evidence.
    """

    students: frozenset[str]
    networks: frozenset[str]
    installations: int
    example: Interception


class _Exam(NamedTuple):
    students: frozenset[str]
    keys: Mapping[str, _Group]
    products: Mapping[str, _Group]


class _Test(NamedTuple):
    """One hypothesis: most students met this key or product, or the product is more frequent here; not adjusted."""

    institution: str
    key: str | None
    product: str | None
    p_value: float


class _Period(NamedTuple):
    """What all institutions of one assessment share.

    `own` has the keys that hardly anybody meets at more than one institution, with that one; `managed` are the products
    that institutions manage.
    """

    exams: Mapping[str, _Exam]
    own: Mapping[str, str]
    managed: Sequence[str]
    products: Mapping[str, ManagedBy]
    shipped_keys: AbstractSet[str]
    error: float
    policy: Policy


def assess(
    results: Iterable[DeviceResult],
    *,
    number: int,
    products: Mapping[str, ManagedBy],
    shipped_keys: AbstractSet[str] = frozenset(),
    policy: Policy = Policy(),  # noqa: B008 - the record is frozen, so that sharing it is safe
) -> tuple[Assessment, ...]:
    """Assess every institution of one period by the results of that period, in the order of their names.

    Args:
        results: of all institutions; those with fewer students than may be shown count for the comparison only.
        number: the number of this assessment, from 1: each spends its part of the error.
        products: those of the catalogue with who manages them. Those that institutions manage are tested, all of them
            and no others: what is reported changes no number of tests.
        shipped_keys: CA keys that are the same in every installation of a product. They name no operator.
        policy: how sure to be.

    Raises:
        ValueError: for a `number` below 1.
    """
    exams = _largest_exams(results)
    period = _Period(
        exams,
        own={key: name for key, name in _owners(exams) if key not in shipped_keys},
        managed=sorted(product for product, by in products.items() if by is ManagedBy.INSTITUTION),
        products=products,
        shipped_keys=shipped_keys,
        error=exact.spent(policy.alpha, number),
        policy=policy,
    )
    tests = [test for institution in sorted(exams) for test in _tests(institution, period)]
    adjusted = exact.holm([test.p_value for test in tests])
    passed = defaultdict[str, dict[tuple[str | None, str | None], float]](dict)
    for test, p_value in zip(tests, adjusted, strict=True):
        if p_value <= period.error:
            of = passed[test.institution]
            of[test.key, test.product] = min(p_value, of.get((test.key, test.product), 1.0))
    return tuple(_assess_one(institution, period, passed[institution]) for institution in sorted(exams))


def _largest_exams(results: Iterable[DeviceResult]) -> dict[str, _Exam]:
    """Of each institution the exam with the most students; of two as large, the one whose name sorts first."""
    exams = defaultdict[str, dict[str, list[DeviceResult]]](lambda: defaultdict(list))
    for result in results:
        exams[result.institution][result.exam].append(result)

    def order(exam: tuple[str, list[DeviceResult]]) -> tuple[int, str]:
        return -len({result.student for result in exam[1]}), exam[0]

    return {institution: _exam(min(of.items(), key=order)[1]) for institution, of in exams.items()}


def _owners(exams: Mapping[str, _Exam]) -> Iterator[tuple[str, str]]:
    """The keys of which `ELSEWHERE_MOST` of the students at most are at other institutions, with their institutions."""
    met = defaultdict[str, Counter[str]](Counter)
    for name, exam in exams.items():
        for key, group in exam.keys.items():
            met[key][name] = len(group.students)
    for key, students in met.items():
        name, most = students.most_common(1)[0]
        if students.total() - most <= ELSEWHERE_MOST * students.total():
            yield key, name


def _exam(results: list[DeviceResult]) -> _Exam:
    keys, products = defaultdict[str, list[DeviceResult]](list), defaultdict[str, list[DeviceResult]](list)
    for result in results:
        if (found := result.interception) is not None:
            if found.key is not None:
                keys[found.key].append(result)
            if found.product is not None:
                products[found.product].append(result)
    return _Exam(
        frozenset(result.student for result in results),
        {key: _group(of) for key, of in keys.items()},
        {product: _group(of) for product, of in products.items()},
    )


def _group(results: list[DeviceResult]) -> _Group:
    met = [(result, found) for result in results if (found := result.interception) is not None]
    return _Group(
        frozenset(result.student for result, _ in met),
        frozenset(result.network for result, _ in met),
        _count_connected((result.student, found.key) for result, found in met),
        met[0][1],
    )


def _count_connected(pairs: Iterable[tuple[str, str | None]]) -> int:
    """The number of connected components of students and keys (union-find)."""
    parents: dict[tuple[int, str | None], tuple[int, str | None]] = {}

    def find(node: tuple[int, str | None]) -> tuple[int, str | None]:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = node = parents[parent]
        return node

    for student, key in pairs:
        parents[find((0, student))] = find((1, key))
    return sum(node == parent for node, parent in parents.items())


def _tests(institution: str, period: _Period) -> Iterator[_Test]:
    """The hypotheses about one institution: the same number for each, however little its students met.

    A product that private people install is never tested, nor is its key: that many do so is no act of the institution.
    """
    exam = period.exams[institution]
    everybody = len(exam.students)
    products = {product: exam.products[product] for product in period.managed if product in exam.products}
    keys = {
        key: group
        for key, group in exam.keys.items()
        if period.own.get(key) == institution
        and period.products.get(group.example.product or "", ManagedBy.INSTITUTION) is ManagedBy.INSTITUTION
    }
    for groups in (keys, products):
        most, name = max(((len(group.students), name) for name, group in groups.items()), default=(0, ""))
        # Which one is the most frequent is chosen by the data, but no more than two can have half of the students each.
        p_value = min(2 * exact.binomial_tail(most, everybody, MAJORITY), 1.0)
        yield _Test(institution, name if groups is keys else None, name if groups is products else None, p_value)
    for product in period.managed:
        here = products[product].installations if product in products else 0
        elsewhere = _elsewhere(institution, period, product)
        p_value = exact.excess((here, everybody), elsewhere, odds=period.policy.odds)
        yield _Test(institution, None, product, p_value)


def _elsewhere(institution: str, period: _Period, product: str) -> tuple[int, int]:
    """The installations of this product among the students of other institutions, and all these students.

    The largest of these institutions counts as the second: one that invents students must not become what all others
    are compared with.
    """
    others = [exam for name, exam in period.exams.items() if name != institution]
    most = sorted(len(exam.students) for exam in others)[-2:][:1]
    hit = everybody = 0
    for exam in others:
        counted = min(len(exam.students), *most)
        installations = exam.products[product].installations if product in exam.products else 0
        hit += math.ceil(installations * counted / len(exam.students))
        everybody += counted
    return hit, everybody


def _assess_one(institution: str, period: _Period, passed: Mapping[tuple[str | None, str | None], float]) -> Assessment:
    exam, error, least = period.exams[institution], period.error, period.policy.students_least
    if len(exam.students) < least:
        return Assessment(institution=institution, conclusion=Conclusion.TOO_FEW, students=0, error=error)
    bases = [
        Basis(
            conclusion=conclusion,
            product=group.example.product if product is None else product,
            key=key,
            here=_share(len(group.students), len(exam.students), error),
            elsewhere=None if product is None else _share(*_elsewhere(institution, period, product), error),
            networks=len(group.networks),
            p_value=passed.get((key, product)),
            alternatives=_alternatives(conclusion, group, key),
        )
        for key, product, group in _groups(exam)
        if len(group.students) >= least
        and (conclusion := _conclude(key, group, period, tested=(key, product) in passed)) is not None
    ]
    bases.sort(key=lambda basis: (_GRAVEST_FIRST.index(basis.conclusion), -basis.here.students, basis.key or ""))
    return Assessment(
        institution=institution,
        conclusion=bases[0].conclusion if bases else Conclusion.SINGLE_DEVICES,
        students=len(exam.students),
        error=error,
        bases=tuple(bases),
    )


def _groups(exam: _Exam) -> Iterator[tuple[str | None, str | None, _Group]]:
    for key, group in sorted(exam.keys.items()):
        yield key, None, group
    for product, group in sorted(exam.products.items()):
        yield None, product, group


def _conclude(key: str | None, group: _Group, period: _Period, *, tested: bool) -> Conclusion | None:
    """What this group is a basis for; None where it shows nothing."""
    if tested:
        return Conclusion.INSTITUTION
    if key is None:
        is_managed = group.example.product in period.managed
        return Conclusion.SOLD_TO_INSTITUTIONS if is_managed else None
    if key in period.shipped_keys:
        return None
    return Conclusion.ONE_NETWORK if len(group.networks) == 1 else Conclusion.SHARED_OPERATOR


def _alternatives(conclusion: Conclusion, group: _Group, key: str | None) -> tuple[Alternative, ...]:
    """What else the same numbers could mean, for people to rule out."""
    found = {
        Conclusion.INSTITUTION: [Alternative.EMPLOYER, Alternative.PROVIDER_OF_THE_ROOM],
        Conclusion.SHARED_OPERATOR: [Alternative.EMPLOYER, Alternative.SERVICE_FOR_MANY],
        Conclusion.ONE_NETWORK: [Alternative.DORMITORY, Alternative.PROVIDER_OF_THE_ROOM],
        Conclusion.SOLD_TO_INSTITUTIONS: [Alternative.EMPLOYER, Alternative.SERVICE_FOR_MANY],
    }[conclusion]
    if len(group.networks) == 1:
        found = [*found, Alternative.FEW_BEHIND_MANY]
    elif key is None and conclusion is Conclusion.INSTITUTION:
        found = [*found, Alternative.POPULAR_HERE]
    return tuple(found)


def _share(students: int, of: int, error: float) -> Share:
    """The share with its interval; of nobody, every share is possible."""
    return Share(students, of, *(exact.share_interval(students, of, error=error) if of else (0.0, 1.0)))
