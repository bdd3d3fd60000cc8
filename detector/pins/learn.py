"""Learns pins from what endpoints present: the leaf's key and the keys of the CAs between it and the root.

Room: pins. Pure: takes finished observations.

Pins learned from an interceptor would approve it for good. So a chain is learned from only when its key was proved, it
is for the host, it is in date and a careful client would accept it, unless the caller declares that this endpoint has a
private PKI. What is recorded then is limited too:

* never a root's key (docs/adr/0003), nor a key of the catalogue, which others have;
* never a leaf's key that endpoints of different operators have: a CDN answers for many with it, or an interceptor;
* nothing where such endpoints have another key in common that no public log can know of: an interceptor's, most likely;
* the identity is recorded as public only where the chain was accepted and logged.

The pins hold a key above the leaf's, so that a new leaf of the same CA fits. Backup pins (RFC 7469 section 4.3) are
for keys that are in no chain yet: no observation shows them, so existing ones are kept and none is made up.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import LearnError
from detector.knowledge.operators import operator_of
from detector.model import Endpoint, RecordedIdentity
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.judge.evidence import EndpointEvidence
    from detector.knowledge.catalogue import Catalogue
    from detector.trust import acceptance, transparency
    from detector.trust.certificate import Certificate
else:  # an exam's start reads pins, it does not learn
    acceptance = LazyModule("detector.trust.acceptance")
    transparency = LazyModule("detector.trust.transparency")


class SharedKeys(Container[bytes]):
    """The keys (SHA-256 of the SPKI) that endpoints of different operators have in common: they identify none of them.

    `met` are endpoints, each with the keys met on it or pinned for it. The operator is the declared one, else the
    registrable domain; everything in private networks is one. Computed on demand: registrable domains take the suffix
    list, which a key that is met once does not need.
    """

    def __init__(self, met: Iterable[tuple[Endpoint, Iterable[bytes]]]) -> None:
        self._where: Final[dict[bytes, list[Endpoint]]] = {}
        for endpoint, keys in met:
            for key in frozenset(keys):
                self._where.setdefault(key, []).append(endpoint)

    def __contains__(self, key: object) -> bool:
        endpoints = self._where.get(key, []) if isinstance(key, bytes) else []
        if len(endpoints) <= 1:
            return False
        return len({endpoint.operator or operator_of(endpoint.host) for endpoint in endpoints}) > 1

    def all(self) -> frozenset[bytes]:
        """Every one of them."""
        return frozenset(key for key in self._where if key in self)


def shared_pins(endpoints: Iterable[Endpoint]) -> SharedKeys:
    """The keys that are pinned for endpoints of different operators."""
    return SharedKeys((endpoint, (*endpoint.pins, *endpoint.backup_pins)) for endpoint in endpoints)


class Learned(NamedTuple):
    """An endpoint with its pins, and `notes` on what was recorded or left out, for readers of the pin file."""

    endpoint: Endpoint
    notes: tuple[str, ...]


def learn(evidence: EndpointEvidence, *, allow_private: bool = False) -> Endpoint:
    """Return the endpoint with pins learned from what it presented. For several, use `learn_all`.

    With `allow_private` a chain that no client accepts is learned too: the leaf and its verified CAs below the top.
    Raises `LearnError`, which says why this must not be pinned.
    """
    return learn_all((evidence,), allow_private=allow_private)[0].endpoint


def learn_all(run: Iterable[EndpointEvidence], *, allow_private: bool = False) -> tuple[Learned, ...]:
    """Return the endpoints of one run, in their order, with pins, compared with each other (see the module docstring).

    Raises `LearnError` where one must not be pinned. Then nothing is learned.
    """
    chains = [_chain(evidence, allow_private=allow_private) for evidence in run]
    common = SharedKeys((chain.endpoint, chain.met) for chain in chains).all()
    return tuple(_learned(chain, common) for chain in chains)


class _Chain(NamedTuple):
    """A chain to learn from, checked by itself.

    `ca_keys` are those of the CAs between leaf and root, `met` every key of the chain but public roots'.
    `is_shareable`: its CAs may be public ones, which endpoints of different operators have in common.
    """

    endpoint: Endpoint
    leaf_key: bytes
    ca_keys: tuple[bytes, ...]
    met: frozenset[bytes]
    identity: RecordedIdentity
    is_shareable: bool


def _chain(evidence: EndpointEvidence, *, allow_private: bool) -> _Chain:
    endpoint, leaf = evidence.endpoint, evidence.leaf
    if leaf is None or leaf.spki_sha256 is None or evidence.paths is None:
        _refuse(
            endpoint,
            f"no readable certificate was seen ({evidence.observation.outcome})",
            "Check host, port and connection, then try again.",
        )
    if not evidence.observation.key_proved:
        _refuse(
            endpoint,
            f"the peer did not prove that it holds the certificate's key ({evidence.observation.outcome})",
            "Try again from a network you trust.",
        )
    if evidence.name_match not in (NameMatch.MATCH, NameMatch.COMMON_NAME_ONLY):
        _refuse(
            endpoint,
            "the certificate is for another host",
            "Check the host name, or try again from a network you trust.",
        )
    if leaf.validity is None or not leaf.validity[0] <= evidence.context.at <= leaf.validity[1]:
        _refuse(
            endpoint,
            "the certificate is not valid at this time",
            "Check this machine's clock, or have the server's certificate renewed.",
        )
    accepted = () if evidence.chain is None else evidence.chain.accepted
    if not accepted and not allow_private:
        _refuse(
            endpoint,
            _why_not_accepted(evidence, leaf),
            "If a middlebox could be in the way, learn from another network. If this server has a private PKI and you "
            "are sure of this network, say --allow-private.",
        )
    roots = evidence.context.roots.keys | evidence.context.data.known_roots.keys
    if leaf.spki_sha256 in roots:
        _refuse(endpoint, "the server's own key is that of a root", "Name the root in private_roots instead.")
    paths = accepted or evidence.paths.paths
    above = dict.fromkeys(certificate for path in paths for certificate in path.certificates[1:])
    product = _product((*evidence.presented, *above), evidence.context.data.catalogue)
    if product is not None:
        _refuse(endpoint, f"a certificate of its chain is that of {product}", "Learn from another network.")
    keys = dict.fromkeys(c.spki_sha256 for c in above if c.spki_sha256 is not None)
    never = roots | {c.spki_sha256 for c in above if c.is_self_issued} | {leaf.spki_sha256}
    logging = evidence.logging
    is_logged = bool(accepted) and evidence.name_match is NameMatch.MATCH and logging is transparency.Logging.LOGGED
    return _Chain(
        endpoint=endpoint,
        leaf_key=leaf.spki_sha256,
        ca_keys=tuple(key for key in keys if key not in never),
        met=frozenset((leaf.spki_sha256, *keys)) - roots,
        identity=RecordedIdentity.PUBLIC if is_logged else RecordedIdentity.UNKNOWN,
        is_shareable=bool(accepted) and logging is not transparency.Logging.UNLOGGED,
    )


def _why_not_accepted(evidence: EndpointEvidence, leaf: Certificate) -> str:
    """Why no client accepts the chain, in words for people."""
    chain = evidence.chain
    if chain is not None and chain.public and chain.refused and chain.refused_path is not None:
        refusal = acceptance.explain(chain.refused[0], chain.refused_path)
        return f"no client would accept this chain: {refusal.removesuffix('.')}"
    return f"no public root stands above this chain (issuer: {leaf.issuer.text if leaf.issuer else 'unreadable'})"


def _product(certificates: Iterable[Certificate], catalogue: Catalogue) -> str | None:
    """The product that the catalogue knows one of these certificates, or its key, to belong to."""
    digests = (digest for c in certificates for digest in (c.sha256, c.spki_sha256) if digest is not None)
    hits = catalogue.match_digests(digests)
    return f"{hits[0].entry.vendor} {hits[0].entry.product}" if hits else None


def _learned(chain: _Chain, common: frozenset[bytes]) -> Learned:
    pins = (*(() if chain.leaf_key in common else (chain.leaf_key,)), *chain.ca_keys)
    if not pins or (not chain.is_shareable and not common.isdisjoint(chain.met)):
        _refuse(
            chain.endpoint,
            "a key of its chain was met on endpoints of other operators too, as behind an interceptor",
            "Learn from another network. If one operator runs them all, learn them one at a time.",
        )
    notes = []
    if chain.identity is RecordedIdentity.UNKNOWN:
        notes.append("identity unknown: the chain is not known to be both publicly trusted and logged")
    if chain.leaf_key not in pins:
        notes.append("the leaf's key is left out: endpoints of other operators have it too")
    endpoint = msgspec.structs.replace(
        chain.endpoint,
        pins=pins,
        backup_pins=tuple(key for key in chain.endpoint.backup_pins if key not in pins),
        certificates=(),
        identity=chain.identity,
        canary=False,
        runs_ca=False,
        expires=None,
        source=None,
    )
    return Learned(endpoint, tuple(notes))


def _refuse(endpoint: Endpoint, reason: str, advice: str) -> NoReturn:
    raise LearnError(f"{endpoint.name}: no pins learned, because {reason}.", advice=advice)
