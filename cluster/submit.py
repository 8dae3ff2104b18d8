"""`retalk submit`: `retalk run` as a job of a Ray cluster. A thin layer on Ray's JobSubmissionClient.

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

from operators.storage.files import CLOUD_PACKAGES
from operators.storage.redact import has_secret
from pipelines.cli.help_texts import MANIFEST_HELP
from pipelines.cli.main import add_run_arguments
from pipelines.errors import INTERRUPTED, UsageError
from retalk_models.installation import install_hint

TEXT = """\
Dub a catalogue on a Ray cluster. The job is `retalk run` on the head node, with the options given here; its workers are the cluster's. Its
log is shown while it runs, and its exit code becomes this command's. Submit the same command again to resume. Ctrl-C leaves the job running
and prints how to follow and how to stop it.

Files named by a relative path (MANIFEST, a REFERENCE picture, .yaml files of --engine and --profile) are sent along. Absolute paths and
URLs stay as they are: the nodes of the cluster must see them, and so must the inputs of the manifest's rows, unless they lie in
--working-dir. The default of --profile is autoscaling."""
EXAMPLES = """\
Examples:

  retalk submit catalogue.jsonl -o s3://bucket/out --address http://HEAD:8265
  retalk submit catalogue.jsonl -o /shared/out --working-dir . --no-wait

Exit codes: those of `retalk run` (0 done, 3 some titles failed, 2 wrong usage and nothing has run), and 1 if the cluster could not run the
job or was lost."""
ADDRESS = "RAY_API_SERVER_ADDRESS"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Packages of the extra `cluster` without which Ray's job client refuses to work.
JOB_CLIENT = ("aiohttp", "requests")
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add `submit` to the subparsers of `retalk`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "submit",
        help="dub a catalogue on a Ray cluster",
        description=f"{TEXT}\n\n{MANIFEST_HELP}",
        epilog=EXAMPLES,
    )
    add_run_arguments(command)
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
    command.set_defaults(run=submit, profile="autoscaling")
    return command


def submit(args: argparse.Namespace) -> int:
    """Handle a parsed `retalk submit`; returns the exit code.

    Raises:
        UsageError: wrong usage, or the cluster does not answer or does not take the job; nothing has run.
    """
    if not args.address:
        raise UsageError(
            f"--address is missing: the URL of the cluster's dashboard, http://HEAD:8265 (or set {ADDRESS})"
        )
    if not args.address.startswith(("http://", "https://")):
        raise UsageError(
            f"--address {args.address}: must be the URL of the cluster's dashboard, such as http://HEAD:8265"
        )
    if args.runner == "local":
        raise UsageError(
            "--runner local: a submitted job runs on the cluster's Ray; leave it out, or use `retalk run`"
        )
    if "://" not in args.output and not os.path.isabs(args.output):
        raise UsageError(
            f"-o {args.output}: must be a URL (s3://...) or an absolute path on storage that all nodes share"
        )
    for url in (args.manifest, args.output, *args.root, *([args.notify] if args.notify else [])):
        if has_secret(url):
            raise UsageError(
                f"{url}: carries credentials, which Ray's dashboard would show; give the nodes their own (docs/cluster.md)"
            )
    job_id = args.submission_id or f"retalk-{secrets.token_hex(4)}"
    if not JOB_ID.fullmatch(job_id):
        raise UsageError(f"--submission-id {job_id}: letters, digits and . _ - only, a letter or digit first")
    environment = variables(args.env)
    _check_packages([args.manifest, args.output])
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
    wanted = {"manifest": args.manifest}
    for name in ("engine", "profile"):
        if getattr(args, name).endswith((".yaml", ".yml")):
            wanted[name] = getattr(args, name)
    if args.face.lower().endswith(PICTURES):
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
    """Return the job's command: `retalk run` with every option that differs from its default, quoted for a shell.

    Args:
        args: parsed `retalk submit`.
        names: values in place of those in `args`, see `files_to_send`.
    """
    words = ["retalk", "run"]
    run = argparse.ArgumentParser(add_help=False)
    add_run_arguments(run)
    for action in run._actions:
        if action.help == argparse.SUPPRESS:  # an alias
            continue
        value = names.get(action.dest, getattr(args, action.dest))
        if not action.option_strings or value == action.default:
            continue
        option = max(action.option_strings, key=len)
        if action.nargs == 0:
            words.append(option)
        else:  # one word, so that a value with a leading - stays a value
            words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return shlex.join([*words, "--", names.get("manifest", args.manifest)])
