"""The API for operators of a witness, as a type checker sees it. Never run: mypy reads it with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from detector.trust.key_files import load_signing_key
from detector.witness.server import Limits, Witness, WitnessServer, serve, tls_context

if TYPE_CHECKING:
    from aiohttp import web


async def platform(application: web.Application) -> None:
    witness = Witness([load_signing_key("signing.pem")], peer_address=False)
    tls = tls_context("chain.pem", "key.pem")
    async with serve(witness, tls=tls, port=8443, application=application, limits=Limits(connections=100)) as server:
        assert_type(server, WitnessServer)
        assert_type(server.address, tuple[str, int])
        assert_type(server.counts.requests, int)
