"""`make parity-demo`: the original's recorded run and this engine's parity mode, frame beside frame, as PNG.

Needs ../shared/parity (the recording and the recipe of its weights). The weights are made up, so the pictures
are meaningless; that they are the same is not. Three columns: the original's frame, ours (made by the graph),
eight times the difference.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from tests.recorded_run import E2E, parity_run, profile, recipe_home, recorded_clip, rendered


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", default="out/parity-demo", help="folder for the pictures")
    output = Path(parser.parse_args().output)
    if not E2E.is_dir():
        raise SystemExit(f"parity-demo: {E2E} is not there: the recorded run of the original is needed")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(
            "making weights by the recipe (a minute), then six frames through the networks (minutes) ...",
            flush=True,
        )
        parity_run(folder / "run", recorded_clip(folder / "clip"), recipe_home(folder / "home"), profile(50))
        ours = rendered(folder / "run")
    theirs = np.load(E2E / "final_frames.npz")["frames_bgr"]
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        difference = np.abs(a.astype(int) - b)
        row = np.concatenate([a, b, np.clip(difference * 8, 0, 255).astype(np.uint8)], axis=1)
        cv2.imwrite(str(output / f"frame{number}.png"), row)
        print(
            f"frame {number}: mean difference {difference.mean():.4f} grey levels, {100 * (difference <= 2).mean():.3f} % within 2"
        )
    print(f"pictures: {output}/frame*.png (the original, ours, 8 x the difference)")


if __name__ == "__main__":
    main()
