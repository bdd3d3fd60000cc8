"""Worlds in which the decision table is known to answer wrongly, found by looking for them.

Room: scripts. Pure; built like `families`. A case stands here because its answer is wrong, so that the rest of the
generated material is right by selection: only the counts over everything are rates. Each world says why (`Limit.why`)
and in exactly which settings (`Limit.wrong`). The evaluation fails when a world answers otherwise, wrongly in another
setting or rightly in one of these, so that no explanation outlives its reason and none covers anything new.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import RootOrigin
from detector.trust.roots import from_der

from .families import AIA, ALONE, EXAM, HOSTS, LMS, NETWORK, PINNED, SUBJECT_AND_NAMES, YEAR, dn, minted_scts, with_root
from .material import Scene, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .families import Lab

GROUP: Final = "limits"


class Limit(NamedTuple):
    """One world: its scenes, why an answer in it can be wrong, and in exactly which settings it is."""

    name: str
    why: str
    scenes: tuple[Scene, ...]
    wrong: frozenset[str]


def _limit(name: str, why: str, scenes: tuple[Scene, ...], *, right: tuple[str, ...] = ()) -> Limit:
    """A world that is wrong in all its settings but those named `right`."""
    return Limit(name, why, scenes, frozenset(scene.setting for scene in scenes) - frozenset(right))


def limits(lab: Lab) -> Iterator[Limit]:
    """Every known world of the kind."""
    yield from _false_accusations(lab)
    yield from _misses(lab)


def _false_accusations(lab: Lab) -> Iterator[Limit]:
    pki = lab.pki

    def scene(name: str, setting: str, *items: object, **more: object) -> Scene:
        return lab.scene(GROUP, name, setting, *items, **more)  # type: ignore[arg-type] # the options of Lab.scene

    def item(host: str, presented: object, **more: object) -> object:
        return lab.item(host, presented, Truth.GENUINE, **more)  # type: ignore[arg-type] # the options of Lab.item

    name = "one default certificate of a hosting company"
    default = pki.self_signed(["ingress.local"])
    yield _limit(
        name,
        "Two customers of one hosting company whose server shows its default self-signed certificate present the same "
        "key for unrelated operators, bit for bit what an interceptor with one static certificate presents. Row 15 "
        "takes the shared key for proof.",
        (scene(name, NETWORK, *(item(host, default) for host in HOSTS)),),
    )
    name = "one private CA, two domains of one institution, undeclared"
    campus = pki.private_ca("Example Campus CA")
    served = {host: with_root(campus.issue([host]), campus) for host in HOSTS}
    yield _limit(
        name,
        "Two registrable domains count as unrelated operators unless the pin file gives both the same `operator`, or "
        "declares the CA under `private_roots`. Row 15 takes the shared CA for proof.",
        (scene(name, "two domains, no pins", *(item(host, served[host]) for host in (EXAM, LMS))),),
    )
    name = "private PKI undeclared, its root installed on the machine"
    yield _limit(
        name,
        "A managed laptop trusts its institution's own CA; a server that uses that CA and is not declared ends at a "
        "root installed on this machine that is not public, which row 15 takes for proof. `private_roots` in the pin "
        "file ends it.",
        (
            scene(
                name,
                ALONE,
                item(EXAM, served[EXAM]),
                installed=from_der([campus.certificate], name="machine", origin=RootOrigin.ADDED),
            ),
        ),
    )
    name = "an appliance's own administration page"
    appliance = pki.private_ca(dn(ORGANIZATION_NAME="Fortinet", COMMON_NAME="FG120E"))
    yield _limit(
        name,
        "The page of the appliance itself is signed by the appliance's factory CA, whose name the catalogue knows. Who "
        "checks the filter's own page meets the filter; row 15 does not ask which host it is.",
        (
            scene(
                name,
                ALONE,
                item("filter.campus.internal", with_root(appliance.issue(["filter.campus.internal"]), appliance)),
            ),
        ),
    )
    name = "stale roots and stale log list"
    only_a = from_der([pki.root_a.certificate], name="stale roots")
    fresh = {host: pki.issue([host], foreign_sct=True) for host in HOSTS}
    before = pki.issue([EXAM], foreign_sct=True)
    yield _limit(
        name,
        "A copy of the package so old that it knows neither the new root nor the new logs sees a private chain. With "
        "pins of a rotated key it is row 17, on unrelated operators row 15. Rows 15 and 17 ask only whether the leaf "
        "is known to be logged, not whether the list is young enough to know.",
        (
            scene(name, ALONE, item(EXAM, fresh[EXAM]), public=only_a),
            scene(
                name, "alone, pins rotated away", item(EXAM, fresh[EXAM], pinned=[before], ca_pins=False), public=only_a
            ),
            scene(name, NETWORK, *(item(host, fresh[host]) for host in HOSTS), public=only_a),
        ),
        right=(ALONE,),
    )
    name = "missing intermediate and stale log list"
    lone = {host: pki.issue([host], foreign_sct=True, aia=AIA) for host in HOSTS}
    alone = {host: one.with_chain(one.leaf) for host, one in lone.items()}
    yield _limit(
        name,
        "A server that forgot its intermediate and whose logs the list does not know has nothing to show for itself "
        "until AIA answers: row 16 wants SCTs of two known logs.",
        (
            scene(name, ALONE, item(EXAM, alone[EXAM])),
            scene(name, "alone, pins of the CA, key rotated", item(EXAM, alone[EXAM], pinned=[before])),
            scene(name, NETWORK, *(item(host, alone[host]) for host in HOSTS)),
        ),
        right=(ALONE,),
    )
    name = "SCTs outside the certificate"
    outside = {host: pki.issue([host], scts=0) for host in HOSTS}
    yield _limit(
        name,
        "SCTs may come in the handshake or in a stapled OCSP response; this version reads those in the certificate. "
        "With stale pins, or on two operators of one such CA, row 12 is `probable` and names the alternative.",
        (
            scene(
                name, "alone, pins rotated away", item(EXAM, outside[EXAM], pinned=[lab.genuine(EXAM)], ca_pins=False)
            ),
            scene(name, NETWORK, *(item(host, outside[host]) for host in HOSTS)),
        ),
    )


def _misses(lab: Lab) -> Iterator[Limit]:
    pki = lab.pki
    genuine = lab.genuine(EXAM)

    def scene(name: str, setting: str, *items: object, **more: object) -> Scene:
        return lab.scene(GROUP, name, setting, *items, **more)  # type: ignore[arg-type] # the options of Lab.scene

    def item(host: str, presented: object, **more: object) -> object:
        return lab.item(host, presented, Truth.INTERCEPTED, **more)  # type: ignore[arg-type] # the options of Lab.item

    name = "interceptor below the declared private root"
    institution = pki.private_ca("Example Institution Root")
    gateway = institution.subordinate("Example Institution Gateway")
    origin = institution.subordinate("Example Institution Servers").issue([EXAM])
    forged = gateway.issue(copy_from=origin.leaf, copies=SUBJECT_AND_NAMES)
    declared = {"private_roots": (institution.certificate,)}
    yield _limit(
        name,
        "The institution that declares its own root for an endpoint can sign for that endpoint, and its gateway does. "
        "Without pins nothing tells the two apart.",
        (
            scene(name, ALONE, item(EXAM, forged, **declared), interceptors=(institution.certificate,)),
            scene(
                name,
                "alone, pins of the genuine leaf",
                item(EXAM, forged, pinned=[origin], ca_pins=False, **declared),
                interceptors=(institution.certificate,),
            ),
        ),
        right=("alone, pins of the genuine leaf",),
    )
    name = "a public CA that signs for the interceptor, and logs it"
    misissued = {host: pki.issue([host]) for host in HOSTS}
    yield _limit(
        name,
        "A certificate that a public CA issued to the interceptor, and that was logged, is what a genuine certificate "
        "is. Only pins, or whoever watches the logs for the host, can tell.",
        (
            scene(name, ALONE, item(EXAM, misissued[EXAM])),
            scene(name, PINNED, item(EXAM, misissued[EXAM], pinned=[genuine], ca_pins=False)),
            scene(name, "alone, pins of the very CA that signed it", item(EXAM, misissued[EXAM], pinned=[genuine])),
        ),
        right=(PINNED,),
    )
    box = pki.private_ca("Example Gateway")
    polluted = from_der(
        [pki.root_a.certificate, pki.root_b.certificate, box.certificate], name="roots with the interceptor's added"
    )
    why = (
        "Who gives the interceptor's CA with `--roots` makes it public as far as this package can see. (A CA appended "
        "to certifi's own file is told apart.) What is left is that forgeries are not logged, "
    )
    genuine_pins = {"pinned": [genuine]}
    for title, reason, options in (
        ("SCTs minted", "and SCTs of logs nobody knows leave that open (row 14).", {"sct_list": minted_scts()}),
        (
            "dated before 2018-05",
            "and a forgery dated before certificates were logged leaves that open (row 14).",
            {"not_before": dt.datetime(2017, 1, 1, tzinfo=dt.UTC), "not_after": lab.now + 40 * YEAR},
        ),
    ):
        name = f"interceptor's root in the public bundle, {title}"
        forgeries = {host: box.issue([host], **options) for host in HOSTS}
        yield _limit(
            name,
            why + reason,
            (
                scene(name, ALONE, item(EXAM, forgeries[EXAM]), public=polluted),
                scene(name, PINNED, item(EXAM, forgeries[EXAM], **genuine_pins), public=polluted),
                scene(name, NETWORK, *(item(host, forgeries[host]) for host in HOSTS), public=polluted),
            ),
            right=(PINNED,),
        )
