"""Signs staff in at an identity provider: OpenID Connect, authorization code flow with PKCE.

Room: detector_collect.review.access. Fetches from the one configured provider, through `fetching`.

The answer is held against what began (state, cookie, nonce, PKCE), and names its issuer where the provider says that it
does (RFC 9207), so that an answer of another provider is not taken for its. The code is exchanged with that provider
alone, and its token verified by `id_tokens`. Nothing else of the provider is used, and no token of it is kept.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from detector.model import json_text

from .fetching import KeySource, check_url, fetch
from .id_tokens import Claims, TokenError, key_named, read_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from .pending import Pending

METADATA_LIFE: Final = dt.timedelta(hours=1)
"""How long metadata of the provider is used."""


class Configuration(NamedTuple):
    """An identity provider as the operator configures it. Raises nothing; `IdentityProvider` checks it."""

    issuer: str
    client: str
    secret: str


T = TypeVar("T")


class _Metadata(msgspec.Struct, frozen=True):
    """OpenID Connect Discovery 1.0 section 3, and RFC 9207 section 3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(msgspec.Struct, frozen=True):
    """OpenID Connect Core 1.0 section 3.1.3.3; the other members are not used."""

    id_token: str


class IdentityProvider:
    """The provider whose accounts are people here. Raises `InputError` for an issuer that is not HTTPS."""

    def __init__(self, configuration: Configuration) -> None:
        self.issuer: Final = check_url(configuration.issuer, field="issuer")
        self.client: Final = configuration.client
        account = ":".join(quote(one, safe="") for one in (configuration.client, configuration.secret))
        self._account: Final = base64.b64encode(account.encode("ascii")).decode("ascii")
        self._known: tuple[_Metadata, KeySource, dt.datetime] | None = None

    async def address(
        self, http: aiohttp.ClientSession, *, redirect: str, state: str, pending: Pending, now: dt.datetime
    ) -> str:
        """Where the browser signs in. Raises `TokenError`."""
        metadata, _ = await self._metadata(http, now=now)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode("ascii")).digest())
        return with_query(
            metadata.authorization_endpoint,
            {
                "response_type": "code",
                "scope": "openid profile",
                "client_id": self.client,
                "redirect_uri": redirect,
                "state": state,
                "nonce": pending.nonce,
                "code_challenge": challenge.decode("ascii").rstrip("="),
                "code_challenge_method": "S256",
            },
        )

    async def identify(  # noqa: PLR0913 - what the answer consists of
        self,
        http: aiohttp.ClientSession,
        *,
        code: str,
        issuer: str | None,
        redirect: str,
        pending: Pending,
        now: dt.datetime,
    ) -> Claims:
        """Who signed in, from the answer that the browser brought. Raises `TokenError`."""
        if (pending.issuer, pending.client) != (self.issuer, self.client):
            raise TokenError("the sign-in began at another provider")
        metadata, keys = await self._metadata(http, now=now)
        if issuer is None and metadata.authorization_response_iss_parameter_supported:
            raise TokenError("the answer does not name its issuer, although the provider does")
        if issuer not in {None, self.issuer}:
            raise TokenError("the answer is of another issuer")
        body = await fetch(
            http,
            metadata.token_endpoint,
            form={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect,
                "code_verifier": pending.verifier,
            },
            authorization=f"Basic {self._account}",
        )
        token = _read(body, _Tokens).id_token
        known = await keys.keys(http, named=key_named(token), now=now)
        return read_token(token, known, Claims, issuer=self.issuer, client=self.client, nonce=pending.nonce, now=now)

    async def _metadata(self, http: aiohttp.ClientSession, *, now: dt.datetime) -> tuple[_Metadata, KeySource]:
        """What the provider says of itself. Raises `TokenError`."""
        if self._known is None or now - self._known[2] >= METADATA_LIFE:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            metadata = _read(await fetch(http, url), _Metadata)
            if metadata.issuer != self.issuer:
                raise TokenError("the provider's metadata is of another issuer")
            for endpoint in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
                try:
                    check_url(endpoint, field="metadata")
                except ValueError:
                    raise TokenError("the provider's metadata has an address that is not HTTPS") from None
            same_keys = self._known is not None and self._known[0].jwks_uri == metadata.jwks_uri
            keys = self._known[1] if self._known is not None and same_keys else KeySource(metadata.jwks_uri)
            self._known = (metadata, keys, now)
        return self._known[0], self._known[1]


def with_query(url: str, fields: Mapping[str, str]) -> str:
    """A URL with further fields in its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(fields)}"


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return json_text.decode(body, kind)
    except ValueError:
        raise TokenError("the identity provider's answer cannot be read") from None
