"""Processor time that judging may take: for one run, and of that a share for each chain.

Room: trust. Pure: the clock is a parameter. Every other limit on what a peer sends bounds bytes; this one bounds time.

A chain's keys and names are its sender's choice, so how long it takes to find out who signed it is his choice as well.
Three limits apply, in this order:

1. The first `SIGNATURES_ORDINARY` signatures of a chain are always checked and cost the run nothing. No genuine chain
   has more, so nobody's spending can keep a genuine chain from being judged, in a run of any size.
2. Past them a chain has `CHAIN_SECONDS` and `SIGNATURES_MAX`. One that exceeds them has exceeded *its own* share.
3. All chains together have `RUN_SECONDS` past their ordinary signatures. When those are spent, a chain that asks for
   more is *postponed*: it is not its fault alone.

The caller at the edge passes the clock, `time.thread_time` as a rule: a chain is judged in one thread without waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURES_ORDINARY: Final = 8
"""Signature checks for one chain that are always made. Of 116 genuine chains all needed two or three; one that is
cross-signed at two levels needs six."""
SIGNATURES_MAX: Final = 64
"""Signature checks for one chain at all: 200 certificates of one name would otherwise ask for 200 * 200."""
CHAIN_SECONDS: Final = 0.1
"""Processor time for one chain past its ordinary signatures. The slowest keys within the limits of `signature` take
about 1.5 ms (RSA of 16384 bits), so that a fast machine reaches `SIGNATURES_MAX` first and a slow one this."""
RUN_SECONDS: Final = 1.0
"""Processor time for one run past the ordinary signatures of its chains: a third of the shortest deadline in use."""


class Budget:
    """The processor time of one run. May be shared by threads, since each chain's time is taken in its own thread.

    `clock` gives seconds of processor time and is read for chains of more than `SIGNATURES_ORDINARY` signatures only.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        run_seconds: float = RUN_SECONDS,
        chain_seconds: float = CHAIN_SECONDS,
    ) -> None:
        self.clock: Final = clock
        self.chain_seconds: Final = chain_seconds
        self.seconds_left = self._run_seconds = run_seconds

    def refill(self) -> None:
        """Begin another run: what goes on for hours counts each pass as one."""
        self.seconds_left = self._run_seconds


class Share:
    """What one chain may take of a `Budget`; without one, only signatures are counted.

    Ask `grants` before each signature check and `close` at the end. Where it said no, `exceeded` or `postponed` says
    why, and it goes on saying no.
    """

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._granted = 0
        self._begun: float | None = None
        self.exceeded = False
        self.postponed = False

    def grants(self) -> bool:
        """Whether one more signature may be checked."""
        if self.exceeded or self.postponed:
            return False
        self._granted += 1
        if self._granted > SIGNATURES_MAX:
            self.exceeded = True
        elif self._budget is not None and self._granted > SIGNATURES_ORDINARY:
            now = self._budget.clock()
            self._begun = now if self._begun is None else self._begun
            self.exceeded = now - self._begun >= self._budget.chain_seconds
            self.postponed = not self.exceeded and now - self._begun >= self._budget.seconds_left
        return not (self.exceeded or self.postponed)

    def close(self) -> None:
        """Charge what the chain took past its ordinary signatures to the run."""
        if self._budget is not None and self._begun is not None:
            self._budget.seconds_left -= self._budget.clock() - self._begun
