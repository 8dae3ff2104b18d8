"""A table as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence

#: Characters that mean something to LaTeX, and what prints them.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "*": "{*}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "≤": r"$\leq$",
}


def escaped(text: str) -> str:
    """A text as LaTeX prints it; characters that are not printable become a question mark.

    Brackets and stars are held in braces: behind the end of a row they would be its arguments.
    """
    return "".join(_SPECIAL.get(c, c if c.isprintable() else "?") for c in text)


def as_latex(rows: Sequence[Sequence[str]], caption: str, rules: Sequence[int] = ()) -> str:
    """Rows as a table environment that needs the package booktabs.

    Args:
        rows: cells of equal number in each row; the first row is the heading.
        caption: below the table.
        rules: numbers of rows above which a rule is drawn, besides the heading's.
    """
    lines = [
        "% needs \\usepackage{booktabs}, and T1 as font encoding for quotation marks",
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{{'l' * 2}{'r' * (len(rows[0]) - 2)}}}",
        r"\toprule",
    ]
    for number, row in enumerate(rows):
        if number in rules:
            lines.append(r"\midrule")
        lines.append(" & ".join(map(escaped, row)) + r" \\")
        if number == 0:
            lines.append(r"\midrule")
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{escaped(caption)}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
