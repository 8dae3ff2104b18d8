"""Many titles with the same trouble take few lines."""

from __future__ import annotations

from pipelines.monitoring.grouping import SHOWN, grouped, reason_of


def test_few_are_all_told() -> None:
    lines = [(f"t{n}", "no such file") for n in range(SHOWN)]
    assert grouped(lines, "x") == [f"t{n}: no such file" for n in range(SHOWN)]
    assert grouped([("", "no such file")], "x") == ["no such file"]


def test_many_are_told_once_for_each_reason() -> None:
    same = [(f"row-{n}", f"m.csv row {n}: language: 'german' is an unknown language") for n in range(10_000)]
    told = grouped([("odd", "the disk is full"), *same], "the ledger has all")
    assert told == [
        "row-0: m.csv row 0: language: 'german' is an unknown language",
        "... and 9999 more like it: row-1, row-2, row-3, row-4, row-5, ...",
        "odd: the disk is full",
        "10001 in all; the ledger has all",
    ]


def test_reasons_are_capped() -> None:
    words = ["".join(chr(97 + int(digit)) for digit in str(n)) for n in range(50)]
    told = grouped([(f"t{n}", f"reason {word}") for n, word in enumerate(words)], "x")
    assert len(told) == SHOWN + 2
    assert told[-2:] == ["... and 30 for other reasons", "50 in all; x"]


def test_reasons_have_neither_files_nor_numbers() -> None:
    assert reason_of("blend: frame 12: disk is full") == "blend: frame N: disk is full"
    assert reason_of("/x/a.mp4: no such file") == reason_of("b.wav: no such file") == "FILE: no such file"
