"""Sets up Dask for the parts of a fleet: mutual TLS with the certificates of one folder, and nothing unencrypted.

Room: fleet. Reads the folder's files; opens one connection to check that a scheduler is there.
"""

from __future__ import annotations

import logging
import os
import ssl
import warnings
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from detector.errors import InputError, MissingExtraError

from .certificates import files

try:
    import dask
    import distributed
    from distributed.comm import CommClosedError, connect
except ImportError as error:
    raise MissingExtraError("A fleet needs Dask's distributed.", extra="fleet") from error

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

CONNECT_SECONDS: Final = 10.0
"""Until a scheduler must have answered."""

_LOGS: Final = ("bokeh", "distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
"""Loggers that write to standard error from the moment Dask is loaded."""

_NO_PAGES: Final[dict[str, list[str]]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Scheduler and workers would serve pages about themselves, without TLS and to anybody."""

NO_DASHBOARD: Final = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Arguments of scheduler and worker: the port of the disabled pages is bound to loopback."""

_NEW: Final = "Make new ones with `detector fleet certificates`, and give every machine those of its part."


def prepare() -> None:
    """Keep Dask from writing to standard error (unless DETECTOR_LOG is set) and from serving pages.

    The commands report what a person must know.
    """
    dask.config.set(_NO_PAGES)
    if os.environ.get("DETECTOR_LOG"):
        return
    for name in _LOGS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
    # Which versions of what are installed where; what matters is compared in `coordinator.register_workers`.
    warnings.filterwarnings("ignore", category=distributed.versions.VersionMismatchWarning)


def security(folder: str | Path, part: str, *, now: dt.datetime) -> distributed.Security:
    """Dask's settings for one part (`scheduler`, `worker` or `client`).

    Raises `InputError` where its files are missing, do not belong together, or are out of date.
    """
    found = files(folder, part)
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        authority = x509.load_pem_x509_certificate(found.ca.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(found.certificate, found.key, password="")
        certificate.verify_directly_issued_by(authority)
    except ssl.SSLError as error:
        raise InputError(
            f"--tls {folder}: {part}.key is not a key, or not that of {part}.pem.", advice="Copy both files again."
        ) from error
    except OSError as error:
        missing = next((file for file in found if not file.is_file()), found.key)
        raise InputError(
            f"--tls {folder}: {missing.name} cannot be read ({error.strerror}).",
            advice="Make the files with `detector fleet certificates`, and give this machine those of its part.",
        ) from error
    except InvalidSignature as error:
        raise InputError(f"--tls {folder}: {part}.pem is not of the CA in ca.pem.", advice=_NEW) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--tls {folder}: {part}.pem or ca.pem is not a certificate of a fleet.", advice=_NEW
        ) from error
    for each, name in ((certificate, f"{part}.pem"), (authority, "ca.pem")):
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            between = f"{each.not_valid_before_utc:%Y-%m-%d} to {each.not_valid_after_utc:%Y-%m-%d}"
            raise InputError(f"--tls {folder}: {name} is valid from {between}, and today is not.", advice=_NEW)
    own = {f"tls_{part}_cert": str(found.certificate), f"tls_{part}_key": str(found.key)}
    return distributed.Security(tls_ca_file=str(found.ca), require_encryption=True, **own)


async def reach(scheduler: str, settings: distributed.Security, part: str) -> None:
    """Check that the scheduler is there and accepts this part. Raises `InputError`."""
    arguments: dict[str, Any] = settings.get_connection_args(part)
    try:
        comm = await connect(scheduler, timeout=CONNECT_SECONDS, **arguments)
    except CommClosedError as error:
        raise InputError(
            f"--scheduler {scheduler}: the scheduler and this {part} do not accept each other's certificates.",
            advice="Both need files of one run of `detector fleet certificates`, in date on the clocks of both.",
        ) from error
    except OSError as error:
        raise InputError(
            f"--scheduler {scheduler}: nobody answered there within {CONNECT_SECONDS:g} seconds.",
            advice="Start `detector fleet scheduler`, and see that its port is open to this machine.",
        ) from error
    await comm.close()
