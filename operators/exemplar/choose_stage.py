"""Stage "choose" of the engine "exemplar": the mouth of the segment that each output frame shows, and its
shape.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import scipy

from operators.columns import scalar, tensor
from operators.exemplar.choose import MouthFeatures, best_path
from operators.exemplar.covering import NOTE, covered_frames
from operators.exemplar.fit import Speaker, Wanted, fit_speaker, wanted_mouths
from operators.exemplar.mouths import Mouths, fit_shapes, lip_thickness, measure, reliable_frames
from operators.exemplar.pose import PoseTrack, track_pose
from operators.exemplar.shapes import wanted_shapes
from operators.faces.colours import CELLS
from operators.faces.geometry import MOUTH, eye_distance
from operators.faces.validity import COVERED_MOUTH
from operators.numeric.masks import runs, smoothstep
from operators.segment import Segment
from operators.stage import Stage

#: Seconds over which a dub comes and goes beside frames that have no usable face, so that the mouth does not
#: pop.
EDGE = 0.12
#: Landmarks that move faster than this (eye distances a second) are blurred in the picture.
BLUR_SPEED = 0.8
#: Eye distance in pixels below which a face is left alone.
SMALLEST_FACE = 4.0
#: A mouth is opened to at most this many times the exemplar's opening plus this much: pulling apart lips that
#: hardly part invents teeth.
REACH = (1.35, 0.025)
#: A mouth does not rest where its lips are thinner than this share of their median thickness (pressed together, rolled in), where its
#: opening changes by this within 40 ms, where its width is this far from the mean one, or where it is further open by this than this
#: person's mouth is at rest.
PRESSED, RESTLESS, DRAWN, PARTED = 0.85, 0.03, 0.08, 0.01
#: Change of the opening's speed within 40 ms at which a frame's smoothed landmarks miss its lips by as much
#: as the eye would see.
SUDDEN = 0.08
#: Note where there are no mouths to choose from (`operators.exemplar.still`).
ONE_MOUTH = "where the footage shows the mouth in one shape only, that one is opened: what is inside it is drawn, without new teeth"


class ChooseMouths(Stage):
    """Fit the speaker, compute the wanted mouths, choose exemplars and place them; see `operators.exemplar`'s
    modules in that order.

    Writes:
        exemplar: int64[N], source frame (numbered over the title) whose lower face is shown; -1: the frame
            passes through untouched.
        shape: float32[N, 68, 2], upright pixels: the target's own landmarks with the wanted mouth (48-67) and
            jaw (0-16).
        blend: float32[N], 0..1, how much of the dub is shown (eased where it begins and ends and where the head
            turns away; ``shape`` is eased already).
        still: the segment offers no mouths to choose from: the renderer opens the frame's own one.
        covered: bool[N], something is in front of the mouth, which therefore stays as it is; beside what ``fault`` tells.
    """

    name: ClassVar[str] = "choose"
    doing: ClassVar[str] = "choosing mouths"
    per: ClassVar[Literal["segment", "dub"]] = "dub"
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("valid", "bool", "T"),
            tensor("frontal", "float32", "T"),
            tensor("fault", "uint8", "T"),
            tensor("colours", "int8", "T", CELLS, 2),
            *(
                tensor(name, "float32", "N")
                for name in ("opening", "mouth_width", "closure", "silence", "strength")
            ),
        ]
    )
    writes = pa.schema(
        [
            tensor("exemplar", "int64", "N"),
            tensor("shape", "float32", "N", 68, 2),
            tensor("blend", "float32", "N"),
            scalar("still", pa.bool_()),
            tensor("covered", "bool", "N"),
        ]
    )

    def setup(self, device: str) -> None:
        """Load SciPy's parts, which takes half a second, before the worker limits the threads of its
        libraries.
        """
        del device
        import scipy.interpolate
        import scipy.ndimage
        import scipy.spatial.transform
        import scipy.special  # noqa: F401

    def process(self, segment: Segment) -> dict[str, Any]:
        start, _ = segment.frames
        target = segment.source - start
        landmarks, valid = np.asarray(segment["landmarks"], np.float32), np.asarray(segment["valid"], bool)
        # A face of a few pixels has no pose and no mouth.
        valid = (
            valid
            & np.isfinite(landmarks).all((1, 2))
            & (eye_distance(np.nan_to_num(landmarks)) > SMALLEST_FACE)
        )
        times = segment.out_pts.astype(np.float64) * float(segment.time_base)
        moments = segment.pts.astype(np.float64) * float(segment.time_base)
        covered = valid & covered_frames(np.asarray(segment["colours"]), valid, _step(moments))
        valid &= ~covered
        own = np.where(valid[:, None, None], landmarks, 0).astype(np.float32)[target]
        nothing = {
            "exemplar": np.full(len(target), -1, np.int64),
            "shape": own,
            "blend": np.zeros(len(target), np.float32),
            "still": False,
            "covered": covered[target],
        }
        hidden = covered | (np.asarray(segment["fault"]) == COVERED_MOUTH)
        if (hidden[target] & segment.asked).any():
            segment.note(NOTE)
        blend = ease(np.asarray(segment["strength"], np.float64), valid[target], times)
        blend *= np.asarray(segment["frontal"], np.float64)[target]
        if not (blend > 0).any():
            return nothing
        analysis = SegmentAnalysis(landmarks, valid, moments, segment.size)
        if not analysis.speaker.moves:
            segment.note(ONE_MOUTH)
        wanted = wanted_mouths(
            analysis.speaker,
            segment["opening"],
            segment["mouth_width"],
            segment["closure"],
            segment["silence"],
            times,
        )
        exemplar = np.full(len(target), -1, np.int64)
        shape = own.copy()
        for run in itertools.starmap(slice, runs(blend > 0)):
            part = wanted.take(run)
            eased = analysis.eased(target[run], part, blend[run])
            chosen = analysis.choose(target[run], eased, times[run])
            part = analysis.within_reach(chosen, part, eased, times[run])
            shape[run] = analysis.shapes(target[run], chosen, part, blend[run], times[run])
            exemplar[run] = chosen + start
        return {
            "exemplar": exemplar,
            "shape": shape,
            "blend": blend.astype(np.float32),
            "still": not analysis.speaker.moves,
            "covered": covered[target],
        }


class SegmentAnalysis:
    """Analysis of one segment's faces: pose, frontal mouths, the person's shape model and the speaker's fit.

    Args:
        landmarks: float32[T, 68, 2], upright pixels.
        valid: bool[T], at least one True.
        times: float64[T], seconds.
        size: (width, height) of the picture.
    """

    def __init__(
        self, landmarks: np.ndarray, valid: np.ndarray, times: np.ndarray, size: tuple[int, int]
    ) -> None:
        assert valid.any(), "a segment without a face has no mouths"
        self.landmarks, self.times = landmarks, times
        # Frames without a face may hold anything; the nearest face stands in, so that all arrays are finite.
        # They are never chosen.
        nearest = scipy.ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)[0]
        filled = landmarks[nearest]
        self.pose: PoseTrack = track_pose(filled, valid, size)
        self.frontal = self.pose.frontal(filled)
        self.mouths: Mouths = measure(self.frontal, valid)
        self.reliable = reliable_frames(self.frontal, self.mouths, self.pose.angles, valid)
        self.model = fit_shapes(self.frontal, self.mouths, self.pose.angles, self.reliable)
        self.seconds = _step(times)
        self.speaker: Speaker = fit_speaker(self.mouths, self.reliable, self.seconds)

    def choose(self, target: np.ndarray, wanted: Wanted, times: np.ndarray) -> np.ndarray:
        """Frames of the segment int64[N] whose mouths consecutive output frames show; ``target`` int64[N] are
        the frames under them.
        """
        if not self.speaker.moves:
            return target.copy()
        candidates = np.flatnonzero(self.reliable)
        step = _step(times)
        mouths, angles, zoom = self.mouths, self.pose.angles, np.log(self.pose.scale)
        ask = MouthFeatures(
            wanted.opening,
            wanted.width,
            wanted.closure if wanted.quiet is None else np.maximum(wanted.closure, wanted.quiet),
            _speed(wanted.opening, step),
            angles[target],
            zoom[target],
            self.times[target],
        )
        # Lips count as shut near this person's closed level and as parted a third of an ordinary opening
        # above it.
        shut = np.clip(1.2 - (mouths.opening - max(self.speaker.meet, self.speaker.closed)) / 0.03, 0, 1)
        offer = MouthFeatures(
            mouths.opening, mouths.width, shut, _speed(mouths.opening, self.seconds), angles, zoom, self.times
        )
        features, unary_penalty = self.appearance_features()[candidates], self.unary_penalty()[candidates]
        chosen = best_path(
            *(ask, offer.take(candidates), candidates, features, unary_penalty, step),
            quiet=wanted.quiet,
            resting_penalty=self.resting_penalty()[candidates],
        )
        return candidates[chosen]

    def eased(self, target: np.ndarray, wanted: Wanted, blend: np.ndarray) -> Wanted:
        """``wanted`` mixed with the frames' own mouths as the shapes will be: where a dub comes over an open mouth the exemplar
        is half open too, or shut lips would be pulled apart to a hole.
        """
        own = 1 - blend
        return dataclasses.replace(
            wanted,
            opening=wanted.opening + own * (self.mouths.opening[target] - wanted.opening),
            width=wanted.width + own * (self.mouths.width[target] - wanted.width),
            closure=wanted.closure * blend,
            quiet=None if wanted.quiet is None else wanted.quiet * blend,
        )

    def within_reach(self, chosen: np.ndarray, wanted: Wanted, eased: Wanted, times: np.ndarray) -> Wanted:
        """``wanted`` with no mouth further open, once it is ``eased``, than its exemplar can be pulled without inventing what is
        inside.
        """
        if not self.speaker.moves:
            return wanted
        beyond = np.maximum(eased.opening - (REACH[0] * self.mouths.opening[chosen] + REACH[1]), 0)
        less = np.maximum(scipy.ndimage.gaussian_filter1d(beyond, 0.04 / _step(times), mode="nearest"), 0)
        return dataclasses.replace(
            wanted, opening=np.maximum(wanted.opening - less, np.minimum(wanted.opening, self.speaker.meet))
        )

    def appearance_features(self) -> np.ndarray:
        """float64[T, 7], what a viewer would see jump at a join: opening, width, the lips' own shape, pose.
        One unit is a visible step.
        """
        own = (self.frontal - self.model(self.mouths.opening, self.mouths.width, self.pose.angles))[
            :, MOUTH
        ] / self.mouths.eye
        middle = own.mean(1)
        upper = own[:, [2, 3, 4], 1].mean(1) - own[:, [13, 14, 15], 1].mean(1)
        lower = own[:, [8, 9, 10], 1].mean(1) - own[:, [17, 18, 19], 1].mean(1)
        lips = np.stack(
            [
                self.mouths.opening / 0.03,
                self.mouths.width / 0.05,
                upper / 0.02,
                lower / 0.02,
                middle[:, 1] / 0.03,
            ],
            -1,
        )
        return np.concatenate([lips, self.pose.angles[:, :2] / 5.0], -1)

    def unary_penalty(self) -> np.ndarray:
        """float64[T], cost of frames that are blurred by motion or whose lips change so suddenly that
        smoothed landmarks miss them.
        """
        middle = self.landmarks[:, 27:36].mean(1)
        speed = np.linalg.norm(np.gradient(middle, axis=0), axis=1) if len(middle) > 1 else np.zeros(1)
        relative = speed / self.seconds / (self.pose.scale * self.mouths.eye)
        sudden = np.zeros(len(self.times))
        sudden[1:-1] = np.abs(np.diff(self.mouths.opening, 2)) * (0.04 / self.seconds) ** 2
        return np.clip(relative / BLUR_SPEED - 1, 0, 4) + np.clip(sudden / SUDDEN - 1, 0, 1)

    def resting_penalty(self) -> np.ndarray:
        """float64[T], cost of frames that do not show how a mouth rests: lips pressed together (P, B, M), moving, pursed or wide, or
        parted: a line of shade between them is seen long before it is an opening.
        """
        thickness = lip_thickness(self.frontal)
        pressed = PRESSED - thickness / np.median(thickness[self.reliable])
        moving = _speed(self.mouths.opening, self.seconds) / RESTLESS
        drawn = (self.mouths.width - self.speaker.width) / DRAWN
        parted = (self.mouths.opening - self.speaker.rest) / PARTED
        return (
            np.clip(pressed / 0.1, 0, 3) ** 2
            + np.clip(moving, -2, 2) ** 2
            + np.clip(drawn, -2, 2) ** 2
            + np.clip(parted, 0, 2) ** 2
        )

    def shapes(
        self, target: np.ndarray, chosen: np.ndarray, wanted: Wanted, blend: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        """Landmarks float32[N, 68, 2] to warp to; see `operators.exemplar.shapes.wanted_shapes`."""
        return wanted_shapes(
            *(self.landmarks, self.frontal, self.pose, self.mouths, self.model, self.reliable),
            *(target, chosen, wanted, blend, _step(times)),
        )


def ease(strength: np.ndarray, usable: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Strength of the dub in each output frame: float64[N] 0..1.

    Args:
        strength: float64[N], of the speech.
        usable: bool[N], the frame has a face; beside frames that have none the dub fades over `EDGE`.
        times: float64[N], seconds.
    """
    blend = np.clip(strength, 0, 1) * usable
    if usable.all() or not usable.any():
        return blend
    apart = scipy.ndimage.distance_transform_edt(usable)
    return blend * smoothstep(apart * _step(times) / (EDGE + _step(times)))


def _step(times: np.ndarray) -> float:
    """Typical duration of a frame in seconds; 40 ms for a single one."""
    return float(np.clip(np.median(np.diff(times)), 1e-3, 1.0)) if len(times) > 1 else 0.04


def _speed(opening: np.ndarray, seconds: float) -> np.ndarray:
    """Change per 40 ms of float64[N] sampled every ``seconds``."""
    return np.gradient(opening) * 0.04 / seconds if len(opening) > 1 else np.zeros(len(opening))
