"""The analysis cache: a further language analyses nothing again and makes the same bytes; damaged and foreign
files are not trusted.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipelines.cli.main import main, parser
from pipelines.cli.options import run_options
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import CacheConfig
from pipelines.engine.specs import CacheSpec
from pipelines.execution.run_spec import cache_folder
from pipelines.runner import Report, run
from pipelines.state import analysis_cache as analysis
from pipelines.state.analysis_cache import AnalysisCache
from pipelines.state.content_keys import PLANNING, provenance_of
from pipelines.state.coordinator import Coordinator
from tests.pipelines.conftest import engine_config, make_video, profile_config
from tests.pipelines.execution.test_worker import planned_row
from tests.pipelines.stages import Brightness
from tests.pipelines.test_runner import digests


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Segments that stage brightness really computed, in this process."""
    calls: list[str] = []
    process = Brightness.process

    def counted(self: Brightness, segment: Any) -> dict[str, Any]:
        calls.append(segment.segment_id)
        return process(self, segment)

    monkeypatch.setattr(Brightness, "process", counted)
    return calls


def dubbed(
    footage: Path,
    folder: Path,
    *languages: str,
    ray: bool = False,
    profile: ProfileConfig | None = None,
    **options: Any,
) -> Report:
    speech = {"deu": "short.wav", "fra": "exact.wav", "spa": "long.wav"}
    dubs = [
        {"language": name, "speech": str(footage / speech[name]), "output": f"{name}.mp4"}
        for name in languages
    ]
    rows = [{"id": "title", "video": str(footage / "a.mp4"), "dubs": dubs}]
    fields: dict[str, Any] = {
        "engine": engine_config(),
        "profile": profile or profile_config(2),
        "runner": "ray" if ray else "local",
        **options,
    }
    return run(rows, run_dir=str(folder), **fields)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "analysis").rglob("*.arrow"))


@pytest.mark.parametrize("cache", [None, "shared"])
def test_a_further_language_analyses_nothing_again(
    footage: Path, tmp_path: Path, analysed: list[str], cache: str | None
) -> None:
    """In the same run directory, and in another one that shares the cache folder, where shots are not looked
    for again either.
    """
    where = str(tmp_path / cache) if cache else None
    dubbed(footage, tmp_path / "one", "deu", cache=where)
    assert len(analysed) == 4
    analysed.clear()
    second = tmp_path / ("two" if cache else "one")
    report = dubbed(footage, second, "deu", "fra", "spa", cache=where)
    assert (analysed, report.exit_code) == ([], 0)
    calm = dubbed(footage, tmp_path / "calm", "deu", "fra", "spa", cache=False)
    assert len(analysed) == 4, "once a segment, not once a dub"
    assert digests(second) == digests(tmp_path / "calm")
    assert (len(calm.records), files(tmp_path / "calm")) == (3, [])
    if cache:
        assert not (tmp_path / "two" / "analysis").exists()
        assert len(list((tmp_path / cache / "plans").iterdir())) == 1, (
            "both found the same shots under the same name"
        )


def test_what_a_stage_noted_is_kept_with_its_columns(
    footage: Path, tmp_path: Path, analysed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A language that is added later says the same about the analysis that it uses."""
    process = Brightness.process

    def noting(self: Brightness, segment: Any) -> dict[str, Any]:
        segment.note("measured by candlelight")
        return process(self, segment)

    monkeypatch.setattr(Brightness, "process", noting)
    first = dubbed(footage, tmp_path / "run", "deu")
    assert len(analysed) == 4
    monkeypatch.setattr(Brightness, "process", process)
    second = dubbed(footage, tmp_path / "run", "deu", "fra")
    assert len(analysed) == 4
    for report in (first, second):
        for record in report.records:
            assert record["notes"].count("measured by candlelight") == 1, record["dub"]


def test_ray_writes_what_the_plain_loop_reads(
    footage: Path, tmp_path: Path, analysed: list[str], ray_session: Any
) -> None:
    dubbed(footage, tmp_path / "run", "deu", ray=True)
    assert len(files(tmp_path / "run")) == 4
    dubbed(footage, tmp_path / "run", "deu", "fra")
    assert analysed == []


def test_damaged_and_foreign_files_are_computed_again(
    footage: Path, tmp_path: Path, analysed: list[str]
) -> None:
    dubbed(footage, tmp_path / "run", "deu")
    analysed.clear()
    cut, flipped, foreign, _ = files(tmp_path / "run")
    good = flipped.read_bytes()
    cut.write_bytes(cut.read_bytes()[:100])
    table = pa.ipc.open_file(pa.BufferReader(good)).read_all()
    # A valid Arrow file whose numbers are others: only the checksum tells.
    wrong = table.set_column(
        0, table.schema.field(0), pa.array([[1.0] * len(table.column(0)[0])], table.schema.field(0).type)
    )
    with pa.OSFile(str(flipped), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(wrong.replace_schema_metadata(table.schema.metadata))
    shutil.copy(files(tmp_path / "run")[3], foreign)
    report = dubbed(footage, tmp_path / "run", "deu", "fra")
    assert (sorted(analysed), report.exit_code) == (["title/0", "title/1", "title/2"], 0)
    assert flipped.read_bytes() == good, "and they are right again"
    notes = {
        note
        for record in report.records
        for note in record["notes"]
        if note.startswith("not trusted: cached analysis")
    }
    assert len(notes) == 3, "and the user is told"
    dubbed(footage, tmp_path / "calm", "deu", "fra", cache=False)
    assert digests(tmp_path / "run") == digests(tmp_path / "calm")


def test_what_decides_the_columns_decides_the_name(footage: Path, tmp_path: Path) -> None:
    row = planned_row(footage / "a.mp4", tmp_path)
    video = tmp_path / "v.mp4"
    shutil.copy(footage / "a.mp4", video)
    copied = {**row, "video": str(video)}

    provenance: dict[str, Any] = {}

    def key(row: dict[str, Any] = row, device: str = "cpu", **options: Any) -> str:
        engine = Engine(engine_config(options={"Brightness": options} if options else None))
        found = dataclasses.replace(provenance_of(engine), **provenance)
        found = dataclasses.replace(found, devices={**found.devices, "brightness": device})
        return AnalysisCache(CacheSpec(str(tmp_path), found, 100), engine, Coordinator()).place(0, row)[1]

    keys = [key(), key(device="cuda"), key(smooth=3), key(copied)]
    keys += [
        key({**row, name: row[name] + 1})
        for name in ("start", "stop", "halo_start", "halo_stop", "shot_start", "shot_stop")
    ]
    keys += [
        key({**row, "options": '{"brightness": {"smooth": 1}}'}),
        key({**row, "anchor": np.ones(4, np.float32)}),
    ]
    make_video(video, scenes=1)
    analysis._fingerprint.cache_clear()
    keys.append(key(copied))
    found = provenance_of(Engine(engine_config()))
    provenance.update(code={**found.code, "operators": "other"})
    keys.append(key())
    provenance.update(libraries={"numpy": "0"})
    keys.append(key())
    provenance.update(version="0")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    provenance.update(code={**provenance["code"], PLANNING: "other"})
    assert key({**row, "dubs": "[]", "options": '{"level": {"gain": 2}}'}) == keys[-1], (
        "what comes later does not"
    )


def test_large_columns_and_a_full_cache_are_left_out(
    footage: Path, tmp_path: Path, analysed: list[str]
) -> None:
    profile = profile_config(2)
    dubbed(
        footage,
        tmp_path / "large",
        "deu",
        profile=profile.model_copy(update={"cache": CacheConfig(bytes_per_frame=7)}),
    )
    dubbed(
        footage, tmp_path / "off", "deu", profile=profile.model_copy(update={"cache": CacheConfig(on=False)})
    )
    assert files(tmp_path / "large") == files(tmp_path / "off") == []
    full = profile.model_copy(update={"cache": CacheConfig(max_gib=150 / 2**30)})
    dubbed(footage, tmp_path / "full", "deu", profile=full)
    assert len(files(tmp_path / "full")) == 2, "8 bytes a frame, 8 frames and 8 frames; the room is 150"
    dubbed(footage, tmp_path / "full", "deu", "fra", profile=full)
    assert len(files(tmp_path / "full")) == 2


def test_command_line(footage: Path, tmp_path: Path) -> None:
    """`retalk run` keeps analysis in its directory unless told otherwise; `retalk dub` only where it is told
    to.
    """

    def chosen(*arguments: str) -> str | bool | None:
        cache: str | bool | None = run_options(parser().parse_args(["run", "m.csv", "-o", "d", *arguments]))[
            "cache"
        ]
        return cache

    assert (chosen(), chosen("--cache", "memory://b/c"), chosen("--no-cache")) == (
        None,
        "memory://b/c",
        False,
    )
    assert (
        cache_folder(None, profile_config(), "/run") == cache_folder(True, profile_config(), "/run") == "/run"
    )
    assert (
        cache_folder(False, profile_config(), "/run"),
        cache_folder("memory://b/c/", profile_config(), "/run"),
    ) == ("", "memory://b/c")
    engine = tmp_path / "test.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    command = [
        "dub",
        str(footage / "a.mp4"),
        str(footage / "exact.wav"),
        "-o",
        str(tmp_path / "out.mp4"),
        "--engine",
        str(engine),
        "--runner",
        "local",
    ]
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--quiet", "--overwrite", "--cache", str(tmp_path / "kept")]) == 0
    assert len(files(tmp_path / "kept")) == 2, "one segment for each of the two shots"
    assert not list(tmp_path.glob(".out.mp4.retalk"))
