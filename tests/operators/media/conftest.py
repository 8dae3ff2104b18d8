"""One collection of synthesised videos for all tests of this folder, each written when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.operators.media import synth

GOP = {"x264-params": "keyint=8:min-keyint=8:scenecut=0"}
OPEN = "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3"
OPEN_265 = {"x265-params": "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=4:log-level=none"}
MPEG = {"bf": "2", "g": "12"}
MS, TICKS, FRAMES = Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 25)
VFR = [507 + int(t) for t in np.cumsum(np.random.default_rng(0).integers(300, 4000, 30))]

#: Files by name: arguments of `synth.write_video`.
ZOO: dict[str, dict[str, object]] = {
    "cfr.mp4": {"count": 40, "options": GOP},
    "vfr.mp4": {"pts": VFR, "options": GOP, "muxer": {"movie_timescale": "12800"}},
    "vfr.mkv": {"pts": [t // 13 for t in VFR], "time_base": MS, "options": GOP},
    "open.mp4": {"count": 60, "options": {"x264-params": OPEN}},
    "open.ts": {"count": 60, "options": {"x264-params": OPEN}, "time_base": TICKS},
    "open265.mkv": {"count": 40, "size": (128, 96), "codec": "libx265", "options": OPEN_265, "time_base": MS},
    "refresh.mp4": {"count": 80, "options": {"x264-params": "keyint=20:intra-refresh=1"}},
    "mpeg1.mpg": {"count": 60, "codec": "mpeg1video", "options": MPEG, "time_base": FRAMES},
    "mpeg2.ts": {"count": 60, "codec": "mpeg2video", "options": MPEG, "time_base": FRAMES},
    "mpeg4.avi": {"count": 60, "codec": "mpeg4", "options": MPEG, "time_base": FRAMES},
    "h264.avi": {"count": 40, "options": GOP, "time_base": FRAMES},
    "mjpeg.avi": {"count": 10, "codec": "mjpeg", "pix_fmt": "yuvj422p", "time_base": FRAMES},
    "raw.h264": {"count": 40, "options": GOP, "container_format": "h264"},
    "vp9odd.webm": {
        "count": 20,
        "size": (97, 65),
        "codec": "libvpx-vp9",
        "options": {"g": "10", "cpu-used": "8"},
        "time_base": MS,
    },
    "av1.mp4": {"count": 20, "codec": "libsvtav1", "options": {"g": "10", "preset": "12"}},
    "prores.mov": {"count": 8, "codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "ten.mp4": {"count": 20, "pix_fmt": "yuv420p10le", "options": GOP},
    "full422.mp4": {"count": 12, "pix_fmt": "yuvj422p"},
    "odd444.mp4": {"count": 12, "size": (97, 65), "pix_fmt": "yuv444p"},
    "gray.mkv": {"count": 8, "codec": "ffv1", "pix_fmt": "gray", "time_base": MS},
    "gray10.mkv": {"count": 8, "codec": "ffv1", "pix_fmt": "gray10le", "time_base": MS},
    "rgb.mkv": {"count": 8, "codec": "ffv1", "pix_fmt": "bgr0", "time_base": MS},
    "dv411.mkv": {"count": 8, "codec": "ffv1", "pix_fmt": "yuv411p", "time_base": MS},
    "nv12.nut": {"count": 6, "codec": "rawvideo", "pix_fmt": "nv12"},
    "twelve.mkv": {"count": 6, "codec": "ffv1", "pix_fmt": "yuv420p12le", "time_base": MS},
    "interlaced.mp4": {"count": 16, "options": {"x264-params": "keyint=8"}, "fields": "bottom"},
    "fragmented.mp4": {"count": 40, "options": GOP, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "animation.gif": {"count": 8, "codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
    "still.png": {
        "count": 1,
        "codec": "png",
        "pix_fmt": "rgb24",
        "container_format": "image2",
        "muxer": {"update": "1"},
    },
    "still.jpg": {
        **{"count": 1, "size": (97, 65), "codec": "mjpeg", "pix_fmt": "yuvj420p"},
        **{"container_format": "image2", "muxer": {"update": "1"}},
    },
    **{f"turn{turn}.mp4": {"count": 6, "matrix": matrix} for turn, matrix in synth.TURNS.items()},
    "mirror.mp4": {"count": 6, "matrix": synth.MIRROR},
}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a file of `ZOO` by its name."""
    folder = tmp_path_factory.mktemp("zoo")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            synth.write_video(path, **ZOO[name])  # type: ignore[arg-type]
        return path

    return get
