"""Shards of a list."""

import pytest

from pipelines.errors import UsageError
from pipelines.evaluation.pairs import Pair, Shard


def test_shards_part_a_list_without_rest_or_overlap() -> None:
    pairs = [Pair(str(k), "", "") for k in range(11)]
    parts = [Shard.parse(f"{number}/3").take(pairs) for number in (1, 2, 3)]
    assert sorted((pair for part in parts for pair in part), key=pairs.index) == pairs
    assert {len(part) for part in parts} == {3, 4}
    assert (Shard.parse("1/1").suffix, Shard.parse("2/3").suffix) == ("", ".2of3")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 1/4"):
        Shard.parse(text)
