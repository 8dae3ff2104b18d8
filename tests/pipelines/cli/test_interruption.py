"""A command ends in the same way by Ctrl-C, SIGTERM and SIGHUP, whenever they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from pipelines.cli import interruption
from pipelines.cli import main as cli
from tests.pipelines.cli.test_terminal import command
from tests.pipelines.conftest import engine_config

ROOT = Path(__file__).parents[3]
LINE = "interrupted: run the same command again to resume"


@pytest.mark.parametrize("number", interruption.SIGNALS)
@pytest.mark.parametrize("moment", ["retalk_models.installation", "pipelines.cli.main", "argparse"])
def test_a_signal_in_the_first_moments(number: signal.Signals, moment: str) -> None:
    """It comes while a module is being imported."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import retalk_cli\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {moment!r}:\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.modules.pop('argparse', None)\n"
        "sys.exit(retalk_cli.main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "status", "nowhere"],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (130, f"{LINE}\n")


@pytest.mark.parametrize(
    ("runner", "number"),
    [("local", signal.SIGTERM), ("local", signal.SIGHUP), ("ray", signal.SIGTERM)],
)
def test_a_signal_while_work_is_done(
    footage: Path, tmp_path: Path, runner: str, number: signal.Signals
) -> None:
    log, gate, said = tmp_path / "log", tmp_path / "go", tmp_path / "said"
    held = ["--set", f"paint.log={log}", "--set", f"paint.wait={gate}", "--quiet"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **kept,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "TMPDIR": str(tmp_path),
        "RAY_TMPDIR": tempfile.gettempdir(),
    }
    with said.open("w") as out:
        process = subprocess.Popen(
            command("run", runner, footage, tmp_path, *held),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    while not log.exists():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(200) == 130, said.read_text()
    assert said.read_text() == f"{LINE}\n"
    if runner == "local":  # Ray may end the driver in the middle; its lock then names a process that is gone
        assert not (tmp_path / "out" / "lock.json").exists()
        assert not list(tmp_path.glob("retalk-ray-*.log"))


@pytest.mark.parametrize("other", [RuntimeError("the store is gone"), SystemExit(1), KeyboardInterrupt()])
def test_what_libraries_make_of_an_interruption_does_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: BaseException
) -> None:
    def interrupted(*_: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise other from None
        return 0

    monkeypatch.setattr("pipelines.cli.status.show_status", interrupted)
    assert cli.main(["status", "nowhere"]) == 130
    assert capsys.readouterr().err == "interrupted\n", "it has nothing to resume"


def test_a_signal_that_is_to_be_ignored_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.Interruption() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked.asked
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            assert asked.asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("moment", ["checking", "working"])
def test_a_crash_of_a_library_names_the_file(footage: Path, tmp_path: Path, moment: str) -> None:
    """A real SIGSEGV while the speech is being read, at its first opening or at a later one."""
    engine, speech = tmp_path / "engine.yaml", tmp_path / "bad.wav"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    speech.write_bytes((footage / "exact.wav").read_bytes())
    code = (
        "import os, signal, sys\n"
        "import retalk_cli\n"
        "from operators.media import reading\n"
        "seen, told = [], reading._told\n"
        "def crash(url):\n"
        "    told(url)\n"
        "    seen.extend([url] if url.endswith('bad.wav') else [])\n"
        f"    if len(seen) > {int(moment == 'working')}:\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "reading._told = crash\n"
        "sys.exit(retalk_cli.main())\n"
    )
    output = tmp_path / "out.mp4"
    command = [
        "dub",
        f"{footage}/a.mp4",
        str(speech),
        "-o",
        str(output),
        "--engine",
        str(engine),
        "-q",
        "--json",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert f"a library has crashed this process (SIGSEGV) while {speech} was being read" in ended.stderr
    assert json.loads(ended.stdout)["exit_code"] == 1
    assert not output.exists()
