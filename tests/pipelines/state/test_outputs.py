"""Existing outputs: what no run has made is refused before anything runs; what this run has made is replaced,
also after a kill.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest

from operators.storage.files import join
from pipelines.cli import main as cli
from pipelines.manifest.titles import Dub, Title
from pipelines.one_title import side_directory
from pipelines.runner import Report, run
from pipelines.state import outputs
from pipelines.state.outputs import ExistingOutputError, check_outputs, foreign_outputs, making
from pipelines.state.run_directory import RunDirectory, write_text
from tests.pipelines.cli.test_usage import configs  # noqa: F401
from tests.pipelines.conftest import engine_config, profile_config
from tests.signatures import without_signature


def titles(*names: str) -> list[Title]:
    return [Title(f"t{n}", "/v", (Dub("dub", "/s", name),)) for n, name in enumerate(names)]


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "run") if request.param == "local" else f"memory://outputs-{tmp_path.name}"


@pytest.mark.parametrize("count", [2, outputs.FEW + 3])
def test_only_what_this_run_made_may_be_replaced(url: str, count: int) -> None:
    """Few are asked for one by one, many by listing their folder."""
    names = [join(url, "out", f"{n}.mp4") for n in range(count)]
    directory = RunDirectory(url)
    assert list(foreign_outputs(directory, titles(*names))) == []
    write_text(names[1], "foreign")
    write_text(join(url, "out", "other.mp4"), "foreign")
    assert list(foreign_outputs(directory, titles(*names))) == [names[1]]
    with pytest.raises(
        ExistingOutputError,
        match=r"1\.mp4: exists already; --overwrite replaces it",
    ):
        check_outputs(directory, titles(*names))
    with making(directory, "t0", "dub", names[0]):
        write_text(names[0], "made")
    assert list(foreign_outputs(directory, titles(*names))) == [names[1]]
    write_text(names[0], "replaced by hand")
    assert list(foreign_outputs(directory, titles(*names))) == names[:2]
    told = (
        r"2 outputs would be lost; --overwrite replaces them:\n"
        r"  .*0\.mp4: has changed since this run made it\n  .*1\.mp4: exists already"
    )
    with pytest.raises(ExistingOutputError, match=told):
        check_outputs(directory, titles(*names))
    bad = [dataclasses.replace(title, error="unusable") for title in titles(*names)]
    assert list(foreign_outputs(directory, bad)) == [], "a title that fails writes nothing"


def test_a_kill_between_the_output_and_its_record_is_survived(url: str) -> None:
    directory, name = RunDirectory(url), join(url, "a.mp4")

    def killed() -> None:
        with making(directory, "t0", "dub", name):
            write_text(name, "complete")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert list(foreign_outputs(directory, titles(name))) == []


def test_a_failure_to_write_leaves_what_was_known(url: str) -> None:
    directory, name = RunDirectory(url), join(url, "a.mp4")
    for _ in range(2):
        with pytest.raises(ValueError, match="disk"), making(directory, "t0", "dub", name):
            raise ValueError("disk")
        write_text(name, "foreign")
        assert list(foreign_outputs(directory, titles(name))) == [name]
    with making(directory, "t0", "dub", name):
        write_text(name, "made by the run")
    with pytest.raises(ValueError, match="disk"), making(directory, "t0", "dub", name):
        raise ValueError("disk")
    assert list(foreign_outputs(directory, titles(name))) == []


def test_secrets_of_an_output_are_not_written(tmp_path: Path) -> None:
    directory, name = RunDirectory(str(tmp_path)), "memory://user:pass/word@bucket/a.mp4"
    with making(directory, "t0", "dub", name):
        pass
    (note,) = (tmp_path / "made").rglob("*.json")
    assert "pass" not in note.read_text()


def test_many_outputs_in_a_folder_of_an_object_store_are_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type(fsspec.filesystem("memory"))
    asked = {"ls": 0, "info": 0}
    for name in asked:
        plain = getattr(memory, name)

        def counted(self: Any, *args: Any, _name: str = name, _plain: Any = plain, **options: Any) -> Any:
            asked[_name] += 1
            return _plain(self, *args, **options)

        monkeypatch.setattr(memory, name, counted)
    write_text("memory://many/out/500.mp4", "x")
    asked.update(ls=0, info=0)
    found = outputs._sizes([f"memory://many/out/{n}.mp4" for n in range(1000)])
    assert found == {"memory://many/out/500.mp4": 1}
    assert asked["ls"] == 1
    assert asked["info"] < 5


def go(rows: list[dict[str, Any]], folder: Path, **options: Any) -> Report:
    return run(
        rows,
        run_dir=str(folder),
        engine=engine_config(),
        profile=profile_config(1),
        runner="local",
        **options,
    )


def test_a_run_refuses_foreign_outputs_and_knows_its_own(footage: Path, tmp_path: Path) -> None:
    rows = [
        {
            "id": name,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": f"{name}.mp4",
        }
        for name in "ab"
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "b.mp4").write_text("precious")
    with pytest.raises(ExistingOutputError, match=r"b\.mp4: exists already"):
        go(rows, folder)
    assert [path.name for path in folder.iterdir()] == ["b.mp4"], "nothing has run"
    assert (folder / "b.mp4").read_text() == "precious"
    assert go(rows, folder, overwrite=True).exit_code == 0
    assert (folder / "b.mp4").stat().st_size > 100
    # Another speech: the run's own outputs are replaced. A failure in between does not make them foreign.
    changed = [{**row, "speech": str(footage / "short.wav")} for row in rows]
    failing = [
        {**row, "speech": str(footage / "a.mp4"), "level.gain": 2, "video": str(footage / "exact.wav")}
        for row in rows
    ]
    assert go(failing, folder).exit_code == 3
    report = go(changed, folder)
    assert (report.exit_code, report.already) == (0, 0)
    # Moved as a whole, the directory knows its outputs still.
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    assert go(changed, moved).exit_code == 0


def test_plan_says_that_a_run_needs_to_overwrite(
    footage: Path,
    tmp_path: Path,
    configs: list[str],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out"
    manifest.write_text(json.dumps(row) + "\n")
    write_text(str(out / "a.mp4"), "precious")
    assert cli.main(["plan", str(manifest), "-o", str(out), *configs]) == 0
    assert (
        f"a run needs --overwrite, for outputs exist that it has not made: {out}/a.mp4"
        in capsys.readouterr().out
    )
    assert (
        cli.main(
            ["run", str(manifest), "-o", str(out), *configs, "--runner", "local", "--overwrite", "--quiet"]
        )
        == 0
    )
    capsys.readouterr()
    assert cli.main(["plan", str(manifest), "-o", str(out), *configs]) == 0
    assert "--overwrite" not in capsys.readouterr().out


def test_dub_refuses_an_existing_output_unless_it_may_overwrite(
    footage: Path,
    tmp_path: Path,
    configs: list[str],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out" / "x.mp4"
    command = [
        "dub",
        str(footage / "a.mp4"),
        str(footage / "exact.wav"),
        "-o",
        str(output),
        *configs,
        "--runner",
        "local",
        "--quiet",
    ]
    assert cli.main(command) == 0
    made = without_signature(output)
    capsys.readouterr()
    assert cli.main(command) == 2
    assert f"{output}: exists already; --overwrite replaces it" in capsys.readouterr().err
    assert [path.name for path in output.parent.iterdir()] == ["x.mp4"]
    output.write_text("precious")
    assert cli.main(command) == 2
    assert output.read_text() == "precious"
    assert cli.main([*command, "--overwrite"]) == 0
    assert without_signature(output) == made


def test_dub_that_may_overwrite_goes_on_without_being_told_again(
    footage: Path,
    tmp_path: Path,
    configs: list[str],  # noqa: F811
) -> None:
    output = tmp_path / "out" / "x.mp4"
    output.parent.mkdir()
    output.write_text("old")
    side = RunDirectory(side_directory(str(output)))
    write_text(join(side.url, "run.json"), json.dumps({"retalk": 1, "overwrite": True}))
    command = [
        "dub",
        str(footage / "a.mp4"),
        str(footage / "exact.wav"),
        "-o",
        str(output),
        *configs,
        "--runner",
        "local",
        "--quiet",
    ]
    assert cli.main(command) == 0
    assert output.read_bytes()[:3] != b"old"


def test_a_link_counts_as_a_file_and_is_replaced_itself(footage: Path, tmp_path: Path) -> None:
    """One that leads to nothing too; what it leads to stays as it is."""
    own, run_dir = tmp_path / "own.mp4", tmp_path / "run"
    own.write_bytes(b"mine")
    run_dir.mkdir()
    for name, target in (("a.mp4", own), ("b.mp4", tmp_path / "nowhere.mp4")):
        (run_dir / name).symlink_to(target)
        assert list(foreign_outputs(RunDirectory(str(run_dir)), titles(str(run_dir / name))))
    rows = [
        {
            "id": name,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": f"{name}.mp4",
        }
        for name in "ab"
    ]
    engine, profile = engine_config(), profile_config(1)
    with pytest.raises(ExistingOutputError, match="2 outputs would be lost"):
        run(rows, run_dir=run_dir, engine=engine, profile=profile, runner="local")
    report = run(rows, run_dir=run_dir, engine=engine, profile=profile, runner="local", overwrite=True)
    assert report.exit_code == 0
    for name in "ab":
        assert (run_dir / f"{name}.mp4").is_file()
        assert not (run_dir / f"{name}.mp4").is_symlink()
    assert own.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere.mp4").exists()
