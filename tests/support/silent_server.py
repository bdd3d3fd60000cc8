"""A server for commands that wait: it accepts connections and says nothing.

Room: tests. Listens on loopback, in a thread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[int, threading.Semaphore]]:
    """A port that takes connections and says nothing; the semaphore counts them."""
    accepted, taken = list[socket.socket](), threading.Semaphore(0)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])
                    taken.release()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()
