"""The detector against live servers on loopback: honest ones, proxies, middleboxes, liars, and the real mitmproxy.

Opens sockets on loopback only, through the package's own probe and the servers of `detector_testing`. The
detector is offline, so that it makes no control request and no follow-up, and no certificate has a URL to fetch. Each
scenario runs with nothing known of the endpoints, with their public roots stated, and with learned pins.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from detector_testing import (
    Ending,
    Lie,
    Mode,
    Script,
    Step,
    run_mitmproxy,
    serve_middlebox,
    serve_origin,
    serve_proxy,
    serve_script,
)
from detector_testing.mitmproxy import mitmdump_command

from detector import Detector, Endpoint
from detector.judge.evidence import no_machine_roots
from detector.pins import PinSet
from detector.session.seams import Seams

from .lab import EXAM, HOSTS, LMS, ROOT_B, SEARCH
from .material import Item, Scene, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector_testing import Issued

    from .lab import Lab

ORIGINS: Final = "live, honest servers and proxies"
BOXES: Final = "live, forging middleboxes"
PORTALS: Final = "live, portals"
LIARS: Final = "live, misbehaving servers"
OUTAGES: Final = "live, no certificate"
MITMPROXY: Final = "live, mitmproxy"
UNKNOWN: Final = "nothing known"
STATED: Final = "roots stated"
PINS: Final = "learned pins"
SETTINGS: Final = (UNKNOWN, STATED, PINS)

DEADLINE: Final = 5.0
"""Seconds for one check on loopback, which takes hundredths of one; the rest is for a busy machine."""
SHORT: Final = 1.0
"""Seconds for servers that never answer."""
PORT: Final = 443

Where = dict[tuple[str, int], tuple[str, int]]


class Seen(NamedTuple):
    """A scenario: the truth of each host, the addresses, and the route."""

    truth: Mapping[str, Truth]
    resolve: Where
    proxy: str = "none"
    interceptors: tuple[bytes, ...] = ()
    deadline: float = DEADLINE


class World:
    """A lab with live origins for its hosts. `scenes` are those so far."""

    def __init__(self, lab: Lab, genuine: Mapping[str, Issued], where: Where) -> None:
        self.lab: Final = lab
        self.genuine: Final = genuine
        self.where: Final = where
        self.scenes: list[Scene] = []

    def endpoint(self, host: str, setting: str, where: Where) -> Endpoint:
        """Return the endpoint with what is known of it in this setting, and with its address.

        The address is given, as in a pin file, because an unexplained loopback address would excuse a lot.
        """
        known = Endpoint(host=host, roots=(ROOT_B,) if setting == STATED else ())
        if setting == PINS:
            known = self.lab.learned(host, self.genuine[host])
        return msgspec.structs.replace(known, address=where.get((host, PORT)))

    async def probe(self, group: str, name: str, seen: Seen, *, settings: Sequence[str] = SETTINGS) -> None:
        """Check the hosts of `seen` in each setting, and append a scene of each."""
        for setting in settings:
            endpoints = {host: self.endpoint(host, setting, seen.resolve) for host in seen.truth}
            known = {host: self.lab.known(self.genuine[host]) if setting == PINS else None for host in seen.truth}
            detector = Detector(
                pins=PinSet(name="evaluation", endpoints=tuple(endpoints.values())),
                roots=self.lab.roots,
                logs=self.lab.logs,
                proxy=seen.proxy,
                seams=Seams(clock=lambda: self.lab.now, machine_roots=no_machine_roots),
                offline=True,  # control requests, follow-up probes, HTTP dates and AIA would leave loopback
            )
            async with detector:
                report = await detector.check(list(endpoints), deadline=seen.deadline)
            items = tuple(
                Item(endpoints[host], result.observation, seen.truth[host], known[host], ours=result)
                for host, result in zip(endpoints, report.results, strict=True)
            )
            self.scenes.append(self.lab.scene(group, name, setting, *items, interceptors=seen.interceptors))


def _all(truth: Truth) -> dict[str, Truth]:
    return dict.fromkeys(HOSTS, truth)


async def run(lab: Lab, *, with_mitmproxy: bool) -> list[Scene]:
    """Run every scenario in turn. Raises MitmproxyError when mitmproxy is wanted and cannot start."""
    genuine = {host: lab.pki.issue([host]) for host in HOSTS}
    async with contextlib.AsyncExitStack() as stack:
        where: Where = {}
        for host, issued in genuine.items():
            where[host, PORT] = (await stack.enter_async_context(serve_origin(issued))).address
        world = World(lab, genuine, where)
        for part in (_honest, _middleboxes, _portals, _liars, _silent, *((_mitmproxy,) if with_mitmproxy else ())):
            await part(world)
    return world.scenes


async def _honest(world: World) -> None:
    lab = world.lab
    await world.probe(ORIGINS, "direct", Seen(_all(Truth.GENUINE), world.where))
    async with serve_proxy(upstream=world.where) as proxy:
        await world.probe(ORIGINS, "honest proxy", Seen(_all(Truth.GENUINE), {}, proxy=proxy.url))
    several = [world.genuine[EXAM], lab.pki.issue([EXAM], key="rsa"), lab.pki.issue([EXAM], cross_signed=True)]
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        async with serve_origin(several, min_version=version, max_version=version) as origin:
            for number in range(1, len(several) + 1):
                seen = Seen({EXAM: Truth.GENUINE}, {(EXAM, PORT): origin.address})
                await world.probe(ORIGINS, f"CDN, {version.name}, probe {number}", seen)
    for offset in (100, 900, 2500):
        script = dataclasses.replace(Script.genuine(world.genuine[EXAM]), reset_after=offset)
        async with serve_script(script) as server:
            seen = Seen({EXAM: Truth.GENUINE}, {(EXAM, PORT): server.address})
            await world.probe(ORIGINS, f"reset after {offset} bytes", seen)


async def _middleboxes(world: World) -> None:
    pki = world.lab.pki
    rsa = ssl.TLSVersion.TLSv1
    options: dict[str, dict[str, object]] = {
        "one leaf key": {},
        "a key for each host": {"one_leaf_key": False},
        "leaf key is the CA's": {"leaf_key_is_ca_key": True},
        "CA sent": {"present_root": True},
        "genuine chain appended": {"append_upstream_chain": True},
        "SCTs copied": {"copy_scts": True},
        "forges from the name": {"copy_upstream": False},
        "slow first certificate": {"certificate_delay": 0.5},
        "drops the first connection": {"drop_first_per_host": True},
        "TLS 1.0 and RSA": {"min_version": rsa, "max_version": rsa, "leaf_key": "rsa"},
        "h2 dropped": {"alpn": ()},
    }
    for mode in Mode:
        for name, choice in options.items():
            async with serve_middlebox(
                pki.private_ca("Example Gateway"),
                mode=mode,
                upstream=world.where,
                **choice,  # type: ignore[arg-type] # options of serve_middlebox
            ) as box:
                seen = Seen(
                    _all(Truth.INTERCEPTED),
                    {} if mode is Mode.CONNECT else {(host, PORT): box.address for host in HOSTS},
                    box.url if mode is Mode.CONNECT else "none",
                    (box.ca.certificate,),
                )
                await world.probe(BOXES, f"{mode.value}: {name}", seen)
    await _selective(world)


async def _selective(world: World) -> None:
    """Middleboxes that decrypt some hosts, or start later."""
    ca = world.lab.pki.private_ca("Example Gateway")
    there: dict[str, tuple[dict[str, object], dict[str, Truth]]] = {
        "decrypts search only": ({"only_hosts": {SEARCH}}, {**_all(Truth.GENUINE), SEARCH: Truth.INTERCEPTED}),
        "exempts the exam": ({"except_hosts": {EXAM}}, {**_all(Truth.INTERCEPTED), EXAM: Truth.GENUINE}),
        "exempts exam and LMS": ({"except_hosts": {EXAM, LMS}}, {**_all(Truth.GENUINE), SEARCH: Truth.INTERCEPTED}),
    }
    for name, (options, truth) in there.items():
        async with serve_middlebox(ca, upstream=world.where, **options) as box:  # type: ignore[arg-type] # as above
            seen = Seen(truth, {}, box.url, (ca.certificate,))
            await world.probe(BOXES, f"connect: {name}", seen)
    async with serve_middlebox(ca, upstream=world.where, pass_first=len(HOSTS)) as box:
        asleep = Seen(_all(Truth.GENUINE), {}, box.url, (ca.certificate,))
        await world.probe(BOXES, "connect: asleep, first probe", asleep, settings=(PINS,))
        await world.probe(BOXES, "connect: awake, second probe", asleep._replace(truth=_all(Truth.INTERCEPTED)))
    async with serve_middlebox(ca) as box:
        await world.probe(
            BOXES, "connect: block page, no upstream", Seen(_all(Truth.INTERCEPTED), {}, box.url, (ca.certificate,))
        )


async def _portals(world: World) -> None:
    """Another server answers for every host, with a certificate for none of them."""
    pki = world.lab.pki
    for name, issued in (
        ("portal with a public certificate of its own", pki.issue(["portal.example.net"])),
        ("portal with a self-signed certificate", pki.self_signed(["portal.example.net"])),
    ):
        async with serve_origin(issued) as portal:
            seen = Seen(_all(Truth.ANOTHER_SERVER), {(host, PORT): portal.address for host in HOSTS})
            await world.probe(PORTALS, name, seen)


async def _liars(world: World) -> None:
    """Servers on the path that hold no genuine key, whatever they present."""
    pki, issued = world.lab.pki, world.genuine[EXAM]
    ca = pki.private_ca("Example Gateway")
    forged = ca.issue([EXAM])
    old = pki.private_ca("Example Old Gateway", key="rsa1024", signature_hash="sha1")
    weak = old.issue([EXAM], key="rsa1024")
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        tls = version.name
        rsa = pki.issue([EXAM], key="rsa")
        cut = {"stop": Step.CERTIFICATE}
        scripts: dict[str, tuple[Script, float]] = {
            "replayed chain, ECDSA": (Script.replay(issued.chain, version=version), DEADLINE),
            "replayed chain, RSA": (Script.replay(rsa.chain, version=version), DEADLINE),
            "genuine chain, then closed": (_script(issued, version, **cut), SHORT),
            "genuine chain, then reset": (_script(issued, version, **cut, ending=Ending.RESET), SHORT),
            "genuine chain, then silence": (_script(issued, version, **cut, ending=Ending.SILENCE), SHORT),
            "forged chain, then closed": (_script(forged, version, **cut), SHORT),
            "forged chain, first connection dropped": (_script(forged, version, drop_first=1), DEADLINE),
            "wrong Finished over a replayed chain": (
                dataclasses.replace(Script.replay(issued.chain, version=version), corrupt_finished=True),
                DEADLINE,
            ),
            "leaf of random bytes": (Script.malformed(b"\x30\x82garbage", version=version), DEADLINE),
            "truncated leaf": (Script.malformed(issued.leaf[:-40], *issued.chain[1:], version=version), DEADLINE),
        }
        for name, (script, deadline) in scripts.items():
            async with serve_script(script) as server:
                seen = Seen(
                    {EXAM: Truth.INTERCEPTED},
                    {(EXAM, PORT): server.address},
                    interceptors=(ca.certificate,),
                    deadline=deadline,
                )
                await world.probe(LIARS, f"{tls}: {name}", seen)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
        async with serve_origin(weak, min_version=version, max_version=version) as origin:
            seen = Seen({EXAM: Truth.INTERCEPTED}, {(EXAM, PORT): origin.address}, interceptors=(old.certificate,))
            await world.probe(LIARS, f"{version.name}: SHA-1 and RSA-1024", seen)


def _script(issued: Issued, version: ssl.TLSVersion, **deviations: object) -> Script:
    return dataclasses.replace(Script.genuine(issued, version=version), **deviations)  # type: ignore[arg-type] # fields


async def _silent(world: World) -> None:
    """No certificate is presented: an outage, which permits no conclusion."""
    for name, script, deadline in (
        ("silence", Script.silence(), SHORT),
        ("garbage", Script.garbage(), DEADLINE),
        ("plain HTTP", Script.plain_http(), DEADLINE),
        ("alert handshake_failure", Script.alert(40), DEADLINE),
        ("alert unrecognized_name", Script.alert(112), DEADLINE),
        ("a message of 16 MiB", Script.giant(size=1 << 20), DEADLINE),
    ):
        async with serve_script(script) as server:
            seen = Seen({EXAM: Truth.OUTAGE}, {(EXAM, PORT): server.address}, deadline=deadline)
            await world.probe(OUTAGES, name, seen)
    refusals: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[object]]] = {
        "proxy wants a password": lambda: serve_proxy(upstream=world.where, require_auth="user:secret"),
        "proxy answers 403": lambda: serve_proxy(upstream=world.where, refuse=403),
        "proxy answers 502": lambda: serve_proxy(upstream=world.where, refuse=502),
        **{f"proxy lies: {lie.value}": functools.partial(serve_proxy, upstream=world.where, lie=lie) for lie in Lie},
    }
    for name, serve in refusals.items():
        async with serve() as proxy:
            seen = Seen({EXAM: Truth.OUTAGE}, {}, proxy=proxy.url, deadline=SHORT)  # type: ignore[attr-defined] # Proxy
            await world.probe(OUTAGES, name, seen, settings=(UNKNOWN,))


async def _mitmproxy(world: World) -> None:
    """The real mitmproxy, in every mode that needs no privileges and that the detector's routes reach."""
    regular: dict[str, dict[str, object]] = {
        "regular": {},
        "regular, genuine chain appended": {"append_upstream_chain": True},
        "regular, forges from the name": {"options": {"upstream_cert": "false", "connection_strategy": "lazy"}},
    }
    for name, options in regular.items():
        async with run_mitmproxy(upstream_hosts=world.where, **options) as mitm:  # type: ignore[arg-type] # options of run_mitmproxy
            seen = Seen(_all(Truth.INTERCEPTED), {}, mitm.url, (mitm.ca_certificate,))
            await world.probe(MITMPROXY, name, seen)
    async with (
        serve_proxy(upstream=world.where) as proxy,
        run_mitmproxy(f"upstream:{proxy.url}", upstream_hosts=world.where) as mitm,
    ):
        seen = Seen(_all(Truth.INTERCEPTED), {}, mitm.url, (mitm.ca_certificate,))
        await world.probe(MITMPROXY, "upstream proxy", seen)
    address, port = world.where[EXAM, PORT]
    async with run_mitmproxy(f"reverse:https://{address}:{port}") as mitm:
        seen = Seen({EXAM: Truth.INTERCEPTED}, {(EXAM, PORT): mitm.address}, interceptors=(mitm.ca_certificate,))
        await world.probe(MITMPROXY, "reverse", seen)


async def mitmproxy_version() -> str:
    """Return mitmproxy's version. Raises MitmproxyError when it is not available."""
    process = await asyncio.create_subprocess_exec(
        *mitmdump_command(), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    first = output.decode("utf-8", "replace").partition("\n")[0]
    return first.partition(":")[2].strip() or "unknown"
