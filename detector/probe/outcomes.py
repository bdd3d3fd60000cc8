"""The mapping of foreign errors to outcomes.

Room: probe. Pure: only the types and numbers of exceptions count, never their text, which differs by platform, language
and library version. The operating system's numbers are looked up by name, because they differ, too.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from detector.model import Outcome

_ERRNO_NAMES: Final = {
    Outcome.CONNECT_REFUSED: ("ECONNREFUSED",),
    Outcome.RESET: ("ECONNRESET", "ECONNABORTED", "EPIPE", "ESHUTDOWN", "ENETRESET"),
    Outcome.CONNECT_TIMEOUT: ("ETIMEDOUT",),
    # EACCES and EPERM: a packet filter on this machine. EADDRNOTAVAIL, EAFNOSUPPORT: no address of that family here.
    # EINVAL: a link-local address without its interface.
    Outcome.UNREACHABLE: (
        *("ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EHOSTDOWN"),
        *("EACCES", "EPERM", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EINVAL"),
    ),
    Outcome.RESOURCES: ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"),
}

_OUTCOME_BY_ERRNO: Final = {
    number: outcome
    for outcome, names in _ERRNO_NAMES.items()
    for name in names
    for number in (getattr(errno, name, None), getattr(errno, f"WSA{name}", None))
    if number is not None
}

_OUTCOME_BY_WINERROR: Final = {
    64: Outcome.RESET,  # ERROR_NETNAME_DELETED
    121: Outcome.CONNECT_TIMEOUT,  # ERROR_SEM_TIMEOUT
    1225: Outcome.CONNECT_REFUSED,  # ERROR_CONNECTION_REFUSED
    1231: Outcome.UNREACHABLE,  # ERROR_NETWORK_UNREACHABLE
    1232: Outcome.UNREACHABLE,  # ERROR_HOST_UNREACHABLE
    1236: Outcome.RESET,  # ERROR_CONNECTION_ABORTED
    1450: Outcome.RESOURCES,  # ERROR_NO_SYSTEM_RESOURCES
}
"""Errors of overlapped sockets on Windows (System Error Codes, winerror.h), where errno is of no use."""

_RESOLVER_OUT_OF_MEMORY: Final = getattr(socket, "EAI_MEMORY", None)


def of_os_error(error: OSError) -> Outcome:
    """Return the outcome of an operating system error when opening or using a connection."""
    if isinstance(error, socket.gaierror):
        return Outcome.RESOURCES if error.errno == _RESOLVER_OUT_OF_MEMORY else Outcome.DNS_FAILURE
    winerror = getattr(error, "winerror", None)
    if winerror in _OUTCOME_BY_WINERROR:
        return _OUTCOME_BY_WINERROR[winerror]
    if isinstance(error, ConnectionRefusedError):
        return Outcome.CONNECT_REFUSED
    if isinstance(error, ConnectionError):
        return Outcome.RESET
    if isinstance(error, TimeoutError):
        return Outcome.CONNECT_TIMEOUT
    # Several addresses that failed differently come without a number.
    return _OUTCOME_BY_ERRNO.get(error.errno or 0, Outcome.UNREACHABLE)


def of_lost_connection(error: OSError | None) -> Outcome:
    """Return the outcome of a connection that closed during the handshake; None is an orderly end."""
    if error is None:
        return Outcome.CLOSED
    outcome = of_os_error(error)
    # The kernel gave up retransmitting: past the connect, that is the handshake not being answered.
    return Outcome.HANDSHAKE_TIMEOUT if outcome is Outcome.CONNECT_TIMEOUT else outcome


def through_proxy(outcome: Outcome) -> Outcome:
    """Return the outcome of failing to reach a proxy; running out of our own resources stays unchanged."""
    return outcome if outcome in {Outcome.RESOURCES, Outcome.DEADLINE} else Outcome.PROXY_UNREACHABLE
