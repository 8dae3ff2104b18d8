"""Side data of pictures: a named ICC profile, as PNG files carry, must not end the process; pictures are freed at once."""

import gc
import subprocess
import sys
from pathlib import Path

from av.video.frame import VideoFrame

from operators.media.reader import read_frames
from operators.media.sidedata import side_data_kinds
from tests.conftest import package_file


def test_a_png_with_a_named_colour_profile_leaves_the_process_alive() -> None:
    """In a process of its own: what went wrong was a crash at the next garbage collection."""
    picture = package_file("skimage", "data/astronaut.png")
    assert b"iCCP" in Path(picture).read_bytes()[:200]
    code = (
        "import gc; from operators.media.probe import probe_video; "
        f"info = probe_video({str(picture)!r}); gc.collect(); print(info.width)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "512")


def test_a_picture_whose_side_data_were_read_is_freed_at_once() -> None:
    """One that waits for the garbage collector keeps its decoder's pool of pictures, hundreds of megabytes, alive."""
    picture = next(iter(read_frames(str(package_file("skimage", "data/astronaut.png")), 0, 1))).picture
    gc.collect()
    gc.disable()
    try:
        before = alive()
        side_data_kinds(picture)
        assert alive() == before > 0
    finally:
        gc.enable()


def alive() -> int:
    return sum(type(one) is VideoFrame for one in gc.get_objects())
