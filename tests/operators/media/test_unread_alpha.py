"""Transparency that FFmpeg's decoder does not read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from operators.media.glance import Glance, glance
from operators.media.losses import picture_losses
from operators.media.tags import content_tags


@pytest.mark.parametrize(("format_", "unread"), [("yuva420p", True), ("yuv420p", False)])
def test_alpha_of_vp9_is_told(tmp_path: Path, format_: str, unread: bool) -> None:
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"auto-alt-ref": "0", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, format_
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 4), 90, np.uint8), format="rgba")
        for number in range(3):
            frame = picture.reformat(format=format_)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = glance(str(path))
    assert found.unread_alpha is unread
    notes = picture_losses(found, Glance("", frozenset(), found.chroma_location, "yuv420p"), still=False)
    assert any("VP9" in note for note in notes) is unread
    with av.open(str(path)) as container:
        tags = content_tags(container.streams.video[0].metadata)
    assert "alpha_mode" not in {key.lower() for key in tags}, "the output has no alpha"
