"""Room: tests of detector_collect.review.exports.pdf."""

from __future__ import annotations

import re
import subprocess
import zlib
from typing import TYPE_CHECKING

from detector_collect.review.exports.pdf import COLUMNS, LINES_MAX, ROWS, Line, write
from hypothesis import given
from hypothesis import strategies as st
from support.system import program

if TYPE_CHECKING:
    from pathlib import Path

MARK = "case 7, export 3, approved by Bob and Eve"


def _texts(pdf: bytes) -> list[list[str]]:
    """The strings of each page's content."""
    pages = [zlib.decompress(found) for found in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]
    return [
        [bytes.fromhex(text.decode()).decode("cp1252") for text in re.findall(rb"\[<([0-9a-f]*)>\] TJ", page)]
        for page in pages
    ]


def test_the_same_lines_give_the_same_bytes() -> None:
    """Nothing in a PDF depends on when or where it is made."""
    lines = [Line("Heading", is_heading=True), Line("text")]
    assert write(lines, title="T", watermark=MARK) == write(lines, title="T", watermark=MARK)


def test_each_page_has_the_watermark() -> None:
    """Across each page, and at its foot with the page's number."""
    pages = _texts(write([Line(f"line {number}") for number in range(3 * ROWS)], title="T", watermark=MARK))
    assert len(pages) == 3
    for number, page in enumerate(pages, start=1):
        assert sum(MARK in text for text in page) > 5
        assert page[-1] == f"{MARK}  -  page {number} of 3"


def test_long_lines_are_wrapped_with_their_indent() -> None:
    """No line is longer than the page is wide, and none is lost."""
    (page,) = _texts(write([Line("  - " + "word " * 100)], title="T", watermark=""))
    body = [text for text in page if "word" in text]
    assert max(map(len, body)) <= COLUMNS
    assert sum(text.count("word") for text in body) == 100
    assert all(text.startswith("  ") for text in body)


HOSTILE = [
    ") Tj ET /JavaScript (app.alert(1)) Tj BT (",
    "<< /S /JavaScript /JS (x) >>",
    "endstream endobj 99 0 obj << /OpenAction 98 0 R >>",
    "<script>alert(1)</script>",
    "\u202egnp.exe\u202c",
    "Zürich, München, €",
    "名前 🙂",
    "\x00\x07\x1b[31m",
    "\\( \\\\ ( ) < > [ ]",
    "\r\nAnother line",
]


def test_no_text_becomes_a_part_of_the_file() -> None:
    """Whatever a name holds is shown as text: outside the compressed streams the file has none of it."""
    pdf = write([Line(text) for text in HOSTILE], title=HOSTILE[0], watermark=HOSTILE[1])
    bare = re.sub(rb"stream\n.*?\nendstream", b"", pdf, flags=re.DOTALL)
    for name in (b"/JS", b"/OpenAction", b"/URI", b"/EmbeddedFile", b"/Launch"):
        assert name not in bare
    (page,) = _texts(pdf)
    shown = " ".join(page)
    assert "Zürich, München, €" in shown
    assert "\\u202egnp.exe" in shown
    assert "\\u540d" in shown
    assert not any(character in shown for character in "\x00\x07\x1b\u202e")


@given(st.lists(st.text(max_size=300), max_size=5), st.text(max_size=50))
def test_any_text_makes_a_file(texts: list[str], mark: str) -> None:
    """No text makes writing fail, and each page's strings are what Courier can show."""
    pdf = write([Line(text, is_heading=len(text) % 2 == 0) for text in texts], title=mark, watermark=mark)
    assert pdf.startswith(b"%PDF-1.7")
    shown = [text.replace("\xa0", " ") for page in _texts(pdf) for text in page]
    assert all(map(str.isprintable, shown))


def test_the_number_of_lines_is_bounded() -> None:
    """A huge dossier is cut."""
    pages = _texts(write([Line("x")] * (LINES_MAX + 500), title="T", watermark=""))
    assert len(pages) == -(-LINES_MAX // ROWS)


def test_another_program_reads_it(tmp_path: Path) -> None:
    """Poppler finds the text, no script and no damage."""
    file = tmp_path / "dossier.pdf"
    file.write_bytes(write([Line("What was found", is_heading=True), Line("Zürich")], title="Dossier", watermark=MARK))
    text = subprocess.run([program("pdftotext"), file, "-"], check=True, capture_output=True, text=True)  # noqa: S603 - Poppler's program
    assert "What was found" in text.stdout
    assert "Zürich" in text.stdout
    assert text.stderr == ""
    about = subprocess.run([program("pdfinfo"), file], check=True, capture_output=True, text=True)  # noqa: S603 - as above
    assert re.search(r"JavaScript:\s+no", about.stdout)
    assert re.search(r"Title:\s+Dossier", about.stdout)
