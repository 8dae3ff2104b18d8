"""The people of a title: how long each is seen and speaks, and a picture of each that ``--face`` takes."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from operators.evaluation.contact_sheet import stack, strip
from operators.faces.backend import BackendName
from operators.faces.people import Person
from operators.faces.stage import DetectFaces
from operators.media.audio import has_sound
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.segment import Segment
from operators.storage.redact import redact
from pipelines.manifest.titles import SPEAKING
from pipelines.planning.segments import halo_range, segment_columns
from pipelines.planning.shots import Looked, looked_through
from pipelines.planning.speakers import MOST_SPEAKING
from pipelines.planning.turns import turns_in
from pipelines.review.faces_folder import LISTING, PAGE, SHEET, clear_folder, picture_name, write_whole

#: Pictures of each person, sides of the crop in widths of the face, and height in pixels on the sheet.
PICTURES, CROP, HEIGHT = 5, 2.2, 150
#: Frames whose faces are followed at a time.
LONGEST = 1500


@dataclasses.dataclass
class Member:
    """A person of a title.

    Attributes:
        person: number, by time on screen.
        face: name of the picture that ``--face`` takes.
        seconds: on screen.
        share: of the title.
        height: of the face, a share of the picture's height, median.
        shots: in which they are seen.
        first: second at which the first of these shots begins.
        speaking: seconds in which they speak; None: not looked for.
    """

    person: int
    face: str
    seconds: float
    share: float
    height: float
    shots: int
    first: float
    speaking: float | None = None


def list_faces(
    video: str,
    folder: Path,
    speaking: bool = True,
    step: Callable[[str], None] = lambda what: None,
    backend: BackendName = "dlib",
) -> dict[str, Any]:
    """Find the people of a video and write `faces.json`, `faces.jpg`, `index.html` and a picture of each into a folder.

    Args:
        video: path or fsspec URL.
        folder: is made; what an earlier call has written there is replaced or removed.
        speaking: also find out who speaks, for which all faces are followed through the whole video.
        step: called with what is being done.
        backend: finds and follows the faces.

    Returns:
        The content of `faces.json`.

    Raises:
        WeightsError: the backend's model files are missing.
        MediaError: the video cannot be read.
        FaceError: no face is seen in it.
        UsageError: files of somebody else would be lost.
    """
    info = probe_video(video)
    step("looking for shots and faces")
    looked = looked_through(video, info, faces=[SPEAKING], backend=backend)
    spans = _by_person(looked)
    order = sorted(spans, key=lambda who: -sum(_seconds(info, looked, shot, one) for shot, one in spans[who]))
    members = [_member(number, spans[who], looked, info) for number, who in enumerate(order, 1)]
    clear_folder(folder, [member.face for member in members])
    found: dict[str, Any] = {"video": redact(video), "seconds": round(float(info.duration), 3)}
    _write_listing(folder, found, members)  # before the pictures, which would be somebody else's without it
    step("cutting pictures out")
    sheet = []
    for member, who in zip(members, order, strict=True):
        pictures = list(_pictures(video, spans[who], info))
        _write(folder / member.face, pictures[0])
        sheet.append(strip(pictures, HEIGHT))
    _write(folder / SHEET, stack(sheet))
    if speaking and has_sound(video):
        step("following lips")
        talked, rest = _speaking(video, info, looked, backend)
        for member, who in zip(members, order, strict=True):
            member.speaking = round(talked.get(who, 0.0), 2)
        found["nobody_speaks"] = {name: round(value, 2) for name, value in rest.items()}
    _write_listing(folder, found, members)
    write_whole(folder / PAGE, _page(found).encode())
    return found


def _write_listing(folder: Path, found: dict[str, Any], members: Sequence[Member]) -> None:
    """Put the people into what was found, and write it as `faces.json`."""
    found["people"] = [dataclasses.asdict(member) for member in members]
    write_whole(folder / LISTING, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def _by_person(looked: Looked) -> dict[int, list[tuple[int, Person]]]:
    """The shots that each person is in, by number in the title."""
    found: dict[int, list[tuple[int, Person]]] = {}
    for shot, people in enumerate(looked.seen):
        for person in people:
            found.setdefault(person.identity, []).append((shot, person))
    return found


def _length(info: VideoInfo, start: int, stop: int) -> float:
    ends = np.append(info.pts, int(info.pts[-1]) + info.last_duration)
    return float(int(ends[stop] - ends[start]) * info.time_base)


def _seconds(info: VideoInfo, looked: Looked, shot: int, person: Person) -> float:
    """Seconds of a shot in which a person is seen, by the share of its samples."""
    return _length(info, *looked.shots[shot]) * min(1.0, len(person.boxes) / max(1, looked.samples[shot]))


def _member(number: int, spans: Sequence[tuple[int, Person]], looked: Looked, info: VideoInfo) -> Member:
    seconds = sum(_seconds(info, looked, shot, person) for shot, person in spans)
    heights = [(box[3] - box[1]) / info.height for _, person in spans for box in person.boxes]
    first = looked.shots[spans[0][0]][0]
    return Member(
        number,
        picture_name(number),
        round(seconds, 2),
        round(seconds / max(float(info.duration), 1e-6), 4),
        round(float(np.median(heights)), 3),
        len({shot for shot, _ in spans}),
        round(_length(info, 0, first), 2) if first else 0.0,
    )


def _pictures(video: str, spans: Sequence[tuple[int, Person]], info: VideoInfo) -> Iterator[np.ndarray]:
    """Crops uint8[h, w, 3] RGB of a person: the surest and largest face first, then others from all over the title."""
    seen = [
        (score * float(box[2] - box[0]), frame, box)
        for _, person in spans
        for box, frame, score in zip(person.boxes, person.frames, person.scores, strict=True)
    ]
    best = max(seen, key=lambda one: one[0])
    spread = sorted(seen, key=lambda one: one[1])
    others = [spread[int(k)] for k in np.linspace(0, len(spread) - 1, PICTURES - 1)]
    for _, frame, box in [best, *others]:
        centre, half = (box[:2] + box[2:]) / 2, CROP / 2 * float(box[2] - box[0])
        low = np.maximum(np.floor(centre - half), 0).astype(int)
        high = np.minimum(np.ceil(centre + half), (info.width, info.height)).astype(int)
        for one in read_frames(video, frame, frame + 1, info):
            yield one.rgb((int(low[0]), int(low[1]), int(high[0]), int(high[1])))


def _write(path: Path, picture: np.ndarray) -> None:
    """Write RGB as JPEG."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    write_whole(path, data.tobytes())


def _speaking(
    video: str, info: VideoInfo, looked: Looked, backend: BackendName
) -> tuple[dict[int, float], dict[str, float]]:
    """Seconds in which each person speaks, and those in which nobody does or it cannot be said who."""
    stage = DetectFaces(DetectFaces.Options(backend=backend))
    stage.setup("cpu")
    halo = stage.halo(stage.options)
    talked: dict[int, float] = {}
    rest = {"seconds": 0.0}
    for shot, (first, last) in enumerate(looked.shots):
        people = sorted(looked.people[shot], key=lambda one: -float(one[1][2] - one[1][0]))[:MOST_SPEAKING]
        for start in range(first, last, LONGEST):
            stop = min(start + LONGEST, last)
            core, shown = (start, stop), (first, last)
            row = {
                **{"segment_id": "", "title": "", "options": ""},
                **segment_columns(video, info, core, halo_range(core, shown, halo), shown),
            }
            rows = [{**row, "anchor": np.asarray(box, np.float32)} for _, box in people]
            columns = [{**row, **stage.process(Segment(row))} for row in rows]
            length = _length(info, start, stop)
            if not columns:
                rest["seconds"] += length
                continue
            turns, _ = turns_in(columns[0], columns)
            inner = turns[:, start - columns[0]["halo_start"] :][:, : stop - start]
            for (who, _), share in zip(people, inner.mean(1), strict=True):
                talked[who] = talked.get(who, 0.0) + float(share) * length
            rest["seconds"] += float((~inner.any(0)).mean()) * length
    return talked, rest


def _page(found: dict[str, Any]) -> str:
    """A page with a row for each person."""
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">",
        f"<title>People in {html.escape(found['video'])}</title>",
        "<style>body{font:16px sans-serif;margin:2em}img{height:150px}td,th{padding:.3em .8em;text-align:right}"
        "td:first-child{text-align:left}</style></head><body>",
        f"<h1>People in {html.escape(found['video'])}</h1>",
        "<table><tr><th></th><th>picture</th><th>seconds seen</th><th>share</th><th>shots</th><th>first seen</th>"
        "<th>seconds speaking</th></tr>",
    ]
    for one in found["people"]:
        told = "" if one["speaking"] is None else f"{one['speaking']:.1f}"
        lines.append(
            f'<tr><td><img src="{one["face"]}" alt="person {one["person"]}"></td><td>{one["face"]}</td>'
            f"<td>{one['seconds']:.1f}</td><td>{100 * one['share']:.0f} %</td><td>{one['shots']}</td>"
            f"<td>{one['first']:.1f} s</td><td>{told}</td></tr>"
        )
    lines += [
        '</table><p><img src="faces.jpg" alt="all of them" style="height:auto;max-width:100%"></p>',
        "<p>A picture is a choice of a face: <code>--face person-1.jpg</code>, or <code>--speaker person-1.jpg=anna.wav</code> for each "
        "who speaks.</p></body></html>",
    ]
    return "\n".join(lines) + "\n"
