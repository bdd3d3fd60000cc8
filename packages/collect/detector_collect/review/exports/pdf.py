"""Writes lines of text as a PDF, with a watermark on each page.

Room: detector_collect.review.exports. Pure; needs the extra `pdf`. The same lines give the same bytes: no date, no
random identifier.

The text is in Courier, which every reader of PDF has: all characters are equally wide, so that a line's length is its
number of characters. Nothing in the file can act: it has no script, no link, no form and no embedded file. What Courier
cannot show, and what changes the direction of text, is written as an escape.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.errors import MissingExtraError
from detector.report.html import visible

try:
    import pydyf  # type: ignore[import-untyped]  # has no annotations
except ImportError as error:
    raise MissingExtraError("A dossier as PDF needs pydyf.", extra="pdf") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH: Final = 595
HEIGHT: Final = 842
"""A4 in points (ISO 216)."""
MARGIN: Final = 50
SIZE: Final = 9
HEADING_SIZE: Final = 12
LEADING: Final = 12
"""Points between lines."""
CHARACTER_WIDTH: Final = 0.6
"""Width of each character of Courier, in its size (Adobe Font Metrics)."""
COLUMNS: Final = int((WIDTH - 2 * MARGIN) / (SIZE * CHARACTER_WIDTH))
ROWS: Final = (HEIGHT - 3 * MARGIN) // LEADING
LINES_MAX: Final = 20_000
"""Lines of one file: about 300 pages."""
_ENCODING: Final = "cp1252"
"""What WinAnsiEncoding is (PDF 1.7, annex D), but for the positions that both leave free."""
_WATERMARK_GREY: Final = 0.85


class Line(NamedTuple):
    """One paragraph: text of any length, and whether it is a heading."""

    text: str
    is_heading: bool = False


def write(lines: Sequence[Line], *, title: str, watermark: str) -> bytes:
    """The PDF of these lines; `watermark` is on each page, behind the text and at its foot."""
    pdf, mark = pydyf.PDF(), _one_line(watermark)
    fonts = {name: _font(pdf, base) for name, base in (("F1", "Courier"), ("F2", "Courier-Bold"))}
    wrapped = list(_wrapped(lines))[:LINES_MAX]
    pages = [wrapped[start : start + ROWS] for start in range(0, len(wrapped), ROWS)] or [[]]
    for number, page in enumerate(pages, start=1):
        content = pydyf.Stream(compress=True)
        _mark(content, mark)
        for row, line in enumerate(page):
            size = HEADING_SIZE if line.is_heading else SIZE
            _text(content, line.text, MARGIN, HEIGHT - MARGIN - (row + 1) * LEADING, size, bold=line.is_heading)
        _text(content, f"{mark}  -  page {number} of {len(pages)}", MARGIN, MARGIN // 2, SIZE - 2)
        pdf.add_object(content)
        pdf.add_page(
            pydyf.Dictionary(
                {
                    "Type": "/Page",
                    "Parent": pdf.pages.reference,
                    "MediaBox": pydyf.Array([0, 0, WIDTH, HEIGHT]),
                    "Contents": content.reference,
                    "Resources": pydyf.Dictionary({"Font": pydyf.Dictionary(fonts)}),
                }
            )
        )
    pdf.info["Title"] = pydyf.String(_one_line(title))
    return _bytes(pdf)


def _font(pdf: Any, base: str) -> bytes:  # noqa: ANN401 - pydyf has no annotations
    font = pydyf.Dictionary(
        {"Type": "/Font", "Subtype": "/Type1", "BaseFont": f"/{base}", "Encoding": "/WinAnsiEncoding"}
    )
    pdf.add_object(font)
    reference: bytes = font.reference
    return reference


def _wrapped(lines: Sequence[Line]) -> Iterator[Line]:
    for line in lines:
        columns = int(COLUMNS * SIZE / HEADING_SIZE) if line.is_heading else COLUMNS
        text = _shown(line.text)
        indent = " " * (len(text) - len(text.lstrip()))
        parts = textwrap.wrap(text, columns, subsequent_indent=indent, break_on_hyphens=False) or [""]
        yield from (Line(part, line.is_heading) for part in parts)


def _shown(text: str) -> str:
    """Text with only what Courier shows; everything else as an escape, a question mark for nothing."""
    return visible(text).encode(_ENCODING, "backslashreplace").decode(_ENCODING)


def _one_line(text: str) -> str:
    return " ".join(_shown(text).split())


def _text(content: Any, text: str, x: float, y: float, size: float, *, bold: bool = False) -> None:  # noqa: ANN401, PLR0913 - pydyf has no annotations; a place has two numbers
    content.begin_text()
    content.set_font_size("F2" if bold else "F1", size)
    content.set_text_matrix(1, 0, 0, 1, x, y)
    content.show_text(_literal(text))
    content.end_text()


def _mark(content: Any, watermark: str) -> None:  # noqa: ANN401 - pydyf has no annotations
    """The watermark across the page, several times, behind the text."""
    content.push_state()
    content.set_color_rgb(_WATERMARK_GREY, _WATERMARK_GREY, _WATERMARK_GREY)
    for y in range(-HEIGHT // 4, HEIGHT, 130):
        content.begin_text()
        content.set_font_size("F2", SIZE + 2)
        content.set_text_matrix(0.906, 0.423, -0.423, 0.906, 0, y)  # turned by 25 degrees
        content.show_text(_literal(f"{watermark}     " * 3))
        content.end_text()
    content.pop_state()


def _literal(text: str) -> bytes:
    """A string of hexadecimal digits (PDF 1.7 section 7.3.4.3): no character of the text can end it."""
    return b"<" + text.encode(_ENCODING).hex().encode("ascii") + b">"


def _bytes(pdf: Any) -> bytes:  # noqa: ANN401 - pydyf has no annotations
    stream = io.BytesIO()
    pdf.write(stream, version=b"1.7", identifier=False, compress=False)
    return stream.getvalue()
