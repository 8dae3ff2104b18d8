"""Close-ups of mouths at the worst places of a run's dubs: consecutive frames, the source's above the dub's, as small JPEGs.

A strip shows the mouth of one who is dubbed there, where the dub's trace says that it is (`operators.evaluation.people_record`).
Drawn by `retalk report` for the worst dubs only, and not again while they are up to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.storage.errors import StorageError
from operators.storage.files import atomic_write, exists, filesystem, join
from operators.storage.redact import redact
from pipelines.review.verdict import Reason
from pipelines.state.run_directory import Record

#: Dubs of a run that get strips, strips of a dub, and frames of a strip.
DUBS, PLACES, FRAMES = 60, 2, 10
#: Frames of a strip before its place.
BEFORE = 3
#: Frames a second of a dub of which neither frames nor length are known.
USUAL_RATE = 25.0
#: The choice of a face that needs no name.
LARGEST = "largest"
#: x1, y1, x2, y2 as shares of a picture's width and height.
Box = tuple[float, float, float, float]
#: People who get a strip of their own at a place, at most.
PEOPLE = 4
#: Height of a close-up in px, and JPEG's quality.
HEIGHT, QUALITY = 110, 82


def frame_rate(record: Record) -> float:
    """Frames a second of a dub's output on average."""
    frames, seconds = record.get("frames"), record.get("video_seconds")
    return frames / seconds if frames and seconds else USUAL_RATE


def places(record: Record, reasons: Sequence[Reason]) -> list[float]:
    """Places of a dub that are worth a strip, seconds: those of the reasons, else of the worst metric, else the middle."""
    found = [reason.at for reason in reasons if reason.at is not None]
    found += [
        one["worst_at"]
        for one in record.get("metrics") or ()
        if one.get("worst_at") is not None and not found
    ]
    found = found or [0.5 * (record["video_seconds"] or 0)]
    apart: list[float] = []
    for place in found:
        if all(abs(place - other) > FRAMES / frame_rate(record) for other in apart):
            apart.append(float(place))
    return apart[:PLACES]


def dubbed_at(trace: Mapping[str, Any] | None, place: float, rate: float) -> list[tuple[str, Box, float]]:
    """Return whose mouths to show at a place of a dub: those who are dubbed in one of a strip's frames, or else all who are seen.

    Args:
        trace: of the dub, with the people's names; None: there is none.
        place: in seconds.
        rate: frames a second of the dub (`frame_rate`).

    Returns:
        Name, box around the mouth as shares of the picture's width and height, and the second at which the shot begins.
    """
    shots = [shot for shot in (trace or {}).get("shots", ()) if shot["start"] <= place + 1e-3]
    if trace is None or not shots:
        return []
    begin, end = shots[-1]["start"], shots[-1]["end"]
    first, last = max(begin, place - BEFORE / rate), min(end, place + (FRAMES - BEFORE) / rate)
    seen, dubbed = [], []
    for one in trace.get("people", ()):
        mouths = np.array([mouth for mouth in one["mouths"] if begin - 1e-3 <= mouth[0] < end])
        if not len(mouths):
            continue
        x1, y1, x2, y2 = (float(np.interp(place, mouths[:, 0], mouths[:, side])) for side in range(1, 5))
        seen.append((str(one["name"]), (x1, y1, x2, y2), float(begin)))
        if any(start < last and stop > first for start, stop in one["dubbed"]):
            dubbed.append(seen[-1])
    return (dubbed or seen)[:PEOPLE]


def draw_strips(
    folder: str, record: Record, reasons: Sequence[Reason], trace: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, object]], str]:
    """Draw a dub's strips into ``strips`` of a report's folder.

    Args:
        folder: fsspec URL of the report.
        record: of a dub that is done.
        reasons: to look at it.
        trace: of the dub; without one, the largest face that is found in the first pictures is shown.

    Returns:
        ``{"file", "at", "who"}`` of each, with paths from the folder on, and a note where there are none. ``who`` is empty where it is not
        known, or nobody else is asked for.
    """
    drawn: list[dict[str, object]] = []
    several = len((trace or {}).get("people", ())) > 1
    for place in places(record, reasons):
        shown: list[tuple[str, Box | None, float]] = [*dubbed_at(trace, place, frame_rate(record))] or [
            ("", None, 0.0)
        ]
        for who, box, begin in shown:
            made = f"{record.get('key')} {record['title']} {record['dub']} {record.get('finished')}"
            name = f"{hashlib.sha256(f'{made} {place:.3f} {who} {box}'.encode()).hexdigest()[:24]}.jpg"
            target = join(folder, "strips", name)
            if not exists(target):
                try:
                    picture = _strip(str(record["video"]), str(record["output"]), place, box, begin)
                except (StorageError, OSError, ValueError) as problem:
                    return drawn, redact(f"no close-ups: {problem}")
                _write(target, picture)
            told = who if several or who != LARGEST else ""
            drawn.append({"file": f"strips/{name}", "at": round(place, 3), "who": told})
    return drawn, ""


def sweep_strips(folder: str, wanted: set[str]) -> None:
    """Delete strips that a page no longer shows."""
    fs, path = filesystem(join(folder, "strips"))
    for file in fs.ls(path, detail=False) if fs.isdir(path) else ():
        if file.endswith(".jpg") and f"strips/{file.rsplit('/', 1)[-1]}" not in wanted:
            fs.rm(file)


def _write(url: str, picture: np.ndarray) -> None:
    import cv2

    content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    with atomic_write(url) as path:
        path.write_bytes(content)


def _strip(source: str, output: str, place: float, box: Box | None, begin: float) -> np.ndarray:
    """uint8[h, w, 3] RGB, the source's mouths above the dub's, cut at a box (shares of the picture; None: at the largest face that
    is found), from the second ``begin`` on at the earliest.
    """
    from operators.evaluation.contact_sheet import stack, strip

    before, after = _frames(source, place, begin), _frames(output, place, begin)
    box = _mouth(before + after) if box is None else box
    rows = []
    for pictures in (before, after):
        height, width = pictures[0].shape[:2]
        x1, y1, x2, y2 = np.round(np.array(box) * [width, height, width, height]).astype(int)
        rows.append(
            strip([picture[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] for picture in pictures], HEIGHT)
        )
    return stack(rows, 2)


def _frames(url: str, place: float, begin: float) -> list[np.ndarray]:
    """Consecutive frames around a time of a file, or its only one again and again."""
    from operators.media.probe import probe_video
    from operators.media.reader import read_frames

    info = probe_video(url)
    times = (info.pts - info.pts[0]) * float(info.time_base)
    start = max(int(np.searchsorted(times, place - 1e-3)) - BEFORE, int(np.searchsorted(times, begin - 1e-3)))
    start = max(0, min(start, info.n_frames - FRAMES))
    found = [frame.rgb() for frame in read_frames(url, start, min(start + FRAMES, info.n_frames), info)]
    return found + [found[-1]] * (FRAMES - len(found))


def _mouth(pictures: Sequence[np.ndarray]) -> Box:
    """Box around the mouth of the first picture with a face, as shares of width and height; the picture's middle where there
    is none.
    """
    import cv2

    from operators.evaluation.contact_sheet import mouth_box
    from operators.evaluation.landmark_tracks import PlainLandmarks

    plain = PlainLandmarks()
    for picture in pictures[:: FRAMES // 2]:
        height, width = picture.shape[:2]
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if (box := plain.detect(luma)) is not None:
            x1, y1, x2, y2 = mouth_box(plain.landmarks(luma, box), (width, height), 0.7)
            return x1 / width, y1 / height, x2 / width, y2 / height
    return 0.3, 0.3, 0.7, 0.7
