"""Places of micro-batches that stay empty where shots are short: rows that fill them alone, and rows that share them.

    python -m benchmarks.shared_batches [--networks]

Rows are those of made-up catalogues; batches, threads and micro-batches are the pipeline's own, and networks do nothing.
With ``--networks`` small rows go through networks of the engine on this machine's CPU instead, in micro-batches of one
shape as on a GPU, by turns alone and together: CPU seconds, and whether an item's bits depend on who is beside it.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import torch

from benchmarks.network_cases import made_up
from operators.retalk.nets import Networks
from operators.retalk.network_runner import Compute
from operators.shared_batches import SharedBatches, current_row
from pipelines.engine.engine import SHARED_SEGMENTS
from pipelines.execution.batching import MAX_LONGER, MAX_ROWS, Batcher, unpack
from retalk_models.build import build
from retalk_models.inference.memory import GPU_BATCH

#: Frames of a segment, as in the profiles with GPUs; of rows that are worked on at the same time; of a second.
SEGMENT, RATE = 250, 25
TOGETHER = SHARED_SEGMENTS * SEGMENT
#: Median seconds of a shot; lengths are log-normal with this deviation of the logarithm.
MEDIANS, SIGMA = (5.0, 3.0, 2.0), 0.8
SHOTS = 800
SCHEMA = pa.schema([pa.field("frames", pa.int64(), nullable=False)])
#: Places of micro-batches and items in them.
Count = list[int]
#: Calls of networks of a row: kind and items.
Calls = Callable[[int], list[tuple[str, int]]]


def segments(median: float, rng: np.random.Generator) -> list[int]:
    """Frames of the segments of a catalogue's shots: equal parts of at most `SEGMENT`."""
    shots = np.maximum(1, np.rint(RATE * median * np.exp(SIGMA * rng.standard_normal(SHOTS)))).astype(int)
    found = []
    for shot in shots:
        parts = math.ceil(shot / SEGMENT)
        found += [int(shot) * (k + 1) // parts - int(shot) * k // parts for k in range(parts)]
    return found


def analysed(frames: int) -> list[tuple[str, int]]:
    """Calls of the stages recon3d and dnet: coefficients, pictures, codes."""
    return [("face3d", frames), ("dnet", frames), ("identity", frames)]


def drawn(frames: int) -> list[tuple[str, int]]:
    """Calls of the stages lnet and enet; the latter's rows are drawn a micro-batch at a time."""
    full, rest = divmod(frames, GPU_BATCH)
    return [("lnet", frames), *[("draw", GPU_BATCH)] * full, *([("draw", rest)] if rest else [])]


def batches(rows: Iterable[int], dubs: int = 1, frames: int = TOGETHER) -> Iterator[list[int]]:
    """Rows that travel together, so many frames at most."""
    batcher = Batcher(SCHEMA, frames, MAX_ROWS)
    made = (table for n in rows for _ in range(dubs) for table in batcher.add({"frames": n}, n, n))
    for tables in (made, batcher.rest()):
        yield from (unpack(table, SCHEMA).column("frames").to_pylist() for table in tables)


def empty_alone(rows: Iterable[int], calls: Calls) -> float:
    """Share of empty places if each row fills its own micro-batches."""
    asked = [items for frames in rows for _, items in calls(frames)]
    return 1 - sum(asked) / sum(GPU_BATCH * math.ceil(items / GPU_BATCH) for items in asked)


def empty_shared(together: Iterable[list[int]], calls: Calls) -> float:
    """Share of empty places if the rows of a batch share micro-batches."""
    count: Count = [0, 0]

    def execute(batches: Iterable[list[np.ndarray]]) -> Iterator[np.ndarray]:
        for (items,) in batches:
            count[0] += GPU_BATCH
            count[1] += len(items)
            yield items

    def work(frames: int) -> None:
        row = current_row()
        assert row is not None
        for kind, items in calls(frames):
            row.ask(kind, execute, [np.zeros(items, np.uint8)], GPU_BATCH)

    for batch in together:
        list(SharedBatches(TOGETHER).map(work, [(frames, frames) for frames in batch]))
    return 1 - count[1] / count[0]


def places() -> None:
    """Print the table of empty places. Rows without pixels travel in larger batches where a catalogue is large."""
    print(f"micro-batches of {GPU_BATCH}, {SHOTS} shots, {RATE} frames a second: empty places")
    print(
        "| shots: median, mean | recon3d, dnet: alone | shared | large catalogue | lnet, enet: alone | shared | 3 languages |"
    )
    print("|---|---|---|---|---|---|---|")
    for median in MEDIANS:
        rows = segments(median, np.random.default_rng(1))
        shares = [
            empty_alone(rows, analysed),
            empty_shared(batches(rows), analysed),
            empty_shared(batches(rows, frames=MAX_LONGER * SEGMENT), analysed),
            empty_alone(rows, drawn),
            empty_shared(batches(rows), drawn),
            empty_shared(batches(rows, dubs=3), drawn),
        ]
        cells = " | ".join(f"{share:.1%}" for share in shares)
        print(f"| {median:.0f} s, {sum(rows) / SHOTS / RATE:.1f} s | {cells} |")


def networks_on_this_cpu(batch: int, rows: list[int], turns: int) -> None:
    """Print CPU seconds of rows alone and together, and whether their results are the same bits."""
    torch.set_num_threads(1)

    def load(name: str, **options: Hashable) -> torch.nn.Module:
        module = build(name, **options).eval()
        module.load_state_dict(made_up(name))
        return module

    networks = Networks(Compute(batch=batch, static=True), loader=load)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (n, 224, 224, 3), np.uint8) for n in rows]
    heads = [rng.integers(0, 256, (n, 256, 256, 3), np.uint8) for n in rows]
    windows = [rng.normal(0, 0.3, (n, 73, 26)).astype(np.float32) for n in rows]
    mels = [rng.normal(0, 1, (n, 80, 16)).astype(np.float32) for n in rows]
    pairs = [rng.random((n, 96, 96, 6), np.float32) for n in rows]
    asked: dict[str, Callable[[int], np.ndarray]] = {
        "face3d": lambda row: networks.coefficients(crops[row]),
        "dnet": lambda row: networks.edit(heads[row], windows[row]),
        "lnet": lambda row: networks.lips(mels[row], pairs[row]),
    }
    print(f"rows of {rows} items, micro-batches of {batch}")
    print("| network | micro-batches alone, together | CPU s alone, together | ratio | same bits |")
    print("|---|---|---|---|---|")
    numbers = range(len(rows))
    before, after = sum(math.ceil(n / batch) for n in rows), math.ceil(sum(rows) / batch)
    for name, ask in asked.items():
        ask(0)
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(turns):
            start = time.process_time()
            alone = [ask(row) for row in numbers]
            seconds[0].append(time.process_time() - start)
            start = time.process_time()
            together = list(SharedBatches(TOGETHER).map(ask, [(row, rows[row]) for row in numbers]))
            seconds[1].append(time.process_time() - start)
        same = all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
        one, other = min(seconds[0]), min(seconds[1])
        print(
            f"| {name} | {before}, {after} | {one:.2f}, {other:.2f} | {other / one:.2f} | {'yes' if same else 'no'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", action="store_true", help="networks on this CPU instead of the table")
    arguments = parser.parse_args()
    if arguments.networks:
        networks_on_this_cpu(batch=4, rows=[3, 5, 1, 4, 2], turns=2)
    else:
        places()


if __name__ == "__main__":
    main()
