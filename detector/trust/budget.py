"""Limits on the processor time of path building: one budget for a run, and a share of it for each chain.

Room: trust. Pure: the clock is a parameter. Every other limit on what a peer sends bounds bytes; this one bounds time.

The sender of a chain chooses its keys and names, and so how long it takes to find out who signed it. Three limits
apply, in this order:

1. The first `SIGNATURES_ORDINARY` signatures of a chain are always verified and cost the run nothing. No genuine chain
   has more, so other chains can never keep a genuine one from being assessed, in a run of any size.
2. Beyond them a chain has `CHAIN_SECONDS` and `SIGNATURES_MAX`. A chain that exceeds them has exceeded *its own* share.
3. All chains together have `RUN_SECONDS` beyond their ordinary signatures. Once those are spent, a chain that needs
   more is *postponed*: that is not its fault alone.

The clock is usually `time.thread_time`: a chain is assessed in one thread without waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURES_ORDINARY: Final = 8
"""Signatures of one chain that are always verified. All of 116 genuine chains needed two or three; one that is
cross-signed at two levels needs six."""
SIGNATURES_MAX: Final = 64
"""Signatures of one chain that are verified at most: 200 certificates of one name would need 200 * 200."""
CHAIN_SECONDS: Final = 0.1
"""Processor time of one chain beyond its ordinary signatures. The slowest keys within the limits of `signature` take
about 1.5 ms (RSA of 16384 bits), so a fast machine reaches `SIGNATURES_MAX` first and a slow one this."""
RUN_SECONDS: Final = 1.0
"""Processor time of one run beyond its chains' ordinary signatures: a third of the shortest deadline in use."""


class Budget:
    """The processor time of one run. Threads may share it: each chain is timed in its own thread.

    `clock` returns seconds of processor time; it is read only beyond a chain's `SIGNATURES_ORDINARY` signatures.
    """

    def __init__(
        self, clock: Callable[[], float], *, run_seconds: float = RUN_SECONDS, chain_seconds: float = CHAIN_SECONDS
    ) -> None:
        self.clock: Final = clock
        self.chain_seconds: Final = chain_seconds
        self.seconds_left = self._run_seconds = run_seconds

    def refill(self) -> None:
        """Start another run: a process that runs for hours counts each pass as one."""
        self.seconds_left = self._run_seconds


class Share:
    """What one chain may use of a `Budget`; without one, only signatures are counted.

    Call `grants` before each signature and `close` at the end. Once it refuses it keeps refusing, and `exceeded` or
    `postponed` says why.
    """

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._granted = 0
        self._begun: float | None = None
        self.exceeded = False
        self.postponed = False

    def grants(self) -> bool:
        """Whether one more signature may be verified."""
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
        """Charge the run for what the chain used beyond its ordinary signatures."""
        if self._budget is not None and self._begun is not None:
            self._budget.seconds_left -= self._budget.clock() - self._begun
