"""The run directory on local and memory file systems: receipts are held against their files, damaged state is
not trusted.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from operators.storage.files import exists, filesystem, join
from pipelines.state.content_keys import content_key
from pipelines.state.run_directory import OutputSegmentId, RunDirectory, read_json, slug, write_text


@pytest.fixture(params=["local", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    return RunDirectory(str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}")


def one(key: str) -> OutputSegmentId:
    """An output segment with another content key."""
    return OutputSegmentId("d u", 3, 1, key)


def put(run: RunDirectory, name: str, content: bytes, **changes: object) -> str:
    """A segment with its receipt."""
    which = one(name)
    path = join(run.segments("t/1"), which.file)
    fs, inner = filesystem(path)
    fs.makedirs(fs._parent(inner), exist_ok=True)
    fs.pipe_file(inner, content)
    receipt = {
        "title": "t/1",
        **which._asdict(),
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "frames": 3,
        "bytes": len(content),
    }
    run.write_receipt({**receipt, **changes})
    if "title" in changes:  # it has got into this title's folder
        fs.makedirs(filesystem(run.receipts("t/1"))[1], exist_ok=True)
        fs.mv(
            filesystem(run.receipt(str(changes["title"]), which))[1], filesystem(run.receipt("t/1", which))[1]
        )
    return path


def test_committed_are_receipts_whose_file_is_whole_and_the_others_are_told(run: RunDirectory) -> None:
    """Torn, edited, foreign and exchanged receipts, changed and missing files: none is used, each is named
    with its reason.
    """
    assert run.committed("t/1") == {}
    good, changed, gone = (put(run, name, name.encode()) for name in ("good", "changed", "gone"))
    for name in ("torn", "edited"):
        put(run, name, b"x")
    put(run, "short", b"short", frames="three")
    put(run, "theirs", b"theirs", title="t/2")
    fs, folder = filesystem(run.receipts("t/1"))
    fs.pipe_file(filesystem(changed)[1], b"chANGED")
    fs.rm_file(filesystem(gone)[1])
    receipt = fs.cat_file(f"{folder}/{one('torn').name}.json")
    fs.pipe_file(f"{folder}/{one('torn').name}.json", receipt[: len(receipt) // 2])
    fs.pipe_file(
        f"{folder}/{one('edited').name}.json",
        fs.cat_file(f"{folder}/{one('edited').name}.json").replace(b'"frames": 3', b'"frames": 2'),
    )
    fs.pipe_file(f"{folder}/{one('foreign').name}.json", b'{"hello": 1}')
    fs.pipe_file(f"{folder}/{one('copied').name}.json", fs.cat_file(f"{folder}/{one('good').name}.json"))
    fs.pipe_file(filesystem(join(run.segments("t/1"), one("copied").file))[1], b"good")
    rejected_state: list[str] = []
    committed = run.committed("t/1", rejected_state)
    assert list(committed) == [one("good")]
    assert (committed[one("good")]["frames"], committed[one("good")]["path"]) == (3, good)
    told = dict(line.removeprefix("receipt ").split(": ", 1) for line in rejected_state)
    assert {name.rsplit(".", 1)[1]: text for name, text in told.items()} == {
        "changed": "its file was changed",
        "copied": f"of another segment ({one('good').name} of t/1)",
        "edited": "damaged",
        "foreign": "damaged",
        "gone": "its file is gone",
        "short": "not a receipt",
        "theirs": f"of another segment ({one('theirs').name} of t/2)",
        "torn": "damaged",
    }


def test_a_moved_run_directory_still_serves(tmp_path: Path) -> None:
    put(RunDirectory(str(tmp_path / "before")), "x", b"x")
    (tmp_path / "before").rename(tmp_path / "after")
    committed = RunDirectory(str(tmp_path / "after")).committed("t/1")
    assert Path(committed[one("x")]["path"]).read_bytes() == b"x"


def test_forget_takes_file_and_receipt_and_tidy_the_empty_folders(run: RunDirectory) -> None:
    first, second = put(run, "a", b"a"), put(run, "b", b"b")
    run.forget("t/1", [one("a")])
    assert (exists(first), exists(second), list(run.committed("t/1"))) == (False, True, [one("b")])
    run.forget("t/1", [one("b"), one("b")])
    assert run.committed("t/1") == {}
    put(run, "c", b"c", title="t/2")
    run.forget("t/1", [one("c")])
    fs, folder = filesystem(run.segments("t/1"))
    fs.pipe_file(f"{folder}/.x.0123abcd.99-0123abcd.part.mp4", b"half")
    assert [path.rsplit("/", 1)[-1] for path in run.tidy()] == [".x.0123abcd.99-0123abcd.part.mp4"]
    assert not exists(run.segments("t/1"))
    assert not exists(run.receipts("t/1"))


def test_records_and_ledger(run: RunDirectory) -> None:
    assert run.records() == []
    for title, dub, state in (("b", "x", "done"), ("a", "y", "failed"), ("a", "x", "done")):
        run.write_record(
            {
                "title": title,
                "dub": dub,
                "state": state,
                "error": "é",
                "seconds": 1.5,
                "notes": ["n"],
                "traceback": "t",
            }
        )
    assert [(r["title"], r["dub"]) for r in run.records()] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert (run.read_record("a", "y") or {})["state"] == "failed"
    rejected_state: list[str] = []
    assert run.read_record("a", "z", rejected_state) is None
    assert rejected_state == []
    write_text(run.record("a", "y"), "{")
    fs, _ = filesystem(run.url)
    fs.pipe_file(filesystem(run.record("a", "x"))[1], fs.cat_file(filesystem(run.record("b", "x"))[1]))
    assert run.read_record("a", "y", rejected_state) is None
    assert run.read_record("a", "x", rejected_state) is None
    assert rejected_state == ["record of dub y: damaged", "record of dub x: of another title or dub"]
    assert [record["title"] for record in run.records()] == ["b"]
    run.write_record(
        {
            "title": "a",
            "dub": "x",
            "state": "done",
            "error": "é",
            "seconds": 1.5,
            "notes": ["n"],
            "traceback": "t",
        }
    )
    run.write_ledger(run.records())
    with fsspec.open(join(run.url, "ledger.jsonl")) as file:
        lines = [json.loads(line) for line in file.read().decode().splitlines()]
    with fsspec.open(join(run.url, "ledger.parquet")) as file:
        table = pq.read_table(file).to_pylist()
    assert lines == table
    assert [(row["title"], row["state"], row["error"], row["notes"]) for row in table] == [
        ("a", "done", "é", ["n"]),
        ("b", "done", "é", ["n"]),
    ]


def test_keys_and_slugs() -> None:
    assert content_key(1, {"a": 2, "b": 3}) == content_key(1, {"b": 3, "a": 2})
    assert content_key(1, 2) != content_key(12)
    assert slug("episode-01.de_v2") == "episode-01.de_v2"
    names = {slug(text) for text in ("a/b", "a_b", "a:b", "A/b", "../x", ".x", "é" * 300, "é" * 301)}
    assert len(names) == 8
    assert all("/" not in name and not name.startswith(".") and len(name) < 100 for name in names)
    assert read_json("/nowhere/at/all.json") is None
