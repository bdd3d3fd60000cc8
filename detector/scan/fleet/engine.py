"""How the parts of a fleet run on the engine: mutual TLS with the certificates of one folder, and nothing in the clear.

Room: fleet. Reads the folder's files; opens one connection to see whether a scheduler is there.
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
"""Where the engine writes to standard error from the moment it is loaded."""

_NOTHING_IN_THE_CLEAR: Final[dict[str, list[str]]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Scheduler and workers serve pages about themselves, without TLS and to anybody. Not ours."""

UNSEEN: Final = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Arguments of scheduler and worker: the port of the pages that are not served is no other machine's business."""

_NEW: Final = "Make new ones with `detector fleet certificates`, and give every machine those of its part."


def prepare() -> None:
    """Keep the engine from writing to standard error (unless DETECTOR_LOG is set) and from serving in the clear.

    What a person must know, the commands say themselves.
    """
    dask.config.set(_NOTHING_IN_THE_CLEAR)
    if os.environ.get("DETECTOR_LOG"):
        return
    for name in _LOGS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
    # Which versions of what are installed where; what matters to us is compared in `conduct.muster`.
    warnings.filterwarnings("ignore", category=distributed.versions.VersionMismatchWarning)


def security(folder: str | Path, part: str, *, now: dt.datetime) -> distributed.Security:
    """The engine's settings for one part (`scheduler`, `worker` or `client`).

    Raises `InputError` where its files are not there, do not belong together, or are out of date.
    """
    found = files(folder, part)
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        authority = x509.load_pem_x509_certificate(found.ca.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(found.certificate, found.key, password="")
        certificate.verify_directly_issued_by(authority)
    except ssl.SSLError as error:
        raise InputError(
            f"--tls {folder}: {part}.key is no key, or not that of {part}.pem.", advice="Copy both files again."
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
        raise InputError(f"--tls {folder}: {part}.pem or ca.pem is no certificate of a fleet.", advice=_NEW) from error
    for each, name in ((certificate, f"{part}.pem"), (authority, "ca.pem")):
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            between = f"{each.not_valid_before_utc:%Y-%m-%d} to {each.not_valid_after_utc:%Y-%m-%d}"
            raise InputError(f"--tls {folder}: {name} is valid from {between}, and today is not.", advice=_NEW)
    own = {f"tls_{part}_cert": str(found.certificate), f"tls_{part}_key": str(found.key)}
    return distributed.Security(tls_ca_file=str(found.ca), require_encryption=True, **own)


async def reach(scheduler: str, settings: distributed.Security, part: str) -> None:
    """See whether the scheduler is there and this part is let in. Raises `InputError`."""
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
