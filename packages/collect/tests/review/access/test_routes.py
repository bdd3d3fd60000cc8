"""Room: tests of detector_collect.review.access.authorize: every route of the service goes through the guard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect import review
from detector_collect.review.access.authorize import authorize, check_routes
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.permissions import Permission
from detector_collect.review.access.records import listed, record, stored_heads
from detector_collect.service.app import create_app
from detector_collect.service.settings import ServiceSettings
from litestar import get
from litestar.exceptions import ImproperlyConfiguredException
from support.collect_access import ORIGIN

from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.handlers import HTTPRouteHandler
    from support.collect_access import Room

OPEN = {Permission.PUBLIC, Permission.SUBMIT, Permission.SIGN_IN}


def _app(room: Room, *more: Any) -> Litestar:  # noqa: ANN401 - route handlers
    settings = ServiceSettings(Ed25519PrivateKey.generate(), origin=ORIGIN, clock=room.clock)
    return create_app(room.store, settings, review=[review.routes(), *more])


def _handlers(app: Litestar) -> list[tuple[str, str, HTTPRouteHandler]]:
    """Each method of each path, without those that Litestar makes for OPTIONS."""
    return [
        (route.path, method, handler)
        for route in app.routes
        for handler in route.route_handlers  # type: ignore[union-attr] # HTTP routes alone
        for method in sorted(handler.http_methods)
        if method != "OPTIONS"
    ]


async def test_every_route_has_a_permission_and_goes_through_the_guard(room: Room) -> None:
    """No route of the service, its pages and its interfaces is without both, and the guard comes first."""
    handlers = _handlers(_app(room))
    assert len(handlers) > 20
    for path, _, handler in handlers:
        assert isinstance(handler.opt.get("permission"), Permission), path
        assert getattr(handler.resolve_guards()[0], "func", handler.resolve_guards()[0]) is authorize, path


async def test_the_service_signs_the_head_of_the_records(room: Room) -> None:
    """While the service runs, with nothing else asked of it, the latest record is signed with its key."""
    key = Ed25519PrivateKey.generate()
    settings = ServiceSettings(key, origin=ORIGIN, clock=room.clock)
    made = await record(room.store, now=room.clock.now, person=None, action="view")
    async with asyncio.timeout(30), room.client(create_app(room.store, settings, review=[review.routes()])):
        while not (signed := await stored_heads(room.store, [public_key_of(key)])):  # noqa: ASYNC110 - the service says nothing when it has signed
            await asyncio.sleep(0.01)
    assert [(head.number, head.hash) for head in signed] == [(made.number, made.hash.hex())]


async def test_strangers_are_refused_at_every_route_that_is_not_open(room: Room) -> None:
    """Each route that needs a permission answers somebody without a session with 401, and leaves a record."""
    app = _app(room)
    refused = 0
    async with room.client(app) as client:
        for path, method, handler in _handlers(app):
            if handler.opt["permission"] in OPEN:
                continue
            filled = path
            for parameter, value in (("{institution:str}", "north"), ("{digest:str}", "ab" * 32)):
                filled = filled.replace(parameter, value)
            filled = "/".join("1" if part.startswith("{") else part for part in filled.split("/"))
            answer = await client.request(method, filled, headers={"accept": "application/json"})
            assert answer.status_code in {401, 303}, (method, filled)
            assert answer.headers.get("location", "/sign-in") == "/sign-in"
            assert (await listed(room.store, limit=1))[0].record.outcome is Outcome.NOT_SIGNED_IN
            refused += 1
            room.clock.turn(seconds=10)
    assert refused > 10


async def test_a_planted_route_is_found_in_the_whole_service(room: Room) -> None:
    """A route without a permission stops the service from starting, wherever it was added."""

    @get("/institutions/{institution:str}/planted")
    async def planted() -> str:
        return "evidence"

    with pytest.raises(ImproperlyConfiguredException, match="planted"):
        check_routes(_app(room, planted))
