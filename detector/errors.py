"""Every exception this package raises on purpose, each with advice on what to do.

Room: model (below everything else). Network trouble is never an exception: it is an `Outcome` of an observation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Report, Result


class DetectorError(Exception):
    """Base class. `message` says what is wrong, naming the file, field or host; `advice` says what to do."""

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class InputError(DetectorError, ValueError):
    """A value from the caller cannot be used. Exit code 2 on the command line."""


class TargetError(InputError):
    """An invalid host, port or address."""


class PinFileError(InputError):
    """A pin file that cannot be read or does not say what a pin file must say."""


class RootsError(InputError):
    """A file of trusted roots that cannot be read or holds no certificate."""


class LogListError(InputError):
    """A Certificate Transparency log list that cannot be read or is not in Google's v3 format."""


class KnowledgeError(InputError):
    """A data file or a data set that cannot be read, is damaged, or is not what its name says; names file and field."""


class UnknownSchemaError(KnowledgeError):
    """A data file of the knowledge in a form that this version does not read."""


class ChainError(InputError):
    """A chain to examine that cannot be read or is empty."""


class ProxyError(InputError):
    """A route or a proxy that cannot be used."""


class BundleError(InputError):
    """An evidence bundle that cannot be read, or is not one."""


class TimestampError(InputError):
    """A time-stamping authority that cannot be asked, or did not answer with a timestamp."""


class HistoryError(InputError):
    """A history that cannot be reached, read or written."""


class BusyError(DetectorError):
    """So much is being done in this process that a request cannot be finished in time; nothing was sent for it."""


class HistoryUnavailableError(HistoryError):
    """A history that is locked, or whose server does not answer: what is done alongside can go on without it."""


class SettingsError(InputError):
    """A configuration file that cannot be read or names an unknown option."""


class PolicyError(InputError):
    """An exam policy that cannot be read or does not say what a policy must say."""


class RequestError(InputError):
    """A request to the exam gate that cannot be read, or asks for what the policy does not provide."""


class KeyFileError(InputError):
    """A file of a private signing key that cannot be read or holds no Ed25519 key."""


class ServingError(InputError):
    """A certificate, key or address that a witness cannot be served with."""


def install_extra(extra: str) -> str:
    """Advice to install an extra of this package.

    It is no command: before the first release an index may hold this package's name for somebody else's.
    """
    return f"Install the extra '{extra}': repeat the installation with [{extra}] appended, as docs/install.md shows."


class MissingExtraError(InputError):
    """An optional dependency is needed and not installed."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, advice=install_extra(extra))


class OutputError(DetectorError, OSError):
    """The result could not be written where it was asked for."""


class NoRoomError(OutputError):
    """The device that should take a result is full or broken. Exit code 74 on the command line."""


class HistoryFullError(HistoryUnavailableError, NoRoomError):
    """A history on a device without room."""


class LearnError(DetectorError):
    """Pins were not learned: what was presented is pinned only on explicit request."""


class UpdateError(DetectorError):
    """An update of the knowledge that could not be fetched or verified: the set in use stays. Exit code 3."""


class HeldBackError(UpdateError):
    """A set of the knowledge that is signed, and that is not put in the place of the one in use for what it says."""


class MiddlewareDetected(DetectorError):  # noqa: N818 - a detection, not a fault; the name is the API contract
    """TLS is intercepted, with the confidence of `report`, which holds the evidence.

    Below `probable` the message says that it may be, and names nobody.
    """

    def __init__(self, report: Report) -> None:
        message, advice = _accusation(report)
        super().__init__(message, advice=advice)
        self.report = report


def _accusation(report: Report) -> tuple[str, str]:
    """Message and advice."""
    accused = [result for result in report.results if result.verdict == "middleware"]
    if report.confidence == "possible":
        hosts = ", ".join(result.endpoint.name for result in accused)
        return (
            f"TLS to {hosts} may be intercepted (possible), or there is an innocent reason.",
            next((result.advice for result in accused if result.advice), "Try again from another network."),
        )
    parties = ", ".join(
        f"{party.product or party.issuer or 'unknown'} on {', '.join(party.endpoints)}" for party in report.interceptors
    )
    sureness = "is intercepted" if report.confidence == "proven" else "is very probably intercepted"
    return (
        f"TLS to this network's endpoints {sureness} ({report.confidence}): {parties}.",
        "Do not send exam data on this network; give the report to the institution that runs it.",
    )


class GuardError(DetectorError):
    """A guarded client refused a connection, before any byte of the request was sent.

    `for_student` is what a client shows, in the language of the guard's policy; `message` and `advice`, in English, are
    for those who maintain the client. `result` is the result of the assessment, None where there was none. The classes
    that are raised also derive from those of the client's own library: see `detector.guard`.
    """

    for_student: str
    result: Result | None

    def __repr__(self) -> str:
        """Omit the arguments: they hold whole chains, and a connection key with the proxy's credentials."""
        return f"{type(self).__name__}({str(self)!r})"


class UnconfirmedError(GuardError):
    """The server was not confirmed to be the genuine one, or not reached. This accuses nobody."""


class CertificateError(GuardError):
    """No careful client on this device would accept the certificate: its path, its name or its dates are wrong.

    This accuses nobody: an interceptor whose root is not on the device and a misconfigured server cause the same.
    """


class PlaintextError(GuardError):
    """A request without TLS: it cannot be assessed, and anyone in between can read it."""
