"""Requests of `retalk submit`: the command, the files, the environment; and its refusals. See test_jobs.py
for real jobs.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import jobs
from cluster.submit import entrypoint, files_to_send, hints, variables
from pipelines.cli import main as cli
from pipelines.errors import UsageError
from retalk_models.installation import install_hint


def parse(*arguments: str) -> argparse.Namespace:
    return cli.parser().parse_args(["submit", *arguments])


def command(*arguments: str) -> list[str]:
    return shlex.split(entrypoint(parse(*arguments), {}))


def test_the_command_is_run_with_the_same_options() -> None:
    arguments = [
        "--face=left",
        "--length=trim",
        "--engine=exemplar",
        "--set=speak.lag=0.04",
        "--set=render.crf=20",
        "--keep-segments",
    ]
    words = command(
        "s3://b/m.jsonl", "-o", "s3://b/out", *arguments, "--address", "http://h:8265", "--env", "A=b"
    )
    assert words[:2] == ["retalk", "run"]
    again = cli.parser().parse_args(words[1:])
    asked = cli.parser().parse_args(
        ["run", "s3://b/m.jsonl", "-o", "s3://b/out", *arguments, "--profile=autoscaling"]
    )
    assert vars(again) == vars(asked)


@pytest.mark.parametrize(
    "evil", ["x; touch injected", "$(touch injected)", "`id`", "a b'\"", "-rf", "--quiet", "&& true\nid"]
)
def test_no_value_is_read_by_the_shell_or_as_an_option(evil: str) -> None:
    words = command(
        f"--output=/{evil}", f"--face={evil}", f"--set=a.b={evil}", "--address=http://h", "--", evil
    )
    again = cli.parser().parse_args(words[1:])
    assert (again.manifest, again.output, again.face, again.settings) == (
        evil,
        f"/{evil}",
        evil,
        [f"a.b={evil}"],
    )
    assert again.quiet is False


def test_relative_files_are_sent_and_absolute_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("in/m.jsonl", "in/who.jpg", "mine.yaml", "unused.txt"):
        (tmp_path / name).write_text(name)
    args = parse(
        "in/m.jsonl",
        "-o",
        "/shared/out",
        "--face",
        "in/who.jpg",
        "--profile",
        "mine.yaml",
        "--engine",
        "/shared/e.yaml",
    )
    with files_to_send(args) as (folder, names):
        assert folder is not None
        assert {path.name: path.read_text() for path in Path(folder).iterdir()} == {
            "m.jsonl": "in/m.jsonl",
            "who.jpg": "in/who.jpg",
            "mine.yaml": "mine.yaml",
        }
        words = shlex.split(entrypoint(args, names))
    assert not Path(folder).exists()
    assert words[-1] == "m.jsonl"
    assert {"--face=who.jpg", "--profile=mine.yaml", "--engine=/shared/e.yaml"} <= set(words)
    with files_to_send(parse("s3://b/m.jsonl", "-o", "s3://b/out")) as sent:
        assert sent == (None, {})
    with files_to_send(parse("m.jsonl", "-o", "/out", "--working-dir", "in")) as sent:
        assert sent == (str(tmp_path / "in"), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.jsonl", "-o", "/out"], "--address is missing"),
        (
            ["https://h/m.jsonl?sig=1234", "-o", "/out", "--address", "http://127.0.0.1:1"],
            "https://h/m.jsonl?***: carries credentials",
        ),
        (
            ["m.jsonl", "-o", "s3://key:abcd@bucket/run", "--address", "http://127.0.0.1:1"],
            "s3://***@bucket/run: carries credentials",
        ),
        (["m.jsonl", "-o", "/out", "--address", "ray://h:10001"], "such as http://HEAD:8265"),
        (["m.jsonl", "-o", "out", "--address", "http://h:8265"], "-o out: must be a URL"),
        (["m.jsonl", "-o", "/out", "--address", "http://h:8265", "--no-ray"], "--runner local"),
        (
            ["m.jsonl", "-o", "/out", "--address", "http://h:8265", "--submission-id", "a b"],
            "--submission-id a b",
        ),
        (["m.jsonl", "-o", "/out", "--address", "http://h:8265", "--env", "=1"], "--env"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert cli.main(["submit", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--working-dir", "."], ["--working-dir", "nowhere"]):
        with pytest.raises(UsageError, match="no such"), files_to_send(parse("m.jsonl", "-o", "/out", *more)):
            pass
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yaml").write_text("")
    (tmp_path / "m.jsonl").write_text("")
    arguments = parse("m.jsonl", "-o", "/out", "--engine", "a/x.yaml", "--profile", "b/x.yaml")
    with pytest.raises(UsageError, match="another file of this name"), files_to_send(arguments):
        pass


def test_variables_and_their_values_stay_unseen() -> None:
    assert variables(["A=1", "B_2=x=y", "C="]) == {"A": "1", "B_2": "x=y", "C": ""}
    with pytest.raises(UsageError) as problem:
        variables(["A-B=secret"])
    assert "secret" not in str(problem.value)


def test_the_hints_are_commands() -> None:
    follow, stop = (shlex.split(line)[1:] for line in hints("http://h:8265", "one").splitlines())
    assert follow == ["ray", "job", "logs", "--follow", "--address", "http://h:8265", "one"]
    assert stop == ["ray", "job", "stop", "--address", "http://h:8265", "one"]


class BreakingServer:
    """In place of Ray's client, for what a real head does not do on request: connections that break after
    every few characters.
    """

    def __init__(self, log: str, breaks: int, **info: Any) -> None:
        self.log, self.breaks = log, breaks
        self.info = {
            "status": SimpleNamespace(value="FAILED", is_terminal=lambda: self.breaks < 0),
            "message": "lost",
            **info,
        }

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        self.breaks -= 1
        for start in range(0, len(self.log), 4):
            if self.breaks >= 0 and start >= 8:
                raise RuntimeError("closed")
            yield self.log[start : start + 4]

    def get_job_info(self, job_id: str) -> Any:
        return SimpleNamespace(**self.info)


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (2, 2), (None, 1), (-9, 137)])
def test_a_broken_connection_repeats_and_loses_no_log(
    code: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAUSE", 0.0)
    log, out = "line one\nline two\nthe end\n", io.StringIO()
    following = object.__new__(jobs.Jobs)
    following.address, following.client = "http://h", BreakingServer(log, 2, driver_exit_code=code)  # type: ignore[assignment]
    assert following.follow("x", out) == expected
    assert out.getvalue().startswith(log)
    assert ("could not run the job: lost" in out.getvalue()) == (code is None)


def test_without_any_extra_one_command_installs_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("requests", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["submit", "m.jsonl", "-o", "s3://b/out", "--address", "http://127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert "Ray's job client needs the package requests, s3:// needs the package s3fs, which are not" in error
    assert install_hint("cluster", "cloud") in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("package", ["aiohttp", "requests"])
def test_without_rays_job_client_the_extra_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["submit", "/b/m.jsonl", "-o", "/b/out", "--address", "http://127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert (
        f"retalk submit: Ray's job client needs the package {package}, which is not installed: pip install"
        in error
    )
    assert "Traceback" not in error


def test_a_sweep_is_run_with_the_same_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a/1 b/1\n")
    arguments = ["--root", "/data/lrs2", "--list", "list.txt", "-o", "/shared/out", "--systems=retalk,source"]
    arguments += [
        "--seeds",
        "1",
        "2",
        "--limit=5",
        "--shard=1/4",
        "--set=dnet.enabled=false",
        "--allow-failures",
    ]
    args = parse("eval", "lrs2", *arguments, "--address", "http://h:8265", "--env", "A=b")
    with files_to_send(args) as (folder, names):
        assert folder is not None
        assert [path.name for path in Path(folder).iterdir()] == ["list.txt"]
        words = shlex.split(entrypoint(args, names))
    assert words[:3] == ["retalk", "eval", "lrs2"]
    again = cli.parser().parse_args(words[1:])
    asked = cli.parser().parse_args(["eval", "lrs2", *arguments, "--profile=autoscaling"])
    assert vars(again) == vars(asked)


def test_a_dry_run_shows_the_job_and_submits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text("id,video,audio\n")
    assert (
        cli.main(["submit", "eval", "pairs", "m.csv", "-o", "s3://b/out", "--metrics=cpbd", "--dry-run"]) == 0
    )
    out = capsys.readouterr().out
    assert (
        "would submit: retalk eval pairs --output=s3://b/out --metrics=cpbd --profile=autoscaling -- m.csv"
        in out
    )
    assert "would send: m.csv" in out
    (tmp_path / "m.jsonl").write_text("{}\n")
    assert cli.main(["submit", "m.jsonl", "-o", "/out", "--dry-run"]) == 0
    assert "would submit: retalk run --output=/out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lrs2", "--root", "data", "--list", "/l.txt", "-o", "/out"], "--root data: must be a URL"),
        (["lrs2", "--root", "/data", "--list", "/l.txt", "-o", "out"], "-o out: must be a URL"),
        (["pairs", "/m.csv", "-o", "/out", "--systems", "e.yaml"], "--systems e.yaml: must be a URL"),
        (["pairs", "s3://k:secret@b/m.csv", "-o", "/out"], "carries credentials"),
        (["pairs", "/m.csv", "-o", "/out", "--runner", "local"], "--runner local"),
    ],
)
def test_sweeps_that_no_cluster_could_run_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", "eval", *arguments, "--address", "http://127.0.0.1:1"]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_option_of_a_sweep_is_told_by_its_own_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["submit", "eval", "pairs", "m.csv", "-o", "/out", "--sistems", "x"])
    assert (
        "retalk submit eval pairs: unknown option --sistems (did you mean --systems?)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        ("sync", []),
        ("lnet", ["--features=/w/vgg.pth", "--expert=s3://b/e.pth", "--config=mine.yaml", "--set=steps=9"]),
        (
            "dnet",
            ["--features=random", "--from=official", "--lora=8", "--freeze=a.*", "--freeze=b.*", "--gpu"],
        ),
        ("talkin", ["--set=renderer.steps=9", "--resume"]),
    ],
)
def test_a_training_is_run_with_the_same_options(
    network: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("steps: 5\n")
    arguments = ["--data=/shared/data", "--output=s3://b/run", "--workers=4", *arguments]
    args = parse("train", network, *arguments, "--address", "http://h:8265", "--env", "A=b")
    with files_to_send(args) as (folder, names):
        sent = [path.name for path in Path(folder).iterdir()] if folder else []
        words = shlex.split(entrypoint(args, names))
    assert sent == (["mine.yaml"] if "--config=mine.yaml" in arguments else [])
    assert words[:3] == ["retalk", "train", network]
    again = cli.parser().parse_args(words[1:])
    asked = cli.parser().parse_args(["train", network, *arguments, "--runner=ray"])
    assert vars(again) == vars(asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "--data", "data", "-o", "/out"], "--data data: must be a URL"),
        (["sync", "--data", "/data", "-o", "out"], "-o out: must be a URL"),
        (["lnet", "--data", "/d", "-o", "/out", "--expert", "e.pth", "--working-dir", "."], "--expert e.pth"),
        (["lnet", "--data", "/d", "-o", "/out", "--from", "s3://k:secret@b/m"], "carries credentials"),
        (["sync", "--data", "/data", "-o", "/out", "--runner", "local"], "use `retalk train`"),
        (["sync", "--data", "/data", "-o", "/out", "--config", "no.yaml"], "no.yaml: no such file"),
    ],
)
def test_trainings_that_no_cluster_could_run_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", "train", *arguments, "--address", "http://127.0.0.1:1", "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_of_a_training_shows_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["submit", "train", "sync", "--data", "/d", "-o", "/out", "--gpu", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "would submit: retalk train sync --data=/d --output=/out --runner=ray --gpu" in out
    assert "would send nothing" in out
