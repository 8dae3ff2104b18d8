"""`retalk models` as a user types it: what it prints, what it does, and its exit codes."""

import argparse
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from pipelines.cli.models import add_parser, main
from pipelines.cli.models_list import markdown
from retalk_models.registry.catalog import load_catalog, shipped_catalog
from tests.retalk_models.fetch_server import serving

ROOT = Path(__file__).parents[3]
EXPRESSION = b"MATLAB 5.0 MAT-file" + random.Random(7).randbytes(1441)
POINTS = b"MATLAB 5.0 MAT-file" + random.Random(8).randbytes(975)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RETALK_LOCK", raising=False)
    return tmp_path / "home" / "models"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with files that nothing pins, as far as their publishers' pages describe them, and an archive
    with a file that is not the one that the catalogue pins.
    """
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "expression.mat").write_bytes(EXPRESSION)
    (folder / "wav2lip_gan.pth").write_bytes(POINTS)
    with zipfile.ZipFile(folder / "BFM.zip", "w") as archive:
        archive.writestr("BFM/similarity_Lm3D_all.mat", POINTS)
    return folder


def test_list_names_every_file_and_what_is_here(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(parents=True)
    (home / "expression.mat").write_bytes(EXPRESSION)
    (home / "GFPGANv1.3.pth").write_bytes(b"short")
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    lines = {line.split()[0]: line for line in text.splitlines() if line and not line.startswith(" ")}
    assert set(load_catalog().files) <= set(lines)
    assert "yes" in lines["expression.mat"]
    assert "wrong size" in lines["GFPGANv1.3.pth"]
    assert "enhancement of reference pictures; licence: no licence file" in " ".join(text.split())
    assert main(["list", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["directory"] == str(home)
    assert {entry["file"]: entry["present"] for entry in value["files"]}["expression.mat"] == "yes"


def test_pull_shows_licences_and_waits_for_consent(
    home: Path, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["pull", "expression.mat", "wav2lip_gan.pth", "--from", str(mirror)]
    assert main(names) == 2
    said = capsys.readouterr()
    assert "Wav2Lip, non-commercial" in said.out
    assert "--accept-licences" in said.err
    assert not (home / "expression.mat").exists()
    assert main([*names, "--accept-licences"]) == 0
    said = capsys.readouterr()
    assert "2 of 2 files are in" in said.out
    assert hashlib.sha256(POINTS).hexdigest() in said.err  # trust on first use, aloud
    assert (home / "wav2lip_gan.pth").read_bytes() == POINTS
    assert main(names) == 0  # present: nothing to consent to
    assert "present" in capsys.readouterr().out


def test_another_file_under_a_pinned_name_is_not_used(
    home: Path, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`similarity_Lm3D_all.mat` has the right size, comes out of its archive, and is not the pinned file."""
    names = ["pull", "similarity_Lm3D_all.mat", "--from", str(mirror), "--accept-licences"]
    assert main(names) == 3
    said = capsys.readouterr().err
    assert hashlib.sha256(POINTS).hexdigest() in said
    assert f"catalogue pins {load_catalog().files['similarity_Lm3D_all.mat'].sha256}" in said
    assert not (home / "similarity_Lm3D_all.mat").exists()
    assert (home / "rejected" / "similarity_Lm3D_all.mat").read_bytes() == POINTS


def test_pull_of_a_licence_that_allows_everything_asks_nothing(home: Path, mirror: Path) -> None:
    assert main(["pull", "expression.mat", "--from", str(mirror)]) == 0


def test_licence_clean_says_what_it_leaves_out_and_why(
    home: Path, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["expression.mat", "similarity_Lm3D_all.mat", "gpen"]
    assert main(["pull", *names, "--select", "licence-clean", "--from", str(mirror)]) == 0
    out = capsys.readouterr().out
    assert (
        "left out: similarity_Lm3D_all.mat (licence: Basel Face Model 2009, non-commercial, commercial use: no; trained on: "
        in out
    )
    assert "Without it: no retalk engine" in out
    assert "left out: GPEN-BFR-512.pth" in out
    assert "kept on its publisher's word: expression.mat" in out
    assert sorted(path.name for path in home.glob("*.mat")) == ["expression.mat"]


def test_failures_are_named_and_give_3(home: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mirror / "GFPGANv1.3.pth").write_bytes(b"other bytes")
    assert main(["pull", "expression.mat", "gfpgan", "dnet", "--from", str(mirror), "--jobs", "1"]) == 3
    said = capsys.readouterr()
    assert "1 of 3 files are in" in said.out
    assert "GFPGANv1.3.pth" in said.err
    assert "has 11 bytes, not 348632874" in said.err
    assert f"{mirror}/DNet.pt: no such file" in said.err
    assert (home / "expression.mat").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "lnett"], "did you mean"),
        (["pull", "lnet", "--from", "/no/such/folder"], "no such folder"),
        (["pull", "lnet", "--select", "eval"], "not both"),
        (["pull", "lnet", "--accept-hash", "LNet.pth"], "FILE=SHA256"),
        (["verify", "nothing"], "'nothing'"),
    ],
)
def test_wrong_usage_gives_2(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_verify_hashes_again(home: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    assert "no model files" in capsys.readouterr().out
    main(["pull", "expression.mat", "--from", str(mirror)])
    assert main(["verify"]) == 0
    assert "pinned by" in capsys.readouterr().out
    assert main(["verify", "expression.mat", "dnet"]) == 3  # named, and missing
    capsys.readouterr()
    (home / "expression.mat").write_bytes(EXPRESSION[::-1])
    assert main(["verify"]) == 3
    assert "expression.mat  mismatch" in capsys.readouterr().out


def test_a_checked_in_lock_file_holds_for_others(
    home: Path, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ["--lock", str(tmp_path / "repo" / "models.lock.json")]
    assert main(["pull", "expression.mat", "--from", str(mirror), *lock]) == 0
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "second"))
    (mirror / "expression.mat").write_bytes(EXPRESSION[::-1])
    assert main(["pull", "expression.mat", "--from", str(mirror), *lock]) == 3


def test_transfers_without_an_address_are_left_out_of_selections(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything_else = [file for file in load_catalog().files if file != "wav2lip_gan.pth"]
    assert main(["pull", "--select", "all", "--without", *everything_else]) == 0
    assert "left out: wav2lip_gan.pth: its publisher gives no direct address" in capsys.readouterr().out


def test_it_fits_into_retalk_and_runs_alone(home: Path) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", "pull", "lnet", "--jobs", "2"])
    assert (args.names, args.jobs, callable(args.run)) == (["lnet"], 2, True)
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.models", "pull", "lnett"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "retalk models: no model file" in result.stderr


def test_ctrl_c_keeps_what_was_transferred(home: Path) -> None:
    with serving({"/DNet.pt": bytes(180_000_000)}) as shelf:
        shelf.pause = 0.02
        arguments = [sys.executable, "-m", "pipelines.cli.models", "pull", "dnet", "--from", shelf.url]
        process = subprocess.Popen(
            arguments, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and shelf.sent < 4 << 20:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "is kept" in said
    (part,) = (home / ".partial").glob("DNet.pt.*.part")
    assert 0 < part.stat().st_size < 180_000_000


def test_the_documents_table_is_the_catalogue() -> None:
    assert markdown(shipped_catalog()) in (ROOT / "docs" / "models.md").read_text()


def test_verify_numerics_tells_each_form_of_a_network(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without files: on made-up weights."""
    assert main(["verify", "--numerics", "face3d"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("face3d ")]
    assert [re.split(r" {2,}", line)[2] for line in lines] == [
        "float32 channels last",
        "bfloat16 channels last",
        "bfloat16",
    ]
    assert all("made up" in line and "cpu" in line for line in lines)
    assert lines[0].endswith("right")
    assert float(re.split(r" {2,}", lines[0])[4]) < 1e-4
