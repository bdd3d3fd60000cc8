"""Fetches the few small documents that signing in needs: provider metadata, key sets, ID tokens.

Room: detector_collect.review.access. Opens connections to the addresses that the operator configured, by HTTPS, and to
no others: no redirect is followed, no proxy of the environment used, and size and time are bounded.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from detector.errors import InputError

from .id_tokens import Key, TokenError, read_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

FETCH_SECONDS: Final = 10.0
"""Timeout of one document: somebody waits for the page."""

DOCUMENT_BYTES_MAX: Final = 256 * 1024
"""Bytes of one document: metadata and key sets have some kilobytes."""

KEYS_LIFE: Final = dt.timedelta(hours=1)
"""How long keys are used: so long a key that its issuer withdrew may still count."""

KEYS_PAUSE: Final = dt.timedelta(minutes=1)
"""Between two attempts to fetch keys: tokens with invented key names must not make us ask all the time."""

_OK: Final = 200
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def check_url(url: str, *, field: str) -> str:
    """The URL, where it is one that may be fetched: HTTPS, or of this machine. Raises `InputError`."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(f"{field}: {url[:200]!r} is not an HTTPS URL.", advice="Write it with https://.")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise InputError(f"{field}: {url[:200]!r} has no host, or a user or fragment.", advice="Leave them out.")
    return url


async def fetch(
    http: aiohttp.ClientSession,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    authorization: str | None = None,
) -> bytes:
    """The body of the answer to a GET, or to a POST of `form`. Raises `TokenError`."""
    check_url(url, field="address")
    headers = {"Accept": "application/json"} | ({} if authorization is None else {"Authorization": authorization})
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            http.request(
                "GET" if form is None else "POST",
                url,
                data=form,
                allow_redirects=False,
                headers=headers,
            ) as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise TokenError("the identity provider's answer is too large")
            if answer.status != _OK:
                raise TokenError(f"the identity provider answered with status {answer.status}")
            return bytes(body)
    except (aiohttp.ClientError, TimeoutError):
        raise TokenError("the identity provider does not answer") from None


class KeySource:
    """The keys of one issuer, fetched when they are needed, when they are old, and when a token names another one."""

    def __init__(self, url: str) -> None:
        self._url: Final = url
        self._keys: tuple[Key, ...] = ()
        self._fetched: dt.datetime | None = None
        self._asked: dt.datetime | None = None
        self._turn: Final = asyncio.Lock()

    async def keys(self, http: aiohttp.ClientSession, *, named: str | None, now: dt.datetime) -> tuple[Key, ...]:
        """The keys, among them the one that is `named` if the issuer has it. Raises `TokenError`."""
        async with self._turn:
            is_fresh = self._fetched is not None and now - self._fetched < KEYS_LIFE
            if is_fresh and (named is None or any(key.kid == named for key in self._keys)):
                return self._keys
            if self._asked is None or now - self._asked >= KEYS_PAUSE:
                self._asked = now
                self._keys = read_keys(await fetch(http, self._url))
                self._fetched = now
            elif not is_fresh:
                raise TokenError("the identity provider's keys could not be fetched a moment ago")
            return self._keys
