"""The command line: exit codes, messages, resumable side directories, plan and status, in this process and as
a real one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.media.probe import probe_video
from pipelines.cli import main as cli
from pipelines.monitoring import notify
from pipelines.one_title import side_directory
from pipelines.state.lock import RunLock
from tests.pipelines.conftest import engine_config, profile_config
from tests.pipelines.monitoring.test_notify import hook


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    """Arguments that choose the test engine and a small profile, by files."""
    engine, profile = tmp_path / "engine.yaml", tmp_path / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config("MisbehaveDub").model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    return ["--engine", str(engine), "--profile", str(profile)]


def dub(
    footage: Path,
    output: Path,
    configs: list[str],
    *more: str,
    video: str = "a.mp4",
    speech: str = "exact.wav",
) -> int:
    return cli.main(
        [
            "dub",
            str(footage / video),
            str(footage / speech),
            "-o",
            str(output),
            *configs,
            "--runner",
            "local",
            "--quiet",
            *more,
        ]
    )


def test_dub_makes_the_output_and_leaves_nothing_else(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert dub(footage, folder / "x.mp4", configs, "--length", "pingpong", speech="long.wav") == 0
    assert [path.name for path in folder.iterdir()] == ["x.mp4"]
    assert float(probe_video(str(folder / "x.mp4")).duration) == pytest.approx(3.3, abs=0.1)
    assert "x.mp4: 40 frames, 3 s" in capsys.readouterr().out


def test_dub_says_what_is_cut(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dub(footage, tmp_path / "x.mp4", configs, speech="long.wav") == 0
    assert "note: the speech is 1.3 s longer than the video and is cut" in capsys.readouterr().err


def test_failed_title_is_exit_code_3(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dub(footage, tmp_path / "out" / "x.mp4", configs, "--limit", "max_megapixels=0.001") == 3
    assert "a.mp4: " in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == [], "nothing is worth keeping"


@pytest.mark.parametrize("which", ["video", "speech"])
def test_a_file_that_is_no_media_is_wrong_usage(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str], which: str
) -> None:
    (tmp_path / "README.md").write_text("# No video\n" * 100)
    given = {which: str(tmp_path / "README.md")}
    assert dub(footage, tmp_path / "out" / "x.mp4", configs, **given) == 2
    assert f"the {which}: {tmp_path}/README.md: not a media file that can be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dub_goes_on_where_it_stood(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "x.mp4"
    options = [
        *(
            "--set",
            "misbehave_dub.fail=x",
            "--set",
            "misbehave_dub.segment=2",
            "--set",
            "misbehave_dub.times=1",
        ),
        *("--set", f"misbehave_dub.folder={tmp_path}", "--set", f"paint.log={tmp_path / 'log'}"),
    ]
    assert dub(footage, output, configs, *options) == 3
    assert (
        f"work is kept in {side_directory(str(output))}: run the same command again"
        in capsys.readouterr().err
    )
    assert len((tmp_path / "log").read_text().split()) == 3
    assert dub(footage, output, configs, *options) == 0
    assert len((tmp_path / "log").read_text().split()) == 4, "only the segment that had failed"
    assert [path.name for path in output.parent.iterdir()] == ["x.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "exemplary"], r"engine 'exemplary' is unknown (did you mean 'exemplar'?)"),
        (["--engine", "retalk"], "use --engine exemplar"),
        (["--profile", "desktop"], "profile 'desktop' is unknown"),
        (["--profile", "s3://b/x.yaml"], "s3://b/x.yaml: configuration is read from files of this machine"),
        (
            ["--engine", "https://h/x.yaml"],
            "https://h/x.yaml: configuration is read from files of this machine",
        ),
        (["--log-file", "s3://b/x.log"], "--log-file s3://b/x.log: is written to a file of this machine"),
        (["--set", "level.nothing=1"], "nothing: unknown option. Allowed: "),
        (["--set", "level.gian=1"], "--set: level: gian: unknown option, did you mean 'gain'?"),
        (["--set", "level.gain=much"], "--set: level: gain: must be a number, got 'much'"),
        (["--set", "level.gain=nan"], "--set: level: gain: must be finite, got 'nan'"),
        (["--limit", "max_hours=-1"], "--limit: max_hours: must be above 0, got '-1'"),
        (["--log-file", "/"], "--log-file /: is a folder; give the name of a file in it"),
        (["--set", "gain=1"], "--set gain=1: must be STAGE.OPTION=VALUE"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    footage: Path,
    tmp_path: Path,
    configs: list[str],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert dub(footage, tmp_path / "out" / "x.mp4", configs, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("retalk dub: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_arguments_that_argparse_refuses() -> None:
    for arguments in (
        ["dub", "a", "b"],
        ["dub", "a", "b", "-o", "x.mp4", "--length", "longest"],
        ["nothing"],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 2


def test_help_is_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    commands = (
        "dub",
        "run",
        "submit",
        "plan",
        "status",
        "report",
        "eval",
        "profile",
        "stages",
        "models",
        "completion",
    )
    for command in ([], *([name] for name in commands)):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert len(text) > 200
    with pytest.raises(SystemExit):
        cli.main(["dub", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "pingpong: a shorter video is extended",
        "REFERENCE.jpg",
        "--runner {auto,ray,local}",
        "STAGE.OPTION=VALUE",
    ):
        assert part in text


@pytest.fixture
def manifest(footage: Path, tmp_path: Path) -> str:
    path = tmp_path / "m.jsonl"
    rows: list[dict[str, Any]] = [
        {
            "id": "good",
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "long.wav"),
            "output": "good.mp4",
        },
        {
            "id": "bad",
            "video": str(footage / "absent.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": "bad.mp4",
        },
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_plan_prints_and_writes_nothing(
    manifest: str, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.main(["plan", manifest, *configs]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["title", "size", "frames", "length", "shots", "segments", "state"]
    assert lines[1].split() == ["good", "64x48", "24", "2", "s", "2", "4", "4", "to", "do"]
    assert lines[2].split()[-1] == "FAILS"
    assert "2 titles, 2 dubs: 4 segments to do, 2 s of video, 1 problem" in lines
    assert any(line.startswith("problem: bad: ") and "absent.mp4: no such file" in line for line in lines)
    assert any(line.startswith("note: good: the speech is 1.3 s longer") for line in lines)


def test_plan_of_titles_that_all_fail_forecasts_nothing(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, long = tmp_path / "all.csv", "season-" + "1" * 80 + "-episode-2"
    lines = [f"{long},{footage}/absent.mp4,{footage}/exact.wav"]
    lines += [f"t{n},{footage}/a.mp4,{footage}/exact.wav{n}" for n in range(30)]
    manifest.write_text("\n".join(["id,video,speech", *lines]))
    assert cli.main(["plan", str(manifest), *configs]) == 3
    text = capsys.readouterr().out
    assert "forecast" not in text
    assert "None" not in text
    row = text.splitlines()[1]
    assert re.fullmatch(r"season-1+…1+-episode-2 +\? .* FAILS", row)
    assert len(row) < 100
    problems = [line for line in text.splitlines() if line.startswith("problem: ")]
    assert len(problems) == 3, problems
    assert problems[0].startswith(f"problem: {long}: "), "in full"
    assert problems[1] == "problem: ... and 30 more like it: t0, t1, t2, t3, t4, ..."
    capsys.readouterr()
    assert (
        cli.main(["run", str(manifest), "-o", str(tmp_path / "out"), *configs, "--runner", "local", "-q"])
        == 3
    )
    error = capsys.readouterr().err
    assert len(error.splitlines()) < 10, error
    assert f"31 in all; all of them are in {tmp_path}/out/ledger.jsonl" in error
    assert cli.main(["status", str(tmp_path / "out")]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_plan_without_a_directory_names_outputs_as_the_manifest_does(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": name, "video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), "output": output}
        for name, output in (("a", "o.mp4"), ("b", "./o.mp4"))
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    assert cli.main(["plan", str(manifest), *configs]) == 2
    error = capsys.readouterr().err
    assert "output ./o.mp4 appears in" in error
    assert "already as o.mp4" in error
    assert "retalk-plan-" not in error
    manifest.write_text(json.dumps({**rows[0], "output": "o.avi"}))
    assert cli.main(["plan", str(manifest), *configs]) == 3
    text = capsys.readouterr().out
    assert "problem: a: o.avi: an output's name ends in" in text
    assert "retalk-plan-" not in text


def test_a_catalogue_never_replaces_an_input(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    own = tmp_path / "in" / "a.mp4"
    own.write_bytes((footage / "a.mp4").read_bytes())
    row = {"id": "a", "video": "in/a.mp4", "speech": str(footage / "exact.wav"), "output": "../x/../in/a.mp4"}
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps(row))
    words = ["run", str(manifest), "-o", str(tmp_path / "out"), *configs, "--runner", "local", "--quiet"]
    for more in ([], ["--overwrite"]):
        assert cli.main([*words, *more]) == 3
        error = capsys.readouterr().err
        assert "is one of the inputs: the video; choose another name" in error
        assert "--overwrite" not in error
    assert own.read_bytes() == (footage / "a.mp4").read_bytes()


def test_run_and_status(
    manifest: str, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["run", manifest, "-o", str(out), *configs, "--runner", "local"]) == 3
    captured = capsys.readouterr()
    assert "1 dubbed, 1 failed; 2 s of video" in captured.out
    assert "failed: bad: " in captured.err
    assert cli.main(["status", str(out)]) == 3
    text = capsys.readouterr().out
    assert "finished; engine test, profile test" in text
    assert "2 dubs of 2 titles: 1 done, 1 failed, 0 to go" in text
    assert "segments planned: 4, committed: 4 (24/24 frames)" in text
    with RunLock(str(out)):
        assert cli.main(["run", manifest, "-o", str(out), *configs, "--runner", "local"]) == 2
        assert "another run is at work here" in capsys.readouterr().err
        cli.main(["status", str(out)])
        assert f"running (process {os.getpid()} on" in capsys.readouterr().out
    assert cli.main(["plan", manifest, "-o", str(out), *configs]) == 3
    assert "done already" in capsys.readouterr().out
    assert cli.main(["status", str(tmp_path / "nowhere")]) == 2


def test_json_is_all_that_is_on_standard_output(
    manifest: str, footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["run", manifest, "-o", str(out), *configs, "--runner", "local", "--json"]) == 3
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (
        report["outcome"],
        report["exit_code"],
        report["already_done"],
        report["dubbed"],
        report["failed"],
    ) == ("failed", 3, 0, 1, 1)
    assert [(record["title"], record["state"]) for record in report["records"]] == [
        ("bad", "failed"),
        ("good", "done"),
    ]
    assert "no such file" in report["records"][0]["error"]
    assert report["segments"] == {"computed": 4, "reused": 0}
    assert "failed: bad: " in captured.err
    assert (
        cli.main(
            ["run", manifest, "-o", str(out), *configs, "--runner", "local", "--json", "--allow-failures"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["already_done"] == 1
    assert dub(footage, tmp_path / "x.mp4", configs, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["outcome"], report["records"][0]["frames"]) == ("done", 24)


def test_a_log_file_has_what_the_terminal_does_not_show(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "dub.log"
    fails = ["--set", "misbehave_dub.fail=x", "--set", "misbehave_dub.segment=2", "--log-file", str(log)]
    assert dub(footage, tmp_path / "out" / "x.mp4", configs, *fails) == 3
    assert "Traceback" not in capsys.readouterr().err
    text = log.read_text()
    assert "ERROR retalk: x: misbehave_dub: " in text
    assert "Traceback (most recent call last):" in text
    assert dub(footage, tmp_path / "out" / "x.mp4", configs, *fails, "--verbose") == 3
    assert "Traceback" in capsys.readouterr().err
    assert (
        dub(footage, tmp_path / "out" / "y.mp4", [*configs, "--engine", "none"], "--log-file", str(log)) == 2
    )
    assert "engine 'none' is unknown" in log.read_text()


def test_a_run_that_ends_tells_a_webhook(
    manifest: str,
    footage: Path,
    tmp_path: Path,
    configs: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "WAITS", (0.0, 0.0, 0.0))
    command = ["run", manifest, "-o", str(tmp_path / "out"), *configs, "--runner", "local", "--quiet"]
    with hook(500, 500) as (url, heard):
        assert cli.main([*command, "--notify", url]) == 3
        assert "not delivered" not in capsys.readouterr().err
        with RunLock(str(tmp_path / "out")):
            assert cli.main([*command, "--notify", url]) == 2
        with monkeypatch.context() as patched:
            patched.setattr(RunLock, "check", interrupted)
            assert cli.main([*command, "--redo", "good", "--notify", url]) == 130
    ended, refused, stopped = (body for _, _, body in heard[2:])
    told = {name: ended[name] for name in ("command", "outcome", "dubbed", "failed")}
    assert told == {"command": "run", "outcome": "failed", "dubbed": 1, "failed": 1}
    (failed,) = ended["failed_titles"]
    assert (failed["title"], failed["dub"]) == ("bad", "dub")
    assert (refused["outcome"], refused["exit_code"]) == ("refused", 2)
    assert "another run is at work here" in refused["error"]
    assert (stopped["outcome"], stopped["exit_code"]) == ("interrupted", 130)
    capsys.readouterr()
    with hook(404) as (url, _):
        assert dub(footage, tmp_path / "x.mp4", configs, "--notify", url) == 0, "a run never fails of it"
    error = capsys.readouterr().err
    assert re.search(
        r"note: the summary was not delivered to http://127\.0\.0\.1:\d+/\*\*\*: it answered 404", error
    )
    assert "token" not in error
    assert dub(footage, tmp_path / "y.mp4", configs, "--notify", "ftp://x/y") == 2
    assert not (tmp_path / "y.mp4").exists()


def interrupted(self: Any) -> None:
    raise KeyboardInterrupt


def test_a_dry_run_says_what_would_be_done(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert dub(footage, folder / "x.mp4", configs, "--dry-run", speech="long.wav") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"{footage / 'a.mp4'}: 64x48, 2 shots",
        f"{folder / 'x.mp4'}: 24 frames, 2 s, would be written",
        "engine test, profile test: 4 segments to compute",
    ]
    assert "note: the speech is 1.3 s longer than the video and is cut" in captured.err
    assert not folder.exists()
    (tmp_path / "silent.wav").write_bytes((footage / "exact.wav").read_bytes()[:44] + bytes(64000))
    arguments = [
        "dub",
        str(footage / "a.mp4"),
        str(tmp_path / "silent.wav"),
        "-o",
        str(folder / "x.mp4"),
        *configs,
        "--dry-run",
    ]
    assert cli.main([*arguments, "--json"]) == 3
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["dry_run"], told["exit_code"], told["state"]) == (True, 3, "failed")
    assert f"would fail: {told['error']}" in captured.err
    assert not folder.exists()


def test_a_dry_run_and_a_plan_say_that_dlib_is_taken(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    video, speech = str(footage / "a.mp4"), str(footage / "exact.wav")
    cli.main(["dub", video, speech, "-o", str(tmp_path / "x.mp4"), "--engine", "exemplar", "--dry-run"])
    assert "note: faces are found with dlib: " in capsys.readouterr().err
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "video": video, "speech": speech, "output": "a.mp4"}) + "\n")
    cli.main(["plan", str(manifest), "--engine", "exemplar"])
    assert capsys.readouterr().out.count("note: faces are found with dlib: ") == 1


def test_a_dry_run_is_refused_what_the_run_would_be(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.mp4").write_bytes(b"precious")
    assert dub(footage, tmp_path / "x.mp4", configs, "--dry-run") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert dub(footage, tmp_path / "x.mp4", configs, "--dry-run", "--overwrite") == 0
    assert dub(footage, tmp_path / "y.mp4", configs, "--dry-run", video="absent.mp4") == 2
    assert (tmp_path / "x.mp4").read_bytes() == b"precious"


def test_stages_prints_the_table_and_the_options(
    configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["stages", *configs[:2]]) == 0
    assert capsys.readouterr().out.startswith("| stage ")
    assert cli.main(["stages", *configs[:2], "--options", "--set", "level.gain=2"]) == 0
    shown = capsys.readouterr().out
    assert "level.gain = 2.0  (float)" in shown
    assert "MiB" not in shown  # these stages have no networks


def test_stages_states_the_memory_of_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the networks that the options choose."""
    assert cli.main(["stages", "--engine", "retalk", "--options"]) == 0
    shown = capsys.readouterr().out
    assert "\nlnet: lnet: 488 MiB of weights, and 474 MiB while they run on a GPU, 32 pictures" in shown
    assert "\nenet: enet, gfpgan, parsenet: 533 MiB" in shown
    settings = ["--set", "enet.restoration=none", "--set", "enet.mask=ellipse"]
    assert cli.main(["stages", "--engine", "retalk", "--options", *settings]) == 0
    assert "\nenet: enet: 119 MiB" in capsys.readouterr().out


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_anywhere_the_same_command_goes_on(
    footage: Path, tmp_path: Path, configs: list[str], how: signal.Signals
) -> None:
    """A real process, ended while a stage is at work."""
    output, log = tmp_path / "out" / "x.mp4", tmp_path / "log"
    base = [
        sys.executable,
        "-m",
        "pipelines",
        "dub",
        str(footage / "a.mp4"),
        str(footage / "exact.wav"),
        "-o",
        str(output),
        *configs,
    ]
    command = [
        *base,
        "--runner",
        "local",
        "--set",
        f"paint.log={log}",
        "--set",
        f"paint.wait={tmp_path / 'go'}",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 500
    while not log.exists() or len(log.read_text().split()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    _, error = process.communicate(timeout=300)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "run the same command again to resume" in error
    assert not output.exists()
    before = len(log.read_text().split())
    (tmp_path / "go").touch()
    assert subprocess.run(command, check=False, capture_output=True, timeout=500).returncode == 0
    assert [path.name for path in output.parent.iterdir()] == ["x.mp4"]
    # The third segment had been written when the process was ended, without a receipt.
    assert len(log.read_text().split()) - before <= 4 - 1
    assert len(log.read_text().split()) <= 5
