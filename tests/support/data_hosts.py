"""A repository of the knowledge on an HTTPS server, and updates from it through the guarded connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector_testing import Request, Response
from support.guarding import guard_of

from detector.aio.tasks import run_in_thread
from detector.guard import GuardedConnector
from detector.update import update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World
    from support.data_repository import DataRepository

    from detector.guard import Guard
    from detector.update import Update

HOST = "data.example.org"
URL = f"https://{HOST}/knowledge"


def serving(repository: DataRepository) -> Callable[[Request], Response]:
    """Answer with what the repository holds at that moment."""

    def answer(request: Request) -> Response:
        data = repository.files.get(request.target.removeprefix("/knowledge/"))
        return Response(status=404) if data is None else Response(body=data)

    return answer


def connecting(
    world: World,
    guard: Guard | None = None,
    **connector: Any,  # noqa: ANN401 - arguments of GuardedConnector
) -> Callable[[], GuardedConnector]:
    """What makes a guarded connector that trusts the test PKI, and uses no proxy unless one is named."""
    return lambda: GuardedConnector(guard or guard_of(world), **{"proxy": "none", **connector})


async def updated(
    repository: DataRepository,
    folder: Path,
    connect: Callable[[], GuardedConnector],
    url: str = URL,
    **options: Any,  # noqa: ANN401 - arguments of `update`
) -> Update:
    """Update from the server, in a thread, with the root of this repository."""
    root = folder.with_name("root.json")
    root.write_bytes(repository.first_root)
    return await run_in_thread(lambda: update(url, folder=folder, root=root, connect=connect, **options))
