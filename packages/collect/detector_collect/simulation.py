"""Makes the results of one term at some institutions whose truth is known, to count how often it is found.

Room: detector_collect. Pure: the same seed gives the same world.

Every world has what misleads: antivirus programs of several shares, one campus where nearly everybody uses the same
one, products whose shares differ from place to place, dormitories behind one router, a few students with one employer,
people with several devices. Some worlds have institutions that decrypt, as one of `Practice` describes.
"""

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import ManagedBy

from .responsibility import DeviceResult, Interception

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRIVATE_PRODUCTS: Final = {"antivirus-a": 0.11, "antivirus-b": 0.04, "parental-filter": 0.01}
"""Shares of students with a product of their own that decrypts. A choice for the simulation, not a measurement: the
published share of intercepted connections is of the same size (Durumeric et al., NDSS 2017: 4 % to 11 %)."""
SOLD_PRODUCTS: Final = {"school-filter": 0.02, "cloud-proxy": 0.015, "school-agent": 0.004}
"""Shares of students whose employer, former school or family's company has one of these on their device. As above."""
PRODUCTS: Final = {
    **dict.fromkeys(PRIVATE_PRODUCTS, ManagedBy.ENDPOINT_OWNER),
    **dict.fromkeys((*SOLD_PRODUCTS, "employer-proxy", "firewall"), ManagedBy.INSTITUTION),
}
"""Who manages each product, as the catalogue has it."""
LOCAL_SPREAD: Final = 1.7
"""A place's share of a product is up to this factor above or below its share anywhere: so two places differ by a factor
of up to 2.9, below the 3 that the test allows for."""
ONE_CAMPUS: Final = 0.7
"""The share of the antivirus program that one campus recommends to everybody."""
EMPLOYEES_MOST: Final = 8
"""Students of one exam with one employer's device."""
DORMITORY: Final = 1 / 3
"""Up to this share of an exam's students live behind one router that decrypts."""


class Practice(enum.StrEnum):
    """How an institution decrypts."""

    FIREWALL = "firewall"  # one key for everybody on its network
    MANAGED_DEVICES = "managed-devices"  # one key on a part of the devices, wherever they are
    AGENT = "agent"  # a product that makes a key on each of these devices


class World(NamedTuple):
    """The results, and the institutions that truly decrypt with the share of their students whom it reaches."""

    results: tuple[DeviceResult, ...]
    guilty: Mapping[str, tuple[Practice, float]]


def make(
    seed: int,
    *,
    institutions: int = 20,
    students: tuple[int, int] = (20, 200),
    guilty: Mapping[int, tuple[Practice, float]] | None = None,
) -> World:
    """Make a world of `institutions` with exams of `students` (least, most). `guilty` names institutions by number."""
    draw = random.Random(seed)  # noqa: S311 - a simulation is repeated, not kept secret
    practices = {f"institution-{number:02}": practice for number, practice in (guilty or {}).items()}
    results: list[DeviceResult] = []
    recommending, lodging = draw.randrange(institutions), draw.randrange(institutions)
    for number in range(institutions):
        place = _Place(draw, f"institution-{number:02}", practices.get(f"institution-{number:02}"))
        if number == recommending:
            place.shares["antivirus-a"] = ONE_CAMPUS
        size = draw.randint(*students)
        results.extend(place.exam(size, draw.randint(0, int(size * DORMITORY)) if number == lodging else 0))
    draw.shuffle(results)
    return World(tuple(results), practices)


class _Place:
    def __init__(self, draw: random.Random, name: str, practice: tuple[Practice, float] | None) -> None:
        self.name, self._draw, self._practice = name, draw, practice
        self.shares = {
            product: share * LOCAL_SPREAD ** draw.uniform(-1, 1)
            for product, share in (PRIVATE_PRODUCTS | SOLD_PRODUCTS).items()
        }

    def exam(self, students: int, dormitory: int) -> Iterator[DeviceResult]:
        """The results of one exam: at least one of each student."""
        draw, employees = self._draw, self._draw.randint(0, EMPLOYEES_MOST) if self._draw.random() < 1 / 4 else 0
        for number in range(students):
            network = f"{self.name}-campus" if draw.random() < 1 / 2 else f"{self.name}-home-{number}"
            found: list[Interception | None] = [*self._own_products(number)]
            if number < dormitory:
                network = f"{self.name}-dormitory"
                found.append(Interception(product=None, key=f"{self.name}-router"))
            elif number < dormitory + employees:
                found.append(Interception(product="employer-proxy", key=f"{self.name}-employer"))
            if self._practice is not None and draw.random() < self._practice[1]:
                network, reached = self._reached(network, number)
                found.append(reached)
            for interception in found or [None]:
                for _ in range(draw.choice((1, 1, 1, 2))):  # devices
                    yield DeviceResult(
                        institution=self.name,
                        exam="exam",
                        student=f"{self.name}-{number}",
                        network=network,
                        interception=interception,
                    )

    def _own_products(self, number: int) -> Iterator[Interception]:
        for product, share in self.shares.items():
            if self._draw.random() < share:
                yield Interception(product=product, key=f"{self.name}-{product}-{number}")

    def _reached(self, network: str, number: int) -> tuple[str, Interception]:
        practice = None if self._practice is None else self._practice[0]
        if practice is Practice.FIREWALL:
            return f"{self.name}-campus", Interception(product="firewall", key=f"{self.name}-firewall")
        if practice is Practice.MANAGED_DEVICES:
            return network, Interception(product="cloud-proxy", key=f"{self.name}-managed")
        return network, Interception(product="school-agent", key=f"{self.name}-agent-{number}")
