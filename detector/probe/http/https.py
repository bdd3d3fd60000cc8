"""Requests over TLS that is captured and judged before anything is asked: for resolvers and proxy files.

Room: probe. Opens connections through a `Dialer`; whether the other side is who it should be is asked of `vouch`, which
is given by whoever judges.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import h11

from detector.model import Endpoint
from detector.probe.client import close, open_tls
from detector.probe.tls.handshake import strict_context

from .client import USER_AGENT, FetchOutcome, ask_over, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.model import Observation
    from detector.probe.routes import Dialer

    from .client import Answer, Limits

    Vouch = Callable[[Endpoint, Observation], bool]
    """Whether the observation shows the endpoint itself."""

_OK = 200


class Conversation(NamedTuple):
    """What the connection showed, whether it was vouched for, and the bodies of the answers with status 200, in order.

    None stands for a question that got no such answer.
    """

    observation: Observation
    vouched: bool
    bodies: tuple[bytes | None, ...]


async def ask(  # noqa: PLR0913 - keyword-only; a conversation is made of these
    url: str,
    paths: Sequence[str] | None = None,
    *,
    dialer: Dialer,
    vouch: Vouch,
    limits: Limits,
    deadline: float,
    accept: str = "*/*",
) -> Conversation | None:
    """Connect once to the host of an https URL and ask for each of `paths` (None: for that of the URL).

    Nothing is asked of a host that is not vouched for. `deadline` is a time of the running event loop. None when `url`
    cannot be asked for; raises nothing for reasons of network, proxy or peer.
    """
    target = parse_url(url, "https")
    if target is None:
        return None
    wanted = (target.path,) if paths is None else tuple(paths)
    endpoint = Endpoint(host=target.host, port=target.port)
    opened = await open_tls(endpoint, dialer=dialer, deadline=deadline, context=strict_context())
    connection, nothing = opened.connection, (None,) * len(wanted)
    if connection is None:
        return Conversation(opened.observation, vouched=False, bodies=nothing)
    try:
        vouched = vouch(endpoint, opened.observation)
        bodies: list[bytes | None] = []
        for path in wanted if vouched else ():
            request = _request(target.authority, path, accept)
            answer = await ask_over(connection, request, limits=limits, until=deadline)
            bodies.append(_body(answer))
            if not answer.leaves_reusable or connection.is_closing():
                break
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connection.abort()
        raise
    await close(connection, deadline=max(deadline, asyncio.get_running_loop().time()))
    return Conversation(opened.observation, vouched, (*bodies, *nothing[len(bodies) :]))


def _request(authority: str, path: str, accept: str) -> h11.Request:
    headers = [("Host", authority), ("User-Agent", USER_AGENT), ("Accept", accept), ("Accept-Encoding", "identity")]
    return h11.Request(method="GET", target=path, headers=headers)


def _body(answer: Answer) -> bytes | None:
    whole = answer.outcome is FetchOutcome.ANSWERED and answer.head is not None and answer.head.status_code == _OK
    return answer.body if whole else None
