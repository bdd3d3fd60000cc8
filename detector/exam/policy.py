"""What an institution wants at exam start: a `Policy`, as a record and as a TOML file (docs/exam-gate.md).

Room: exam. Reads the policy file it is given and nothing else. An invalid policy is rejected as a whole: a misspelled
key must not silently mean a default.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Final

import msgspec

from detector import language as languages
from detector.errors import InputError, PolicyError, TargetError
from detector.model import Category, Endpoint, Record, toml_files
from detector.model.toml_files import shown
from detector.model.validate import flag, one_of, seconds, whole_number
from detector.pins import parse_target
from detector.pins.encoding import WITNESS_PREFIX
from detector.pins.load import VENDOR
from detector.session.plan import FILE_PREFIX
from detector.session.settings import PROBES_MAX, NetworkSettings

SCHEMA: Final = 1
"""Version of the policy format that is read here."""

DEADLINE_DEFAULT: Final = 3.0
"""Seconds from the call to the decision: a delay that a student accepts at exam start."""
DEADLINE_LEAST: Final = 0.1
"""Seconds; less does not suffice even for a server next door."""
DEADLINE_MOST: Final = 60.0
"""Seconds; someone is waiting for the decision. For longer observation use the watch."""
PROBES_DEFAULT: Final = 2
"""Probes of each endpoint that must be confirmed: an interceptor that lets the first connection pass is seen by the
second."""
ENDPOINTS_MAX: Final = 128
"""Endpoints of one gate. Assessing a genuine chain takes about 2 ms, so these take half of the time that the session
reserves for it; the rest is for slower machines."""

NETWORK_KEYS: Final = ("route", "proxy", "hello", "quic", "all_addresses", "probes", "spread")
"""Keys that mean what the fields of `NetworkSettings` with these names do."""

_KIND: Final = "exam policy"
_WITNESS_ADVICE: Final = ', or write a list of hosts: ["exam.example.edu"]'
_HOST_ADVICE: Final = "Write HOST or HOST:PORT, as in the pin file."


class Action(enum.StrEnum):
    """What the exam client should do, mildest first."""

    ALLOW = "allow"
    WARN = "warn"
    BLOCK = "block"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Action).index(self)


class OnUnconfirmed(enum.StrEnum):
    """The action where an endpoint that must be confirmed was not."""

    BLOCK = "block"
    WARN = "warn"


class OnStalePin(enum.StrEnum):
    """The action where a certificate is accepted and publicly logged, and only the pins do not match."""

    WARN = "warn"
    REFUSE = "refuse"


class PolicyScope(enum.StrEnum):
    """Which interception prevents an exam: that of endpoints that must be confirmed, or of any."""

    ENDPOINT = "endpoint"
    NETWORK = "network"


class Policy(Record, frozen=True, kw_only=True):
    """What to do about the findings at exam start, and on the connections of a guarded client.

    Endpoints of category `exam`, pinned ones and named ones must be confirmed.

    Attributes:
        on_unconfirmed: the action where one is not confirmed.
        on_stale_pin: the action where only its pins do not match.
        scope: whether interception of other endpoints, at `probable` or above, warns or blocks.
        require_witness: a category all of whose endpoints only a witness confirms, or a list of `HOST[:PORT]`.
        deadline: seconds.
        endpoints: the named ones (`HOST[:PORT]`), probed instead of everything in the pin files.
        pins: pin files, directories of them, or the installed pins of vendors (`vendor:NAME`), instead of the shipped
            ones.
        route: as all that follow but `locate`, the field of `NetworkSettings`; None leaves the choice to the client.
        proxy: a relative path behind `pac:` is relative to the policy file.
        hello: which ClientHello is sent.
        quic: whether to probe over QUIC, too.
        all_addresses: whether to probe every address of a host.
        probes: how often each endpoint that must be confirmed is probed. All of these probes must be answered.
        spread: whether these probes are distributed over the deadline.
        locate: whether to trace the hop at which TLS that does not look genuine is answered (docs/locate.md).
        language: of what the student reads (BCP 47); `de-CH` is read as `de` (docs/languages.md).
        report: where decisions are reported to, as `detector.outbox.ReportSettings` reads it (docs/reporting.md).

    Raises:
        PolicyError: for an invalid value.
    """

    name: str = "default"
    on_unconfirmed: OnUnconfirmed = OnUnconfirmed.BLOCK
    on_stale_pin: OnStalePin = OnStalePin.WARN
    scope: PolicyScope = PolicyScope.ENDPOINT
    require_witness: Category | tuple[str, ...] = ()
    deadline: float = DEADLINE_DEFAULT
    endpoints: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    route: str | None = None
    proxy: str | None = None
    hello: str | None = None
    quic: bool | None = None
    all_addresses: bool | None = None
    probes: int = PROBES_DEFAULT
    spread: bool = False
    locate: bool = False
    language: str = languages.ENGLISH
    report: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate and normalize: a policy that exists can be used."""
        replace = msgspec.structs.force_setattr  # the record is frozen from here on
        for field, kind in (("on_unconfirmed", OnUnconfirmed), ("on_stale_pin", OnStalePin), ("scope", PolicyScope)):
            replace(self, field, kind(one_of(field, getattr(self, field), kind, error=PolicyError)))
        replace(self, "endpoints", _names("endpoints", self.endpoints))
        if len(self.endpoints) > ENDPOINTS_MAX:
            raise PolicyError(
                f"endpoints: are more than {ENDPOINTS_MAX}.", advice="Name those that the exam depends on."
            )
        witnessed: object = self.require_witness
        if isinstance(witnessed, str):
            named = one_of("require_witness", witnessed, Category, error=PolicyError, advice=_WITNESS_ADVICE)
            replace(self, "require_witness", Category(named))
        else:
            replace(self, "require_witness", _names("require_witness", witnessed))
        replace(self, "deadline", check_deadline(self.deadline))
        whole_number("probes", self.probes, least=1, most=PROBES_MAX, error=PolicyError)
        for field in ("spread", "locate"):
            flag(field, getattr(self, field), error=PolicyError)
        replace(self, "language", languages.check(self.language, error=PolicyError))
        try:
            NetworkSettings(**self.network)
        except InputError as error:
            raise PolicyError(error.message, advice=error.advice) from error

    @property
    def network(self) -> dict[str, Any]:
        """The fields of `NetworkSettings` that this policy sets."""
        return {name: value for name in NETWORK_KEYS if (value := getattr(self, name)) is not None}

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file (TOML). Raises `PolicyError` naming the file, the field and the remedy."""
        return _File(Path(path), PolicyError).read()

    @classmethod
    def resolve(cls, source: Policy | str | Path | None) -> Policy:
        """Return a policy unchanged, load the path of a policy file, or return the default for None."""
        if source is None:
            return cls()
        return source if isinstance(source, Policy) else cls.load(source)

    def requires_witness(self, name: str, category: Category) -> bool:
        """Return whether only a witness confirms the endpoint of this name (`host:port`) and category."""
        if isinstance(self.require_witness, Category):
            return category is self.require_witness
        return name in self.require_witness


def check_deadline(deadline: object) -> float:
    """Return a deadline in seconds. Raises `PolicyError`."""
    return seconds("deadline", deadline, least=DEADLINE_LEAST, most=DEADLINE_MOST, error=PolicyError)


def _names(field: str, values: object) -> tuple[str, ...]:
    """Return endpoints in canonical form, `host:port`, each once."""
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise PolicyError(f"{field}: is not a list.", advice=f'Write {field} = ["…"].')
    names = []
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise PolicyError(f"{field}[{index}]: {shown(value)} is not text.", advice=_HOST_ADVICE)
        try:
            host, port = parse_target(value)
        except TargetError as error:
            raise PolicyError(f"{field}[{index}]: {error.message}", advice=_HOST_ADVICE) from error
        names.append(Endpoint(host=host, port=port).name)
    return tuple(dict.fromkeys(names))


_REPORT_PATHS: Final = frozenset({"key", "receipt_key", "pseudonym_key", "pins", "outbox"})
"""Keys of `[report]` that name files."""


class _File(toml_files.TableFile):
    """One policy file while it is being read."""

    def read(self) -> Policy:
        content = toml_files.read(self._path, kind=_KIND, error=PolicyError)
        self._known_keys(content, ("schema", *Policy.__struct_fields__))
        self._schema(content, SCHEMA)
        for field, reason in (("pins", "nothing would be pinned"), ("endpoints", "nothing would be probed")):
            if content.get(field) == []:
                self._refuse(field, f"is empty: {reason}", "Leave it out for the default.")
        given: dict[str, Any] = {key: value for key, value in content.items() if key != "schema"}
        given["name"] = self._text(content, "name") or self._path.stem
        given["pins"] = self._each(content, "pins", self._pins)
        if isinstance(proxy := content.get("proxy"), str):
            given["proxy"] = self._proxy(proxy)
        given["report"] = self._report(content.get("report", {}))
        try:
            return Policy(**given)
        except PolicyError as error:
            raise PolicyError(f"{self._path}: {error.message}", advice=error.advice) from error

    def _pins(self, field: str, name: str) -> str:
        """Return a path relative to the policy file, or the installed pins of a vendor."""
        if name.startswith(VENDOR):
            return name
        if not name.strip() or not name.isprintable():
            self._refuse(
                field, f"{shown(name)} is not a path", f"Give a pin file, relative to this file, or {VENDOR}NAME."
            )
        return str(self._path.parent / name)

    def _report(self, table: object) -> dict[str, Any]:
        """Return the table with paths relative to the policy file; who reports validates it."""
        if not isinstance(table, dict):
            self._refuse("report", "is not a table", "Write [report], and its keys below (docs/reporting.md).")
        return {key: self._anywhere(value) if key in _REPORT_PATHS else value for key, value in table.items()}

    def _anywhere(self, value: object) -> object:
        """Return paths relative to the policy file; a key that is written in it, and what is no path, unchanged."""
        if isinstance(value, list):
            return tuple(map(self._anywhere, value))
        if not isinstance(value, str) or value.startswith((WITNESS_PREFIX, VENDOR)):
            return value
        return str(self._path.parent / value)

    def _proxy(self, setting: str) -> str:
        """Return a proxy setting; the path of a file relative to the policy file."""
        location = setting.removeprefix(FILE_PREFIX)
        if location == setting or "://" in location:
            return setting
        return f"{FILE_PREFIX}{self._path.parent / location}"
