"""Requests to a time-stamping authority: what is sent, over http and https."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from detector_testing import Request, Response, serve_origin

from detector.probe import DirectDialer
from detector.probe.http import timestamp

if TYPE_CHECKING:
    from detector_testing import PrivatePKI


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
async def test_over_tls(scheme: str, pki: PrivatePKI) -> None:
    """Over TLS the query is the body of one POST, however the scheme is written; the answer is what came back."""
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(body=b"answer")

    async with serve_origin(pki.issue(["127.0.0.1"]), handler=answer) as origin:
        body = await timestamp.ask(
            f"{scheme}://{origin.host}:{origin.port}/tsa",
            b"query",
            dialer_for=lambda _: DirectDialer(),
            deadline=asyncio.get_running_loop().time() + 30,
        )
    assert body == b"answer"
    assert [(one.method, one.target, one.body) for one in asked] == [("POST", "/tsa", b"query")]
    assert ("content-type", timestamp.MEDIA_TYPE) in asked[0].headers
