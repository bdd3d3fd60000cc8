"""What `detector.origin` takes for one request, in microseconds of processor time.

    python -m benchmark.client_hellos

Cases alternate, and of each the fastest of several samples counts, as in `benchmark.parsers`: whatever disturbs a
measurement makes it longer. The goals are 10 microseconds for an offer that was parsed, 60 from the raw bytes.
"""

from __future__ import annotations

import functools
import gc
import itertools
from typing import TYPE_CHECKING, Final

from detector.knowledge.data_set import shipped
from detector.model import Hello
from detector.origin import Claims, Family, Offer, Session, Sessions, judge
from detector.probe.tls.client_hello import ClientHelloWriter

from .parsers import SAMPLES, seconds_of, suitable_repeats

if TYPE_CHECKING:
    from collections.abc import Callable

_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
_SHARES: Final = {0x11EC: 1216, 0x1D: 32, 0x17: 65}
"""Bytes of a key share by group (RFC 8446 section 4.2.8.2, draft-ietf-tls-ecdhe-mlkem section 3.1.1)."""
_HINTS: Final = '"Not)A;Brand";v="8", "Chromium";v="156"'


def hello_of(profile: Hello) -> bytes:
    """The ClientHello message of a browser."""
    writer = ClientHelloWriter(profile, b"exam.example.edu")
    return writer.first({group: bytes(_SHARES[group]) for group in writer.shared_groups})


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    own, other = hello_of(Hello.BROWSER), hello_of(Hello.FIREFOX)
    parsed, contradicting = Offer.of_hello(own), Offer.of_hello(other)
    suites = shipped().browser_offers.file.products[0].cipher_suites
    proxy = Offer.of_lists(
        cipher_suites=suites, groups=[29, 23, 30, 25, 24, 256], extensions=[0, 10, 11, 13, 22, 23, 43]
    )
    claims = Claims(family=Family.CHROMIUM, major=shipped().browser_offers.families[Family.CHROMIUM].last)
    sessions = Sessions()
    session = Session(network="network", account="account", offer=parsed, claims=claims)
    numbers = itertools.count()
    return {
        "a parsed offer, no contradiction": lambda: judge(parsed, claims),
        "a parsed offer, another browser's": lambda: judge(contradicting, claims),
        "a parsed offer, a proxy's": lambda: judge(proxy, claims),
        "from bytes, no contradiction": lambda: judge(Offer.of_hello(own), claims),
        "from bytes, another browser's": lambda: judge(Offer.of_hello(other), claims),
        "headers seen before": lambda: Claims.of(_AGENT.format(150), _HINTS),
        "headers never seen before": lambda: Claims.of(f"{_AGENT.format(150)} {next(numbers)}", None),
        "a session of a network": functools.partial(sessions.add, session),
    }


def measured() -> dict[str, float]:
    """Seconds of processor time of each case."""
    chosen = cases()
    gc.disable()  # as in `timeit`
    try:
        repeats = {name: suitable_repeats(_called, call) for name, call in chosen.items()}
        samples = [
            {name: seconds_of(_called, call, repeats[name]) for name, call in chosen.items()} for _ in range(SAMPLES)
        ]
    finally:
        gc.enable()
    return {name: min(one[name] for one in samples) for name in chosen}


def _called(call: Callable[[], object]) -> object:
    return call()


def main() -> None:
    """Print the table."""
    print("| one request | microseconds |\n|---|---|")
    for name, took in measured().items():
        print(f"| {name} | {took * 1e6:.1f} |")


if __name__ == "__main__":
    main()
