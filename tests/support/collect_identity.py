"""An OpenID provider and a learning platform on loopback, which do what a test asks of them, right or wrong.

Room: tests. Serves on loopback, with keys of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable

CLIENT: Final = "review-room"
SECRET: Final = "a secret: with % and +"  # noqa: S105 - of a provider that lives for one test
DEPLOYMENT: Final = "deployment-1"
ROLES: Final = "http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"
CLAIM: Final = "https://purl.imsglobal.org/spec/lti/claim/"

_KEYS: Final = [RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"}) for name in ("first", "second")]


class Identity:
    """What the provider says next. Tests change the fields; `claims` and `header` override those of a token."""

    def __init__(self, clock: Callable[[], dt.datetime]) -> None:
        self.clock = clock
        self.url = ""
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.answer: dict[str, str] = {}
        self.key = _KEYS[0]
        self.published = [_KEYS[0]]
        self.keys_body: bytes | None = None
        self.signing = "RS256"
        self.subject = "ada"
        self.key_requests = 0
        self._codes: dict[str, dict[str, str]] = {}

    # The browser's part

    def authorize(self, address: str) -> dict[str, str]:
        """Sign in at the provider as a browser that follows `address`; what comes back in the query."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=True).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.url, **self.answer}

    def launch(self, address: str, **claims: Any) -> dict[str, str]:  # noqa: ANN401 - any claim
        """Launch from the platform, as a browser that follows `address`; the form that it posts."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=True).items()}
        assert (asked["response_type"], asked["response_mode"], asked["prompt"]) == ("id_token", "form_post", "none")
        launched = {
            f"{CLAIM}message_type": "LtiResourceLinkRequest",
            f"{CLAIM}version": "1.3.0",
            f"{CLAIM}deployment_id": DEPLOYMENT,
            f"{CLAIM}roles": [ROLES],
            **claims,
        }
        token = self.token(asked["nonce"], **launched)
        return {"state": asked["state"], "id_token": token}

    def token(self, nonce: str, /, **claims: Any) -> str:  # noqa: ANN401 - any claim
        """An ID token. A claim that is None is left out."""
        now = int(self.clock().timestamp())
        body = {
            "iss": self.url,
            "sub": self.subject,
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "name": "Ada Staff",
            **claims,
            **self.claims,
        }
        payload = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        header = {"alg": self.signing, "kid": self.key.kid, "typ": "JWT", **self.header}
        header = {name: value for name, value in header.items() if value is not None}
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(payload)}"
        match self.signing:
            case "none":
                signature = b""
            case "HS256":
                public = self.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                signature = hmac.digest(public, signed.encode(), "sha256")
            case _:
                private = self.key.private_key
                assert private is not None
                signature = private.sign(signed.encode(), PKCS1v15(), SHA256())
        return f"{signed}.{_encoded(signature)}"

    def login(self, **fields: str) -> str:
        """The query with which the platform asks us to begin."""
        asked = {"iss": self.url, "client_id": CLIENT, "login_hint": "hint", "lti_message_hint": "message", **fields}
        return urlencode({name: value for name, value in asked.items() if value})

    def rotate(self) -> None:
        """Sign with another key, which is published next to the first."""
        self.key = _KEYS[1]
        self.published = list(_KEYS)

    def forge(self) -> None:
        """Sign with a key that is not published, under the name of one that is."""
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})

    # The provider's part

    async def _configuration(self, _: web.Request) -> web.Response:
        known = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response({**known, **self.metadata})

    async def _keys(self, _: web.Request) -> web.Response:
        self.key_requests += 1
        if self.keys_body is not None:
            return web.Response(body=self.keys_body, content_type="application/json")
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _redirect(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(f"{self.url}/keys")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self._codes.pop(str(form["code"]), None)
        account = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        challenge = _encoded(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        right = (
            asked is not None
            and account == f"{CLIENT}:a%20secret%3A%20with%20%25%20and%20%2B"
            and challenge == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
            and form["grant_type"] == "authorization_code"
        )
        if not right or asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "unused", "token_type": "Bearer", "id_token": self.token(asked["nonce"])}
        )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextlib.asynccontextmanager
async def running_identity(clock: Callable[[], dt.datetime]) -> AsyncIterator[Identity]:
    """A provider and platform on loopback until the block ends."""
    identity = Identity(clock)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", identity._configuration)
    app.router.add_get("/keys", identity._keys)
    app.router.add_get("/redirected-keys", identity._redirect)
    app.router.add_post("/token", identity._token)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    identity.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield identity
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
