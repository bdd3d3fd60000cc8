"""The certificates of a PKCS #7 or CMS message (RFC 5652), which is how many of them are kept in one file of DER.

Room: trust. Pure. Reads the set of certificates of SignedData, and verifies nothing: each is assessed on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import der

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"  # id-signedData (RFC 5652 section 5.1)
_TAG_CONTENT: Final = 0xA0  # ContentInfo.content, [0] EXPLICIT (RFC 5652 section 3)
_TAG_CERTIFICATES: Final = 0xA0  # SignedData.certificates, [0] IMPLICIT (RFC 5652 section 5.1)


def certificates(data: bytes) -> Iterator[bytes]:
    """Yield the certificates of a message, none of one without a signature. Bytes after the message are ignored.

    Everything else that may stand among them is obsolete, and tagged (RFC 5652 section 10.2.2): it is left out.

    Raises:
        DERError: where the message is damaged, after what was read before.
    """
    outer = der.expect(data, 0, len(data), der.SEQUENCE)
    kind = der.element(data, outer.content, outer.end)
    if der.oid(data, kind) != _SIGNED_DATA:
        return
    content = der.expect(data, kind.end, outer.end, _TAG_CONTENT)
    signed = der.expect(data, content.content, content.end, der.SEQUENCE)
    for part in der.children(data, signed):
        if part.tag == _TAG_CERTIFICATES:
            yield from (der.whole(data, one) for one in der.children(data, part) if one.tag == der.SEQUENCE)
