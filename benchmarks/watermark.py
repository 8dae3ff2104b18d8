"""Marks of dubs: what they cost and change, what survives of them, and what their p-values are worth.

    python -m benchmarks.watermark make FOLDER -o OUT [--rounds 2] [--paired 1]
    python -m benchmarks.watermark attack OUT
    python -m benchmarks.watermark unmarked FOLDER

``make`` dubs every clip of a folder with other people's speech (engine exemplar, 11 s, 540 lines at most), in the first rounds also without
a mark and once more without loss: seconds of the processor with and without, PSNR of the pixels that the mark may change, segmental
SNR of the speech. ``attack`` attacks each of these dubs and reads its marks with its own key and with another, which has not marked it.
``unmarked`` cuts a folder of clips and sounds into windows and reads each with a key of its own. All print Markdown; interrupted, the
first two go on where they were.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import watermark_attacks, watermark_null
from benchmarks.watermark_dubs import make, snr_of_speech
from operators.watermark.keys import MarkKey
from pipelines.provenance.watermarks import read_key


def show_dubs(rows: Iterable[dict[str, Any]], out: Path) -> None:
    """Print what the mark costs and changes."""
    key, shares = read_key(make=True), []
    print("| dub | s | PSNR of the region, dB | pixels | segmental SNR, dB | expected: speech, picture |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        snr = snr_of_speech(key, out / f"{row['dub']}.wav")
        expected = ", ".join(str(row["expected"][name]) for name in ("speech", "picture"))
        print(
            f"| {row['dub']} | {row['seconds']} | {row.get('psnr', '')} | {row.get('pixels', '')} | {snr:.1f} | {expected} |",
            flush=True,
        )
        if "off" in row["cpu"]:
            shares.append(row["cpu"]["on"] / row["cpu"]["off"] - 1)
    if len(shares) > 1:  # the first dub of a process pays for what it imports
        print(
            f"\nmore time with marks than without, in pairs: median {np.median(shares[1:]):+.1%} ({len(shares) - 1} pairs)"
        )


def attack(out: Path) -> list[dict[str, Any]]:
    """Attack the dubs of a folder that `make` has filled, each in every way, and return the rows of all."""
    key, told = read_key(), out / "attacks.jsonl"
    for number, row in enumerate(watermark_attacks.read_rows(out / "dubs.jsonl")):
        done = {one["attack"] for one in watermark_attacks.read_rows(told) if one["dub"] == row["dub"]}
        other = MarkKey((number + 1).to_bytes(32, "big"))
        dub = out / f"{row['dub']}.mp4"
        for found in watermark_attacks.attack_dub(dub, row["id"], key, other, number, done):
            with told.open("a") as file:
                file.write(json.dumps(found) + "\n")
    return watermark_attacks.read_rows(told)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("make")
    made.add_argument("folder", type=Path)
    made.add_argument("-o", "--out", type=Path, required=True)
    made.add_argument("--rounds", type=int, default=2, help="dubs of each clip")
    made.add_argument("--paired", type=int, default=1, help="rounds with a dub without a mark beside each")
    commands.add_parser("attack").add_argument("folder", type=Path)
    commands.add_parser("unmarked").add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.command == "make":
        show_dubs(make(args.folder, args.out, args.rounds, args.paired), args.out)
    elif args.command == "attack":
        print("\n".join(watermark_attacks.table(attack(args.folder))))
    else:
        print("\n".join(watermark_null.table(watermark_null.look(args.folder))))


if __name__ == "__main__":
    main()
