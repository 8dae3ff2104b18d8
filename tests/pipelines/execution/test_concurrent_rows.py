"""Rows of a batch at the same time through a worker: the stages of the neural engine with small networks that count what
they are called with.
"""

from __future__ import annotations

import collections
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from torch import Tensor, nn

from operators.columns import tensor
from operators.numeric import affine
from operators.receipt import RECEIPT
from operators.retalk import framing, lnet_stage
from operators.retalk.dnet_stage import DNetStage
from operators.retalk.enet_stage import ENetStage
from operators.retalk.geometry import CROP, SIDE
from operators.retalk.lnet_stage import LNetStage
from operators.retalk.nets import Networks
from operators.retalk.network_runner import Compute
from operators.segment import Segment
from operators.stage import Stage
from pipelines.engine.config import EngineConfig, load_engine, load_profile
from pipelines.engine.engine import Engine
from pipelines.engine.rows import PLAN_ROW, SEGMENT, Row, from_table
from pipelines.engine.specs import GroupSpec
from pipelines.execution.batching import MAX_BYTES, BatchingPolicy, pack, unpack
from pipelines.execution.run_spec import groups_of
from pipelines.execution.worker import Group
from pipelines.planning.fanout import output_segment_task
from pipelines.planning.length_rules import OutputSegment
from pipelines.planning.plans import DubTask, encode
from pipelines.planning.segment_rows import PLANNED
from pipelines.runner import run
from pipelines.state.coordinator import Coordinator, WorkKey
from tests.operators.retalk.test_default_mode import face_in_box
from tests.operators.retalk.test_tensor_chain import STAND_INS
from tests.pipelines.conftest import STAGES, make_speech, profile_config
from tests.signatures import without_signature

HERE = __name__
BATCH = 4
#: Calls of each network, by how many items they had in all: filled places included.
CALLS: collections.Counter[str] = collections.Counter()


class Counted(nn.Module):
    """A small network whose calls are counted."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.net = name, STAND_INS[name]()

    def forward(self, *args: Tensor, **options: Any) -> Any:
        return self._called(self.net, *args, **options)

    def draw(self, low: Tensor, code: Tensor, **options: Any) -> Any:
        return self._called(self.net.draw, low, code, **options)

    def style_code(self, reference: Tensor) -> Any:
        return self._called(self.net.style_code, reference)

    def logits(self, image: Tensor, **options: Any) -> Any:
        return self._called(self.net.logits, image, **options)

    def _called(self, function: Any, *args: Tensor, **options: Any) -> Any:
        assert len(args[0]) == BATCH, "a micro-batch is filled up"
        if self.name == "lnet" and (args[0] > 3.5).flatten(1).all(1).any():
            raise RuntimeError("this speech breaks the network")
        CALLS[self.name] += 1
        return function(*args, **options)


#: As on a GPU: micro-batches of one shape.
NETWORKS = Networks(
    Compute(exact=True, batch=BATCH, static=True), loader=lambda name, **options: Counted(name)
)


class OnOneShape:
    """Stages with these networks."""

    def setup(self, device: str) -> None:
        del device
        self.networks = NETWORKS

    def shares_batches(self, device: str) -> bool:
        return device == "cpu"


class DNet(OnOneShape, DNetStage):
    pass


class LNet(OnOneShape, LNetStage):
    pass


class ENet(OnOneShape, ENetStage):
    pass


class Found(Stage):
    """Made-up results of the stages before D-Net."""

    name = "found"
    writes = pa.schema(
        [
            tensor("valid", "bool", "T"),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("coeffs", "float32", "T", 262),
            tensor("crop_boxes", "int64", "T", 4),
            tensor("crops", "uint8", "C", CROP, CROP, 3),
            tensor("face_boxes", "int64", "C", 4),
            tensor("faces", "uint8", "C", SIDE, SIDE, 3),
        ]
    )

    def process(self, segment: Segment) -> dict[str, Any]:
        (start, stop), core = segment.frames, segment.core
        rng = np.random.default_rng(start)
        count, shown = stop - start, core[1] - core[0]
        boxes = np.array([300, 200, 500, 400]) + rng.integers(0, 9, (count, 1))
        inside = face_in_box()
        points = [affine.apply(affine.invert(framing.into_box(box, SIDE)), inside) for box in boxes]
        small = rng.integers(0, 256, (shown, 8, 8, 3), np.uint8)
        return {
            "valid": np.ones(count, bool),
            "landmarks": np.array(points, np.float32),
            "coeffs": np.ones((count, 262), np.float32),
            "crop_boxes": boxes + np.array([-60, -60, 60, 60]),
            "crops": small.repeat(CROP // 8, 1).repeat(CROP // 8, 2),
            "face_boxes": boxes[core[0] - start : core[1] - start],
            "faces": small.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2),
        }


class End(Stage):
    """Stands behind the stages that are looked at, and is not run."""

    name = "end"
    per = "dub"
    reads = pa.schema([tensor("face", "uint8", "N", SIDE, SIDE, 3), tensor("mask", "uint8", "N", SIDE, SIDE)])
    writes = RECEIPT

    def process(self, segment: Segment) -> dict[str, Any]:
        raise NotImplementedError


def config(expression: Path) -> EngineConfig:
    options = {"DNet": {"expression": str(expression), "enhance": "none"}}
    stages = [
        {"stage": f"{HERE}:{name}", "options": options.get(name, {})}
        for name in ("Found", "DNet", "LNet", "ENet", "End")
    ]
    return EngineConfig.model_validate(
        {"name": "shared", "find_faces": False, "segments": {"kind": "frames"}, "stages": stages}
    )


def segment_row(number: int, frames: int, speeches: dict[str, Path], title: str = "t") -> Row:
    """A row of a segment and its dubs, each with a speech."""
    start, pts = 100 * number, np.arange(frames) * 40
    dubs = [
        DubTask(
            *(dub, str(speech), {}),
            [output_segment_task(OutputSegment(0, start, 1, 0, pts), 0, "key", pts, start)],
        )
        for dub, speech in speeches.items()
    ]
    texts = {
        "segment_id": f"{title}/{number}",
        "title": title,
        "video": "none.mp4",
        "work": "",
        "options": "",
    }
    places = dict.fromkeys(("start", "halo_start", "shot_start"), start)
    places |= dict.fromkeys(("stop", "halo_stop", "shot_stop", "n_frames"), start + frames)
    sizes = {"frame_width": 1000, "frame_height": 800, "time_base_num": 1, "time_base_den": 1000}
    return {
        **texts,
        **places,
        **sizes,
        **{"kind": SEGMENT, "dubs": encode(dubs), "error": "", "meta": "", "segment": number},
        **{"out_origin": 0, "pts": pts, "anchor": np.full(4, np.nan, np.float32), "others": ()},
    }


@pytest.fixture
def speeches(tmp_path: Path) -> dict[str, Path]:
    return {
        "de": make_speech(tmp_path / "de.wav", 2.0),
        "fr": make_speech(tmp_path / "fr.wav", 1.5, amplitude=0.2),
    }


@pytest.fixture
def engine(tmp_path: Path) -> EngineConfig:
    np.save(tmp_path / "expression.npy", np.linspace(-1, 1, 64, dtype=np.float32))
    return config(tmp_path / "expression.npy")


@pytest.fixture(autouse=True)
def _calls() -> None:
    CALLS.clear()


def through(
    engine: EngineConfig,
    groups: list[tuple[str, ...]],
    rows: list[Row],
    run: Path,
    coordinator: Coordinator | None = None,
    together: bool = True,
) -> list[Row]:
    """Rows through groups of stages, in one batch or each in its own, as tables between them."""
    schema, packed = PLANNED, [pack(rows, PLANNED)] if together else [pack([row], PLANNED) for row in rows]
    for stages in groups:
        spec = GroupSpec(engine, stages, str(run), block_segments=2)
        group = Group(spec, coordinator or Coordinator(), BatchingPolicy(250))
        packed, schema = [result for table in packed for result in group(table)], group.output
    tables = [unpack(table, schema) for table in packed]
    return [from_table(table, schema, n) for table in tables for n in range(table.num_rows)]


def same(ours: Row, theirs: Row) -> bool:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name != "meta":
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    return True


COUNTS = [3, 1, 5, 2]
ALL = [("found",), ("dnet",), ("lnet", "enet")]


@pytest.mark.parametrize("groups", [ALL, [("found",), ("dnet", "lnet", "enet")]], ids=["pools", "one pool"])
def test_rows_are_the_same_whoever_shares_their_micro_batches(
    engine: EngineConfig, tmp_path: Path, speeches: dict[str, Path], groups: list[tuple[str, ...]]
) -> None:
    rows = [segment_row(number, frames, speeches) for number, frames in enumerate(COUNTS)]
    rows.insert(2, {**segment_row(9, 4, speeches), "kind": PLAN_ROW})
    alone, calls_alone = through(engine, groups, rows, tmp_path, together=False), dict(CALLS)
    CALLS.clear()
    together = through(engine, groups, rows, tmp_path)
    assert [row["segment_id"] for row in together] == [row["segment_id"] for row in alone]
    assert all(same(*pair) for pair in zip(together, alone, strict=True))
    shown = [row for row in together if row["kind"] == SEGMENT]
    assert [(row["dub"], len(row["face"])) for row in shown] == [
        (dub, n) for n in COUNTS for dub in ("de", "fr")
    ]
    assert all(not row["error"] and row["mask"].any() for row in shown)
    # Alone, each row and dub fills its own; together all but the last are full of the rows' own items.
    assert calls_alone["lnet"] == 2 * sum(math.ceil(n / BATCH) for n in COUNTS) == 10
    assert CALLS["lnet"] == math.ceil(2 * sum(COUNTS) / BATCH) == 6
    assert CALLS["dnet"] == math.ceil(sum(COUNTS) / BATCH) == 3 < calls_alone["dnet"] == 5
    assert all(CALLS[name] < calls_alone[name] for name in STAND_INS)
    for row in shown:
        assert json.loads(row["meta"])["seconds"].keys() == {"found", "dnet", "lnet", "enet"}


def test_a_row_that_fails_fails_alone(
    engine: EngineConfig, tmp_path: Path, speeches: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before its network is asked, and one whose items the network cannot compute."""
    breaks, missing = str(tmp_path / "breaks.wav"), tmp_path / "missing.wav"
    usual = lnet_stage.heard

    def heard(url: str, silent: bool) -> np.ndarray:
        return np.full((80, 161), 3.9, np.float32) if url == breaks else usual(url, silent)

    monkeypatch.setattr(lnet_stage, "heard", heard)
    rows = [segment_row(number, 2, {"de": speeches["de"]}) for number in range(4)]
    rows[1] = segment_row(1, 2, {"de": missing})
    rows[2] = segment_row(2, 3, {"de": Path(breaks)})
    alone = through(engine, ALL, rows, tmp_path, together=False)
    together = through(engine, ALL, rows, tmp_path)
    assert all(same(*pair) for pair in zip(together, alone, strict=True))
    assert [bool(row["error"]) for row in together] == [False, True, True, False]
    assert "missing.wav" in together[1]["error"]
    assert together[2]["error"] == "lnet: RuntimeError: this speech breaks the network"


def test_rows_of_a_batch_that_has_killed_its_worker_are_worked_on_one_after_the_other(
    engine: EngineConfig, tmp_path: Path, speeches: dict[str, Path]
) -> None:
    """Each is counted, to find the one that kills."""
    coordinator = Coordinator()
    rows = [segment_row(number, 1, {"de": speeches["de"]}) for number in range(3)]
    found = through(engine, ALL[:1], rows, tmp_path)
    coordinator.begin(WorkKey(("dnet",), "t", 0, unit="batch"))
    group = Group(GroupSpec(engine, ("dnet",), str(tmp_path)), coordinator, BatchingPolicy(250))
    list(group(pack(found, group.input)))
    assert CALLS["dnet"] == 3
    told = coordinator.snapshot()
    assert (told["running"], told["stages"]["dnet"]["rows"]) == ([], 3)
    list(Group(group.spec, Coordinator(), BatchingPolicy(250))(pack(found, group.input)))
    assert CALLS["dnet"] == 4, "another batch has all three in one"


def test_short_rows_reach_such_a_group_together(
    engine: EngineConfig, tmp_path: Path, speeches: dict[str, Path]
) -> None:
    """They have more bytes than other batches may have, and no more than two segments of the profile's length."""
    rows = [segment_row(number, 10, {"de": speeches["de"]}) for number in range(5)]

    def batches(frames: int, segments: int) -> list[int]:
        spec = GroupSpec(engine, ("found",), str(tmp_path), block_segments=segments)
        group = Group(spec, Coordinator(), BatchingPolicy(frames))
        made = [unpack(table, group.output) for table in group(pack(rows, PLANNED))]
        assert all(table.num_rows == 1 or segments > 1 or table.nbytes <= MAX_BYTES for table in made)
        return [table.num_rows for table in made]

    assert batches(250, 2) == [5]
    assert batches(15, 2) == [3, 2]
    assert max(batches(250, 1)) < 5


def test_groups_on_gpus_share_and_those_before_them_know() -> None:
    placed = groups_of(Engine(load_engine("retalk")), load_profile("node-8gpu"), "run", True)
    assert [(pool.name, spec.block_segments) for pool, spec in placed] == [
        ("detect", 2),
        ("reconstruct", 2),
        ("generate", 1),
        ("blend", 1),
    ]
    placed = groups_of(Engine(load_engine("retalk")), load_profile("laptop"), "run", True)
    assert all(spec.block_segments == 1 for _, spec in placed)


def test_ray_gives_the_bytes_of_the_plain_loop(footage: Path, tmp_path: Path, ray_session: Any) -> None:
    """The plain loop has no batches, and works on one row after the other."""
    engine = EngineConfig.model_validate(
        {
            **{"name": "test", "find_faces": False, "segments": {"kind": "frames"}},
            "stages": [{"stage": f"{STAGES}:{name}"} for name in ("Brightness", "SharedLevel", "Paint")],
        }
    )
    video, speech = str(footage / "a.mp4"), str(footage / "exact.wav")
    titles = [{"id": f"t{n}", "video": video, "speech": speech, "output": f"t{n}.mp4"} for n in range(6)]

    def made(runner: str) -> tuple[list[str], list[bool]]:
        folder = tmp_path / runner
        profile = profile_config(3, 7)
        report = run(
            titles,
            run_dir=str(folder),
            engine=engine,
            profile=profile,
            runner=runner,
            watermark={"mode": "off"},
        )
        assert [record["error"] for record in report.records] == [""] * 6
        files = [without_signature(folder / title["output"]) for title in titles]
        return [hashlib.sha256(file).hexdigest() for file in files], [
            "shared" in str(record["notes"]) for record in report.records
        ]

    (loop, alone), (ray, together) = made("local"), made("ray")
    assert loop == ray
    assert not any(alone)
    assert all(together)
