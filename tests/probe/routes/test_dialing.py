"""The limits of a connection's phases follow from the time that is left."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from hypothesis import example, given
from hypothesis import strategies as st

from detector.probe import Timeouts
from detector.probe.routes import Addresses
from detector.probe.routes.dialing import PATIENCE_SECONDS, patience
from detector.probe.routes.direct import ADDRESSES_MAX

if TYPE_CHECKING:
    from detector.probe.routes import AddressInfo

LEAST: Final = Timeouts()
DEADLINES: Final = st.floats(min_value=0.0, max_value=3600.0, allow_subnormal=False)


@given(DEADLINES)
@example(0.0)
@example(2.5)
@example(9.5)
@example(29.5)
def test_limits_within_a_deadline(left: float) -> None:
    """No limit is below the defaults; those of a long deadline use it, and leave time for what follows."""
    limits = Timeouts.within(left)
    for phase in Timeouts.__struct_fields__:
        assert getattr(limits, phase) >= getattr(LEAST, phase)
        assert getattr(limits, phase) <= max(getattr(LEAST, phase), 0.8 * left)
    assert limits.handshake == limits.proxy == max(LEAST.handshake, 0.8 * left)
    assert limits.resolve == limits.connect == max(LEAST.connect, 0.4 * left)


@given(DEADLINES, DEADLINES)
def test_more_time_is_never_less(one: float, other: float) -> None:
    """A longer deadline shortens no limit."""
    shorter, longer = sorted((one, other))
    before, after = Timeouts.within(shorter), Timeouts.within(longer)
    assert all(getattr(before, phase) <= getattr(after, phase) for phase in Timeouts.__struct_fields__)
    assert patience(shorter) <= patience(longer)


@given(DEADLINES)
def test_patience_leaves_time_for_another_try(left: float) -> None:
    """The second try begins early enough to have more time left than the first had alone, and not at once."""
    assert patience(left) <= PATIENCE_SECONDS
    assert left - patience(left) >= patience(left)
    assert (patience(left) > 0) is (left > 0)


def test_known_deadlines() -> None:
    """A gate's 3 s, the default of 10 s and 30 s, each without the half second for assessment, and none."""
    assert [round(patience(left), 3) for left in (-1.0, 2.5, 9.5, 29.5)] == [0.0, 1.0, 3.0, 3.0]
    assert [round(Timeouts.within(left).handshake, 3) for left in (2.5, 9.5, 29.5)] == [8.0, 8.0, 23.6]
    assert Timeouts.within(None) == Timeouts.within(-1.0) == LEAST


def info(family: int, number: int) -> AddressInfo:
    return (family, 1, 6, "", (f"address-{number}", 443))


@given(st.lists(st.sampled_from([2, 10])))
def test_addresses_are_bounded_and_counted(families: list[int]) -> None:
    """Families alternate as long as there are two, each in its order; what is beyond the bound is counted."""
    found = [info(family, number) for number, family in enumerate(families)]
    addresses = Addresses.bounded(found)
    assert len(addresses) + addresses.left_out == len(found)
    assert Addresses.bounded(addresses).left_out == addresses.at_port(8443).left_out == addresses.left_out
    for family in (2, 10):
        assert [each for each in addresses if each[0] == family] == [each for each in found if each[0] == family][
            :ADDRESSES_MAX
        ]
    fewest = min(sum(each[0] == family for each in addresses) for family in (2, 10))
    both = addresses[: 2 * fewest]
    assert all(one[0] != other[0] for one, other in itertools.pairwise(both))
