"""Writes the mail that reports several notices, as plain text.

Room: detector_collect.review.outwards. Pure.

Whatever is in a notice is a word of a closed set, a number, an institution's short name or a path that this program
made; `email` refuses line breaks in headers.
"""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Final

from detector.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_collect.store.deliveries import Delivery

ADDRESS_CHARACTERS_MAX: Final = 254
"""Characters of a mail address (RFC 5321 section 4.5.3.1.3, less the brackets)."""
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}\Z")
"""Addresses of RFC 5321 without quoted local parts and without literals: no blank, bracket or control character."""


def mail_address(text: str) -> str:
    """Check a mail address. Raises `InputError`."""
    if _ADDRESS.match(text) is None or len(text) > ADDRESS_CHARACTERS_MAX:
        raise InputError("The mail address is invalid.", advice=_ADDRESS_ADVICE)
    try:
        return Address(addr_spec=text).addr_spec
    except (ValueError, MessageError, IndexError):
        raise InputError("The mail address is invalid.", advice=_ADDRESS_ADVICE) from None


_ADDRESS_ADVICE: Final = "Write it as name@example.org."


def write(deliveries: Sequence[Delivery], *, sender: str, recipient: str, base_url: str) -> EmailMessage:
    """Write one mail about all of `deliveries`; the same ones give the same Message-ID. Raises `InputError`."""
    first, last = deliveries[0].id, deliveries[-1].id
    message = EmailMessage(policy=SMTP)
    message["From"] = mail_address(sender)
    message["To"] = mail_address(recipient)
    message["Date"] = deliveries[-1].notice.at
    message["Message-ID"] = f"<notices-{first}-{last}.{recipient.partition('@')[0]}@{sender.partition('@')[2]}>"
    message["Subject"] = f"TLS interception review: {len(deliveries)} notice{'s' if len(deliveries) > 1 else ''}"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 section 5
    message.set_content("\r\n".join(_lines(deliveries, base_url)), charset="utf-8", cte="quoted-printable")
    return message


def _lines(deliveries: Sequence[Delivery], base_url: str) -> list[str]:
    lines: list[str] = []
    for delivery in deliveries:
        notice = delivery.notice
        facts = ", ".join(f"{name} {value}" for name, value in notice.facts.items())
        lines += [
            f"{notice.at:%Y-%m-%d %H:%M} UTC  {notice.event}  {notice.institution or ''}".rstrip(),
            *([f"  {facts}"] if facts else []),
            f"  {base_url}{notice.path}",
            "",
        ]
    return [*lines, "This mail is made by a program. Sign in to read more."]
