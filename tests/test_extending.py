"""docs/extending.md, "From another distribution": its code blocks, installed as a distribution of their own,
add an engine, metrics and a command.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.conftest import make_speech, make_video

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text().split("\n## From another distribution\n")[1]


def distribution(folder: Path, name: str, entry_points: str) -> None:
    """Write the metadata of an installed distribution."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A folder with the page's package, and its entry points as an installer writes them."""
    site = tmp_path / "site"
    (site / "acme").mkdir(parents=True)
    (site / "acme" / "__init__.py").touch()
    tables = []
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if kind == "toml":
            tables.append(re.sub(r'^\[project\.entry-points\."(.+)"\]', r"[\1]", text).replace('"', ""))
        else:
            name, _, content = text.removeprefix("# ").partition("\n")
            (site / name).write_text(content)
    assert len(tables) == 3
    distribution(site, "acme-retalk", "\n".join(tables))
    return site


def retalk(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where the distribution is installed."""
    path = os.pathsep.join((str(site), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=site,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("runner", ["local", "ray"])
def test_engine_and_metrics_of_another_distribution(acme: Path, tmp_path: Path, runner: str) -> None:
    make_video(tmp_path / "v.mp4", scenes=2)
    make_speech(tmp_path / "s.wav")
    row = {"id": "a", "video": str(tmp_path / "v.mp4"), "speech": str(tmp_path / "s.wav"), "output": "a.mp4"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    out = tmp_path / "out"
    manifest = str(tmp_path / "m.jsonl")
    made = retalk(acme, "run", manifest, "-o", str(out), "--engine", "veil", "--runner", runner, "-q")
    assert made.returncode == 0, made.stdout + made.stderr
    record = json.loads((out / "ledger.jsonl").read_text())
    metrics = {metric["name"]: metric for metric in record["metrics"]}
    assert set(metrics) == {"contrast", "kilobytes", "sharpness"}
    assert metrics["kilobytes"]["value"] == pytest.approx((out / "a.mp4").stat().st_size / 1000)
    assert metrics["contrast"]["worst"] <= metrics["contrast"]["value"]
    shown = retalk(acme, "report", str(out)).stdout
    assert re.search(r"^\| contrast +\| - +\| shot", shown, re.MULTILINE)
    assert re.search(r"^\| kilobytes +\| kB +\| title", shown, re.MULTILINE)


def test_what_is_installed_is_listed_and_a_command_runs(acme: Path) -> None:
    listed = retalk(acme, "stages", "--list").stdout
    assert re.search(r"^veil +acme-retalk 1\.0 +hides the mouth", listed, re.MULTILINE)
    assert re.search(r"^contrast +acme-retalk 1\.0 +shot +by default", listed, re.MULTILINE)
    assert "| veil " in retalk(acme, "stages", "--engine", "veil").stdout
    assert "veil (acme-retalk 1.0)" in " ".join(retalk(acme, "stages", "--help").stdout.split())
    assert retalk(acme, "hello", "world").stdout == "hello world\n"


def test_a_name_that_two_distributions_bring_names_both(acme: Path) -> None:
    distribution(
        acme,
        "rival",
        "[retalk.engines]\nveil = rival:veil.yaml\nexemplar = rival:e.yaml\n"
        "[retalk.commands]\nhello = rival:add\ndub = rival:add\n",
    )
    clash = retalk(acme, "stages", "--engine", "veil")
    assert clash.returncode == 2
    assert "acme-retalk 1.0 and rival 1.0" in clash.stderr
    assert "Traceback" not in clash.stderr
    assert "retalk-dub and rival 1.0" in retalk(acme, "stages", "--engine", "exemplar").stderr
    command = retalk(acme, "hello", "world")
    assert command.returncode == 2
    assert "acme-retalk 1.0 and rival 1.0" in command.stderr
    assert "the command 'dub' of rival 1.0 is left out" in command.stderr
    assert "VIDEO" in retalk(acme, "dub", "--help").stdout


def test_a_broken_entry_point_breaks_nothing_else(acme: Path) -> None:
    distribution(
        acme,
        "broken",
        "[retalk.engines]\ncracked = broken:no.yaml\n[retalk.metrics]\nlost = broken:Lost\n"
        "[retalk.commands]\nbust = broken:add\n",
    )
    for arguments in (["stages", "--engine", "cracked"], ["bust", "--any", "thing"]):
        failed = retalk(acme, *arguments)
        assert failed.returncode == 2, failed.stdout + failed.stderr
        assert "broken 1.0" in failed.stderr
        assert "uninstall broken" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert retalk(acme, "stages", "--engine", "veil").returncode == 0
    listed = retalk(acme, "stages", "--list").stdout
    assert re.search(r"^lost +broken 1\.0 .*cannot be used", listed, re.MULTILINE)
    named = retalk(acme, "stages", "--engine", "veil", "--set", "metrics.on=lost")
    assert named.returncode == 2
    assert "'lost' (retalk.metrics) of broken 1.0" in named.stderr
