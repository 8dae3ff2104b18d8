"""The command line's words: help, suggestions, one line of usage, completion, and what is imported for it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import main as cli
from pipelines.cli.arguments import Parser
from pipelines.cli.speech_options import speakers
from retalk_models import __version__

ROOT = Path(__file__).parents[3]
COMMANDS = (
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


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["dub", "a", "b", "-o", "c.mp4", "--lenth", "keep"],
            "retalk dub: unknown option --lenth (did you mean --length?)",
        ),
        (
            ["run", "m.jsonl", "--outptu", "out"],
            "retalk run: unknown option --outptu (did you mean --output?)",
        ),
        (["run", "m.jsonl", "-o", "out", "--zzz=1"], "retalk run: unknown option --zzz"),
        (["run"], "retalk run: missing: MANIFEST, -o/--output"),
        (["rnu", "m.jsonl"], "retalk: unknown command 'rnu' (did you mean run?); there are dub, run, "),
        (["models", "lst"], "retalk models: unknown command 'lst' (did you mean list?)"),
        (
            ["models", "pull", "--slect", "all"],
            "retalk models pull: unknown option --slect (did you mean --select?)",
        ),
        (
            ["dub", "a", "b", "-o", "c.mp4", "--length", "freze"],
            "unknown value 'freze' (did you mean freeze?); choose from keep, trim, ",
        ),
        (
            ["dub", "my", "talk.mp4", "b", "-o", "c.mp4"],
            "retalk dub: unexpected argument b (a name with spaces needs quotes)",
        ),
        (
            ["dub", "a", "b", "-o", "c.mp4", "--cache", "x", "--no-cache"],
            "--no-cache: not allowed with argument --cache",
        ),
        (["completion", "fsh"], "unknown value 'fsh'"),
    ],
)
def test_mistakes_are_answered_in_two_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = refused(arguments, capsys)
    assert len(lines) == 2
    assert message in lines[0]
    assert lines[1].startswith("usage: retalk")


def test_one_line_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["run"], capsys)[1] == "usage: retalk run MANIFEST -o DIR [options]; see retalk run --help"
    assert (
        refused(["dub"], capsys)[1]
        == "usage: retalk dub VIDEO [SPEECH] -o OUT [options]; see retalk dub --help"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["v.mp4", "s.wav", "-o", "o.mp4", "--language", "deu"],
        ["v.mp4", "--language", "deu", "s.wav", "-o", "o.mp4"],
        ["-o", "o.mp4", "v.mp4", "--language", "deu", "s.wav"],
        ["--language", "deu", "-o", "o.mp4", "v.mp4", "s.wav"],
    ],
)
def test_options_may_stand_between_video_and_speech(words: list[str]) -> None:
    found = cli.parser().parse_args(["dub", *words])
    assert (found.video, found.speech, found.output, found.language) == ("v.mp4", "s.wav", "o.mp4", "deu")
    stems = cli.parser().parse_args(["dub", "v.mp4", "--speaker", "left=a.wav", "-o", "o.mp4"])
    assert (stems.video, stems.speech) == ("v.mp4", None)


def test_a_value_that_looks_like_an_option_is_no_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["run", "--", "--manifst"], capsys)[0] == "retalk run: missing: -o/--output"


def test_the_version_and_help_of_the_bare_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"retalk {__version__}\n"
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: retalk COMMAND [options]\n\nVisual dubbing")


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ([], *([name] for name in COMMANDS), ["models", "pull"]):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        text = capsys.readouterr().out
        described = text.partition("Examples:")[0]
        # Two columns may be wider: an option's own words are not broken.
        wide = [
            line for line in described.splitlines() if len(line) > min(columns, 100) and " -" not in line[:5]
        ]
        assert not wide, (command, wide)


def test_every_help_ends_with_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser()
    seen = 0
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        text = capsys.readouterr().out
        if name == "models":
            continue
        assert "Examples:" in text, name
        for line in text.partition("Examples:")[2].splitlines():
            _, found, words = line.partition("retalk ")
            if found and line.startswith("  "):
                given = words.split("   ")[0].split(">")[0].split()
                assert parser.parse_args(given).command == name, line
                seen += 1
    assert seen > 15


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        for action in command._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (
                name,
                action.option_strings,
            )
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = capsys.readouterr().out
    assert "--no-ray" not in text, "an alias for scripts"
    assert "slower" not in text
    assert parser.parse_args(["run", "m", "-o", "d", "--no-ray"]).runner == "local"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("dub", "run", "completion", *(("--redo",) if shell != "tcsh" else ())):
        assert word in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "retalk.bash").write_text(capsys.readouterr().out)

    def complete(*words: str) -> set[str]:
        line = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_retalk; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        code = f"cd {tmp_path}; source ./retalk.bash; {line}"
        answer = subprocess.run(
            ["bash", "-c", code], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return set(answer.stdout.split())

    assert {"run", "report"} <= complete("retalk", "r")
    assert {"--redo", "--root", "--runner"} <= complete("retalk", "run", "--r")
    assert complete("retalk", "dub", "--length", "p") == {"pingpong"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], [], ["run", "--help"], ["rnu"], ["dub", "a"], ["models", "--help"]],
)
def test_nothing_heavy_is_imported_for_words(arguments: list[str]) -> None:
    heavy = "{'torch', 'ray', 'numba', 'cv2', 'pandas', 'scipy', 'librosa', 'dlib', 'rich'}"
    code = (
        "import sys, pipelines.cli.main as cli\n"
        f"try: cli.main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"found = {heavy} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 0, ended.stderr


def test_the_parser_alone() -> None:
    parser = Parser(prog="x")
    parser.add_argument("--kind", choices=("a", "b"))
    assert parser.parse_args(["--kind", "a"]).kind == "a"
    assert parser.short_usage() == "x [options]"


def test_a_speaker_s_picture_may_have_an_equals_sign_in_its_path(tmp_path: Path) -> None:
    picture = tmp_path / "a=b" / "person-1.jpg"
    picture.parent.mkdir()
    picture.touch()
    given = {f"{picture}=c=d.wav": str(picture), "left=c=d.wav": "left", f"{'x' * 300}=c=d.wav": "x" * 300}
    found = speakers(argparse.Namespace(speakers=list(given), face=None, mix=None))
    assert found["speakers"] == [{"face": face, "speech": "c=d.wav"} for face in given.values()]
