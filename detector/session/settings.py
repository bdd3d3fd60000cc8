"""What a caller chooses, in two records: how connections are made, and what is expected of the servers they reach.

Room: session. `NetworkSettings` is plain data with JSON of its own: it can be sent to another process. `Expectations`
reads the files that it names. Both are validated when they are made, and the error names the field.

The options are declared once, as TypedDicts, and are the keyword arguments (PEP 692) of everything that takes them:
`Detector`, `check`, `examine`, the exam gate and the guard.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import msgspec

from detector import pins as pin_files
from detector.aio.lazy import LazyModule
from detector.errors import TargetError
from detector.knowledge import ct_logs, data_set
from detector.knowledge import roots as trusted
from detector.model import Endpoint, Record
from detector.model.validate import PORT_MAX, flag, naming, one_of, text, whole_number

from .follow_up import CANARIES_LEAST, DEFAULT_CONTROL, Control, known_canaries, one_per_operator
from .plan import FILE_PREFIX, HELLO_CHOICES, MACHINE, USUAL, ProbeSettings, check_control, read_resolver, read_route

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator
    from typing import Unpack

    from detector import probe
    from detector.knowledge.data_set import DataSet, DataSource
    from detector.pins import PinSet
    from detector.probe.routes import proxies
    from detector.trust.ct_logs import LogList
    from detector.trust.roots import Roots

    PinSource = PinSet | str | Path | Sequence[str | Path | Endpoint]
    RootSource = Roots | str | Path
    LogSource = LogList | str | Path
    ResolveRules = Mapping[tuple[str, int], tuple[str, int]] | Iterable[str]
    SeenBefore = Collection[str] | Callable[[Collection[str]], Collection[str]]
    HelloName = Literal["browser", "firefox", "openssl", "both"]
else:
    probe = LazyModule("detector.probe")  # loaded to connect, not to choose
    proxies = LazyModule("detector.probe.routes.proxies")

CONCURRENCY_DEFAULT: Final = 64
"""Connections at once: below the usual limit of 256 open files, enough for every shipped endpoint in one go."""
CONCURRENCY_MAX: Final = 65535
"""A host has no more ports to connect from."""
PROBES_MAX: Final = 8
"""Probes of one endpoint in a run: with the variants of each, below what is kept of one (`judge.evidence.OTHERS_MAX`).
More than that is a watch."""
_PROXY_WORDS: Final = frozenset({MACHINE, "env", "none"})

ResolveRule = tuple[str, int, str, int]
"""Host and port of an endpoint, address and port to connect to instead."""


class NetworkOptions(TypedDict, total=False):
    """How connections are made: the fields of `NetworkSettings`."""

    route: str
    proxy: str
    resolve: ResolveRules | None
    all_addresses: bool
    doh: str | None
    quic: bool
    hello: HelloName
    probes: int | None
    spread: bool
    concurrency: int
    offline: bool
    control: Control | None
    vantage: str


class TrustOptions(TypedDict, total=False):
    """What chains are assessed against."""

    data: DataSource | None
    pins: PinSource | None
    roots: RootSource | None
    add_roots: RootSource | None
    logs: LogSource | None


class ExpectationOptions(TrustOptions, total=False):
    """What is expected of the endpoints: the fields of `Expectations`."""

    canaries: Sequence[Endpoint] | None
    seen_before: SeenBefore


class DetectorOptions(NetworkOptions, ExpectationOptions, total=False):
    """Both: the options of a detector."""


class NetworkSettings(Record, frozen=True, kw_only=True):
    """How connections are made.

    Attributes:
        route: the routes to take: `usual`, `all`, or some of `direct`, `direct4`, `direct6` and `proxy`, separated by
            commas.
        proxy: `system` (the machine's settings, else those of the environment), `env` (the environment's), a proxy URL,
            `pac:` with the URL or path of a proxy auto-configuration file, or `none`.
        resolve: where to connect instead of resolving a name; such an address counts as given by the caller. `of` takes
            a mapping of (host, port) to (address, port), or rules in the form of curl's --resolve (HOST:PORT:ADDRESS)
            or --connect-to (HOST1:PORT1:HOST2:PORT2).
        all_addresses: whether to probe every address of a host, and both its RSA and its ECDSA certificate.
        doh: https URL of a second resolver to compare with (docs/routes.md; extra `doh`).
        quic: whether to probe each endpoint over QUIC, too (extra `quic`).
        hello: the ClientHello to send: that of a `browser` (Chrome), of `firefox`, of `openssl`, or `both`: the
            first and the last, to compare.
        probes: how often each endpoint is probed in a run, on fresh connections, at most `PROBES_MAX` times: the last
            time after everything else. None is once, and in the exam gate what the policy says.
        spread: whether these probes are distributed over the deadline.
        concurrency: connections at once.
        offline: whether to send nothing but the probes of the endpoints: no follow-up probes.
        control: the control request for captive portals, sent only where something was not cleared.
        vantage: the caller's name for the place this runs from; it goes into the report.

    Raises:
        InputError: for a value that is not allowed.
        ProxyError: for a route or a proxy that cannot be read.
        TargetError: for a rule of `resolve` or a resolver that cannot be read.
        MissingExtraError: for a resolver, where the extra is not installed.
    """

    route: str = USUAL
    proxy: str = MACHINE
    resolve: tuple[ResolveRule, ...] = ()
    all_addresses: bool = False
    doh: str | None = None
    quic: bool = False
    hello: str = HELLO_CHOICES[0]
    probes: int | None = None
    spread: bool = False
    concurrency: int = CONCURRENCY_DEFAULT
    offline: bool = False
    control: Control | None = DEFAULT_CONTROL
    vantage: str = ""

    def __post_init__(self) -> None:
        """Validate every field: settings that exist can be used."""
        for name in ("route", "proxy", "vantage"):
            text(name, getattr(self, name))
        for name in ("all_addresses", "quic", "spread", "offline"):
            flag(name, getattr(self, name))
        if self.probes is not None:
            whole_number("probes", self.probes, least=1, most=PROBES_MAX)
        read_route(self.route, self.proxy)
        with naming("proxy"):
            if self.proxy.startswith(FILE_PREFIX):
                proxies.check_file(self.proxy.removeprefix(FILE_PREFIX))
            elif self.proxy not in _PROXY_WORDS:
                probe.parse_proxy(self.proxy)
        for host, port, address, at_port in self.resolve:
            if not (host and address and 0 < port <= PORT_MAX and 0 < at_port <= PORT_MAX):
                raise TargetError(
                    f"resolve: {host}:{port}:{address}:{at_port} is not a rule.",
                    advice=f"A rule needs a host, an address, and ports from 1 to {PORT_MAX}.",
                )
        if self.doh is not None:
            read_resolver(self.doh)
        if self.control not in {None, DEFAULT_CONTROL}:
            check_control(self.control)
        one_of("hello", self.hello, HELLO_CHOICES)
        whole_number("concurrency", self.concurrency, least=1, most=CONCURRENCY_MAX)

    @classmethod
    def of(cls, **options: Unpack[NetworkOptions]) -> NetworkSettings:
        """Return the settings with `resolve` in any of its forms."""
        given = dict(options)
        given["resolve"] = _resolve_rules(options.get("resolve") or {})
        return cls(**given)  # type: ignore[arg-type] # of the types that `NetworkOptions` declares

    @property
    def rules(self) -> dict[tuple[str, int], tuple[str, int]]:
        """Where to connect instead of resolving, by host and port."""
        return {(host, port): (address, at_port) for host, port, address, at_port in self.resolve}

    @property
    def variants(self) -> ProbeSettings:
        """The variants in which each endpoint is probed. Raises `MissingExtraError`."""
        variants = ProbeSettings(hello=self.hello, quic=self.quic)
        variants.check()
        return variants


def _resolve_rules(rules: ResolveRules) -> tuple[ResolveRule, ...]:
    with naming("resolve"):
        pairs = rules.items() if isinstance(rules, Mapping) else map(pin_files.parse_rule, rules)
        return tuple((*endpoint, *address) for endpoint, address in pairs)


class Expectations(Record, frozen=True, kw_only=True, dict=True):
    """What is expected of the endpoints, and what their chains are assessed against.

    Attributes:
        data: what is known beforehand: a `DataSet`, a folder of installed sets, or `shipped`; None means the user's own
            folder, where updates are installed, or else what the package ships.
        pins: pin files, a directory of them, the installed pins of a vendor (`vendor:NAME`), endpoints, or a `PinSet`;
            None means the data set's own.
        roots: the public roots (a PEM file, or `Roots`) instead of those of the data set.
        add_roots: further public roots.
        logs: the known CT logs (Google's log list v3, or a `LogList`) instead of those of the data set.
        canaries: the canaries that follow-up probes choose from: of each operator that runs a CA of its own, one. None
            means those among the pins, or else the shipped ones.
        seen_before: endpoints (`host:port`) that are known to have been genuine, or a function that returns which of
            some names are; it is called in a thread.

    Files are read when a property needs them: `KnowledgeError`, `PinFileError`, `RootsError` and `LogListError` say
    what is wrong.
    """

    data: DataSource | None = None
    pins: PinSource | None = None
    roots: RootSource | None = None
    add_roots: RootSource | None = None
    logs: LogSource | None = None
    canaries: Sequence[Endpoint] | None = None
    seen_before: SeenBefore = ()

    @functools.cached_property
    def data_set(self) -> DataSet:
        """What is known beforehand."""
        with naming("data"):
            return data_set.read(self.data)

    @functools.cached_property
    def public_roots(self) -> Roots:
        """The public roots to assess by."""
        return self.roots_at(None)

    def roots_at(self, date: dt.date | None) -> Roots:
        """Return the public roots to assess by; those of the data set as they were on this day."""
        if self.roots is None:
            public = self.data_set.public_roots(date)
        else:
            with naming("roots"):
                public = _roots(self.roots)
        if self.add_roots is None:
            return public
        with naming("add_roots"):
            return public.with_added(_roots(self.add_roots))

    @functools.cached_property
    def log_list(self) -> LogList:
        """The CT logs to assess by."""
        if self.logs is not None and not isinstance(self.logs, str | Path):
            return self.logs
        known = self.data_set.logs
        if self.logs is None:
            return known
        with naming("logs"):
            return ct_logs.load(self.logs, known=known)

    @functools.cached_property
    def pin_set(self) -> PinSet:
        """The pins to assess by."""
        return self.pins_with(lambda: self.public_roots)

    def pins_with(self, roots: Callable[[], Roots]) -> PinSet:
        """Return the pins to assess by; `roots` is called where a pin file names a root that certifi never had."""
        pins, labels = self.pins, _Labels(self.data_set, roots)
        if pins is None:
            return pin_files.shipped(self.data_set, root_labels=labels)
        if isinstance(pins, pin_files.PinSet):
            return pins
        if isinstance(pins, str | Path):
            return pin_files.load(pins, root_labels=labels, data=self.data_set)
        endpoints = tuple(source for source in pins if isinstance(source, Endpoint))
        paths = [source for source in pins if not isinstance(source, Endpoint)]
        if not paths:
            return pin_files.PinSet(name="given", endpoints=endpoints)
        loaded = pin_files.load(paths, root_labels=labels, data=self.data_set)
        return msgspec.structs.replace(loaded, endpoints=(*endpoints, *loaded.endpoints))

    def known_canaries(self) -> tuple[Endpoint, ...]:
        """Return the canaries that follow-up probes choose from. May read files: call it in a thread."""
        if self.canaries is not None:
            return one_per_operator(self.canaries)
        pinned = self.pin_set.endpoints
        own = one_per_operator(pinned)
        return own if len(own) >= CANARIES_LEAST else one_per_operator((*pinned, *known_canaries(self.data_set)))


def _roots(source: RootSource) -> Roots:
    return trusted.load(source) if isinstance(source, str | Path) else source


class _Labels(Collection[str]):
    """The names of public roots: known ones, and those that `roots` returns, called only for an unknown name."""

    def __init__(self, data: DataSet, roots: Callable[[], Roots]) -> None:
        self._data = data
        self._roots = roots

    def __contains__(self, label: object) -> bool:
        return label in self._data.known_roots.labels or label in self._roots().labels

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.known_roots.labels | self._roots().labels)

    def __len__(self) -> int:
        return len(self._data.known_roots.labels | self._roots().labels)


def read_options(
    options: DetectorOptions, network: NetworkSettings | None = None, expectations: Expectations | None = None
) -> tuple[NetworkSettings, Expectations]:
    """Return the records that keyword arguments stand for, or these records with such fields replaced.

    Raises `TypeError` for an unknown option, and `InputError`.
    """
    given = dict(options)
    expected = {name: given.pop(name) for name in Expectations.__struct_fields__ if name in given}
    if unknown := sorted(given.keys() - set(NetworkSettings.__struct_fields__)):
        raise TypeError(f"there is no option {', '.join(unknown)}")
    if "resolve" in given:
        given["resolve"] = _resolve_rules(options["resolve"] or {})
    return (
        msgspec.structs.replace(network or NetworkSettings(), **given),
        msgspec.structs.replace(expectations or Expectations(), **expected),
    )
