"""Side data of pictures: a named ICC profile, as PNG files carry, must not end the process."""

import subprocess
import sys
from pathlib import Path

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
