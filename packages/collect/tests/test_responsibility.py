"""What is the institution's and what is not: literal worlds, and properties of all.

Room: tests. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from detector_collect import (
    Alternative,
    Assessment,
    Conclusion,
    DeviceResult,
    Interception,
    Policy,
    assess,
    simulation,
)
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError
from detector.model import ManagedBy

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

PRODUCTS = simulation.PRODUCTS | {"antivirus": ManagedBy.ENDPOINT_OWNER, "kiosk": ManagedBy.ENDPOINT_OWNER}


def met(product: str | None, key: str) -> Interception:
    """An interception by this product with this key."""
    return Interception(product=product, key=key)


def students(  # noqa: PLR0913 - one result has as many parts
    count: int,
    *,
    at: str = "here",
    network: str = "home",
    interception: Interception | None = None,
    own_keys: bool = False,
    first: int = 0,
    exam: str = "exam",
) -> list[DeviceResult]:
    """Device results of `count` students; `network` ending with `-` is another one for each, `own_keys` likewise."""
    return [
        DeviceResult(
            institution=at,
            exam=exam,
            student=f"{at}-{number}",
            network=f"{network}{number}" if network.endswith("-") else network,
            interception=msgspec.structs.replace(interception, key=f"{at}{number}")
            if interception is not None and own_keys
            else interception,
        )
        for number in range(first, first + count)
    ]


OTHERS = [result for name in "abcde" for result in students(200, at=name, network="home-")]
"""Five other institutions without interception."""


def conclude(results: Iterable[DeviceResult], *, shipped: frozenset[str] = frozenset()) -> Assessment:
    """The assessment of `here` among the others."""
    return next(
        each
        for each in assess([*results, *OTHERS], number=1, products=PRODUCTS, shipped_keys=shipped)
        if each.institution == "here"
    )


AGENT = met("school-agent", "")
ANTIVIRUS = met("antivirus", "")
FIREWALL = met("firewall", "fw")


@pytest.mark.parametrize(
    ("results", "conclusion"),
    [
        (students(100, interception=FIREWALL, network="campus"), Conclusion.INSTITUTION),
        (
            students(70, interception=FIREWALL, network="campus") + students(10, first=70),
            Conclusion.INSTITUTION,
        ),
        (students(30, interception=AGENT, own_keys=True) + students(70, first=30), Conclusion.INSTITUTION),
        (students(100, interception=ANTIVIRUS, own_keys=True, network="home-"), Conclusion.SINGLE_DEVICES),
        (
            students(30, interception=FIREWALL, network="home-") + students(70, first=30),
            Conclusion.SHARED_OPERATOR,
        ),
        (students(30, interception=FIREWALL) + students(70, first=30), Conclusion.ONE_NETWORK),
        (
            students(6, interception=met("cloud-proxy", ""), own_keys=True, network="home-") + students(994, first=6),
            Conclusion.SOLD_TO_INSTITUTIONS,
        ),
        (students(4, interception=FIREWALL) + students(96, first=4), Conclusion.SINGLE_DEVICES),
        (students(4, interception=FIREWALL), Conclusion.TOO_FEW),
        (students(100), Conclusion.SINGLE_DEVICES),
    ],
    ids=lambda value: value.value if isinstance(value, Conclusion) else "",
)
def test_each_conclusion(results: list[DeviceResult], conclusion: Conclusion) -> None:
    """One world for each line of the page."""
    others = [
        result
        for name in "abcde"
        for result in students(2, at=name, interception=met("cloud-proxy", ""), own_keys=True, first=200)
    ]
    assert conclude([*results, *others]).conclusion is conclusion


def test_one_employers_devices_are_one_installation() -> None:
    """Eight of twenty students with one employer's key do not make its product more frequent here."""
    found = conclude(students(8, interception=met("cloud-proxy", "employer"), network="home-") + students(12, first=8))
    assert found.conclusion is Conclusion.SHARED_OPERATOR
    assert Alternative.EMPLOYER in found.bases[0].alternatives


def test_a_key_that_products_ship_names_nobody() -> None:
    """A key that is the same in every installation is no operator's; its product is tested instead."""
    results = students(20, interception=met("kiosk", "shipped"), network="home-")
    assert conclude(results + students(80, first=20)).conclusion is Conclusion.SHARED_OPERATOR
    assert conclude(results + students(80, first=20), shipped=frozenset({"shipped"})).bases == ()


def test_a_key_of_two_institutions_is_no_majority_of_one() -> None:
    """A service for many has one key everywhere: its product is what most students here met."""
    service = met("cloud-proxy", "service")
    results = students(90, interception=service, network="home-") + students(11, at="a", interception=service)
    basis = conclude(results).bases[0]
    assert (basis.conclusion, basis.key, basis.product) == (Conclusion.INSTITUTION, None, "cloud-proxy")


def test_a_few_reports_from_elsewhere_clear_nobody() -> None:
    """A student with another institution's key to send with: the interceptor's key stays that of most who met it."""
    firewall = students(100, interception=FIREWALL, network="campus")
    for few, conclusion in ((11, Conclusion.INSTITUTION), (12, Conclusion.ONE_NETWORK)):
        planted = students(few, at="a", interception=FIREWALL, first=200)
        assert (
            conclude(
                msgspec.structs.replace(one, interception=met(None, "key")) if one.interception else one
                for one in firewall + planted
            ).conclusion
            is conclusion
        )


def test_invented_students_elsewhere_accuse_nobody() -> None:
    """With one institution's key anybody can send clean students by the thousand; a product is not rarer for that."""
    product = met("cloud-proxy", "")
    places = [
        result
        for name in ("here", *"abcde")
        for result in students(20, at=name, interception=product, own_keys=True, first=1000)
    ]
    flood = students(20_000, at="flood")
    assert conclude([*places, *students(180), *flood]).conclusion is Conclusion.SOLD_TO_INSTITUTIONS


def test_the_largest_exam_stands_for_all() -> None:
    """A student has another hash in each exam, so two exams are never added up."""
    small = students(20, interception=FIREWALL, exam="small")
    assert conclude([*small, *students(40, exam="large")]).conclusion is Conclusion.SINGLE_DEVICES
    assert conclude([*small, *students(19, exam="smaller")]).conclusion is Conclusion.INSTITUTION


def test_an_interval_stands_with_each_share() -> None:
    """Thirty of a hundred, with limits on both sides, and what it is compared with."""
    basis = conclude(students(30, interception=AGENT, own_keys=True) + students(70, first=30)).bases[0]
    assert basis.elsewhere is not None
    assert (basis.here.students, basis.here.of) == (30, 100)
    assert 0.1 < basis.here.low < 0.3 < basis.here.high < 0.6
    assert (basis.elsewhere.students, basis.elsewhere.of, basis.elsewhere.low) == (0, 1000, 0.0)
    assert basis.p_value is not None
    assert basis.p_value < 1e-9


def test_later_assessments_may_spend_less() -> None:
    """The same numbers that name an institution at first do not at the thousandth assessment."""
    results = students(9, interception=AGENT, own_keys=True) + students(91, first=9) + OTHERS
    first, late = (
        next(each for each in assess(results, number=number, products=PRODUCTS) if each.institution == "here")
        for number in (1, 1000)
    )
    assert first.conclusion is Conclusion.INSTITUTION
    assert late.conclusion is Conclusion.SOLD_TO_INSTITUTIONS


@pytest.mark.parametrize(
    ("field", "value"), [("alpha", 0.0), ("alpha", 1.0), ("odds", 0.5), ("odds", float("nan")), ("students_least", 1)]
)
def test_a_policy_that_would_name_everybody(field: str, value: float) -> None:
    """It is refused, and the message names the field."""
    with pytest.raises(InputError, match=field):
        Policy(**{field: value})  # type: ignore[arg-type]  # a wrong value on purpose


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_neither_order_nor_names_nor_further_devices_matter(seed: int, draw: random.Random) -> None:
    """The same evidence in another order, under other hashes, with every device twice: the same conclusions."""
    world = simulation.make(seed, institutions=4, students=(5, 30), guilty={1: (simulation.Practice.AGENT, 0.6)})
    changed = [
        msgspec.structs.replace(each, student=f"other {each.student}", network=f"other {each.network}")
        for each in world.results * 2
    ]
    draw.shuffle(changed)
    assert assess(changed, number=1, products=PRODUCTS) == assess(world.results, number=1, products=PRODUCTS)


@given(st.integers(0, 10**6))
def test_no_group_below_five_and_no_hash_is_shown(seed: int) -> None:
    """Nothing in an assessment is about fewer than five students, and no hash of a student or network is in it."""
    world = simulation.make(seed, institutions=5, students=(1, 40), guilty={0: (simulation.Practice.FIREWALL, 0.5)})
    found = assess(world.results, number=1, products=PRODUCTS)
    for assessment in found:
        assert assessment.students == 0 or assessment.students >= 5
        for basis in assessment.bases:
            assert basis.here.students >= 5
    text = msgspec.json.encode(found).decode()
    assert not {hashed for each in world.results for hashed in (each.student, each.network)} & set(text.split('"'))


def test_invented_products_change_no_number_of_tests() -> None:
    """One reporter with a thousand made-up products cannot hide an institution behind the number of tests."""
    guilty = students(25, interception=AGENT, own_keys=True) + students(75, first=25)
    flood = [
        result
        for number in range(1000)
        for result in students(1, at="a", interception=met(f"invented {number}", f"invented {number}"), first=300)
    ]
    before, after = conclude(guilty), conclude([*guilty, *flood])
    assert before.conclusion is Conclusion.INSTITUTION
    assert after.conclusion is Conclusion.INSTITUTION


@given(st.integers(0, 10**6), st.integers(0, 8))
def test_reporters_move_no_more_than_their_number(seed: int, liars: int) -> None:
    """Reporters who lie together change a share by their own number, and no other institution's conclusion."""
    world = simulation.make(seed, institutions=4, students=(20, 40))
    lies = [
        DeviceResult(
            institution="institution-00",
            exam="exam",
            student=f"liar {number}",
            network=f"n{number}",
            interception=met("school-agent", f"lie {number}"),
        )
        for number in range(liars)
    ]
    before, after = (
        {each.institution: each for each in assess(results, number=1, products=PRODUCTS)}
        for results in (world.results, [*world.results, *lies])
    )

    def shown(assessment: Assessment) -> int:
        shares = [basis.here for basis in assessment.bases if basis.product == "school-agent"]
        return max((share.students for share in shares), default=0)

    # Up to four were there before without being shown.
    assert shown(after["institution-00"]) <= max(shown(before["institution-00"]), 4) + liars
    for name in ("institution-01", "institution-02", "institution-03"):
        assert after[name].conclusion is before[name].conclusion


def test_no_innocent_institution_is_named() -> None:
    """Two hundred worlds of twenty institutions with all that misleads, one campus with one antivirus program."""
    named = [
        (seed, assessment)
        for seed in range(200)
        for assessment in assess(simulation.make(seed).results, number=1, products=PRODUCTS)
        if assessment.conclusion is Conclusion.INSTITUTION
    ]
    assert named == []


@pytest.mark.parametrize(
    ("practice", "share"), [(simulation.Practice.FIREWALL, 0.95), (simulation.Practice.AGENT, 0.7)]
)
def test_the_right_institutions_stand_out(practice: simulation.Practice, share: float) -> None:
    """Three of twenty decrypt: they are named, and nobody else is."""
    for seed in range(10):
        world = simulation.make(seed, students=(60, 200), guilty=dict.fromkeys((2, 7, 11), (practice, share)))
        found = assess(world.results, number=1, products=PRODUCTS)
        named = {each.institution for each in found if each.conclusion is Conclusion.INSTITUTION}
        assert named == set(world.guilty)


def test_unknown_keys_are_one_installation_and_no_operator() -> None:
    """Devices whose CA is not known: they may all have met the same one, or each another one."""
    unknown = students(40, interception=met(None, "?"), network="home-")
    unknown = [msgspec.structs.replace(result, interception=Interception(product=None, key=None)) for result in unknown]
    assert conclude(unknown + students(60, first=40)).conclusion is Conclusion.SINGLE_DEVICES
    agents = [
        msgspec.structs.replace(result, interception=Interception(product=AGENT.product, key=None))
        for result in students(40, network="home-")
    ]
    counted = conclude(agents + students(60, first=40))
    assert counted.conclusion is Conclusion.SOLD_TO_INSTITUTIONS  # one installation is no excess
