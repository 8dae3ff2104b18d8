"""``table.md``: what stands in it, and names that mean something to Markdown or HTML."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt

from pipelines.evaluation.results.markdown import as_markdown
from pipelines.evaluation.results.scores import Sweep
from pipelines.evaluation.results.tables import comparisons, score_lines, score_rows
from pipelines.evaluation.results.texts import record, table_text
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of


def text_of(sweep: Sweep, notes: tuple[str, ...] = ()) -> str:
    return table_text(sweep, score_rows(sweep, score_lines(sweep)), comparisons(sweep), notes)


def cells_of(markdown: str) -> list[list[str]]:
    """Texts that a reader of a Markdown table sees, row by row."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    assert {token.type for token in tokens} <= {
        *(
            f"{part}_{end}"
            for part in ("table", "thead", "tbody", "tr", "th", "td")
            for end in ("open", "close")
        ),
        "inline",
    }, "something else than a table"
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            children = token.children or []
            assert {child.type for child in children} <= {"text", "text_special"}, token.content
            rows[-1].append("".join(child.content for child in children))
    return rows


def test_a_reader_sees_the_cells_as_they_are() -> None:
    texts = [" ".join(name.split()) for name in HOSTILE if name]
    texts += ["![x](y)", "a &amp; b", r"\| \* \\", "snake_case", "_soft_", "[0.1, 0.2]", "**", "~~gone~~"]
    rows = [["name", "more"], *([text, text] for text in texts)]
    assert cells_of(as_markdown(rows)) == rows


def test_sections_stand_where_there_is_something_to_say(tmp_path: Path) -> None:
    plain = text_of(sweep_of(tmp_path / "a", [row("x", "exemplar", cpbd=0.5)], data="lrs2"))
    assert "Scores on LRS2" in plain
    assert "LSE by protocol tracked" in plain
    assert "VideoReTalking (published)" in plain
    for heading in ("## Not scored", "## Without a value", "## Differences", "## Published", "## Notes"):
        assert heading not in plain
    rows = [
        row("x", "retalk", cpbd=0.5, lpips=None, weights="recipe", notes='{"lpips": "needs x.pth"}'),
        row("x", "source", cpbd=0.4, lpips=None),
        row("y", "source", state="failed", reason="no face"),
    ]
    sweep = sweep_of(tmp_path / "b", rows, metric_weights={"cpbd": "recipe"}, attempted=9)
    full = text_of(sweep, ("no plots",))
    for heading in ("## Not scored", "## Without a value", "## Differences", "## Published", "## Notes"):
        assert heading in full
    assert "not comparable with the rows above" in full
    assert "Rows with made-up weights" in full
    assert "Columns with made-up weights" in full
    assert "Unfinished: 3 of 9 attempts" in full


def test_the_record_names_how_it_was_made_without_secrets(tmp_path: Path) -> None:
    about = {
        "command": ["retalk", "eval", "pairs", "s3://key:secret@bucket/pairs.csv"],
        "versions": {"torch": "2.13"},
        "digests": {},
        "machine": {"cores": 2, "gpu": None},
        "started": "2026-11-27T10:00:00",
    }
    text = text_of(sweep_of(tmp_path, [row("x", "exemplar", cpbd=0.5)], **about))
    assert "s3://***@bucket/pairs.csv" in text.replace(r"\*", "*")
    assert "secret" not in text
    rows = dict(record(about))
    assert rows["versions"] == "torch 2.13"
    assert rows["machine"] == "cores 2, gpu null"
    assert "model files" not in rows


def test_notes_are_one_line_each_and_escaped(tmp_path: Path) -> None:
    text = text_of(sweep_of(tmp_path, [row("x", "exemplar", cpbd=0.5)]), ("a\n# <b>heading</b>", "y" * 5000))
    notes = text.split("## Notes\n\n")[1].split("\n\n")[0].splitlines()
    assert notes[0] == "* a # &lt;b&gt;heading&lt;/b&gt;"
    assert len(notes) == 2
    assert len(notes[1]) < 210
