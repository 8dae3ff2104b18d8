"""Choice of the source frame whose mouth each output frame shows: dynamic programming over the segment's own
frames.

Runs of consecutive frames are free, joins cost what they would show (Video Rewrite, Bregler 1997; Everybody's
Talkin', Song 2020). The renderer warps the remaining difference away, so that the choice is about texture:
teeth, tongue and lips that need little warping, seen from the same side. Used by
`operators.exemplar.choose_stage`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

#: Steps through the source that are no joins, with their price, while it runs forwards or backwards (the
#: second is mirrored): on, hold, skip one. Running backwards costs a little each frame, turning round more: a
#: mouth must not tremble between two frames.
STEPS = ((1, 0.0), (0, 0.7), (2, 0.4))
#: The same prices where nobody speaks: a mouth rests, so that holding is free.
RESTING = (0.5, 0.0, 1.0)
BACKWARDS, TURN = 0.1, 1.2
#: A join costs this much at least; costs of frames are per 40 ms, so that a run of good frames pays for one.
JOIN = 1.6
#: Joins are tried from this many best states only.
JOIN_BEAM = 24
#: Output frames whose costs are computed at a time (memory: this times the candidates).
CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Costs:
    """Scales of the differences (those that cost 1) and weights. Openings and widths over eye distance,
    angles in degrees.

    Attributes:
        opening, width, speed: differences from the wanted mouth; speed is change of opening per 40 ms.
        yaw, pitch, roll, zoom: differences from the target frame's pose; zoom in log units.
        stretch: weight of having to pull a mouth further open than 1.3 times (it invents teeth).
        shut: weight of having to shut a mouth that is more than 1.6 times as open (it hides teeth behind
            lips).
        closure: cost of parted lips where they must meet.
        distance: cost of a frame ten seconds or more away (light and expression drift).
    """

    opening: float = 0.05
    width: float = 0.09
    speed: float = 0.05
    yaw: float = 7.0
    pitch: float = 7.0
    roll: float = 14.0
    zoom: float = 0.2
    stretch: float = 12.0
    shut: float = 3.0
    closure: float = 4.0
    distance: float = 0.4


@dataclasses.dataclass(frozen=True)
class MouthFeatures:
    """Features that the choice compares, of F frames: the source's or the wanted ones.

    Attributes:
        opening, width: float64[F] over eye distance.
        shut: float64[F], 0..1: how far the lips must meet, or how far they do.
        speed: float64[F], change of opening per 40 ms.
        angles: float64[F, 3], yaw, pitch, roll in degrees.
        zoom: float64[F], log of the face's scale.
        time: float64[F], seconds in the source video.
    """

    opening: np.ndarray
    width: np.ndarray
    shut: np.ndarray
    speed: np.ndarray
    angles: np.ndarray
    zoom: np.ndarray
    time: np.ndarray

    def take(self, index: np.ndarray | slice) -> MouthFeatures:
        return MouthFeatures(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def frame_costs(
    wanted: MouthFeatures, source: MouthFeatures, unary_penalty: np.ndarray, costs: Costs
) -> np.ndarray:
    """Cost of showing each of M source frames at each of N output frames, float32[N, M], per 40 ms.

    Args:
        wanted: N wanted mouths with the pose of the frames that they go into.
        source: M candidates.
        unary_penalty: float[M], what a candidate costs whatever is wanted (blur, doubtful landmarks).
        costs: scales and weights.
    """

    def gap(a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
        return np.subtract.outer(a / scale, b / scale).astype(np.float32)

    total = gap(wanted.opening, source.opening, costs.opening) ** 2
    total += gap(wanted.width, source.width, costs.width) ** 2
    total += 0.25 * np.minimum(gap(wanted.speed, source.speed, costs.speed) ** 2, 4.0)
    for axis, scale in enumerate((costs.yaw, costs.pitch, costs.roll)):
        total += gap(wanted.angles[:, axis], source.angles[:, axis], scale) ** 2
    total += gap(wanted.zoom, source.zoom, costs.zoom) ** 2
    ratio = gap(
        np.log(np.maximum(wanted.opening, 0) + 0.025), np.log(np.maximum(source.opening, 0) + 0.025), 1.0
    )
    total += (
        costs.stretch * np.maximum(ratio - np.log(1.3), 0) ** 2
        + costs.shut * np.maximum(-ratio - np.log(1.6), 0) ** 2
    )
    total += costs.closure * np.maximum(gap(wanted.shut, source.shut, 1.0), 0) ** 2
    total += costs.distance * np.minimum(abs(gap(wanted.time, source.time, 10.0)), 1.0)
    return total + unary_penalty.astype(np.float32)


def best_path(
    wanted: MouthFeatures,
    source: MouthFeatures,
    frames: np.ndarray,
    features: np.ndarray,
    unary_penalty: np.ndarray,
    seconds: float,
    costs: Costs | None = None,
    quiet: np.ndarray | None = None,
    resting_penalty: np.ndarray | None = None,
) -> np.ndarray:
    """The cheapest sequence of candidates: int64[N], indices into the M candidates.

    Args:
        wanted: N output frames, consecutive in time.
        source: M candidates.
        frames: int64[M], their frame numbers, ascending.
        features: float[M, F], appearance of each, scaled so that a difference of 1 is one unit of join cost
            squared.
        unary_penalty: float[M], see `frame_costs`.
        seconds: duration of an output frame; costs of frames count by it, so that runs last as long at any
            frame rate.
        costs: scales and weights.
        quiet: float[N], 0..1, how far the mouth rests (`RESTING`); None: nowhere.
        resting_penalty: float[M], what a candidate costs beside that where the mouth rests (in full where ``quiet`` is a third and
            more); None: nothing.
    """
    costs = costs or Costs()
    quiet = np.zeros(len(wanted.opening)) if quiet is None else quiet
    count, candidates = len(wanted.opening), len(frames)
    assert candidates > 0, "no candidates to choose from"
    steps = _steps(frames)
    # A join is seamless if the new frame looks like the one that would have followed. States 0 ... M-1 run
    # forwards, M ... 2M-1 backwards.
    features = features.astype(np.float32)
    after = np.concatenate([features, features])
    for shift, step in ((0, 1), (candidates, -1)):
        at = np.clip(np.searchsorted(frames, frames + step), 0, candidates - 1)
        there = frames[at] == frames + step
        after[shift + np.flatnonzero(there)] = features[at[there]]
    power = (features**2).sum(1)
    weight = np.float32(seconds / 0.04)
    back = np.zeros([count, 2 * candidates], np.int32)
    best = np.zeros(2 * candidates, np.float32)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        chunk = frame_costs(wanted.take(part), source, unary_penalty, costs)
        if resting_penalty is not None:
            chunk += np.outer(np.minimum(3 * quiet[part], 1), resting_penalty).astype(np.float32)
        chunk *= weight
        for row, own in enumerate(chunk):
            if start + row:
                best = _advance(
                    best, steps, float(quiet[start + row]), features, after, power, back[start + row]
                )
            best = best + np.tile(own, 2)
    path = np.zeros(count, np.int64)
    path[-1] = int(best.argmin())
    for index in range(count - 1, 0, -1):
        path[index - 1] = back[index, path[index]]
    return path % candidates


def _steps(frames: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
    """Ways into each of the 2M states without a join: int64[2M], the state it is reached from (-1: none), and
    the price.
    """
    count = len(frames)

    def earlier(step: int) -> np.ndarray:
        at = np.clip(np.searchsorted(frames, frames - step), 0, count - 1)
        return np.where(frames[at] == frames - step, at, -1)

    def state(candidate: np.ndarray, direction: int) -> np.ndarray:
        return np.where(candidate >= 0, candidate + direction * count, -1)

    found = []
    for (step, price), resting in zip(STEPS, RESTING):
        on, off = earlier(step), earlier(-step)
        found.append((np.concatenate([state(on, 0), np.full(count, -1)]), price, resting))
        found.append(
            (np.concatenate([np.full(count, -1), state(off, 1)]), price + BACKWARDS, resting + BACKWARDS)
        )
    turned = np.concatenate([state(earlier(1), 1), state(earlier(-1), 0)])
    found.append((turned, TURN, TURN))
    return found


def _advance(
    best: np.ndarray,
    steps: list[tuple[np.ndarray, float, float]],
    quiet: float,
    features: np.ndarray,
    after: np.ndarray,
    power: np.ndarray,
    back: np.ndarray,
) -> np.ndarray:
    """One step of the dynamic programme: float32[2M] cheapest cost of arriving in each state; writes where
    from into ``back``.
    """
    beam = np.sort(np.argpartition(best, min(JOIN_BEAM, len(best) - 1))[:JOIN_BEAM])
    ahead = after[beam]
    joins = ahead @ features.T
    joins *= -2
    joins += ((ahead**2).sum(1) + best[beam] + np.float32(JOIN))[:, None]
    pick = joins.argmin(0)
    # Rounding must not make a join cheaper than its least price.
    arrive = np.maximum(joins[pick, np.arange(len(pick))] + power, best[beam[pick]] + np.float32(JOIN))
    arrive = np.tile(arrive, 2)
    back[:] = np.tile(beam[pick], 2)
    for origin, speaking, resting in steps:
        price = np.float32(speaking + quiet * (resting - speaking))
        reach = np.where(origin >= 0, best[origin] + price, np.float32(np.inf))
        better = reach < arrive
        arrive[better] = reach[better]
        back[better] = origin[better]
    return arrive
