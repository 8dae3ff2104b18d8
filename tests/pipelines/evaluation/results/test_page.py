"""``report.html``: complete, without a network, and texts stay texts."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

from pipelines.evaluation.results.page import OPEN, Picture, as_table, document, report_page
from pipelines.evaluation.results.scores import Sweep
from pipelines.evaluation.results.tables import comparisons, score_lines, score_rows
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "br", "small"),
    *(
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "img",
        "figcaption",
        "ul",
        "li",
        "details",
        "summary",
    ),
}


class Page(HTMLParser):
    """Elements, attributes and texts of a document."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.inside = False
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.inside = True
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


def page_of(sweep: Sweep, plots: tuple[Picture, ...] = (), notes: tuple[str, ...] = ()) -> str:
    rows = score_rows(sweep, score_lines(sweep))
    return report_page(sweep, rows, comparisons(sweep), plots, plots, notes)


def check(content: str) -> Page:
    """Parse a page; it has no script, no handler and no address of anything outside itself."""
    page = Page(content)
    assert set(page.elements) <= ALLOWED
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "action", "srcset"):
            assert value.startswith("data:image/")
    assert "url(" not in content
    assert "default-src 'none'" in content
    return page


def test_hostile_names_are_texts(tmp_path: Path) -> None:
    rows = [row(name, name, cpbd=1.0 * n) for n, name in enumerate(HOSTILE)]
    rows += [row(name, "<img src=x onerror=alert(1)>", state="failed", reason=name) for name in HOSTILE]
    sweep = sweep_of(tmp_path, rows, name="</title><script>1</script>", options={"<b>": "</td>"})
    picture = Picture('" onload="alert(1)', b"\x89PNG...")
    page = check(page_of(sweep, (picture,), ("<script>note</script>",)))
    for text in ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<script>note</script>"):
        assert text in page.text


def test_cells_are_those_of_the_table(tmp_path: Path) -> None:
    rows = [row(f"{n}", system, cpbd=0.1 * n, lse_c=1.0) for n in range(3) for system in ("a", "b")]
    sweep = sweep_of(tmp_path, rows, data="hdtf")
    page = check(page_of(sweep))
    for cells in score_rows(sweep, score_lines(sweep)):
        assert cells in page.rows
    assert "Published numbers" not in page.text
    assert "Published numbers" in check(page_of(sweep_of(tmp_path / "b", rows, data="pairs"))).text


def test_pictures_are_inside(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [row("x", "a", cpbd=1.0)])
    plots = (Picture("one", b"\x89PNGabc", broad=True), Picture("two", b"\xff\xd8def"))
    page = check(page_of(sweep, plots))
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources[0] == "data:image/png;base64," + base64.b64encode(b"\x89PNGabc").decode()
    assert sources[1].startswith("data:image/jpeg;base64,")
    assert len([1 for name, value in page.attributes if name == "alt" and value]) == len(sources) == 4


def test_many_comparisons_are_folded(tmp_path: Path) -> None:
    rows = [row("x", f"system {n}", cpbd=1.0 * n) for n in range(9)]
    assert len(comparisons(sweep_of(tmp_path, rows))) > OPEN
    page = check(page_of(sweep_of(tmp_path, rows)))
    assert "details" in page.elements
    assert "36 comparisons" in page.text


def test_nothing_scored_is_still_a_page(tmp_path: Path) -> None:
    assert "0 / 1" in check(page_of(sweep_of(tmp_path / "a", [row("x", "a", state="failed")]))).text
    check(page_of(sweep_of(tmp_path / "b", [])))


def test_an_empty_heading_is_left_out() -> None:
    page = check(document("t", [as_table([("", ""), ("a", "1.5 [1.0, 2.0]")])]))
    assert page.rows == [["a", "1.5 [1.0, 2.0]"]]
    assert "thead" not in page.elements
