"""One simulated term of twenty institutions, sent and assessed as a real one is.

Room: detector_collect.demo. Uses the store and the worker.

The results come from `detector_collect.simulation`, whose truth is known. Each becomes a bundle with certificates and
handshake signatures, signed with the institution's key, read and checked as the service does, and assessed by the
worker, by the demonstration's own pins. Institutions 3, 9 and 14 decrypt; the world has an antivirus campus, a
dormitory and employers, too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector import bundle
from detector.aio.tasks import run_in_thread
from detector.errors import InputError
from detector.judge import assess, network
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import data_set
from detector.model import Category, Endpoint, Observation, Outcome, RecordedIdentity, Route, encode
from detector.outbox import contents
from detector.outbox.submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Kind, Submission, digest
from detector.trust import envelope as envelopes
from detector.trust.certificate import Certificate
from detector.version import VERSION
from detector_collect import simulation, submissions
from detector_collect.simulation import Practice
from detector_collect.store import evidence, keys
from detector_collect.store.schema import institutions, people
from detector_collect.worker import MaterialConfig, Worker, WorkerSettings, assess_period

from .certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector_collect.responsibility import Assessment, DeviceResult, Interception
    from detector_collect.store.database import Store

    from .certificates import Server

INSTITUTIONS: Final = 20
STUDENTS: Final = (20, 36)
"""Students of one exam: with fewer than twenty even an interceptor of all of them is hardly distinguishable from an
employer (docs/responsibility.md); more would only take longer."""
GUILTY: Final[Mapping[int, tuple[Practice, float]]] = {
    3: (Practice.FIREWALL, 0.95),
    9: (Practice.MANAGED_DEVICES, 0.95),
    14: (Practice.AGENT, 0.9),
}
"""Who decrypts, how, and how many of its students it reaches: what the assessment has to find out."""
SEED: Final = 22
DAYS: Final = 14
"""The exams were within so many days: submissions may be 31 days old at most (`submissions.AGE_MAX`)."""

_CATALOGUE_ENTRIES: Final = {
    "antivirus-a": "avast-web-mail-shield",
    "antivirus-b": "kaspersky",
    "parental-filter": "qustodio",
    "school-filter": "securly",
    "cloud-proxy": "zscaler-zia",
    "school-agent": "seewo-zoroca",
    "employer-proxy": "netskope",
    "firewall": "fortinet-fortigate",
}
"""The products of the simulation as entries of the catalogue, by how they are sold."""
_HOSTS: Final = {"exam.example.com": Category.EXAM, "search.example.org": Category.SEARCH}
"""Reserved names (RFC 2606 section 3)."""
_ADDRESS: Final = f"[{contents.PUBLIC[1]}]:443"
_RATE: Final = 100_000


class Term(NamedTuple):
    """What was filled in: the institutions that truly decrypt, their clients, and what the assessment concluded."""

    guilty: Mapping[str, tuple[Practice, float]]
    submissions: int
    clients: Clients
    since: dt.datetime
    until: dt.datetime
    assessments: tuple[Assessment, ...]

    @property
    def config(self) -> MaterialConfig:
        """What evidence of this term is assessed with."""
        return self.clients.config


async def fill(store: Store, *, now: dt.datetime, students: tuple[int, int] = STUDENTS, seed: int = SEED) -> Term:
    """Fill an empty store with a simulated term that ended at `now`.

    Raises `StoreError`, and `InputError` for a store in use: anybody is signed in to what is there.
    """
    async with store.connect() as connection:
        for table in (institutions, people):
            if await connection.scalar(sa.select(table.c.id).limit(1)) is not None:
                raise InputError(
                    f"--demo: the database has {table.name}.", advice="Name a new one, or none: it is temporary."
                )
    world = simulation.make(seed, institutions=INSTITUTIONS, students=students, guilty=GUILTY)
    since = now - dt.timedelta(days=DAYS)
    clients = Clients(now)
    await clients.register(store, sorted({one.institution for one in world.results}), created=since)
    for number, result in enumerate(world.results):
        await clients.send(store, result, since + (now - since) * (number + 1) / (len(world.results) + 1))
    assessments = await assess_again(store, clients.config, since=since, until=now)
    return Term(world.guilty, len(world.results), clients, since, now, assessments)


async def assess_again(
    store: Store, config: MaterialConfig, *, since: dt.datetime, until: dt.datetime
) -> tuple[Assessment, ...]:
    """Assess what waits, and then the institutions, as the worker and `detector-collect assess` do."""
    async with Worker(store, config, WorkerSettings(clock=lambda: until)) as worker:
        await worker.drain()
    material = await run_in_thread(config.read)
    return await assess_period(store, material, since=since, until=until, now=until)


class Clients:
    """The clients of all institutions: what they expect, what their devices meet, and the keys that they send with."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now
        self._data = data_set.shipped()
        self._names = {entry.id: entry.examples[0] for entry in self._data.catalogue.entries if entry.examples}
        genuine = Authority([("CN", "Genuine CA (simulated)")], now)
        self._genuine = {host: genuine.server(host) for host in _HOSTS}
        self._endpoints = {host: self._endpoint(host) for host in _HOSTS}
        self.config: Final = MaterialConfig(data=data_set.SHIPPED, endpoints=tuple(self._endpoints.values()))
        self._interceptors: dict[Interception, Authority] = {}
        self._signers: dict[str, Ed25519PrivateKey] = {}
        self._keys: dict[str, keys.Key] = {}

    async def register(self, store: Store, institutions: Sequence[str], *, created: dt.datetime) -> None:
        """Register institutions, each with a key of its own. Raises `StoreError`."""
        async with store.begin() as connection:
            for number, name in enumerate(institutions):
                signer = self._signers[name] = Ed25519PrivateKey.generate()
                title = f"University {number:02} (simulated)"
                await keys.add_institution(connection, keys.Institution(name, title, created))
                identifier = envelopes.key_identifier(envelopes.public_key_of(signer))
                key = keys.Key(identifier, name, "signing", created, None, None, _RATE, SUBMISSION_BYTES_MAX)
                await keys.add_key(connection, key)
                self._keys[name] = key

    async def send(self, store: Store, result: DeviceResult, made: dt.datetime, content: bytes | None = None) -> None:
        """Send what the device of one result saw, or this `content`, and receive it as the service does."""
        envelope = await run_in_thread(lambda: self._envelope(result, made, content))
        await _receive(store, envelope, self._keys[result.institution], made)

    def content(self, result: DeviceResult, made: dt.datetime) -> bytes:
        """The bundle of one device: new handshakes each time."""
        met = result.interception
        ca = None if met is None else self._interceptor(met)
        roots = self._data.public_roots(made.date())
        context = Context(at=made, data=self._data, roots=roots, logs=self._data.logs)
        cases = []
        for host, endpoint in self._endpoints.items():
            server = self._genuine[host] if ca is None else ca.server(host)
            cases.append(EndpointEvidence(endpoint, _observation(server), context))
        results = assess.assess_all(cases)
        report = network.report(results, context, started=made, finished=made, vantage="", version=VERSION, named=())
        return contents.reduce(bundle.pack(report, cases), keys=[self._signers[result.institution]])

    def _envelope(self, result: DeviceResult, made: dt.datetime, content: bytes | None) -> bytes:
        submission = Submission(
            institution=result.institution,
            exam=result.exam,
            student=_hash("student", result.student),
            network=_hash("network", result.network),
            made=made,
            kind=Kind.BUNDLE,
            content=msgspec.Raw(self.content(result, made) if content is None else content),
        )
        signer = self._signers[result.institution]
        return envelopes.seal(encode(submission), payload_type=PAYLOAD_TYPE, keys=[signer])

    def _interceptor(self, met: Interception) -> Authority:
        """The CA of an interceptor, made when the first device meets it."""
        if met not in self._interceptors:
            router = (("CN", "Router CA (simulated)"),)
            name = router if met.product is None else self._names[_CATALOGUE_ENTRIES[met.product]]
            self._interceptors[met] = Authority(name, self._now)
        return self._interceptors[met]

    def _endpoint(self, host: str) -> Endpoint:
        pin = Certificate.read(self._genuine[host].chain[0]).spki_sha256
        return Endpoint(
            host=host,
            category=_HOSTS[host],
            pins=() if pin is None else (pin,),
            identity=RecordedIdentity.PUBLIC,
            canary=True,
            operator=host,
        )


async def _receive(store: Store, envelope: bytes, key: keys.Key, now: dt.datetime) -> None:
    """Receive an envelope at `now` by the same rules as the service."""
    accepted = submissions.read(envelope, keys=[key], now=now)
    submissions.check_content(accepted.submission)
    submission = accepted.submission
    new = evidence.NewEvidence(
        digest=bytes.fromhex(digest(accepted.payload)),
        institution=submission.institution,
        key=key.id,
        kind=submission.kind,
        exam=submission.exam,
        student=bytes.fromhex(submission.student or ""),
        network=bytes.fromhex(submission.network or ""),
        made=submission.made,
        received=now,
        body=envelope,
    )
    async with store.begin() as connection:
        await evidence.add(connection, new)


def _observation(server: Server) -> Observation:
    return Observation(
        outcome=Outcome.COMPLETE,
        key_proved=True,
        route=Route.DIRECT,
        address=_ADDRESS,
        tls_version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256",
        chain=tuple(Certificate.read(der).presented() for der in server.chain),
        handshake_signature=server.handshake(),
        scts_carried=True,
    )


def _hash(purpose: str, name: str) -> str:
    """What stands for a student or a network: the names here are numbers already."""
    return hashlib.sha256(f"{purpose} {name}".encode()).hexdigest()
