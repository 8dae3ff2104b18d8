"""Letters in front of a face: found where there are some, and left in place by the renderer."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from operators.evaluation.watch import Watch
from operators.exemplar import graphics, render_stage
from operators.exemplar.graphics import LARGE, Line, lines_of_letters
from operators.exemplar.lettering import HELD, OFF_LIPS
from operators.exemplar.render_stage import RenderMouths, RenderOptions
from operators.exemplar.standing_lines import StandingLines
from operators.exemplar.warp import face_unit
from operators.faces.geometry import CHIN
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from tests.operators.exemplar.footage import astronaut, carphone, put_mouth, row

LOOKS = {
    "white": (((0, 0, 0), 5), ((255, 255, 255), 2)),
    "orange": (((255, 140, 0), 2),),
    "orange on red": (((255, 40, 0), 4), ((255, 165, 0), 2)),
    "green": (((20, 200, 60), 2),),
    "grey": (((0, 0, 0), 4), ((185, 185, 185), 2)),
}
WORDS = ("HELLO OUT THERE", "another line", "AND A THIRD ONE", "more words 123")


def written(
    picture: np.ndarray, text: str, centre: tuple[float, float], height: float, look: str = "white"
) -> np.ndarray:
    """A picture with letters around a place: white and outlined, black, black on a white ground, or of a colour, also outlined."""
    scale = height / 22
    (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 2)
    at = (round(centre[0] - width / 2), round(centre[1] + tall / 2))
    result = picture.copy()
    if look == "boxed":
        low, high = (at[0] - 8, at[1] - tall - 8), (at[0] + width + 8, at[1] + 10)
        cv2.rectangle(result, low, high, (255, 255, 255), -1)
    for colour, thickness in LOOKS.get(look, (((0, 0, 0), 2),)):
        cv2.putText(result, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, colour, thickness, cv2.LINE_AA)
    return result


def coded(picture: np.ndarray) -> np.ndarray:
    """A picture as most video carries it: chroma at half size, and compressed."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("look", ["white", "black", "boxed"])
@pytest.mark.parametrize("text", [*WORDS, "Ein Satz, der hier steht."])
def test_a_caption_over_the_chin_is_one_line(text: str, look: str) -> None:
    frames, landmarks, _ = carphone()
    unit = face_unit(landmarks[10])
    chin = landmarks[10][CHIN]
    picture = written(frames[10], text, (chin[0], chin[1] - 8), 20, look)
    (line,) = lines_of_letters(picture, landmarks[10], unit)
    x1, y1, x2, y2 = line.box
    assert y1 < chin[1] - 8 < y2
    assert 15 < y2 - y1 < 55
    assert x1 < chin[0] < x2


def test_many_grey_letters_are_found_that_are_hardly_brighter_than_skin() -> None:
    frames, landmarks, _ = carphone()
    found = 0
    for index in range(0, 48, 8):
        where = landmarks[index]
        for text in WORDS:
            picture = coded(written(frames[index], text, (where[CHIN][0], where[CHIN][1] - 8), 32, "grey"))
            found += bool(lines_of_letters(picture, where, face_unit(where)))
    # By brightness and chroma alone 9 of the 24.
    assert found >= 11


@pytest.mark.parametrize("look", ["orange", "orange on red", "green"])
@pytest.mark.parametrize("text", WORDS)
def test_letters_of_a_colour_as_bright_as_skin_are_found(text: str, look: str) -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    picture = coded(written(frames[10], text, (chin[0], chin[1] - 8), 24, look))
    boxes = [line.box for line in lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))]
    assert len(boxes) == 1, boxes
    x1, y1, x2, y2 = boxes[0]
    assert y1 < chin[1] - 8 < y2 < y1 + 75
    assert x1 < chin[0] < x2


@pytest.mark.parametrize("look", ["white", "black", "orange"])
def test_letters_before_a_large_face_are_found_in_its_own_pixels(look: str) -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    small = written(frames[10], WORDS[0], (chin[0], chin[1] - 8), 24, look)
    picture, marks = cv2.resize(small, None, fx=2, fy=2), 2 * landmarks[10]
    assert face_unit(marks) > LARGE >= face_unit(landmarks[10])
    (line,) = lines_of_letters(picture, marks, face_unit(marks))
    (half,) = lines_of_letters(small, landmarks[10], face_unit(landmarks[10]))
    assert np.abs(np.array(line.box) - 2 * np.array(half.box)).max() <= 12
    x1, y1, x2, y2 = line.box
    assert line.letters.shape == (y2 - y1, x2 - x1)


def test_a_line_that_stands_still_is_seen_again_where_it_is_hard_to_see() -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    place = (chin[0], chin[1] - 8)
    picture = written(frames[10], WORDS[0], place, 20)
    (line,) = lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))
    standing = StandingLines()
    standing.learn([line], picture, (100, 50))
    assert standing.seen(picture, (100, 50)) == [line.box]
    bright = np.maximum(picture, 225)
    assert lines_of_letters(bright, landmarks[10], face_unit(landmarks[10])) == []
    pale = written(np.full_like(picture, 225), WORDS[0], place, 20)
    assert standing.seen(pale, (100, 50)) == [line.box]
    assert standing.seen(frames[10], (100, 50)) == [], "nothing is written there"
    assert standing.seen(written(frames[10], WORDS[3], place, 20), (100, 50)) == [], "other words"
    assert standing.seen(picture, (112, 50)) == [], "the words have moved"
    x1, y1, x2, _ = line.box
    assert standing.seen(picture[: y1 + 25], (100, 50)) == [(x1, y1, x2, y1 + 25)], "cut at the border"


def test_a_line_that_fades_is_seen_until_it_is_gone() -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    picture = written(frames[10], WORDS[0], (chin[0], chin[1] - 8), 20)
    (line,) = lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))
    standing = StandingLines()
    standing.learn([line], picture, (0, 0))
    for index in (10, 14, 30):
        whole = written(frames[index], WORDS[0], (chin[0], chin[1] - 8), 20).astype(np.float32)
        for share in (0.2, 0.5, 0.8):
            faded = np.round(frames[index] + share * (whole - frames[index])).astype(np.uint8)
            assert standing.seen(faded, (0, 0)) == [line.box], (index, share)
    assert not any(standing.seen(frame, (0, 0)) for frame in frames)


def test_a_line_is_remembered_with_as_little_beside_it_as_it_was_found_with() -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    picture = written(frames[10], WORDS[0], (chin[0], chin[1] - 8), 20)
    (line,) = lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))
    x1, y1, x2, y2 = line.box
    tall = Line((x1, y1 - 30, x2, y2), np.pad(line.letters, ((30, 0), (0, 0))))
    standing = StandingLines()
    standing.learn([tall], picture, (0, 0))
    standing.learn([line], picture, (0, 0))
    assert standing.seen(picture, (0, 0)) == [line.box]
    standing.learn([tall], picture, (0, 0))
    assert standing.seen(picture, (0, 0)) == [line.box]


def test_a_few_shapes_of_unequal_height_are_no_letters_that_run_together() -> None:
    """Lights on the skin beside painted lips: a low broad one counts as several letters."""

    def found(*boxes: tuple[int, int, int, int]) -> list[Line]:
        seen = np.zeros((40, 80), np.uint8)
        for x1, y1, x2, y2 in boxes:
            seen[y1:y2, x1:x2] = 1
        sides = np.array(boxes, np.float64)
        counts = np.maximum(1, np.round((sides[:, 2] - sides[:, 0]) / (0.65 * (sides[:, 3] - sides[:, 1]))))
        shapes = graphics._Shapes(sides, counts, seen)
        return graphics._lines(shapes, np.full((68, 2), -1000.0), graphics.RUN_LENGTH)

    assert len(found((4, 12, 18, 18), (22, 12, 28, 18), (34, 12, 41, 19))) == 1
    assert found((4, 12, 15, 18), (25, 9, 31, 16), (34, 3, 41, 20)) == []


def test_a_box_is_little_higher_than_its_letters() -> None:
    """Else lips above a caption count as covered by it, and the mouth stays as it is."""
    frames, landmarks, _ = carphone()
    ratios = []
    for index, look in itertools.product((4, 10, 20, 30), ("white", "black", "orange", "green")):
        chin, unit = landmarks[index][CHIN], face_unit(landmarks[index])
        for text in WORDS:
            plain = frames[index]
            picture = written(plain, text, (chin[0], chin[1] + 6), 30, look)
            drawn = np.flatnonzero((picture != plain).any((1, 2)))
            boxes = [line.box for line in lines_of_letters(coded(picture), landmarks[index], unit)]
            ratios += [(box[3] - box[1]) / np.ptp(drawn) for box in boxes]
    assert len(ratios) > 40
    assert np.median(ratios) < 1.75
    assert np.quantile(ratios, 0.9) < 1.9


def test_faces_teeth_and_jewellery_are_no_letters() -> None:
    frames, landmarks, _ = carphone()
    portrait, points, _ = astronaut()
    for picture, mark in [*zip(frames[::6], landmarks[::6]), (portrait, points)]:
        assert lines_of_letters(picture, mark, face_unit(mark)) == []
    teeth = frames[10].copy()
    left, right = landmarks[10][48], landmarks[10][54]
    for share in np.linspace(0.25, 0.75, 7):
        x, y = np.round(left + share * (right - left)).astype(int)
        cv2.rectangle(teeth, (x - 1, y - 4), (x + 1, y + 4), (255, 255, 255), -1)
    assert lines_of_letters(teeth, landmarks[10], face_unit(landmarks[10])) == []
    beads = frames[10].copy()
    for x in (30, 140, 270, 390, 500):
        cv2.circle(beads, (x, 300), 6, (255, 255, 255), -1)
    assert lines_of_letters(beads, landmarks[10], face_unit(landmarks[10])) == []


@pytest.mark.parametrize(
    "light", [(0.0, 1.0, 0.0), (0.35, 0.5, 1.3), (1.4, 0.5, 0.4)], ids=["green", "blue", "red"]
)
def test_shadows_in_the_light_of_one_colour_are_no_letters(light: tuple[float, ...]) -> None:
    frames, landmarks, _ = carphone()
    portrait, points, _ = astronaut()
    for picture, mark in [*zip(frames[::4], landmarks[::4]), (portrait, points)]:
        lit = np.clip(picture * np.array(light), 0, 255).astype(np.uint8)
        assert lines_of_letters(lit, mark, face_unit(mark)) == []


def encoded(path: Path, pictures: list[np.ndarray]) -> VideoInfo:
    """Write a video, nearly without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, width=pictures[0].shape[1], height=pictures[0].shape[0], pix_fmt="yuv444p"
        )
        stream.options = {"crf": "1", "preset": "ultrafast"}
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return probe_video(str(path))


def rendered(
    info: VideoInfo, landmarks: np.ndarray, path: Path, states: list[tuple[str, int]] | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Draw into each frame the mouth of the frame 22 later; the pictures and the notes, and into ``states`` what became of the frames."""
    count = len(landmarks)
    exemplar = (np.arange(count) + 22) % count
    shape = np.stack([put_mouth(landmarks, source, target) for target, source in enumerate(exemplar)])
    segment = row(info, landmarks, str(path), exemplar=exemplar, shape=shape)
    stage = RenderMouths(RenderOptions(crf=0, preset="ultrafast"))
    stage.setup("cpu")
    watch = Watch(segment)
    stage.observe = watch.frame
    stage.process(segment)
    if states is not None:
        states += [(state, frames) for *_, state, frames in watch.result()["states"]]
    made = probe_video(str(path))
    return [f.rgb() for f in read_frames(made.url, 0, count, made)], segment.notes


def test_letters_keep_their_place_and_no_others_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other words every five frames; a mouth from frames with other words is drawn. Without the search the letters bend."""
    frames, landmarks, _ = carphone()
    place = tuple((landmarks[:, CHIN].mean(0) - (0, 12)).tolist())
    captioned = [written(one, WORDS[i // 5 % 4], place, 20) for i, one in enumerate(frames)]
    info = encoded(tmp_path / "captions.mp4", captioned)

    def bent(pictures: list[np.ndarray]) -> float:
        """Mean change of pixels in the caption's rows, grey levels, of the worst frame."""
        y1, y2 = round(place[1]) - 14, round(place[1]) + 14
        x1, x2 = round(place[0]) - 90, round(place[0]) + 90
        source = [f.rgb() for f in read_frames(info.url, 0, len(frames), info)]
        return max(
            float(np.abs(a[y1:y2, x1:x2].astype(int) - b[y1:y2, x1:x2]).mean())
            for a, b in zip(pictures, source)
        )

    pictures, notes = rendered(info, landmarks, tmp_path / "kept.mp4")
    assert bent(pictures) < 1.0
    assert any("letters in front of the face" in note for note in notes)
    drawn = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, captioned)])
    assert drawn > 0.05, "the mouth above them moves"
    monkeypatch.setattr(render_stage, "lines_of_letters", lambda *_: [])
    without, notes = rendered(info, landmarks, tmp_path / "bent.mp4")
    assert bent(without) > 3.0
    assert notes == []


def test_a_mouth_behind_letters_stays_as_it_is(tmp_path: Path) -> None:
    """Half of it would be another mouth's. Letters above the eyes change nothing, and no note tells of them."""
    frames, landmarks, _ = carphone()
    there = slice(0, 20)
    mouth = tuple((landmarks[there, 57].mean(0) - (0, 4)).tolist())
    brow = tuple((landmarks[:, 27].mean(0) - (0, 70)).tolist())
    on_lips = [written(one, WORDS[0], mouth, 20) if i < there.stop else one for i, one in enumerate(frames)]
    above = [written(one, WORDS[0], brow, 20) for one in frames]
    assert lines_of_letters(above[10], landmarks[10], face_unit(landmarks[10])), "they are seen"
    changes, notes = {}, {}
    states: dict[str, list[tuple[str, int]]] = {"lips": [], "above": []}
    for name, pictures in {"lips": on_lips, "above": above}.items():
        info = encoded(tmp_path / f"{name}.mp4", pictures)
        source = [f.rgb() for f in read_frames(info.url, 0, len(frames), info)]
        made, notes[name] = rendered(info, landmarks, tmp_path / f"{name}-out.mp4", states[name])
        changes[name] = np.array([np.abs(a.astype(int) - b).mean() for a, b in zip(made, source)])
    after = there.stop + HELD + OFF_LIPS
    assert changes["lips"][there].max() < 0.5 * changes["above"][there].mean(), "encoded again, not drawn"
    assert changes["lips"][after:].mean() > 0.8 * changes["above"][after:].mean()
    assert any("letters in front of the face" in note for note in notes["lips"])
    assert sum(frames for state, frames in states["lips"] if state == "letters") >= there.stop - 2
    assert {state for state, _ in states["lips"]} <= {"letters", "dubbed"}
    assert notes["above"] == []
    assert [state for state, _ in states["above"]] == ["dubbed"]
