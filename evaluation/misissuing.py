"""Interceptors below a public root: sub-CAs that sign for them, with every trick that could pass for public logging.

Pure apart from randomness. Ground truth: intercepted. A certificate that is logged like a genuine one is among the
residuals (`limits`): only a pin or a witness reveals it.

Every trick is assessed alone, with stated roots, with learned pins of the genuine server (which has another CA), with
pins of that same CA, and on three operators.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing.pki import CA, Issued, sct_list_of

from detector.trust.ct_logs import LogList, Shard
from detector.trust.roots import Limits

from .lab import (
    DAY,
    EXAM,
    HOSTS,
    NETWORK,
    YEAR,
    Options,
    below,
    logged,
    roots_of,
    signed,
)
from .material import Item, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector.knowledge.data_set import DataSet
    from detector.trust.roots import Roots

    from .lab import Lab
    from .material import Scene

TRICKS: Final = "forged, below a public root"
SAME_CA: Final = "alone, pins of the CA that signed it"
"""The key of the interceptor's CA is pinned, as `pins learn` does for every CA in a genuine chain."""


class Trick(NamedTuple):
    """One interceptor: what it presents for a host, and the checker's logs and public roots."""

    name: str
    ca: CA
    forge: Callable[[str], Issued]
    logs: LogList | None = None
    public: Roots | None = None
    data: DataSet | None = None


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield every trick in its settings."""
    for trick in tricks(lab):
        shown = {host: trick.forge(host) for host in HOSTS}

        def item(host: str, *, shown: dict[str, Issued] = shown, **more: Any) -> Item:  # noqa: ANN401 - of Lab.item
            return lab.item(host, shown[host], Truth.INTERCEPTED, **more)

        for setting, items in {
            **{setting: (item(EXAM, **known),) for setting, known in lab.knowledge().items()},
            SAME_CA: (item(EXAM, pins=(trick.ca.spki_sha256,)),),
            NETWORK: tuple(item(host) for host in HOSTS),
        }.items():
            yield lab.scene(TRICKS, trick.name, setting, *items, logs=trick.logs, public=trick.public, data=trick.data)


def tricks(lab: Lab) -> Iterator[Trick]:
    """Yield every trick."""
    yield from _unlogged(lab)
    yield from _unacceptable(lab)
    yield from _refused_by_browsers(lab)
    yield from _given(lab)


def _unlogged(lab: Lab) -> Iterator[Trick]:
    """Yield leaves of an acceptable CA whose timestamps prove nothing."""
    pki, now = lab.pki, lab.now
    ca = below(pki.root_b, "Other Customer Sub CA", lab)
    known, unknown = pki.ct_logs, pki.unknown_logs
    lists: dict[str, Callable[[str], Callable[[bytes, bytes], Sequence[bytes]] | bytes | None]] = {
        "no SCT": lambda _host: None,
        "SCTs of logs that nobody knows": lambda _host: signed(unknown[:2], now - 29 * DAY),
        "SCTs in the name of known logs": lambda _host: signed(known[:2], now - 29 * DAY, wrong_signature=True),
        "SCTs copied from the genuine leaf": lambda host: sct_list_of(lab.genuine(host).leaf),
        "valid SCT of one log, junk of another": lambda _host: signed((known[0], unknown[0]), now - 29 * DAY),
        "valid SCT of one log, twice": lambda _host: signed((known[0], known[0]), now - 29 * DAY),
        "SCTs from before the certificate": lambda _host: signed(known[:2], now - 90 * DAY),
        "SCTs from the future": lambda _host: signed(known[:2], now + 3 * DAY),
        "a list of SCTs that cannot be read": lambda _host: b"\x04\x03\x00\x09\x00",
    }
    for name, make in lists.items():
        yield Trick(name, ca, lambda host, make=make: ca.issue([host], sct_list=make(host)))  # type: ignore[misc] # bound now
    shard = Shard(now - 3 * YEAR, now - 2 * YEAR)
    of_others: dict[str, LogList] = {
        "one operator": _with_logs(lab, operator="One Operator"),
        "logs that retired before": _with_logs(lab, retired=now - 2 * YEAR),
        "logs of another shard": _with_logs(lab, shard=shard),
        "test logs": msgspec.structs.replace(lab.logs, logs={}, untrusted=lab.logs.logs),
    }
    for name, logs in of_others.items():
        yield Trick(f"valid SCTs of {name}", ca, logged(ca, lab), logs)


def _with_logs(lab: Lab, **changed: object) -> LogList:
    """Change the same fields of every log in the list."""
    logs = {log_id: msgspec.structs.replace(log, **changed) for log_id, log in lab.logs.logs.items()}
    return msgspec.structs.replace(lab.logs, logs=logs)


def _unacceptable(lab: Lab) -> Iterator[Trick]:
    """Yield paths that no client accepts, with valid timestamps of two operators, which logs do not prevent."""
    pki, now = lab.pki, lab.now
    root = pki.root_b
    old: Options = {"not_before": now - 8 * YEAR, "not_after": now - 2 * YEAR}
    email = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    elsewhere = x509.NameConstraints([x509.DNSName("example.net")], None)
    own = pki.issue(["filter.example.net"])
    certified = x509.load_der_x509_certificate(own.leaf)
    server = CA(
        certificate=own.leaf, key=own.key, subject=certified.subject, key_identifier=None, chain=own.chain, now=now
    )
    cas: dict[str, CA] = {
        "issuer for e-mail only": below(root, "E-mail Sub CA", lab, usages=email),
        "issuer expired": below(root, "Exemplar Legacy CA", lab, **old),
        "issuer below one that may have none": below(pki.intermediate_ec, "Too Deep CA", lab),
        "issuer constrained to other names": below(root, "Constrained Sub CA", lab, constraints=elsewhere),
        "issuer without the CA bit": below(root, "No CA", lab, ca=False),
        "issuer is a public server's certificate": server,
    }
    for name, ca in cas.items():
        yield Trick(name, ca, logged(ca, lab))
    good = below(root, "Other Customer Sub CA", lab)
    yield Trick("leaf of ten years", good, logged(good, lab, not_after=now + 10 * YEAR))
    start = dt.datetime(2018, 3, 1, tzinfo=dt.UTC)
    yield Trick("leaf dated 2018, no SCT", good, lambda h: good.issue([h], not_before=start, not_after=now + 60 * DAY))
    yield Trick("leaf dated 2018", good, logged(good, lab, not_before=start, not_after=now + 60 * DAY))
    yield Trick("leaf expired", good, logged(good, lab, not_before=now - 99 * DAY, not_after=now - 9 * DAY))
    yield Trick("leaf with RSA of 1024 bits", good, logged(good, lab, key="rsa1024"))


def _refused_by_browsers(lab: Lab) -> Iterator[Trick]:
    """Yield paths that only what browsers say of a CA or a root forbids, with valid timestamps of two operators."""
    pki, now, today = lab.pki, lab.now, lab.now.date()
    leaving, national = pki.private_ca("Leaving Root"), pki.private_ca("National Root")
    lost = below(pki.root_b, "Lost Sub CA", lab)
    data = lab.data_set(
        *(pki.root_a, pki.root_b, leaving, national),
        limits={
            leaving.certificate: Limits(distrust_after=today - 60 * DAY),
            national.certificate: Limits(permitted_names=("example.mil",)),
        },
        revoked=[lost.certificate],
    )
    distrusted, limited = below(leaving, "Leaving Sub CA", lab), below(national, "National Sub CA", lab)
    yield Trick("issuer revoked", lost, logged(lost, lab), data=data)
    yield Trick("root distrusted since", distrusted, logged(distrusted, lab), data=data)
    # The log says when it was asked.
    asked_now = signed(pki.ct_logs[:2], now - DAY)
    dated_back = functools.partial(distrusted.issue, not_before=now - 70 * DAY, sct_list=asked_now)
    yield Trick("root distrusted since, leaf dated back", distrusted, lambda host: dated_back([host]), data=data)
    yield Trick("root for other names", limited, logged(limited, lab), data=data)


def _given(lab: Lab) -> Iterator[Trick]:
    """Yield leaves below a CA that the caller declared public (`--roots`), without what careful clients require."""
    ca, now = lab.pki.private_ca("Example Gateway"), lab.now
    public = lab.roots.with_added(roots_of(ca))
    forgeries: dict[str, dict[str, Any]] = {
        "no SCT": {},
        "minted SCTs": {"sct_list": signed(lab.pki.unknown_logs[:2], now - 29 * DAY)},
        "dated 2017": {"not_before": dt.datetime(2017, 1, 1, tzinfo=dt.UTC), "not_after": now + 40 * YEAR},
    }
    for name, options in forgeries.items():
        forge = functools.partial(ca.issue, **options)
        yield Trick(f"CA among the roots that were given, {name}", ca, lambda host, f=forge: f([host]), public=public)  # type: ignore[misc] # bound now
