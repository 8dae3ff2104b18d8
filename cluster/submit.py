"""`retalk submit`: `retalk run`, a sweep of `retalk eval` or a training of `retalk train` as a job of a Ray cluster. A thin layer on Ray's
JobSubmissionClient.

The command line finds it through the entry-point group ``retalk.commands``, since imports point left only.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.submit_texts import EVAL_EXAMPLES, EVAL_TEXT, EXAMPLES, TEXT, TRAIN_EXAMPLES, TRAIN_TEXT
from operators.storage.files import CLOUD_PACKAGES
from operators.storage.redact import has_secret
from pipelines.cli.arguments import Parser
from pipelines.cli.eval_sweeps import add_sweep_arguments
from pipelines.cli.eval_texts import SUMMARY
from pipelines.cli.help_texts import MANIFEST_HELP
from pipelines.cli.main import add_run_arguments
from pipelines.cli.train_network import SUMMARY as TRAININGS
from pipelines.cli.train_network import add_training_arguments, names_no_file
from pipelines.cli.train_talkin import SUMMARY as TALKIN
from pipelines.cli.train_talkin import add_talkin_arguments
from pipelines.errors import INTERRUPTED, UsageError
from retalk_models.installation import install_hint

#: Options of a training that name a file of the cluster.
TRAINING_FILES = ("data", "features", "expert", "identity", "speaker", "begin")
ADDRESS = "RAY_API_SERVER_ADDRESS"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Packages of the extra `cluster` without which Ray's job client refuses to work.
JOB_CLIENT = ("aiohttp", "requests")
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def add_parser(commands: Any) -> Parser:
    """Add `submit` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "submit",
        help="dub a catalogue on a Ray cluster",
        description=f"{TEXT}\n\n{MANIFEST_HELP}",
        epilog=EXAMPLES,
    )
    _add_job_arguments(command, ("run",))
    _add_cluster_options(command)
    _add_dry_run(command)
    command.set_defaults(run=submit, profile="autoscaling", job=("run",))
    command.instead["eval"] = _eval_parser(f"{command.prog} eval")
    command.instead["train"] = _train_parser(f"{command.prog} train")
    return command


def _eval_parser(prog: str) -> Parser:
    """The parser of sweeps that are submitted."""
    top = Parser(prog=prog, description=EVAL_TEXT, epilog=EVAL_EXAMPLES)
    parts = top.add_subparsers(dest="data", metavar="DATA", title="data", prog=prog, required=True)
    for data, summary in SUMMARY.items():
        command: Parser = parts.add_parser(data, help=summary, description=EVAL_TEXT, epilog=EVAL_EXAMPLES)
        _add_job_arguments(command, ("eval", data))
        _add_cluster_options(command)
        command.set_defaults(run=submit, profile="autoscaling", job=("eval", data))
    return top


def _train_parser(prog: str) -> Parser:
    """The parser of trainings that are submitted."""
    top = Parser(prog=prog, description=TRAIN_TEXT, epilog=TRAIN_EXAMPLES)
    parts = top.add_subparsers(dest="network", metavar="NETWORK", title="networks", prog=prog, required=True)
    for kind, summary in {**TRAININGS, "talkin": TALKIN}.items():
        command: Parser = parts.add_parser(kind, help=summary, description=TRAIN_TEXT, epilog=TRAIN_EXAMPLES)
        _add_job_arguments(command, ("train", kind))
        _add_cluster_options(command)
        _add_dry_run(command)
        command.set_defaults(run=submit, runner="ray", job=("train", kind))
    return top


def _add_job_arguments(command: argparse.ArgumentParser, job: Sequence[str]) -> None:
    """Add the arguments of the command that a job runs.

    Args:
        command: a parser.
        job: ("run",), ("eval", DATA) or ("train", NETWORK).
    """
    if job[0] == "run":
        add_run_arguments(command)
    elif job[0] == "eval":
        add_sweep_arguments(command, job[1])
    elif job[1] == "talkin":
        add_talkin_arguments(command)
    else:
        add_training_arguments(command, job[1])


def _add_dry_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="show the job's command and the files that would be sent; submit nothing",
    )


def _add_cluster_options(command: Parser) -> None:
    """Add where the job goes, and what goes with it."""
    group = command.add_argument_group("cluster")
    group.add_argument(
        "--address",
        default=os.environ.get(ADDRESS),
        metavar="URL",
        help=f"the cluster's dashboard, http://HEAD:8265 (default: ${ADDRESS}). Ray's own variables for tokens and certificates apply",
    )
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable of the job and its workers; may be repeated. Ray's dashboard shows it: not for secrets",
    )
    group.add_argument(
        "--working-dir",
        metavar="FOLDER",
        help="send this folder (at most 512 MiB; what .gitignore and .rayignore name is left out) and run in it: relative paths are meant "
        "in it, those of the manifest's rows too. Default: send only the files named on the command line",
    )
    group.add_argument(
        "--submission-id", metavar="ID", help="name of the job (default: retalk- and 8 random digits)"
    )
    group.add_argument(
        "--no-wait", action="store_true", help="return when the cluster has taken the job, with exit code 0"
    )


def submit(args: argparse.Namespace) -> int:
    """Handle a parsed `retalk submit`; returns the exit code.

    Raises:
        UsageError: wrong usage, or the cluster does not answer or does not take the job; nothing has run.
    """
    if not (args.address or args.dry_run):
        raise UsageError(
            f"--address is missing: the URL of the cluster's dashboard, http://HEAD:8265 (or set {ADDRESS})"
        )
    if args.address and not args.address.startswith(("http://", "https://")):
        raise UsageError(
            f"--address {args.address}: must be the URL of the cluster's dashboard, such as http://HEAD:8265"
        )
    if args.runner == "local":
        raise UsageError(
            f"--runner local: a submitted job runs on the cluster's Ray; leave it out, or use `retalk {args.job[0]}`"
        )
    if "://" not in args.output and not os.path.isabs(args.output):
        raise UsageError(
            f"-o {args.output}: must be a URL (s3://...) or an absolute path on storage that all nodes share"
        )
    for url in _urls(args):
        if has_secret(url):
            raise UsageError(
                f"{url}: carries credentials, which Ray's dashboard would show; give the nodes their own (docs/cluster.md)"
            )
    job_id = args.submission_id or f"retalk-{secrets.token_hex(4)}"
    if not JOB_ID.fullmatch(job_id):
        raise UsageError(f"--submission-id {job_id}: letters, digits and . _ - only, a letter or digit first")
    environment = variables(args.env)
    if args.dry_run:
        return _dry_run(args)
    _check_packages(_urls(args))
    from cluster.jobs import Jobs

    jobs = Jobs(args.address)
    with files_to_send(args) as (folder, names):
        runtime_env: dict[str, Any] = {"env_vars": environment, **({"working_dir": folder} if folder else {})}
        jobs.start(entrypoint(args, names), job_id, runtime_env)
    try:
        print(f"job {job_id} on {args.address}\n{hints(args.address, job_id)}", file=sys.stderr, flush=True)
        if args.no_wait:
            return 0
        return jobs.follow(job_id, sys.stdout)
    except KeyboardInterrupt:
        print(f"\nno longer following; the job continues\n{hints(args.address, job_id)}", file=sys.stderr)
        return INTERRUPTED


def _urls(args: argparse.Namespace) -> list[str]:
    """Paths and URLs among the arguments that the job reads or writes.

    Raises:
        UsageError: data of a sweep or training lie at a relative path, and no folder is sent along.
    """
    if args.job[0] == "train":
        return _training_urls(args)
    named = [
        getattr(args, name, None) for name in ("manifest", "list_file", "annotations", "output", "notify")
    ]
    roots = args.root if isinstance(getattr(args, "root", None), list) else [getattr(args, "root", None)]
    if args.job[0] == "eval" and args.working_dir is None:
        systems = [
            name for name in getattr(args, "systems", "").split(",") if name.endswith((".yaml", ".yml"))
        ]
        data = [
            ("--root", roots[0]),
            ("--annotations", named[2]),
            ("--metric-weights", args.metric_weights),
            *(("--systems", name) for name in systems),
        ]
        for option, path in data:
            if path and "://" not in path and not os.path.isabs(path):
                raise UsageError(
                    f"{option} {path}: must be a URL or an absolute path that all nodes see, or lie in --working-dir"
                )
    return [url for url in (*named, *roots) if url]


def _training_urls(args: argparse.Namespace) -> list[str]:
    """Paths and URLs that a training reads or writes."""
    given = {name: getattr(args, name, "") for name in TRAINING_FILES}
    files = {name: path for name, path in given.items() if not names_no_file(name, path)}
    for name, path in files.items():
        # A folder that is sent along lies in another place on each node.
        if "://" not in path and not os.path.isabs(path):
            option = "--from" if name == "begin" else f"--{name}"
            raise UsageError(f"{option} {path}: must be a URL or an absolute path that all nodes see")
    return [url for url in (*files.values(), args.output) if url]


def _dry_run(args: argparse.Namespace) -> int:
    """Show what would be submitted."""
    with files_to_send(args) as (folder, names):
        print(f"would submit: {entrypoint(args, names)}")
        sent = args.working_dir if args.working_dir is not None else ", ".join(sorted(names.values()))
        print(f"would send: {sent}" if folder else "would send nothing")
    return 0


def _check_packages(urls: Sequence[str]) -> None:
    """Refuse to submit without the packages of the extra `cluster`. Those of the extra `cloud` that the job's
    URLs need are named with them, so that one command installs all.

    Raises:
        UsageError: naming the packages and the command.
    """
    missing = {name: "Ray's job client" for name in JOB_CLIENT if importlib.util.find_spec(name) is None}
    if not missing:
        return
    extras = ["cluster"]
    for url in urls:
        kind = url.partition("://")[0]
        package = CLOUD_PACKAGES.get(kind, "")
        if package and package not in missing and importlib.util.find_spec(package) is None:
            missing[package] = f"{kind}://"
            extras = ["cluster", "cloud"]
    needs = [f"{what} needs the package {name}" for name, what in missing.items()]
    which = "which is not installed" if len(missing) == 1 else "which are not installed"
    raise UsageError(f"{', '.join(needs)}, {which}: {install_hint(*extras)}")


def hints(address: str, job_id: str) -> str:
    """Return shell commands that follow and stop a job."""
    lines = []
    for what, words in (("follow", ["logs", "--follow"]), ("stop", ["stop"])):
        lines.append(f"  {what}: " + shlex.join(["ray", "job", *words, "--address", address, job_id]))
    return "\n".join(lines)


def variables(texts: Sequence[str]) -> dict[str, str]:
    """Parse ``["A=1"]`` into ``{"A": "1"}``.

    Raises:
        UsageError: one has another form. Values are never shown.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not ENV_NAME.fullmatch(name):
            raise UsageError(f"--env {name}: must be NAME=VALUE, NAME of letters, digits and _")
        found[name] = value
    return found


def _named_files(args: argparse.Namespace) -> dict[str, str]:
    """Return the options whose value names a file, with that value."""
    wanted = {name: getattr(args, name) for name in ("manifest", "list_file") if hasattr(args, name)}
    for name in ("engine", "profile", "config"):
        if getattr(args, name, "").endswith((".yaml", ".yml")):
            wanted[name] = getattr(args, name)
    if getattr(args, "face", "").lower().endswith(PICTURES):
        wanted["face"] = args.face
    return wanted


@contextmanager
def files_to_send(args: argparse.Namespace) -> Iterator[tuple[str | None, dict[str, str]]]:
    """Gather the files to send: yield a folder (None: nothing is sent) and the names that the command line's
    files have in the job.

    Raises:
        UsageError: a relative path names no file here, or two files would have the same name.
    """
    named = {name: path for name, path in _named_files(args).items() if "://" not in path}
    if args.working_dir is not None:
        root = Path(args.working_dir)
        if not root.is_dir():
            raise UsageError(f"--working-dir {root}: no such folder")
        for path in named.values():
            if not os.path.isabs(path) and not (root / path).is_file():
                raise UsageError(f"{path}: no such file in --working-dir {root}")
        yield str(root.resolve()), {}
        return
    sent: dict[str, str] = {}
    for name, path in named.items():
        if os.path.isabs(path):
            continue
        if not Path(path).is_file():
            raise UsageError(
                f"{path}: no such file here (an absolute path or a URL is looked for on the cluster)"
            )
        if any(Path(path).name == Path(named[other]).name and path != named[other] for other in sent):
            raise UsageError(
                f"{path}: another file of this name is sent too; rename one, or use --working-dir"
            )
        sent[name] = path
    if not sent:
        yield None, {}
        return
    with tempfile.TemporaryDirectory(prefix="retalk-submit-") as folder:
        for path in sent.values():
            shutil.copyfile(path, Path(folder) / Path(path).name)
        yield folder, {name: Path(path).name for name, path in sent.items()}


def entrypoint(args: argparse.Namespace, names: dict[str, str]) -> str:
    """Return the job's command, such as `retalk run`, with every option that differs from its default, quoted for a shell.

    Args:
        args: parsed `retalk submit`.
        names: values in place of those in `args`, see `files_to_send`.
    """
    words = ["retalk", *args.job]
    run = argparse.ArgumentParser(add_help=False)
    _add_job_arguments(run, args.job)
    for action in run._actions:
        if action.help == argparse.SUPPRESS or action.dest == "dry_run":  # an alias; what shows this command
            continue
        value = names.get(action.dest, getattr(args, action.dest))
        if not action.option_strings or value == action.default:
            continue
        option = max(action.option_strings, key=len)
        if action.nargs == 0:
            words.append(option)
        else:  # one word, so that a value with a leading - stays a value
            words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    if hasattr(args, "manifest"):
        words += ["--", names.get("manifest", args.manifest)]
    return shlex.join(words)
