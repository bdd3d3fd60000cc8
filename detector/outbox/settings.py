"""Where and as what a client reports: one record for Python, policy files and the command line.

Room: outbox. Pure: files are named here and read by `reporter`.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from detector.errors import InputError
from detector.model import Record
from detector.model.validate import one_of

if TYPE_CHECKING:
    from collections.abc import Mapping

URL_CHARACTERS_MAX: Final = 256
"""Characters of the collector's URL: a host name and a short path."""
PATH: Final = "/v1/evidence"
"""Where a collector takes submissions."""
RECEIPT_KEYS_MAX: Final = 8
"""Keys of a collector: two while one is being rotated, with a margin."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_ADVICE: Final = "Give https://HOST or https://HOST/PATH, without user name, query and fragment."


class ThroughInterceptor(enum.StrEnum):
    """Whether evidence may be sent through an interceptor, which reads it; it is signed and names nobody."""

    NEVER = "never"
    IF_NOTHING_ELSE = "if-nothing-else"


class ReportSettings(Record, frozen=True, kw_only=True):
    """Where and as what a client reports.

    Args:
        to: the collector's URL.
        institution: its name for the institution.
        key: file of the institution's signing key (Ed25519, PKCS #8).
        receipt_key: the collector's public keys, each a PEM file or `ed25519/<base64>`; what has no receipt by one of
            them is not removed.
        exam: the collector's name for the exam.
        pseudonym_key: file of the key for pseudonyms; without one neither student nor network is distinguished.
        network: a name for the network, of which only a keyed hash is sent; by default that of the local network.
        pins: pin files for the collector.
        through_interceptor: whether evidence may be sent through an interceptor where no other route is left.
        outbox: the folder that evidence waits in; by default the user's own.

    Raises:
        InputError: for an invalid value, naming the field.
    """

    to: str
    institution: str
    key: str
    receipt_key: tuple[str, ...]
    exam: str | None = None
    pseudonym_key: str | None = None
    network: str | None = None
    pins: tuple[str, ...] = ()
    through_interceptor: ThroughInterceptor = ThroughInterceptor.NEVER
    outbox: str | None = None

    def __post_init__(self) -> None:
        """Validate and normalize."""
        replace = msgspec.structs.force_setattr
        replace(self, "to", collector_url(self.to))
        for field in ("institution", "exam"):
            value = getattr(self, field)
            if value is not None and not _NAME.match(value):
                raise InputError(
                    f"{field}: is not a name of at most 64 lower-case letters, digits, dots, hyphens and underscores.",
                    advice="Give the name that the collector has for it.",
                )
        if not 0 < len(self.receipt_key) <= RECEIPT_KEYS_MAX:
            raise InputError(
                f"receipt_key: 1 to {RECEIPT_KEYS_MAX} public keys are needed.",
                advice="Ask the operator of the collector for its public key: without it no receipt can be verified.",
            )
        through = one_of("through_interceptor", self.through_interceptor, ThroughInterceptor, error=InputError)
        replace(self, "through_interceptor", ThroughInterceptor(through))

    @classmethod
    def of(cls, values: Mapping[str, object]) -> ReportSettings:
        """Settings from a table of a policy file, or from options. Raises `InputError`."""
        missing = [name for name in ("to", "institution", "key", "receipt_key") if not values.get(name)]
        if missing:
            raise InputError(f"{missing[0]}: is needed to report.", advice="See docs/reporting.md.")
        given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        for name in ("receipt_key", "pins"):
            if isinstance(given.get(name), str):
                given[name] = (given[name],)
        try:
            return msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise InputError(f"[report]: {error}.", advice="See docs/reporting.md.") from None


def collector_url(url: str) -> str:
    """The URL of a collector, without a slash at its end. Raises `InputError`, which does not repeat the URL."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or len(url) > URL_CHARACTERS_MAX or not url.isprintable():
        raise InputError("to: is not the URL of a collector.", advice=_ADVICE)
    return url.rstrip("/").removesuffix(PATH)
