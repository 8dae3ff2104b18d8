"""Keys, and an id under its code."""

import numpy as np
import pytest

from operators.watermark.code import CODE_BITS, decode, encode
from operators.watermark.keys import MarkKey, dub_id

KEY, OTHER = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
ID = "0123456789abcdef"


def test_an_id_is_read_back_where_a_third_of_the_bits_would_be_guessed_wrong() -> None:
    noise = np.random.default_rng(1)
    soft = encode(KEY, ID) + noise.normal(size=CODE_BITS)
    assert 30 < (np.sign(soft) != encode(KEY, ID)).sum() < 60
    found = decode(KEY, soft)
    assert (found.id, found.valid) == (ID, True)
    assert (found.word == encode(KEY, ID)).all()


def test_bits_that_were_not_seen_may_be_missing() -> None:
    soft = encode(KEY, ID).copy()
    soft[::3] = 0
    assert decode(KEY, soft).id == ID


def test_noise_and_other_keys_give_no_valid_id() -> None:
    noise = np.random.default_rng(2)
    assert not any(decode(KEY, noise.normal(size=CODE_BITS)).valid for _ in range(50))
    assert not decode(OTHER, encode(KEY, ID)).valid


@pytest.mark.parametrize("wrong", ["", "0123", "0123456789abcdeg", "0123456789abcdef00"])
def test_ids_are_sixteen_hexadecimal_digits(wrong: str) -> None:
    with pytest.raises(ValueError, match="16 hexadecimal digits"):
        encode(KEY, wrong)


def test_streams_are_the_same_everywhere() -> None:
    """The numbers are part of the format: marks written today must be read by later versions."""
    assert KEY.name == MarkKey(b"k" * 32).name != OTHER.name
    assert KEY.words("pilots", 3).tolist() == [952606456, 4037072763, 3045181741]
    assert sorted(KEY.permutation("places", 50).tolist()) == list(range(50))
    assert abs(KEY.signs("a", 10000).mean()) < 0.05
    assert 0 <= KEY.uniform("b", 1000).min() < KEY.uniform("b", 1000).max() < 1


def test_an_id_follows_from_key_and_version_alone() -> None:
    assert dub_id(KEY, "v1") == dub_id(MarkKey(b"k" * 32), "v1")
    assert len({dub_id(KEY, "v1"), dub_id(KEY, "v2"), dub_id(OTHER, "v1")}) == 3


def test_a_secret_has_32_bytes_and_is_not_printed() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MarkKey(b"short")
    assert "kkkk" not in repr(KEY)
