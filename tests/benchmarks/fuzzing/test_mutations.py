"""Damage is made from a number, and reaches what it is meant for."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from benchmarks.fuzzing import bases, mutations
from benchmarks.fuzzing.mutations import KINDS_OF_DAMAGE, Undamaged, damaged
from benchmarks.fuzzing.structure import structure


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undamaged]:
    """The undamaged files of all kinds."""
    paths = bases.make(tmp_path_factory.mktemp("bases"))
    return {kind: Undamaged(kind, path.read_bytes()) for kind, path in paths.items()}


def test_twelve_containers_and_five_of_speech(undamaged: dict[str, Undamaged], tmp_path: Path) -> None:
    formats = set()
    for kind, base in undamaged.items():
        path = tmp_path / f"a{base.base.suffix}"
        path.write_bytes(base.data)
        with av.open(str(path)) as container:
            formats.add((container.format.name.split(",")[0], path.suffix))
            sound = sum(frame.samples for frame in container.decode(container.streams.audio[0]))
            assert sound / base.base.sample_rate == pytest.approx(bases.SECONDS, abs=0.1), kind
        if base.base.video:
            with av.open(str(path)) as container:
                assert sum(1 for _ in container.decode(video=0)) == bases.FRAMES, kind
    assert len(formats) == 17


@pytest.mark.parametrize("kind", bases.KINDS)
def test_the_numbers_of_a_container_are_found(undamaged: dict[str, Undamaged], kind: str) -> None:
    base = undamaged[kind]
    found = structure(base.data, base.base.suffix)
    kinds = {field.kind for field in found.fields}
    assert kinds == {"header", "size"}
    assert len(found.parts) >= 3
    assert all(f.at >= 0 and f.length and f.at + f.length <= len(base.data) for f in found.fields)
    # They reach to the end of the file: no walker stops in the middle.
    assert max(stop for _, stop in found.parts) >= len(base.data) - 188


@pytest.mark.parametrize("name", KINDS_OF_DAMAGE)
def test_every_damage_changes_every_kind_of_file(undamaged: dict[str, Undamaged], name: str) -> None:
    for kind, base in undamaged.items():
        changed = 0
        for seed in range(12):
            data = bytearray(base.data)
            KINDS_OF_DAMAGE[name][0](data, base, random.Random(seed))
            changed += bytes(data) != base.data
        assert changed >= 5, kind


def test_the_undamaged_files_are_the_same_each_time(undamaged: dict[str, Undamaged], tmp_path: Path) -> None:
    for kind, path in bases.make(tmp_path).items():
        assert path.read_bytes() == undamaged[kind].data, kind


def test_the_same_number_gives_the_same_damage(undamaged: dict[str, Undamaged]) -> None:
    for base in undamaged.values():
        for seed in range(8):
            again = Undamaged(base.kind, base.data)
            assert damaged(base, random.Random(seed)) == damaged(again, random.Random(seed))


def test_pages_of_ogg_have_true_checksums(undamaged: dict[str, Undamaged]) -> None:
    """Those that libogg wrote: repairing changes nothing."""
    data = bytearray(undamaged["opus"].data)
    mutations._repair_pages(data)
    assert bytes(data) == undamaged["opus"].data
