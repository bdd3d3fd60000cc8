"""Which browser a request says it comes from: family and major version, from User-Agent and Sec-CH-UA.

Room: origin. Pure: header values in, a record out. Bounded, linear, and never raises: both headers are a stranger's.

A family is a TLS stack, not a brand. Every browser on iOS counts as Safari, whose stack it has to use; Electron, CEF
and Safe Exam Browser for Windows are Chromium. Whatever borrows the name of a browser without its stack is `unknown`:
WebKit on Linux, old Edge, browsers that fetch pages in a data center, bots. An unknown family contradicts nothing.
"""

from __future__ import annotations

import functools
from typing import Final

from detector.knowledge.browser_offers import Family
from detector.model import Record

__all__ = ["HEADER_CHARACTERS_MAX", "Claims", "Family"]

HEADER_CHARACTERS_MAX: Final = 1024
"""Characters of a header that is read. Browsers' own have under 300, with an application's additions under 600; a
longer one claims nothing."""

MAJOR_DIGITS_MAX: Final = 4
"""Digits of a major version; the highest in use has three."""

CLAIMS_REMEMBERED_MAX: Final = 4096
"""Headers whose meaning is remembered, of `HEADER_CHARACTERS_MAX` at most: a busy site sees some hundreds."""

_BROWSER: Final = "Mozilla/5.0 ("
_CHROMIUM: Final = ("Chrome/", "Chromium/")  # also of "HeadlessChrome/"
_NOT_A_BROWSER: Final = (
    "compatible;",  # crawlers, and Internet Explorer
    "+http",
    "bot/",
    "Bot/",
    "pider",
    "rawler",
    "Slurp",
)
_ANOTHER_STACK: Final = (
    "Edge/",  # EdgeHTML, over Schannel
    "Trident/",
    "Goanna/",  # NSS of old, under a Firefox of a compatibility setting
    "PaleMoon/",
    "SeaMonkey/",
    "Opera Mini/",  # fetched by the vendor's servers, as for the rest
    "OPiOS/",
    "Puffin/",
    "Silk/",
    "UCBrowser/",
    "UBrowser/",
    "MQQBrowser/",
    "PhantomJS/",
    "Ladybird/",
    "Servo/",
)
_APPLE_MOBILE: Final = ("(iPhone", "(iPad", "(iPod")
_ON_IOS: Final = (("CriOS/", Family.CHROMIUM), ("EdgiOS/", Family.CHROMIUM), ("FxiOS/", Family.FIREFOX))
_EMBEDDED: Final = ("; wv)", " Electron/", " QtWebEngine/")
"""Android's WebView; Electron and Qt, whose applications also have another stack. On iOS an application's browser lacks
the name of Safari."""
_IOS_BROWSER: Final = " Safari/"
_LINUX: Final = ("Linux", "X11", "BSD")
_HINT: Final = '"Chromium";v="'


class Claims(Record, frozen=True, kw_only=True):
    """What a request says of its client.

    `major` is the version of the stack: of Chromium under another brand, of iOS where the browser has another version;
    None where it is not said. `maker_ships` is the family that the maker of a browser on iOS uses elsewhere and may use
    there, as the law of some countries lets it. `is_linux` leaves out Android.
    `is_embedded` says that the browser is a part of an application, whose own requests may use its name with another
    stack.
    """

    family: Family = Family.UNKNOWN
    major: int | None = None
    maker_ships: Family | None = None
    is_linux: bool = False
    is_embedded: bool = False

    @staticmethod
    def of(user_agent: str | None, sec_ch_ua: str | None = None) -> Claims:
        """Read the headers. Sec-CH-UA takes precedence: programs that change User-Agent often leave it."""
        agent, hints = user_agent or "", sec_ch_ua or ""
        if len(agent) > HEADER_CHARACTERS_MAX or len(hints) > HEADER_CHARACTERS_MAX:
            return _NOTHING
        return _of(agent, hints)


_NOTHING: Final = Claims()


@functools.lru_cache(maxsize=CLAIMS_REMEMBERED_MAX)
def _of(agent: str, hints: str) -> Claims:
    if not agent.startswith(_BROWSER) or any(map(agent.__contains__, (*_NOT_A_BROWSER, *_ANOTHER_STACK))):
        return _NOTHING
    if _HINT in hints:
        is_embedded = any(map(agent.__contains__, _EMBEDDED))
        return Claims(family=Family.CHROMIUM, major=_number_after(hints, _HINT), is_embedded=is_embedded)
    return _of_ios(agent) or _of_agent(agent)


def _of_ios(agent: str) -> Claims | None:
    for token, maker in _ON_IOS:
        if token in agent:
            return Claims(family=Family.SAFARI, major=_ios(agent), maker_ships=maker)
    if agent.startswith(_APPLE_MOBILE, len(_BROWSER) - 1):
        version = _number_after(agent, "Version/")
        major = _ios(agent) if version is None else version
        return Claims(family=Family.SAFARI, major=major, is_embedded=_IOS_BROWSER not in agent)
    return None


def _of_agent(agent: str) -> Claims:
    for token in _CHROMIUM:
        if token in agent:
            is_embedded = any(map(agent.__contains__, _EMBEDDED))
            return Claims(family=Family.CHROMIUM, major=_number_after(agent, token), is_embedded=is_embedded)
    if "Firefox/" in agent:
        is_linux = "Android" not in agent and any(map(agent.__contains__, _LINUX))
        return Claims(family=Family.FIREFOX, major=_number_after(agent, "Firefox/"), is_linux=is_linux)
    if agent.startswith("(Macintosh", len(_BROWSER) - 1) and "AppleWebKit/" in agent:
        return Claims(family=Family.SAFARI, major=_number_after(agent, "Version/"))
    return _NOTHING


def _ios(agent: str) -> int | None:
    """The version of iOS. On an iPad that asks for desktop pages it is not said."""
    found = _number_after(agent, "CPU iPhone OS ")
    return _number_after(agent, "CPU OS ") if found is None else found


def _number_after(text: str, token: str) -> int | None:
    """The number after the first `token`."""
    start = text.find(token)
    if start < 0:
        return None
    start += len(token)
    end = start
    while end < start + MAJOR_DIGITS_MAX and text[end : end + 1] in _DIGITS:
        end += 1
    return int(text[start:end]) if end > start else None


_DIGITS: Final = frozenset("0123456789")
