"""Room: tests of detector_collect.review.outwards.digests."""

from __future__ import annotations

import datetime as dt
from email import message_from_bytes
from email.policy import SMTP

import pytest
from detector_collect.review.outwards.digests import mail_address, write
from detector_collect.store.deliveries import Delivery, Event, Notice

from detector.errors import InputError

NOW = dt.datetime(2026, 11, 30, 9, 30, tzinfo=dt.UTC)


def _delivery(number: int) -> Delivery:
    notice = Notice(
        event=Event.CASE_OPENED, at=NOW, institution="north", path="/institutions/north/cases/1", facts={"case": 1}
    )
    return Delivery(number, notice, 1)


def test_the_same_notices_give_the_same_mail() -> None:
    """Sent again after a crash, a mail has the same identifier; other notices have another one."""
    first, again, other = (
        write(deliveries, sender="review@vendor.example", recipient="ann@vendor.example", base_url="https://r.example")
        for deliveries in ([_delivery(1)], [_delivery(1)], [_delivery(1), _delivery(2)])
    )
    assert first.as_bytes() == again.as_bytes()
    assert first["Message-ID"] != other["Message-ID"]
    read = message_from_bytes(first.as_bytes(), policy=SMTP)
    assert (read.get_content_type(), read["Auto-Submitted"]) == ("text/plain", "auto-generated")
    assert "https://r.example/institutions/north/cases/1" in read.get_content()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "ann@",
        "@vendor.example",
        "ann@vendor.example\r\nBcc: eve@evil.example",
        "ann@vendor.example\nSubject: other",
        "ann@vendor.example, eve@evil.example",
        "Ann <ann@vendor.example>",
        '"a b"@vendor.example',
        "ann@[127.0.0.1]",
        "a" * 65 + "@vendor.example",
        "ann@" + "v" * 300,
        "änn@vendor.example",
        "ann@vendor.example\0",
    ],
)
def test_no_address_injects_a_header_or_another_recipient(text: str) -> None:
    """Whatever is not one plain address is refused, also where a mail is written."""
    with pytest.raises(InputError):
        mail_address(text)
    with pytest.raises(InputError):
        write([_delivery(1)], sender="review@vendor.example", recipient=text, base_url="https://r.example")
