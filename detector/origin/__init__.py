"""The server's own eyes: whether the browser that a request names can have sent the ClientHello of its connection.

Room: origin. Pure but for what feeds it; nothing of a person goes in or out.

    judge(Offer.of_hello(message), Claims.of(user_agent, sec_ch_ua))

An interceptor opens a TLS connection of its own to the server, with its own ClientHello, and passes the browser's
User-Agent on. `claims` says which browser a request names, `offer` what was seen of the ClientHello, `rules` what that
browser cannot send, `table` what follows; `assess` does so for one request, `sessions` for the sessions of a network,
`engine` reads what a script in the page reports of the browser. `requests` assesses a server's requests, and
`capture` keeps the ClientHellos; `aiohttp`, `asgi`, `uvicorn` and `hypercorn` connect them (docs/origin.md).

Nothing seen never means that nothing intercepts.
"""

from __future__ import annotations

from .assess import Judgment, judge
from .claims import Claims, Family
from .offer import Offer, OfferError
from .sessions import NetworkJudgment, Session, Sessions, judge_sessions
from .table import Reason, Verdict

__all__ = [
    "Claims", "Family", "Judgment", "NetworkJudgment", "Offer", "OfferError", "Reason", "Session", "Sessions",
    "Verdict", "judge", "judge_sessions",
]  # fmt: skip
