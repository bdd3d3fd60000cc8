"""Every parser of foreign bytes takes linear time: no peer and no file stops a check with a few kilobytes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmark.parsers import KIB, PARSERS, Cost, Parser, cost, filled

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH_MAX = 3.0
"""Between linear (2) and quadratic (4): twice the input may take this many times as long."""

ROUNDS = 4
"""Measurements whose fastest samples are taken together before a growth counts as too large: noise only ever adds."""


def growth(parser: Parser) -> float:
    """The growth of a parser from half of its measured size to the whole."""
    found = cost(parser, parser.measured or parser.most)
    for _ in range(ROUNDS):
        if found.growth <= GROWTH_MAX:
            break
        found = Cost(*map(min, zip(found, cost(parser, parser.measured or parser.most), strict=True)))
    return found.growth


@pytest.mark.serial
@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_a_parser_takes_linear_time(parser: Parser) -> None:
    """Twice the input takes at most three times the processor time, on the input that costs the parser most."""
    assert growth(parser) <= GROWTH_MAX


def _working(steps: Callable[[int], int]) -> Callable[[bytes], None]:
    """A parser that takes this many steps for a number of bytes."""

    def parse(data: bytes) -> None:
        for _ in range(steps(len(data))):
            pass

    return parse


@pytest.mark.serial
@pytest.mark.parametrize(
    ("steps", "linear"),
    [
        (lambda size: 16 * size, True),
        (lambda size: size * size // 64, False),
        (lambda size: 8 * size + size * size // 32, False),
    ],
    ids=["linear", "quadratic", "both"],
)
def test_the_measurement_knows_a_quadratic_parser(steps: Callable[[int], int], *, linear: bool) -> None:
    """One that goes over its input again for each part of it is found, also after a linear part."""
    parser = Parser("known", _working(steps), filled(b"a"), 8 * KIB)
    assert (growth(parser) <= GROWTH_MAX) is linear


def test_disturbances_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several samples the fastest counts, so that a busy machine makes no parser quadratic."""
    clock, disturbed = time.process_time, iter(range(10**9))
    extra = 0.0

    def disturbing() -> float:
        nonlocal extra
        extra += 0.5 if next(disturbed) % 5 == 0 else 0.0
        return clock() + extra

    monkeypatch.setattr(time, "process_time", disturbing)
    assert growth(Parser("known", _working(lambda size: 16 * size), filled(b"a"), 8 * KIB)) <= GROWTH_MAX


def test_every_input_is_of_its_size() -> None:
    """An input that stayed small would measure nothing."""
    bounded = ("DNS", "ServerHello", "SCT list", "certificate: timestamps", "tile: unpacked")
    for parser in PARSERS:
        size = parser.measured or parser.most
        assert len(parser.make(size)) >= (size // 2 if not parser.name.startswith(bounded) else 64), parser.name
