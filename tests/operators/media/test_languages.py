"""Language tags: every way to write one leads to the code that containers hold; names lead to a suggestion."""

from __future__ import annotations

import pytest

from operators.media.languages import QUICKTIME_CODES, language_code, language_problem


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        *(
            ("de", "deu"),
            ("DE", "deu"),
            ("deu", "deu"),
            ("ger", "deu"),
            ("pt-BR", "por"),
            ("zh_Hant", "zho"),
            ("cmn", "cmn"),
        ),
        *(
            ("sr-Latn-RS", "srp"),
            ("fre", "fra"),
            ("qaa", "qaa"),
            ("qtz", "qtz"),
            ("und", "und"),
            ("mul", "mul"),
        ),
        *(
            ("xyz", None),
            ("x", None),
            ("german", None),
            ("", None),
            ("d1", None),
            ("quz", "quz"),
            ("qzz", None),
        ),
    ],
)
def test_code_of_a_tag(tag: str, code: str | None) -> None:
    assert language_code(tag) == code
    assert (language_problem(tag) == "") == (code is not None)


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        *(
            ("german", "'deu' (German)"),
            ("German", "'deu' (German)"),
            ("englsh", "'eng' (English)"),
            ("greek", "'ell'"),
        ),
        *(
            ("french-ca", "'fra' (French)"),
            ("español", "'spa' (Spanish)"),
            ("mandarin", "'zho' (Chinese)"),
            ("klingon", "'tlh'"),
        ),
    ],
)
def test_a_name_leads_to_its_code(word: str, suggestion: str) -> None:
    problem = language_problem(word)
    assert problem.startswith(f"{word!r} is an unknown language: did you mean {suggestion}")
    assert problem.endswith("A language is a code of ISO 639 (deu, de) or a tag such as pt-BR")


def test_nothing_near_is_not_suggested() -> None:
    assert "did you mean" not in language_problem("qqqqqqq")
    assert "did you mean" not in language_problem("xy")


def test_codes_of_quicktime_name_the_same_languages() -> None:
    assert [code for code in QUICKTIME_CODES if language_code(code) != code] == []
