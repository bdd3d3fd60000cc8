"""Foreign errors and the outcomes they become.

Room: tests of probe. Pure.
"""

from __future__ import annotations

import errno
import socket

import pytest

from detector.model import Outcome
from detector.probe import outcomes


class SemaphoreTimeoutError(OSError):
    winerror = 121  # ERROR_SEM_TIMEOUT


class OverlappedRefusedError(OSError):
    winerror = 1225  # ERROR_CONNECTION_REFUSED


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(), Outcome.CONNECT_REFUSED),
        (OSError(errno.ECONNREFUSED, "x"), Outcome.CONNECT_REFUSED),
        (ConnectionResetError(), Outcome.RESET),
        (BrokenPipeError(), Outcome.RESET),
        (ConnectionAbortedError(), Outcome.RESET),
        (TimeoutError(), Outcome.CONNECT_TIMEOUT),
        (OSError(errno.ETIMEDOUT, "x"), Outcome.CONNECT_TIMEOUT),
        (OSError(errno.ENETUNREACH, "x"), Outcome.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, "x"), Outcome.UNREACHABLE),
        (PermissionError(errno.EPERM, "x"), Outcome.UNREACHABLE),
        (OSError(errno.EMFILE, "x"), Outcome.RESOURCES),
        (OSError(errno.ENOBUFS, "x"), Outcome.RESOURCES),
        (socket.gaierror(socket.EAI_NONAME, "x"), Outcome.DNS_FAILURE),
        (socket.gaierror(socket.EAI_MEMORY, "x"), Outcome.RESOURCES),
        (OSError("Multiple exceptions: whatever they say"), Outcome.UNREACHABLE),
        (SemaphoreTimeoutError(), Outcome.CONNECT_TIMEOUT),
        (OverlappedRefusedError(), Outcome.CONNECT_REFUSED),
    ],
)
def test_operating_system_errors(error: OSError, outcome: Outcome) -> None:
    """Types and numbers decide, never the text."""
    assert outcomes.of_os_error(error) is outcome


def test_a_lost_connection() -> None:
    """An orderly end is closed; the kernel giving up is a handshake that was not answered."""
    assert outcomes.of_lost_connection(None) is Outcome.CLOSED
    assert outcomes.of_lost_connection(ConnectionResetError()) is Outcome.RESET
    assert outcomes.of_lost_connection(TimeoutError()) is Outcome.HANDSHAKE_TIMEOUT


def test_failing_to_reach_a_proxy() -> None:
    """Any failure to reach a proxy is the proxy's, except for our own."""
    assert outcomes.through_proxy(Outcome.DNS_FAILURE) is Outcome.PROXY_UNREACHABLE
    assert outcomes.through_proxy(Outcome.CONNECT_REFUSED) is Outcome.PROXY_UNREACHABLE
    assert outcomes.through_proxy(Outcome.RESOURCES) is Outcome.RESOURCES
    assert outcomes.through_proxy(Outcome.DEADLINE) is Outcome.DEADLINE
