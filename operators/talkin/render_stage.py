"""Stage "render" of the engine talkin: the rendering network paints the mouth region of each output frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from operators.columns import tensor
from operators.media.ordered_frames import chosen_frames
from operators.media.probe import probe_video
from operators.segment import Segment
from operators.stage import Stage
from operators.talkin.crops import crop, crop_transform, hole, in_crop, sketch
from operators.talkin.model import FILE, TalkinModel, shared_model

#: Crops are kept of frames that are used again at a distance of up to so many output frames.
SIDE = 128


@dataclasses.dataclass(frozen=True)
class RenderOptions:
    """Options of `PaintMouths`.

    Attributes:
        weights: home of the model (its folder ``models`` has talkin.pt); "": the usual one.
        side: of the crops, as the model was trained, pixels.
        batch: frames that go through the network at a time.
    """

    weights: str = ""
    side: int = SIDE
    batch: int = 4


class PaintMouths(Stage):
    """Paint each frame's hole (`operators.talkin.crops.hole`) from what is around it in a window of frames, the recomposed landmarks and
    the reference.

    Memory: a crop of ``side`` for each source frame that is painted or shown as a reference.

    Writes:
        painted: uint8[N, side, side, 3] RGB, the crop of each output frame (`crops.crop_transform` of its own landmarks); 0 where
            nothing is painted.
    """

    name: ClassVar[str] = "render"
    doing: ClassVar[str] = "painting"
    per = "dub"
    Options: ClassVar[type] = RenderOptions
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("exemplar", "int64", "N"),
            tensor("shape", "float32", "N", 68, 2),
            tensor("blend", "float32", "N"),
        ]
    )
    writes = pa.schema([tensor("painted", "uint8", "N", SIDE, SIDE, 3)])

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        side = self.options.side
        self.writes = pa.schema([tensor("painted", "uint8", "N", side, side, 3)])

    def model_files(self, options: RenderOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        del options
        return (FILE,)

    def setup(self, device: str) -> None:
        """Load the model."""
        self._device = device
        shared_model(device, self.options.weights)

    def process(self, segment: Segment) -> dict[str, Any]:
        """Paint.

        Raises:
            MediaError: the video cannot be read.
            ValueError: the model was trained for crops of another side.
        """
        options: RenderOptions = self.options_for(segment)
        model = shared_model(self._device, options.weights)
        if model.side != options.side:
            raise ValueError(
                f"stage 'render': the model paints crops of {model.side} pixels; set render.side and blend.side to {model.side}"
            )
        drawn = drawn_frames(segment)
        painted = np.zeros((len(drawn), options.side, options.side, 3), np.uint8)
        chosen = np.flatnonzero(drawn)
        if len(chosen):
            windows = window_indices(chosen, drawn, model.renderer.num_frames)
            start = segment.frames[0]
            landmarks, shape = np.asarray(segment["landmarks"]), np.asarray(segment["shape"])
            references = np.asarray(segment["exemplar"])[chosen]
            needed = np.unique(np.concatenate([segment.source[chosen], references]))
            transforms = {k: crop_transform(landmarks[k - start], options.side) for k in needed.tolist()}
            crops = {
                frame.index: crop(frame.rgb(), transforms[frame.index], options.side)
                for frame in chosen_frames(segment.video, needed, probe_video(segment.video))
            }
            sketches = {
                k: sketch(in_crop(shape[k], transforms[int(segment.source[k])]), options.side)
                for k in chosen.tolist()
            }
            shown = {
                k: sketch(in_crop(landmarks[k - start], transforms[k]), options.side)
                for k in np.unique(references).tolist()
            }
            rows = (
                (
                    np.stack([crops[int(segment.source[j])] for j in window]),
                    np.stack([sketches[j] for j in window]),
                    crops[reference],
                    shown[reference],
                )
                for window, reference in zip(windows.tolist(), references.tolist())
            )
            painted[chosen] = np.stack(list(self.counted(paint(model, rows, options.batch, self._device))))
        return {"painted": painted}


def drawn_frames(segment: Segment) -> np.ndarray:
    """Output frames that get another mouth: bool[N]."""
    return (np.asarray(segment["exemplar"]) >= 0) & (np.asarray(segment["blend"]) > 0)


def window_indices(chosen: np.ndarray, drawn: np.ndarray, size: int) -> np.ndarray:
    """Output frames int64[n, size] of the window around each that is painted; a neighbour that is not painted is
    replaced by the frame nearest to it that is.
    """
    found = np.zeros((len(chosen), size), np.int64)
    for column, shift in enumerate(range(-(size // 2), size // 2 + 1)):
        at = chosen.copy()
        step = int(np.sign(shift))
        for _ in range(abs(shift)):
            there = np.clip(at + step, 0, len(drawn) - 1)
            at = np.where(drawn[there], there, at)
        found[:, column] = at
    return found


def paint(
    model: TalkinModel, rows: Iterator[tuple[np.ndarray, ...]], batch: int, device: str
) -> Iterator[np.ndarray]:
    """Yield painted crops uint8[side, side, 3].

    Args:
        model: on ``device``.
        rows: window uint8[F, S, S, 3], its drawings uint8[F, 2, S, S], reference uint8[S, S, 3], its drawing uint8[2, S, S].
        batch: rows at a time. The last batch is filled up, so that a picture does not depend on how many follow.
        device: torch device.
    """
    mask = torch.from_numpy(hole(model.side).copy()).to(device)
    held: list[tuple[np.ndarray, ...]] = []

    def flush() -> Iterator[np.ndarray]:
        filled = held + [held[-1]] * (batch - len(held))
        frames, sketches, reference, shown = (
            torch.from_numpy(np.stack(column)).to(device).float() / 255 for column in zip(*filled)
        )
        with torch.inference_mode():
            made = model.renderer(
                frames.permute(0, 1, 4, 2, 3), sketches, reference.permute(0, 3, 1, 2), shown, mask
            )
        pictures = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        yield from pictures[: len(held)]
        held.clear()

    for row in rows:
        held.append(row)
        if len(held) == batch:
            yield from flush()
    if held:
        yield from flush()
