"""Tables as LaTeX: its special characters print as themselves."""

from __future__ import annotations

import re

import pytest

from pipelines.evaluation.results.latex import as_latex, escaped
from tests.pipelines.evaluation.results.synthetic import HOSTILE

#: A character of the text for each command that `escaped` writes.
PRINTED = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textquotedbl{}": '"',
    "{[}": "[",
    "{*}": "*",
}


def printed(code: str) -> str:
    """Text that LaTeX prints for code of `escaped`; characters that would do something else are refused."""
    pattern = "|".join(map(re.escape, PRINTED))
    found = []
    for token in re.findall(rf"{pattern}|\\[&%$#_{{}}]|.", code, flags=re.DOTALL):
        if len(token) == 1:
            assert token not in "\\&%$#_{}~^", code
        found.append(PRINTED.get(token, token[-1]))
    return "".join(found)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20] or "nothing")
def test_texts_print_as_they_are(text: str) -> None:
    expected = "".join(c if c.isprintable() else "?" for c in text)
    assert printed(escaped(text)) == expected


def test_a_table_has_as_many_cells_in_each_row_as_columns() -> None:
    rows = [["system", "protocol", "FID ↓"], *([name, "*", "[1, 2]"] for name in HOSTILE)]
    code = as_latex(rows, "50 % of <all>", rules=[2])
    assert r"\begin{tabular}{llr}" in code
    body = code.split("\\toprule\n")[1].split("\\bottomrule")[0].splitlines()
    lines = [line for line in body if line != r"\midrule"]
    assert len(lines) == len(rows)
    for line in lines:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == 2
        # Behind the end of the row above, a bracket or a star would be its argument.
        assert not line.startswith(("[", "*"))
    assert body.index(r"\midrule") == 1
    assert body[3] == r"\midrule"
    assert r"$\downarrow$" in lines[0]
    assert r"\caption{50 \% of \textless{}all\textgreater{}}" in code
