"""Repetition: until it succeeds or the caller ends it, with growing pauses."""

import pytest

from retalk_models.retrying import doubled, retry


def test_calls_are_repeated_until_one_succeeds() -> None:
    answers, seen = iter([OSError("a"), ValueError("b"), 7]), []

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry(call, lambda problem, tries: seen.append((str(problem), tries))) == 7
    assert seen == [("a", 1), ("b", 2)]


def test_the_caller_ends_it() -> None:
    def failed(problem: Exception, tries: int) -> None:
        if tries == 3:
            raise RuntimeError("enough") from problem

    with pytest.raises(RuntimeError, match="enough"):
        retry(lambda: 1 / 0, failed)


def test_pauses_double_up_to_the_longest() -> None:
    assert [doubled(0.5, tries, 3.0) for tries in (1, 2, 3, 4, 5000)] == [0.5, 1, 2, 3, 3]
