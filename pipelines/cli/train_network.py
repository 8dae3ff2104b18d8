"""`retalk train sync|dnet|lnet|enet` and `retalk train export`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.errors import DONE, FAILED, UsageError

SUMMARY = {
    "sync": "train the sync expert, which judges whether mouth and sound agree",
    "dnet": "train D-Net, which steadies the expression",
    "lnet": "train L-Net, which makes the mouth speak",
    "enet": "train E-Net, which restores the face at 384 pixels",
}
TEXT = """\
Train a network on a data set of `retalk train prepare` (docs/training.md).

Interrupt it and run the same command again: it goes on from its last checkpoint, to the same weights as without the interruption."""
EXAMPLES = """\
Examples:

  retalk train sync --data data/ -o sync/
  retalk train {kind} --data data/ -o {kind}/{more} --workers 4 --gpu
  retalk train {kind} --data person/ -o person-{kind}/{more} --from official --lora 8 --set steps=2000

Exit codes: 0 trained; 2 wrong usage, nothing was done; 3 given up, losses were not finite."""
EXPORT = """\
Write the averaged weights of a training as a file, with a model card beside it. Called DNet.pt, LNet.pth, ENet.pth or
likewise with .safetensors, the file is one that the engine retalk loads:

  retalk train export lnet/ -o person/LNet.pth
  retalk dub talk.mp4 german.wav -o out.mp4 --set lnet.weights=person/LNet.pth"""


def add_trainings(parts: Any) -> None:
    """Add the commands to the subparsers of `retalk train`."""
    for kind, summary in SUMMARY.items():
        more = "" if kind == "sync" else " --features vgg19.pth"
        command: Parser = parts.add_parser(
            kind, help=summary, description=TEXT, epilog=EXAMPLES.format(kind=kind, more=more)
        )
        add_training_arguments(command, kind)
        command.set_defaults(run=train_command, network=kind)
    command = parts.add_parser("export", help="write a trained network for use", description=EXPORT)
    command.add_argument("training", metavar="RUN", help="folder of a training, any fsspec URL")
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="DNet.pt, LNet.pth, ENet.pth, or their names with .safetensors",
    )
    command.add_argument(
        "--data-terms",
        default="",
        metavar="TEXT",
        help="for the model card: the data and what its terms allow",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=export_command)


#: Words that stand in the place of a file.
WORDS = {
    "features": ("random",),
    "expert": (),
    "identity": ("official",),
    "speaker": ("official",),
    "begin": ("official", "recipe"),
}


def names_no_file(option: str, value: str) -> bool:
    """True for the value of a training's option that is no path: nothing, or a word in the place of a file."""
    return value in ("", *WORDS.get(option, ()))


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the option that says what a network is trained on."""
    command.add_argument(
        "--data",
        required=True,
        metavar="DIR|MANIFEST",
        help="data set of `retalk train prepare`, any fsspec URL; or a manifest of several, with a column data",
    )


def add_training_arguments(command: argparse.ArgumentParser, kind: str) -> None:
    """Add the arguments of `retalk train` of a network."""
    add_data(command)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="RUN",
        help="folder of checkpoints, log and samples, any fsspec URL",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="refuse to begin anew; an interrupted training goes on without it too",
    )
    group = command.add_argument_group("settings")
    group.add_argument(
        "--config", default="", metavar="FILE", help=f"YAML in place of configs/training/{kind}.yaml"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="change a setting, such as steps=1000 or rate.rate=2e-5; may be repeated",
    )
    if kind != "sync":
        group.add_argument(
            "--features",
            default="",
            metavar="FILE",
            help="VGG19 of torchvision, which pictures are compared with (default: that of `retalk models pull --select train`); "
            "random: random weights, for trials",
        )
    if kind in ("lnet", "enet"):
        group.add_argument(
            "--expert",
            default="",
            metavar="FILE",
            help="sync expert: an export of `retalk train sync` (default: no lip-sync loss)",
        )
    if kind == "enet":
        group.add_argument(
            "--identity",
            default="",
            metavar="FILE",
            help="ArcFace of GFPGAN; official: that of `retalk models pull --select train` (default: no identity loss)",
        )
        group.add_argument(
            "--speaker",
            default="",
            metavar="FILE",
            help="L-Net that draws the input: official, or an export of `retalk train lnet` (default: the target, made small)",
        )
    group = command.add_argument_group("fine-tuning")
    group.add_argument(
        "--from",
        default="",
        metavar="FILE",
        dest="begin",
        help="weights to begin from: official, an export or a checkpoint; recipe: made-up ones in the official nesting, for trials",
    )
    group.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="PATTERN",
        help="parameters that stay, such as 'encoder.*'; may be repeated",
    )
    group.add_argument(
        "--lora",
        type=int,
        default=0,
        metavar="RANK",
        help="train low-rank additions to the weights, not the weights",
    )
    group = add_execution(command)
    group.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    group.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )


def add_execution(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add how many workers train, and where."""
    group = command.add_argument_group("execution")
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the work (default: 1); two or more run on Ray",
    )
    group.add_argument(
        "--runner",
        choices=("auto", "local", "ray"),
        default="auto",
        help="local (this process), ray, or auto (default): Ray for several workers",
    )
    return group


def workers_on_ray(args: argparse.Namespace) -> int:
    """Number of workers on Ray; 0: this process.

    Raises:
        UsageError: the options contradict each other.
    """
    workers: int = args.workers
    if workers < 1:
        raise UsageError("--workers: must be 1 or more")
    if args.runner == "local" and workers > 1:
        raise UsageError(
            f"--runner local --workers {workers}: this process is one worker; leave --runner out"
        )
    return workers if args.runner == "ray" or workers > 1 else 0


def train_command(args: argparse.Namespace) -> int:
    """Handle a parsed `retalk train` of a network; returns the exit code."""
    from pipelines.training.config import load_config
    from pipelines.training.frozen import Sources
    from pipelines.training.launch import Request, absolute, launch

    runner = "ray" if workers_on_ray(args) else "local"
    if args.lora < 0:
        raise UsageError("--lora: must be 1 or more, or 0 for none")
    files = {name: getattr(args, name, "") for name in ("features", "expert", "identity", "speaker", "begin")}
    found = {name: file if names_no_file(name, file) else absolute(file) for name, file in files.items()}
    request = Request(
        load_config(args.network, args.config, args.changes),
        Sources(**found, freeze=tuple(args.freeze), lora=args.lora),
        absolute(args.data),
        absolute(args.output),
        args.workers,
        args.gpu,
    )
    if runner == "ray":
        from pipelines.execution.ray_session import ray_session

        session: Any = ray_session(None, verbose=True)
    else:
        session = nullcontext()
    from pipelines.training.loop import TrainingError

    with session:
        try:
            result = launch(
                request, runner, args.resume, lambda text: print(text, file=sys.stderr, flush=True)
            )
        except TrainingError as error:
            print(f"retalk: {error}", file=sys.stderr)
            return FAILED
    if args.json:
        print(json.dumps({"exit_code": DONE, "directory": args.output, **result}))
    else:
        print(f"{result['step']} steps; retalk train export {args.output} -o FILE writes the network")
    return DONE


def export_command(args: argparse.Namespace) -> int:
    """Handle a parsed `retalk train export`; returns the exit code."""
    from pipelines.training.export import export

    result = export(args.training, args.output, args.data_terms)
    if args.json:
        print(json.dumps({"exit_code": DONE, **result}))
    else:
        print(
            f"{result['file']}: {result['kind']} after {result['step']} steps, {result['parameters']:,} numbers; {result['card']}"
        )
    if result["options"] and result["kind"] != "sync":
        sizes = ", ".join(f"{name} {value}" for name, value in result["options"].items())
        print(
            f"note: of its own sizes ({sizes}): the engine retalk takes official ones only", file=sys.stderr
        )
    return DONE
