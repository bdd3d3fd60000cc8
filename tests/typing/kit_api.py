"""The test kit's API as a type checker sees it. Never run: mypy reads it with the rest."""

from __future__ import annotations

import ssl
from typing import assert_type

from detector_testing import (
    CA,
    Finished,
    Issued,
    Lab,
    Middlebox,
    Mitmproxy,
    Origin,
    PrivatePKI,
    Proxy,
    Script,
    ScriptedServer,
    Serving,
    run_mitmproxy,
    serve_middlebox,
    serve_origin,
    serve_proxy,
    serve_quic,
    serve_script,
    serving,
)


def certificates(pki: PrivatePKI) -> None:
    issued, ca = pki.issue(["exam.example.edu"], key="rsa", scts=3), pki.private_ca("Filter CA")
    assert_type(issued, Issued)
    assert_type(ca, CA)
    issued.configure_cert(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    ca.configure_trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    pki.configure_trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def fixtures(tls_pki: PrivatePKI, tls_serving: Serving) -> None:
    origin = tls_serving(serve_origin(tls_pki.issue(["exam.example.edu"])))
    assert_type(origin, Origin)
    assert_type(origin.address, tuple[str, int])
    assert_type(tls_serving(serve_middlebox(tls_pki.private_ca(), upstream=origin.address)), Middlebox)
    assert_type(tls_serving(serve_script(Script.silence())), ScriptedServer)
    assert_type(tls_serving(serve_proxy()), Proxy)
    assert_type(tls_serving(run_mitmproxy()), Mitmproxy)
    assert_type(tls_serving(serve_quic(tls_pki.issue(["exam.example.edu"]))), tuple[str, int])


def blocks(issued: Issued) -> None:
    with serving(serve_origin(issued)) as origin:
        assert_type(origin, Origin)


async def labs(network_lab: Lab, issued: Issued) -> None:
    async with network_lab.origin.inside(serve_origin(issued, host="", port=443)) as origin:
        assert_type(origin, Origin)
    assert_type(await network_lab.client.run("true"), Finished)
