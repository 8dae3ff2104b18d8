"""Openings of mouths that talkin and exemplar draw for the same speeches, beside what the speech asks for.

    python -m benchmarks.talkin FOLDER RUN/talkin.yaml     # FOLDER of benchmarks.talkin_data

The mouths of the outputs are measured anew, from their pixels. What the speech asks for is exemplar's own predictor (phones and
spectrum): talkin was trained on mouths that followed it, so that its correlation says how well it learned, not how well real mouths
are met.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from PIL import Image

import retalk
from operators.evaluation.contact_sheet import compare, mouth_box
from operators.faces.geometry import lip_opening
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.speech.sampling import sample_track
from operators.speech.stage import mouth_of
from pipelines.training.data.analysis import Analyst
from pipelines.training.data.sources import Source
from pipelines.training.data.store import Settings


def landmarks_of(video: Path, speech: Path, analyst: Analyst) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, landmarks and validity of a video's frames."""
    found = analyst.analyse(Source(video.stem, str(video), "", str(speech)))
    info = found.info
    landmarks = np.zeros((info.n_frames, 68, 2), np.float32)
    valid = np.zeros(info.n_frames, bool)
    for shot in found.shots:
        landmarks[shot.start : shot.stop], valid[shot.start : shot.stop] = shot.landmarks, shot.valid
    return (info.pts - info.pts[0]) * float(info.time_base), landmarks, valid


def main() -> None:
    """Dub, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("engine", help="the engine file of a run of `retalk train talkin`")
    args = parser.parse_args()
    folder: Path = args.folder
    face, analyst = folder / "carphone.mp4", Analyst(Settings(sync="off", coefficients="off"))
    rows = []
    for speech in sorted(folder.glob("held*.wav")):
        _, own, own_valid = landmarks_of(face, speech, analyst)
        row: dict[str, object] = {"speech": speech.stem}
        for name, engine in (("exemplar", "exemplar"), ("talkin", args.engine)):
            out = folder / f"{speech.stem}.{name}.mp4"
            began = time.process_time()
            report = retalk.dub(
                str(face), str(speech), str(out), engine=engine, runner="local", length="trim", overwrite=True
            )
            assert report.exit_code == 0, report.failed
            row[f"{name}_cpu_s"] = round(time.process_time() - began, 1)
            times, landmarks, valid = landmarks_of(out, speech, analyst)
            wanted = sample_track(mouth_of(str(speech), 0.6, "auto")[0].opening, times)
            seen = valid & own_valid[: len(valid)]
            for kind, points in ((name, landmarks), ("undubbed", own[: len(times)])):
                row[f"{kind}_r"] = round(float(np.corrcoef(lip_opening(points[seen]), wanted[seen])[0, 1]), 3)
            _sheet(face, out, landmarks, seen, folder / f"{speech.stem}.{name}.png")
        rows.append(row)
        print(json.dumps(row), flush=True)
    print(platform.processor() or platform.machine())


def _sheet(face: Path, out: Path, landmarks: np.ndarray, valid: np.ndarray, path: Path) -> None:
    """Original above result: whole frames and mouths."""
    info = probe_video(str(out))
    chosen = np.flatnonzero(valid)[10:58:2]
    shown = []
    for video in (face, out):
        frames = {f.index: f.rgb() for f in read_frames(str(video), 0, int(chosen[-1]) + 1)}
        shown.append([frames[k] for k in chosen.tolist()])
    boxes = [mouth_box(landmarks[k], (info.width, info.height)) for k in chosen.tolist()]
    Image.fromarray(compare(shown[0], shown[1], boxes)).save(path)


if __name__ == "__main__":
    main()
