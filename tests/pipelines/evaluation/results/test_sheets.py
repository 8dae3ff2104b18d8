"""Contact sheets: which clips, source above result, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.evaluation.results import sheets
from pipelines.evaluation.results.sheets import CLIPS, TEXT, draw_sheets
from tests.pipelines.conftest import make_video
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A bluish video, and one of which the second half is red."""
    folder = tmp_path_factory.mktemp("clips")
    return str(make_video(folder / "a.mp4", frames=24)), str(
        make_video(folder / "b.mp4", frames=24, scenes=2)
    )


def rows_of(clips: tuple[str, str], values: list[float | None], **more: Any) -> list[dict[str, Any]]:
    return [
        row(f"c{n}", "exemplar", video=clips[0], output=clips[1], **{"opening_r": value, **more})
        for n, value in enumerate(values)
    ]


def test_the_worst_and_the_best_by_each_main_metric(
    tmp_path: Path, clips: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        sheets, "_text", lambda text, width: told.append(text) or np.zeros((TEXT, width, 3), np.uint8)
    )
    values = [0.5, 0.1, None, 0.9, float("nan"), 0.3, 0.2, 0.8, 0.7, 0.6, 0.4]
    sweep = sweep_of(tmp_path, [*rows_of(clips, values), *rows_of(clips, [0.0], state="failed")])
    found = list(draw_sheets(sweep))
    assert [sheet.name for sheet in found] == ["worst-1-exemplar-opening_r", "best-1-exemplar-opening_r"]
    assert all(sheet.picture is not None for sheet in found)
    named = [text.partition(":")[0] for text in told if "clips of" not in text]
    assert named == ["c1", "c6", "c5", "c10", "c3", "c7", "c8", "c9"]
    assert len(named) == 2 * CLIPS
    assert "c1: opening r 0.100" in told


def test_a_metric_whose_low_values_are_better_is_sorted_the_other_way_round(
    tmp_path: Path, clips: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAIN", ("lse_d",))
    told: list[str] = []
    monkeypatch.setattr(
        sheets, "_text", lambda text, width: told.append(text) or np.zeros((TEXT, width, 3), np.uint8)
    )
    rows = [one | {"lse_d": value} for one, value in zip(rows_of(clips, [None, None]), (6.0, 9.0))]
    assert len(list(draw_sheets(sweep_of(tmp_path, rows)))) == 2
    assert [text.partition(":")[0] for text in told if "clips of" not in text] == ["c1", "c0"]


def test_source_stands_left_and_above_the_result(tmp_path: Path, clips: tuple[str, str]) -> None:
    """The source is bluish, the result red in the frames that are shown (the middle of the clip)."""
    sheet = next(draw_sheets(sweep_of(tmp_path, rows_of(clips, [0.1, 0.2]))))
    assert sheet.picture is not None
    clip = sheet.picture[2 * (TEXT + 4) :].astype(int)
    bluish = (clip[..., 2] - clip[..., 0]) > 20
    red = (clip[..., 0] - clip[..., 2]) > 60
    whole, close = 2 * sheets.HEIGHT, sheets.HEIGHT
    left, right = slice(0, 200), slice(280, 480)
    assert bluish[:whole, left].mean() > 0.8
    assert red[:whole, right].mean() > 0.8
    above = slice(whole + 8, whole + 8 + close)
    below = slice(above.stop + 1, above.stop + 1 + close)
    assert bluish[above, :600].mean() > 0.8
    assert red[below, :600].mean() > 0.8


def test_the_mouth_of_a_real_face_is_shown_close_up() -> None:
    """Close-ups are cut around dlib's mouth; the astronaut's lies at about (225, 150)."""
    skimage = pytest.importorskip(
        "skimage.data", reason="the package scikit-image is not installed (extra demo)"
    )
    x1, y1, x2, y2 = sheets._mouth([skimage.astronaut()])
    assert x1 < 225 < x2
    assert y1 < 150 < y2
    assert x2 - x1 < 150
    height, width = 48, 64
    assert sheets._mouth([np.zeros((height, width, 3), np.uint8)]) == (0, 0, width, height)


@pytest.mark.parametrize("size", [(16, 16), (96, 160)])
def test_a_result_of_another_size_is_fitted(
    tmp_path: Path, clips: tuple[str, str], size: tuple[int, int]
) -> None:
    other = str(make_video(tmp_path / "other.mp4", frames=5, size=size, sound=False))
    sheet = next(draw_sheets(sweep_of(tmp_path / "s", rows_of((clips[0], other), [0.1, 0.2]))))
    assert sheet.picture is not None
    assert sheet.notes == []


def test_files_that_cannot_be_read_are_told(tmp_path: Path, clips: tuple[str, str]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    rows = rows_of(clips, [0.5, 0.6, 0.9])
    rows[0]["output"], rows[1]["video"], rows[1]["output"] = str(tmp_path / "gone.mp4"), None, str(broken)
    worst, best = draw_sheets(sweep_of(tmp_path / "s", rows))
    assert worst.picture is None
    assert len(worst.notes) == 1
    assert "c0" in worst.notes[0]
    assert "gone.mp4" in worst.notes[0]
    assert best.picture is not None


def test_systems_without_outputs_of_their_own_have_no_sheets(tmp_path: Path) -> None:
    rows = [row(f"c{n}", "source", opening_r=0.1 * n, output=("v.mp4", None)[n % 2]) for n in range(6)]
    assert list(draw_sheets(sweep_of(tmp_path, rows))) == []
    assert list(draw_sheets(sweep_of(tmp_path / "b", []))) == []


def test_hostile_names_give_files_inside_the_folder(tmp_path: Path, clips: tuple[str, str]) -> None:
    rows = [
        row(name, f"../{name}", video=clips[0], output=clips[1], opening_r=value)
        for name in HOSTILE[:3]
        for value in (0.1, 0.2)
    ]
    found = list(draw_sheets(sweep_of(tmp_path, rows)))
    names = [sheet.name for sheet in found]
    assert len(set(names)) == len(names)
    assert not any(set(name) & set('/\\<>|"') for name in names)
