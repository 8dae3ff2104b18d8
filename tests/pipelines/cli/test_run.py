"""Lines that `retalk dub` prints about a finished dub."""

from typing import Any

import pytest

from pipelines.cli.run import _kept


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, ""),
        ({"passed_covered": 2, "passed_outside_the_ranges": 50, "passed_no_speech": 9}, ""),
        (
            {"dubbed": 0.8, "passed_covered": 5, "passed_cut_by_the_edge": 15, "passed_no_speech": 9},
            "for 0.8 s the video keeps its own mouth: the face is cut by the edge (0.6 s), the mouth or the chin is covered (0.2 s)",
        ),
        ({"passed_other": 25}, "for 1.0 s the video keeps its own mouth: for other reasons (1.0 s)"),
    ],
)
def test_for_how_long_the_video_keeps_its_own_mouth_is_told(metrics: dict[str, Any], said: str) -> None:
    rows = [{"name": name, "value": value} for name, value in metrics.items()]
    assert _kept({"frames": 100, "video_seconds": 4.0, "metrics": rows}) == said
