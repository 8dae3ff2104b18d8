"""`retalk train talkin`: the networks of the engine talkin on a prepared data set."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.options import add_messages
from pipelines.cli.train_network import add_data, add_execution, workers_on_ray
from pipelines.errors import DONE, UsageError

SUMMARY = "train Everybody's Talkin': sound to expression, and a rendering network"
TEXT = """\
Train the two networks of the engine talkin on a data set of `retalk train prepare` with head crops (--heads, the default): first sound to
expression on its speakers, then the rendering network on its people. Figures are measured on identities that were held out.

The run's folder gets models/talkin.pt, talkin.yaml (the engine with these weights, for --engine), figures.json, strip.png (references,
drawings, painted and true mouths) and log.jsonl. docs/talkin.md"""
EXAMPLES = """\
Examples:

  retalk train talkin --data data/ -o talkin/
  retalk train talkin --data data/ -o talkin/ --resume
  retalk train talkin --data data/ -o small/ --set renderer.side=64 --set renderer.steps=2000
  retalk dub talk.mp4 german.wav -o out.mp4 --engine talkin/talkin.yaml"""


def add_talkin(parts: Any) -> None:
    """Add the command to the subparsers of `retalk train`."""
    command: Parser = parts.add_parser("talkin", help=SUMMARY, description=TEXT, epilog=EXAMPLES)
    add_talkin_arguments(command)
    command.set_defaults(run=talkin_command)


def add_talkin_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `retalk train talkin`."""
    add_data(command)
    command.add_argument(
        "-o", "--output", required=True, metavar="RUN", help="folder of the run, any fsspec URL"
    )
    command.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    command.add_argument(
        "--config", default="", metavar="FILE", help="a YAML file like configs/training/talkin.yaml"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change a value of the configuration, such as renderer.side=96; may be repeated",
    )
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto (default): cuda where torch, or Ray, sees a GPU for each worker",
    )
    add_execution(command)
    output = command.add_argument_group("messages")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    output.add_argument("--log-file", metavar="FILE", help="append a full log to FILE")
    add_messages(output, "also show where an error comes from")


def talkin_command(args: argparse.Namespace) -> int:
    """Handle a parsed command; returns the exit code."""
    from pipelines.monitoring.command_log import command_log
    from pipelines.monitoring.progress import Progress

    with command_log(args.log_file), Progress(None if args.quiet else sys.stderr) as shown:
        shown.phase("loading")
        import torch

        from operators.storage.files import is_url, join, local_path
        from pipelines.training.talkin.config import load_config
        from pipelines.training.talkin.run import train

        workers = workers_on_ray(args)
        if not workers and args.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("--device cuda: torch sees no GPU here")
        device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        if workers:
            from pipelines.execution.ray_session import ray_session

            session: Any = ray_session(None, verbose=True)
        else:
            session = nullcontext()
        config = load_config(args.config, args.settings)
        data, run = (
            one if is_url(one) else str(local_path(one).absolute())  # type: ignore[union-attr]
            for one in (args.data, args.output)
        )
        with session:
            if workers and args.device == "auto":
                import ray

                device = "cuda" if ray.cluster_resources().get("GPU", 0) >= workers else "cpu"
            figures = train(config, data, run, args.resume, device, shown.phase, workers)
        shown.close()
    if args.json:
        print(json.dumps({"exit_code": DONE, "figures": figures, "engine": join(run, "talkin.yaml")}))
        return DONE
    print(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    print(join(run, "talkin.yaml"))
    return DONE
