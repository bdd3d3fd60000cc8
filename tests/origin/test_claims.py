"""Claims: which browser the headers of a request name."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.origin.claims import HEADER_CHARACTERS_MAX, Claims, Family

C, F, S, U = Family.CHROMIUM, Family.FIREFOX, Family.SAFARI, Family.UNKNOWN
WEBKIT: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
PHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X)"

AGENTS: Final = {
    "Chrome": (f"{WINDOWS} {WEBKIT} Chrome/150.0.0.0 Safari/537.36", C, 150),
    "headless": (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/156.0.0.0 Safari/537.36", C, 156),
    "Edge": (f"{WINDOWS} {WEBKIT} Chrome/149.0.0.0 Safari/537.36 Edg/149.0.0.0", C, 149),
    "Opera": (f"{WINDOWS} {WEBKIT} Chrome/148.0.0.0 Safari/537.36 OPR/132.0.0.0", C, 148),
    "SEB": (f"{WINDOWS} {WEBKIT} Chrome/139.0.7258.139 SEB/3.10.0", C, 139),
    "Electron": (f"{MAC} {WEBKIT} Teams/1.0 Chrome/138.0.7204.251 Electron/37.6.0 Safari/537.36", C, 138),
    "Android": (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/150.0.0.0 Mobile Safari/537.36", C, 150),
    "a Cubot telephone": (
        f"Mozilla/5.0 (Linux; Android 13; CUBOT P80) {WEBKIT} Chrome/150.0.0.0 Safari/537.36",
        C,
        150,
    ),
    "WebView": (f"Mozilla/5.0 (Linux; Android 14; wv) {WEBKIT} Version/4.0 Chrome/131.0.0.0 Safari/537.36", C, 131),
    "Firefox": ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", F, 153),
    "Tor Browser": ("Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0", F, 128),
    "Safari": (f"{MAC} {APPLE} Version/26.0 Safari/605.1.15", S, 26),
    "iPhone": (f"{PHONE} {APPLE} Version/26.0 Mobile/15E148 Safari/604.1", S, 26),
    "a view in an application of iOS": (f"{PHONE} {APPLE} Mobile/15E148 [FBAN/FBIOS]", S, 18),
    "CriOS": (f"{PHONE} {APPLE} CriOS/140.0.7339.101 Mobile/15E148 Safari/604.1", S, 18),
    "FxiOS": (
        f"Mozilla/5.0 (iPad; CPU OS 17_4 like Mac OS X) {APPLE} FxiOS/143.0 Mobile/15E148 Safari/605.1.15",
        S,
        17,
    ),
    "EdgiOS": (f"{PHONE} {APPLE} Version/18.0 EdgiOS/140.0.0.0 Mobile/15E148 Safari/604.1", S, 18),
    "CriOS that asks for desktop pages": (f"{MAC} {APPLE} CriOS/140 Version/11.1.1 Safari/605.1.15", S, None),
    "Safari for Windows": (
        f"{WINDOWS} AppleWebKit/534.57.2 (KHTML, like Gecko) Version/5.1.7 Safari/534.57.2",
        U,
        None,
    ),
    "WebKitGTK": (f"Mozilla/5.0 (X11; Linux x86_64) {APPLE} Version/26.0 Safari/605.1.15", U, None),
    "old Edge": (f"{WINDOWS} {WEBKIT} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763", U, None),
    "Internet Explorer, and Edge as it": (f"{WINDOWS[:-1]}; Trident/7.0; rv:11.0) like Gecko", U, None),
    "Pale Moon": ("Mozilla/5.0 (X11; rv:128.0) Gecko/20100101 Goanna/6.7 Firefox/128.0 PaleMoon/33.3", U, None),
    "a crawler": (
        f"Mozilla/5.0 (compatible; Googlebot/2.1; +http://a) {WEBKIT} Chrome/150.0.0.0 Safari/537.36",
        U,
        None,
    ),
    "a browser in a data center": (f"{WINDOWS} {WEBKIT} Chrome/150.0.0.0 Safari/537.36 Puffin/10.0", U, None),
    "curl": ("curl/8.5.0", U, None),
    "Python": ("python-requests/2.34", U, None),
    "Java": ("Dalvik/2.1.0 (Linux; U; Android 14)", U, None),
    "nothing": ("", U, None),
    "a family without a version": (f"{WINDOWS} {WEBKIT} Chrome/ Safari/537.36", C, None),
}


@pytest.mark.parametrize("name", AGENTS)
def test_user_agents(name: str) -> None:
    """A User-Agent gives the TLS stack and its version, and unknown for what borrows a browser's name."""
    agent, family, major = AGENTS[name]
    claims = Claims.of(agent)
    assert (claims.family, claims.major) == (family, major)


def test_hints_take_precedence() -> None:
    """Sec-CH-UA, which a changed User-Agent leaves, says that a browser is Chromium under any other name."""
    hints = '"Not)A;Brand";v="8", "Chromium";v="156", "Google Chrome";v="156"'
    for agent in (AGENTS["iPhone"][0], AGENTS["Firefox"][0], AGENTS["Opera"][0]):
        assert Claims.of(agent, hints) == Claims(family=C, major=156)
    assert Claims.of("curl/8.5.0", hints).family is U
    assert Claims.of(AGENTS["Firefox"][0], '"Not)A;Brand";v="8"').family is F


def test_embedded_browsers() -> None:
    """Applications that embed a browser, and may name it in requests of their own, are marked."""
    assert {name for name in AGENTS if Claims.of(AGENTS[name][0]).is_embedded} == {
        "Electron",
        "WebView",
        "a view in an application of iOS",
    }
    assert Claims.of(AGENTS["WebView"][0], '"Chromium";v="131", "Android WebView";v="131"').is_embedded


def test_the_maker_of_a_browser_on_ios_is_kept() -> None:
    """A browser on iOS is Safari, and its maker's own stack is remembered, which law may allow there."""
    makers = {name: Claims.of(AGENTS[name][0]).maker_ships for name in ("CriOS", "EdgiOS", "FxiOS", "iPhone")}
    assert makers == {"CriOS": C, "EdgiOS": C, "FxiOS": F, "iPhone": None}


@given(st.text(max_size=3 * HEADER_CHARACTERS_MAX), st.none() | st.text(max_size=3 * HEADER_CHARACTERS_MAX))
def test_any_headers(agent: str, hints: str | None) -> None:
    """Whatever the headers are, they give claims."""
    assert isinstance(Claims.of(agent, hints), Claims)


@pytest.mark.parametrize("unit", ["(", "Chrome/9", "Mozilla/5.0 (", '"Chromium";v="', "\0"])
def test_long_headers_claim_nothing(unit: str) -> None:
    """A header of a megabyte claims nothing, whatever it begins with."""
    long = AGENTS["Chrome"][0] + unit * (1024 * 1024 // len(unit))
    assert Claims.of(long) == Claims() == Claims.of(AGENTS["Chrome"][0], long)
