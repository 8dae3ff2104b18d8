"""The best and the worst clips of a sweep as contact sheets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from operators.evaluation.contact_sheet import compare, mouth_box, stack
from operators.evaluation.landmark_tracks import PlainLandmarks
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.errors import DecodeError, MediaError, StorageError
from pipelines.evaluation.results.labels import (
    LONGEST_REASON,
    MAIN,
    Column,
    column_of,
    shortened,
    system_name,
)
from pipelines.evaluation.results.scores import Sweep
from pipelines.state.run_directory import slug

#: Clips on a sheet, and consecutive frames of each.
CLIPS, FRAMES = 4, 12
#: Heights in px: of a close-up, and of a clip's line of text.
HEIGHT, TEXT = 96, 22
SIDES = "source left and above, result right and below"


@dataclass(frozen=True)
class Sheet:
    """A contact sheet.

    Attributes:
        name: of the file without its ending.
        title: what it shows.
        picture: uint8[h,w,3] RGB; None where no clip could be read.
        notes: clips that could not be read, and why.
    """

    name: str
    title: str
    picture: np.ndarray | None
    notes: list[str]


def draw_sheets(sweep: Sweep) -> Iterator[Sheet]:
    """Draw the worst and the best clips of each system by each of the main metrics (`labels.MAIN`).

    Systems whose outputs are the sources themselves are left out, as are metrics with fewer than two values.
    """
    pictures = functools.lru_cache(CLIPS * 2 * len(MAIN))(_clip)
    for number, arm in enumerate(sweep.arms, 1):
        rows = sweep.rows(arm)
        rows = rows[[_dubbed(sweep, row) for row in rows.tolist()]] if len(rows) else rows
        for column in (column_of(name, sweep.about) for name in MAIN if name in sweep.metrics):
            values = sweep.columns[column.metric][rows]
            known, found = rows[np.isfinite(values)], values[np.isfinite(values)]
            order = known[np.argsort(found if column.better == "higher" else -found, kind="stable")]
            count = min(CLIPS, len(order) // 2)
            for kind, chosen in (("worst", order[:count]), ("best", order[::-1][:count])) if count else ():
                title = f"{kind} clips of {system_name(sweep, arm)} by {column.heading}"
                name = f"{kind}-{number}-{slug(shortened(arm.system))}-{column.metric}"
                yield _sheet(sweep, name, f"{title}, {arm.protocol}", chosen.tolist(), column, pictures)


def _dubbed(sweep: Sweep, row: int) -> bool:
    output = sweep.columns["output"][row] if "output" in sweep.columns else None
    return bool(output) and output != sweep.columns["video"][row]


def _sheet(
    sweep: Sweep,
    name: str,
    title: str,
    rows: Sequence[int],
    column: Column,
    pictures: Callable[[str, str], np.ndarray],
) -> Sheet:
    parts, notes = [], []
    for row in rows:
        pair = shortened(str(sweep.columns["pair"][row]))
        value = column.number(float(sweep.columns[column.metric][row]))
        source, output = sweep.columns["video"][row], sweep.columns["output"][row]
        try:
            drawn = pictures(str(source or output), str(output))
        except (MediaError, DecodeError, StorageError, OSError, ValueError) as problem:
            notes.append(f"no pictures of {pair}: {shortened(str(problem), LONGEST_REASON)}")
            continue
        parts += [_text(f"{pair}: {column.heading} {value}", drawn.shape[1]), drawn]
    if not parts:
        return Sheet(name, title, None, notes)
    return Sheet(name, title, stack([_text(f"{title}: {SIDES}", parts[0].shape[1]), *parts]), notes)


def _clip(source: str, output: str) -> np.ndarray:
    """Consecutive frames from the middle of a clip, source above output, with close-ups of the mouth."""
    pictures = []
    for url in (source, output):
        frames = probe_video(url).n_frames
        middle = min(probe_video(source).n_frames, probe_video(output).n_frames) // 2
        start = max(0, min(middle, frames - FRAMES))
        pictures.append([frame.rgb() for frame in read_frames(url, start, min(frames, start + FRAMES))])
    before, after = pictures
    count = min(len(before), len(after))
    height, width = before[0].shape[:2]
    after = [
        one
        if one.shape == before[0].shape
        else cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA)
        for one in after
    ]
    box = _mouth(before)
    return compare(before[:count], after[:count], [box] * count, columns=FRAMES, height=HEIGHT)


@functools.cache
def _plain() -> PlainLandmarks:
    return PlainLandmarks()


def _mouth(pictures: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Box around the mouth of the first picture with a face; the whole picture where there is none."""
    plain = _plain()
    height, width = pictures[0].shape[:2]
    for picture in pictures:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if (box := plain.detect(luma)) is not None:
            return mouth_box(plain.landmarks(luma, box), (width, height), 0.8)
    return 0, 0, width, height


def _text(text: str, width: int) -> np.ndarray:
    """A line of text on white; characters that the font has not become question marks."""
    bar = np.full((TEXT, width, 3), 255, np.uint8)
    shown = text.encode("ascii", "replace").decode()
    cv2.putText(bar, shown, (4, TEXT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return bar
