"""Catalogue of the drills: short synthetic videos that are really decoded and encoded, and an undisturbed run
to compare the others with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.drills.stages import read_log
from tests.pipelines.conftest import make_speech, make_video
from tests.signatures import without_signature

STAGES = "benchmarks.drills.stages"
#: Frames of a segment; the videos have 24 to 56.
SEGMENT_FRAMES = 8


@dataclass(frozen=True)
class Setting:
    """Folders and files of a drill: inputs, run directory, outputs, the stages' log, and the configuration files.

    `rows` is the manifest; `prefix` stands before all paths in it, so that ``faulty://`` reads and writes the
    same files.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    prefix: str = ""

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def run_url(self) -> str:
        return f"{self.prefix}{self.run}"

    def outputs(self) -> dict[tuple[str, str], Path]:
        """File of each dub, by title and dub."""
        found = {}
        for row in self.rows:
            for dub in row.get("dubs", [{**row, "language": "dub"}]):
                found[row["id"], dub["language"]] = Path(dub["output"].removeprefix(self.prefix))
        return found

    def written(self) -> list[dict[str, Any]]:
        """The stages' log."""
        return read_log(self.log)


def footage(folder: Path) -> Path:
    """Six videos and four speeches, made once."""
    if not (folder / "done").exists():
        for number in range(6):
            times = [k * 100 + (37 * k) % 60 for k in range(24 + 6 * number)] if number % 3 == 2 else None
            make_video(
                folder / f"{number}.mp4",
                frames=24 + 6 * number,
                scenes=1 + number % 3,
                times=times,
                sound=number % 2 == 0,
            )
        for number, seconds in enumerate((1.0, 2.0, 2.6, 4.0)):
            make_speech(folder / f"{number}.wav", seconds)
        (folder / "done").touch()
    return folder


def setting(folder: Path, inputs: Path, titles: int, prefix: str = "") -> Setting:
    """A catalogue: every fifth title has two dubs, every seventh is longer than its video."""
    made = Setting(folder, [], prefix)
    for path in (made.run, made.out):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(titles):
        name = f"t{number:03d}"
        row: dict[str, Any] = {"id": name, "video": f"{prefix}{inputs}/{number % 6}.mp4"}
        speech = f"{prefix}{inputs}/{number % 4}.wav"
        if number % 5 == 3:
            row["dubs"] = [
                {"language": "deu", "speech": speech, "output": f"{prefix}{made.out}/{name}.deu.mp4"},
                {
                    "language": "fra",
                    "speech": f"{prefix}{inputs}/1.wav",
                    "output": f"{prefix}{made.out}/{name}.fra.mkv",
                },
            ]
        else:
            suffix = (".mp4", ".mkv", ".mov")[number % 3]
            row |= {
                "speech": speech,
                "output": f"{prefix}{made.out}/{name}{suffix}",
                "length": "pingpong" if number % 7 == 6 else "keep",
            }
        made.rows.append(row)
    return made


def configure(
    at: Setting,
    pause: float = 0.0,
    watchdog: float = 300.0,
    profile: dict[str, Any] | None = None,
    **options: dict[str, Any],
) -> tuple[str, str, str]:
    """Write the manifest, the engine and the profile.

    Args:
        at: the setting.
        pause: seconds that each stage takes beside its work.
        watchdog: of the profile.
        profile: changes to it.
        options: further options of stages.

    Returns:
        Paths of the three files.
    """
    slow = {"log": str(at.log), "pause": pause}
    engine = {
        "name": "drill",
        "find_faces": False,
        "stages": [
            {"stage": f"{STAGES}:Analyse", "options": {**slow, **options.get("analyse", {})}},
            {"stage": f"{STAGES}:Trouble", "options": options.get("trouble", {})},
            {"stage": f"{STAGES}:Write", "options": {**slow, **options.get("write", {})}},
        ],
    }
    pool = {"num_cpus": 0.2, "in_flight": 2}
    placed = {
        "name": "drill",
        "segment_frames": SEGMENT_FRAMES,
        "block_frames": 40,
        "store_mib": 200,
        "watchdog_seconds": watchdog,
        "plan": {**pool, "name": "plan", "size": 1},
        "assemble": {"num_cpus": 0, "at_once": 2},
        "pools": [
            {**pool, "name": "analyse", "stages": ["analyse"], "size": 1},
            {**pool, "name": "write", "stages": ["trouble", "write"], "size": 2},
        ],
        **(profile or {}),
    }
    files = (at.folder / "manifest.jsonl", at.folder / "engine.yaml", at.folder / "profile.yaml")
    files[0].write_text("".join(json.dumps(row) + "\n" for row in at.rows))
    files[1].write_text(yaml.safe_dump(engine))
    files[2].write_text(yaml.safe_dump(placed))
    return str(files[0]), str(files[1]), str(files[2])


def digest(path: Path) -> str:
    """SHA-256 of an output but for its signature, which is new each time."""
    return hashlib.sha256(without_signature(path)).hexdigest()
