"""Classifies a presented chain: one of nine classes, by what is above the leaf and how that came to be trusted.

Room: trust. Pure: certificates, stores and a moment are arguments.

A chain is read in two ways (docs/decisions.md):

* leniently, by `paths`: every chain of verified signatures, whatever a client would say;
* strictly, by `acceptance`: would a careful TLS client accept such a path at that moment?

    accepted     a path to a public root that a careful client accepts
    declared     a path to a root that the pin file declares for the endpoint
    retired      to a public root, but a date forbids it: the root's removal, or a date of the chain
    defective    to a public root, but no client accepts it, for another reason than dates: its form, a revocation, or
                 what browsers no longer or never took below that root
    added        to a root that a person or a policy put on this machine; may hold together with defective
    unfamiliar   to a root that is not known, and of which it is not known who installed it
    unreadable   its signatures have a form that is not verified here
    incomplete   the leaf's issuer is not available, and the leaf says that it was publicly logged
    private      none of these

The exclusions follow that order: accepted excludes all others, then declared, then retired.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import RootOrigin

from . import paths as path_building
from .acceptance import DATE_REFUSALS, refusals
from .revocations import NO_REVOCATIONS, Revocations
from .roots import NO_ROOTS, Roots

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence

    from .acceptance import Refused
    from .budget import Budget
    from .certificate import Certificate
    from .paths import Path, Paths


class ChainClass(enum.StrEnum):
    """The classes of the module docstring."""

    ACCEPTED = "accepted"
    DECLARED = "declared"
    RETIRED = "retired"
    DEFECTIVE = "defective"
    ADDED = "added"
    UNFAMILIAR = "unfamiliar"
    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"
    PRIVATE = "private"


ADDED_BY: Final = frozenset({RootOrigin.ADDED, RootOrigin.POLICY})
"""Origins of a root that a person or a policy put on the machine."""


class Stores(NamedTuple):
    """The roots a chain may lead to, and what may not be on the path.

    `public` are trusted for every name, `declared` by the pin file for this endpoint. Only for a chain that leads to
    neither are the retired and unconfirmed roots of `public` tried, and `machine` called: the other roots that this
    machine trusts, each with its origin.
    """

    public: Roots
    declared: Roots = NO_ROOTS
    machine: Callable[[], Roots] = lambda: NO_ROOTS
    revoked: Revocations = NO_REVOCATIONS


class Classified(NamedTuple):
    """The classes of a chain and their basis.

    `classes` has one member, or `added` and `defective`. `public` are the paths to public roots and `accepted` those
    that a client accepts; `declared`, `retired` and `machine` the paths to those roots, unconfirmed ones counting as
    the machine's. `refused` says why the deciding path, `refused_path`, was not accepted; for `declared`, without the
    limits that bind public CAs only. `paths` is the lenient reading over all of these roots.
    """

    classes: frozenset[ChainClass]
    paths: Paths
    public: tuple[Path, ...] = ()
    accepted: tuple[Path, ...] = ()
    declared: tuple[Path, ...] = ()
    retired: tuple[Path, ...] = ()
    machine: tuple[Path, ...] = ()
    refused: tuple[Refused, ...] = ()
    refused_path: Path | None = None

    @property
    def accepted_until(self) -> dt.date | None:
        """The last day of issuance that browsers take of the roots of the accepted paths; None for any day."""
        last = [path.anchor.limits.distrust_after for path in self.accepted if path.anchor is not None]
        days = [day for day in last if day is not None]
        return max(days) if days and len(days) == len(last) else None

    def is_a(self, *classes: ChainClass) -> bool:
        """Whether the chain is of one of these classes."""
        return not self.classes.isdisjoint(classes)


def classify(  # noqa: PLR0913 - keyword-only past the moment
    presented: Sequence[Certificate],
    stores: Stores,
    at: dt.datetime,
    *,
    extra: Iterable[Certificate] = (),
    claims_logging: Callable[[], bool] = lambda: False,
    budget: Budget | None = None,
) -> Classified:
    """Classify the chain `presented` (leaf first, at least one certificate) at the moment `at`. Never raises.

    `extra` are certificates that were not presented but may be above the leaf. `claims_logging` says whether the leaf
    embeds as many timestamps of known logs as browsers require.
    """
    extra = tuple(extra)
    refused_by = functools.partial(refusals, at=at, revoked=stores.revoked)
    paths = path_building.build(presented, (stores.public, stores.declared), extra, budget)
    public = paths.ending_in(stores.public)
    reasons = [(path, refused_by(path)) for path in public]
    if accepted := tuple(path for path, refused in reasons if not refused):
        return Classified(frozenset({ChainClass.ACCEPTED}), paths, public=public, accepted=accepted)
    if declared := paths.ending_in(stores.declared):
        path, refused = _least([(path, refused_by(path, public=False)) for path in declared])
        return Classified(
            frozenset({ChainClass.DECLARED}),
            paths,
            public=public,
            declared=declared,
            refused=refused,
            refused_path=path if refused else None,
        )
    # Neither accepted nor declared: only now are the other stores read.
    former, unconfirmed, machine = others = stores.public.retired, stores.public.unconfirmed, stores.machine()
    further = path_building.build(presented, others, extra, budget) if any(map(len, others)) else paths
    retired = further.ending_in(former)
    reasons += [(path, refused_by(path)) for path in retired]
    found = Classified(
        frozenset(),
        _both(paths, further),
        public=tuple(path for path, _ in reasons),
        retired=retired,
        machine=(*further.ending_in(machine), *further.ending_in(unconfirmed)),
    )
    if reasons:
        path, refused = _least(reasons)
        dated = all(one.refusal in DATE_REFUSALS for one in refused)
        # An outdated certificate is no excuse where clients of this machine accept the chain by an added root.
        if dated and not any(not refused_by(each, public=False) for each in _by_added(found)):
            return found._replace(classes=frozenset({ChainClass.RETIRED}), refused=refused, refused_path=path)
        if not dated:
            found = found._replace(refused=refused, refused_path=path)
    return found._replace(classes=_classes(found, claims_logging))


def _classes(found: Classified, claims_logging: Callable[[], bool]) -> frozenset[ChainClass]:
    """The classes of a chain that no date alone forbids."""
    classes = {ChainClass.DEFECTIVE} if found.refused_path is not None else set()
    if _by_added(found):
        classes.add(ChainClass.ADDED)
    if classes:
        return frozenset(classes)
    if found.machine:
        return frozenset({ChainClass.UNFAMILIAR})
    if found.paths.unreadable:
        return frozenset({ChainClass.UNREADABLE})
    if not found.paths.issuers and not found.paths.issuer_known and claims_logging():
        return frozenset({ChainClass.INCOMPLETE})
    return frozenset({ChainClass.PRIVATE})


def _by_added(found: Classified) -> list[Path]:
    """The paths to roots that a person or a policy installed."""
    return [path for path in found.machine if path.anchor is not None and path.anchor.origin in ADDED_BY]


def _least(reasons: Sequence[tuple[Path, tuple[Refused, ...]]]) -> tuple[Path, tuple[Refused, ...]]:
    """The path closest to acceptance: refused for dates alone before others, then for the fewest reasons."""
    return min(reasons, key=lambda pair: (any(one.refusal not in DATE_REFUSALS for one in pair[1]), len(pair[1])))


def _both(first: Paths, further: Paths) -> Paths:
    """The union of the lenient readings over both sets of stores."""
    if first is further:
        return first
    return first._replace(
        issuers=tuple(dict.fromkeys((*first.issuers, *further.issuers))),
        near_issuers=tuple(dict.fromkeys((*first.near_issuers, *further.near_issuers))),
        paths=tuple(dict.fromkeys((*first.paths, *further.paths))),
        issuer_known=first.issuer_known or further.issuer_known,
        unreadable=first.unreadable or further.unreadable,
        exceeded=first.exceeded or further.exceeded,
        postponed=first.postponed or further.postponed,
    )
