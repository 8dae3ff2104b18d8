"""docs/extending.md: the code blocks of "From another distribution", installed as a distribution of their own,
add an engine, metrics, a command, model files and a storage rule; the stage of "A stage in this tree" runs.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from operators.columns import tensor
from operators.retalk.nets import NetworkStage
from operators.segment import Segment
from operators.storage import retry
from operators.storage.errors import StorageError
from operators.wav2lip.wav2lip_stage import Wav2LipOptions, Wav2LipStage
from pipelines.engine.config import load_profile, names
from pipelines.engine.metrics import BY_DEFAULT
from pipelines.engine.resolve import resolve_engine
from retalk_models.plugins import GROUPS
from tests.pipelines.conftest import make_speech, make_video

ROOT = Path(__file__).parents[1]
HERE, PAGE = (ROOT / "docs" / "extending.md").read_text().split("\n## From another distribution\n")
#: The bytes whose digest and size the page gives for veil.onnx.
VEIL = bytes(range(256)) * 4


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of the code blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


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
    for kind, text in blocks(PAGE):
        if kind == "toml":
            tables.append(re.sub(r'^\[project\.entry-points\."(.+)"\]', r"[\1]", text).replace('"', ""))
        else:
            name, _, content = text.removeprefix("# ").partition("\n")
            (site / name).write_text(content)
    assert len(tables) == len(GROUPS) == 5
    distribution(site, "acme-retalk", "\n".join(tables))
    return site


@pytest.fixture
def installed(acme: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, on the path of this process."""
    monkeypatch.syspath_prepend(acme)
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        monkeypatch.delitem(sys.modules, name)
    return acme


def retalk(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where the distribution is installed."""
    path = os.pathsep.join((str(site), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled", **variables}
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
    # Whether anybody looks at identities depends on the length of the shots.
    assert set(metrics) >= {"contrast", "kilobytes", *BY_DEFAULT} - {"identity_gap"}
    assert metrics["kilobytes"]["value"] == pytest.approx((out / "a.mp4").stat().st_size / 1000)
    assert metrics["contrast"]["worst"] <= metrics["contrast"]["value"]
    shown = retalk(acme, "report", str(out)).stdout
    assert re.search(r"^\| contrast +\| - +\| shot", shown, re.MULTILINE)
    assert re.search(r"^\| kilobytes +\| kB +\| title", shown, re.MULTILINE)


def test_what_is_installed_is_listed_and_a_command_runs(acme: Path) -> None:
    listed = retalk(acme, "stages", "--list").stdout
    assert re.search(r"^veil +acme-retalk 1\.0 +hides the mouth", listed, re.MULTILINE)
    assert re.search(r"^contrast +acme-retalk 1\.0 +shot +by default", listed, re.MULTILINE)
    assert re.search(r"^veil\.onnx +acme-retalk 1\.0 +engine veil", listed, re.MULTILINE)
    assert re.search(r"^vault +acme-retalk 1\.0", listed, re.MULTILINE)
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
        "[retalk.commands]\nbust = broken:add\n[retalk.model_files]\nvoid = broken:no.yaml\n"
        "[retalk.storage_rules]\nark = broken:judge\n",
    )
    for arguments in (["stages", "--engine", "cracked"], ["bust", "--any", "thing"]):
        failed = retalk(acme, *arguments)
        assert failed.returncode == 2, failed.stdout + failed.stderr
        assert "broken 1.0" in failed.stderr
        assert "uninstall broken" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert retalk(acme, "stages", "--engine", "veil").returncode == 0
    listed = retalk(acme, "stages", "--list").stdout
    for line in (r"lost +broken 1\.0", r"void +-", r"ark +-"):
        assert re.search(rf"^{line} .*cannot be used.*uninstall broken", listed, re.MULTILINE), listed
    files = retalk(acme, "models", "list")
    assert files.returncode == 0
    assert "left out: entry point 'void' (retalk.model_files) of broken 1.0" in files.stderr
    named = retalk(acme, "stages", "--engine", "veil", "--set", "metrics.on=lost")
    assert named.returncode == 2
    assert "'lost' (retalk.metrics) of broken 1.0" in named.stderr


def test_an_engine_may_be_a_function(acme: Path) -> None:
    (acme / "acme" / "engines.py").write_text(
        "def mist():\n"
        "    stage = {'stage': 'acme.veil:VeilStage', 'like': 'render'}\n"
        "    return {'name': 'mist', 'description': 'made by a function', 'find_faces': False, 'stages': [stage]}\n"
        "def other():\n    return {**mist(), 'name': 'fog'}\n"
        "def torn():\n    raise RuntimeError('no licence')\n"
        "def number():\n    return 7\n"
    )
    distribution(
        acme,
        "functions",
        "[retalk.engines]\nmist = acme.engines:mist\nhaze = acme.engines:other\ntorn = acme.engines:torn\n"
        "seven = acme.engines:number\n",
    )
    assert "| veil " in retalk(acme, "stages", "--engine", "mist").stdout
    for engine, reason in (("haze", "fog"), ("torn", "RuntimeError: no licence"), ("seven", "seven")):
        refused = retalk(acme, "stages", "--engine", engine)
        assert refused.returncode == 2
        assert reason in refused.stderr
        assert "functions 1.0" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_model_file_is_listed_pulled_and_verified(acme: Path, tmp_path: Path) -> None:
    home, mirror = str(tmp_path / "home"), tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "veil.onnx").write_bytes(VEIL)
    listed = retalk(acme, "models", "list", "--format", "json", RETALK_HOME=home)
    (entry,) = [one for one in json.loads(listed.stdout)["files"] if one["distribution"]]
    assert (entry["file"], entry["distribution"], entry["present"]) == ("veil.onnx", "acme-retalk 1.0", "no")
    assert entry["urls"] == ["https://models.acme.example/veil/veil.onnx"]
    pull = ["models", "pull", "veil.onnx", "--from", str(mirror), "-q"]
    pulled = retalk(acme, *pull, RETALK_HOME=home)
    assert pulled.returncode == 0, pulled.stderr
    assert "MIT (Acme); brought by acme-retalk 1.0" in pulled.stdout
    verified = retalk(acme, "models", "verify", "veil.onnx", RETALK_HOME=home).stdout
    assert re.search(r"^veil\.onnx +ok +SHA-256 as pinned by acme-retalk 1\.0", verified, re.MULTILINE)
    (mirror / "veil.onnx").write_bytes(VEIL[::-1])
    wrong = retalk(acme, *pull, RETALK_HOME=str(tmp_path / "other"))
    assert wrong.returncode == 3
    assert "veil.onnx" in wrong.stderr


def test_a_storage_rule_judges_the_errors_of_its_protocol(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault: Any = importlib.import_module("acme.vault")
    assert Path(vault.__file__).is_relative_to(installed)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0005)
    calls: list[str] = []

    def call(*words: str) -> str:
        calls.append(words[min(len(calls), len(words) - 1)])
        if calls[-1] == "open":
            return "content"
        raise vault.VaultError(calls[-1])

    def read(*words: str, url: str = "vault://a/b") -> str:
        calls.clear()
        return retry.retry(lambda: call(*words), url)

    assert read("thawing", "thawing", "open") == "content"
    with pytest.raises(
        StorageError, match=r"vault://a/b: VaultError: ticket; check the credentials for vault://"
    ):
        read("ticket")
    assert len(calls) == 1
    with pytest.raises(FileNotFoundError, match="shredded"):
        read("shredded")
    with pytest.raises(StorageError, match=r"vault://a/b: VaultError: flooded$"):
        read("flooded")
    assert read("thawing", "open", url="zip://x::vault://a/b.zip") == "content"
    with pytest.raises(vault.VaultError):
        read("thawing", url="attic://a/b")


def test_the_pages_engine_is_the_one_in_the_tree() -> None:
    """The blocks of "An engine in this tree" say of `wav2lip` what its files say."""
    (config,) = [yaml.safe_load(text) for _, text in blocks(HERE) if text.startswith("name: wav2lip")]
    assert config == yaml.safe_load((ROOT / "configs" / "engines" / "wav2lip.yaml").read_text())
    (code,) = [text for _, text in blocks(HERE) if text.startswith("class Wav2LipStage")]
    scope = {"NetworkStage": NetworkStage, "Wav2LipOptions": Wav2LipOptions, "pa": pa, "tensor": tensor}
    exec(code, scope)
    shown: Any = scope["Wav2LipStage"]
    for name in ("name", "per", "Options", "reads", "writes", "__bases__"):
        assert getattr(shown, name) == getattr(Wav2LipStage, name), name


def test_the_stage_of_this_tree_fits_its_engine_and_every_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module, line) = [text for _, text in blocks(HERE) if "tiny_stage" in text]
    name, _, code = module.removeprefix("# ").partition("\n")
    (tmp_path / "tiny_stage.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_stage", raising=False)
    dotted = name.removesuffix(".py").replace("/", ".")
    assert dotted in line
    config = (ROOT / line.split(":")[0].removeprefix("# ")).read_text()
    speak = "  - stage: operators.speech.stage:Speak\n"
    assert speak in config
    added = line.partition("\n")[2].replace(dotted, "tiny_stage")
    (tmp_path / "exemplar.yaml").write_text(config.replace(speak, speak + added))
    assert yaml.safe_load((tmp_path / "exemplar.yaml").read_text())["stages"][2]["like"] == "speak"
    engine = resolve_engine(str(tmp_path / "exemplar.yaml"), {"tiny": {"pixels": 30}})
    assert engine.names == ["detect", "speak", "tiny", "choose", "render"]
    for profile in names("profiles"):
        placed = load_profile(profile).place(engine.name, engine.names, engine.like)
        (pool,) = [pool.name for pool, stages in placed if "tiny" in stages]
        assert pool in [pool.name for pool, stages in placed if "speak" in stages], profile

    landmarks = np.zeros((4, 68, 2), np.float32)
    landmarks[:, 0, 1] = 20, 40, np.nan, 29
    row = Segment(
        {
            "halo_start": 10,
            "halo_stop": 14,
            "pts": np.arange(4),
            "landmarks": landmarks,
            "source": np.array([10, 11, 12, 13, 11]),
            "options": "",
        }
    )
    assert engine.stages[2].stage.process(row)["tiny"].tolist() == [True, False, False, True, False]
    assert row.notes == ["tiny: the face is smaller than 30 pixels in places"]
