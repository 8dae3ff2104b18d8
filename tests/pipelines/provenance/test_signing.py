"""Signed outputs of whole runs: what their manifests tell, what they keep of others, and what happens when a run is resumed."""

from __future__ import annotations

import json
import os
import pickle
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from operators.storage.files import atomic_write
from pipelines.cli.main import main
from pipelines.engine.profile_parts import ProvenanceConfig
from pipelines.execution import assembly
from pipelines.execution.signing_desk import AskDesk
from pipelines.provenance import signing
from pipelines.provenance.c2pa_check import read_manifest
from pipelines.provenance.credentials import load_signing
from pipelines.provenance.dub_manifest import (
    DubFacts,
    actions,
    dub_manifest,
    ingredient,
    ingredients,
    manifest_id,
    soft_binding,
)
from pipelines.provenance.findings import Trust
from pipelines.provenance.home import ROOT, own_roots
from pipelines.provenance.identity import make_identity
from pipelines.provenance.signing import SigningError, sign_output
from pipelines.provenance.verify import verify_file
from pipelines.runner import Report, run
from tests.pipelines.conftest import engine_config, profile_config
from tests.pipelines.provenance.signed import sign_file
from tests.signatures import without_signature

BUNDLED = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def row(footage: Path, name: str = "a.mp4", **fields: Any) -> dict[str, Any]:
    return {
        "id": name.partition(".")[0],
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": name,
        **fields,
    }


def go(rows: list[dict[str, Any]], folder: Path, **options: Any) -> Report:
    options = {"profile": profile_config(), "engine": engine_config(), "runner": "local", **options}
    return run(rows, run_dir=str(folder), **options)


def manifest_of(path: Path) -> dict[str, Any]:
    """A summary of the manifest in a file or beside it, validated in a fresh process against this user's own root."""
    anchors = own_roots()[0].read_text()
    beside = path.with_suffix(".c2pa")
    found: dict[str, Any] = read_manifest(path, str(path), anchors, beside if beside.exists() else None)
    return found["found"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp4", "embedded"), ("a.mov", "embedded"), ("a.mkv", "sidecar")]
)
def test_an_output_tells_how_it_was_made_and_the_ledger_knows_it(
    footage: Path, tmp_path: Path, name: str, kind: str
) -> None:
    consent = {"who": "A. Speaker", "scope": "this film"}
    report = go([row(footage, name, language="deu", consent=consent)], tmp_path / "run")
    (record,) = report.records
    assert (record["state"], record["provenance"], record["time_stamp"]) == ("done", kind, "")
    assert "retalk local signer" in record["signed_by"]
    found = manifest_of(tmp_path / "run" / name)
    assert found["state"] == "Trusted"
    assert found["manifest"] == record["manifest_id"]
    assert [one["action"] for one in found["actions"]] == [
        *("c2pa.opened", "c2pa.translated", "c2pa.dubbed", "c2pa.watermarked.bound", "c2pa.transcoded")
    ]
    assert [one["value"] for one in found["soft_bindings"]] == [record["watermark_id"]]
    assert found["actions"][2]["digitalSourceType"].endswith(BUNDLED)
    assert [(one["title"], one["relationship"]) for one in found["ingredients"]] == [
        ("a.mp4", "parentOf"),
        ("exact.wav", "componentOf"),
    ]
    assert found["dub"]["engine"] == "test"
    assert found["dub"]["consent"] == consent
    line = json.loads((tmp_path / "run" / "ledger.jsonl").read_text())
    assert (line["provenance"], line["manifest_id"]) == (kind, record["manifest_id"])
    # The sidecar lies there exactly for the container that holds no manifest.
    assert (tmp_path / "run" / "a.c2pa").exists() == (kind == "sidecar")


def test_no_folder_of_this_machine_and_no_user_stands_in_a_file(footage: Path, tmp_path: Path) -> None:
    go([row(footage)], tmp_path / "run")
    content = (tmp_path / "run" / "a.mp4").read_bytes()
    for private in (str(footage), str(tmp_path), os.uname().nodename + "@", "@" + os.uname().nodename):
        assert private.encode() not in content


def test_two_runs_differ_in_the_signature_only(footage: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert go([row(footage)], tmp_path / name).exit_code == 0
    one, two = (tmp_path / name / "a.mp4" for name in ("one", "two"))
    assert one.read_bytes() != two.read_bytes(), "salts and signature are new"
    assert one.stat().st_size == two.stat().st_size
    assert without_signature(one) == without_signature(two)
    assert len(without_signature(one)) < one.stat().st_size
    go([row(footage)], tmp_path / "off", provenance={"on": False})
    off = tmp_path / "off" / "a.mp4"
    assert without_signature(off) == off.read_bytes()
    assert len(off.read_bytes()) == len(without_signature(one)), (
        "the boxes but for the offsets of pictures and sound"
    )


def test_a_run_without_provenance_says_so(footage: Path, tmp_path: Path) -> None:
    (record,) = go([row(footage)], tmp_path / "run", provenance={"on": False}).records
    assert (record["provenance"], record["manifest_id"]) == ("off", None)
    finding = verify_file(str(tmp_path / "run" / "a.mp4"), Trust()).findings[0]
    assert finding.state == "none"
    assert not own_roots(), "no identity is made that nobody needs"
    profile = profile_config(provenance=ProvenanceConfig(on=False))
    (record,) = go([row(footage)], tmp_path / "profile", profile=profile).records
    assert record["provenance"] == "off"


def test_a_signed_source_keeps_its_chain(footage: Path, tmp_path: Path) -> None:
    camera = make_identity("camera")
    source = tmp_path / "source.mp4"
    sign_file(footage / "a.mp4", source, camera, label="urn:c2pa:11111111-2222-4333-8444-555555555555")
    (record,) = go([row(footage, video=str(source))], tmp_path / "run").records
    assert record["notes"] == []
    output = tmp_path / "run" / "a.mp4"
    found = manifest_of(output)
    assert found["manifests"] == 2
    kept = [one["active_manifest"] for one in found["ingredients"] if one["relationship"] == "parentOf"]
    assert kept == ["urn:c2pa:11111111-2222-4333-8444-555555555555"]
    own = own_roots()[0].read_text()
    finding = verify_file(str(output), Trust(own)).findings[0]
    assert finding.state == "trusted"
    assert "source.mp4 had a manifest of its own; a signer of those is unknown" in finding.text
    finding = verify_file(str(output), Trust(own + camera[ROOT].decode())).findings[0]
    assert "unknown" not in finding.text


def test_a_source_that_was_changed_after_it_was_signed_is_told(footage: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    sign_file(footage / "a.mp4", source, make_identity("camera"))
    content = bytearray(source.read_bytes())
    content[content.find(b"mdat") + 200] ^= 1
    source.write_bytes(content)
    (record,) = go([row(footage, video=str(source))], tmp_path / "run").records
    assert "does not fit it (assertion.bmffHash.mismatch)" in record["notes"][0]
    finding = verify_file(str(tmp_path / "run" / "a.mp4"), Trust(own_roots()[0].read_text())).findings[0]
    assert finding.state == "trusted"
    assert "which did not fit it (assertion.bmffHash.mismatch)" in finding.text


def test_a_source_with_a_manifest_beside_it_keeps_its_chain_too(footage: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    go([row(footage, "source.mkv")], tmp_path)
    assert source.with_suffix(".c2pa").exists()
    (record,) = go([row(footage, "b.mp4", video=str(source))], tmp_path / "run").records
    assert (record["state"], record["notes"]) == ("done", [])
    found = manifest_of(tmp_path / "run" / "b.mp4")
    assert (found["state"], found["manifests"]) == ("Trusted", 2)


def test_a_damaged_manifest_of_a_source_is_a_note(footage: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    sign_file(footage / "a.mp4", source, make_identity("camera"))
    content = source.read_bytes()
    source.write_bytes(content.replace(b"source.mp4", b"s\0\xff\xffce.mp4"))
    (record,) = go([row(footage, video=str(source))], tmp_path / "run").records
    assert record["state"] == "done"
    (note,) = record["notes"]
    assert note.startswith("the C2PA manifest of source.mp4 is not carried over: ")
    assert manifest_of(tmp_path / "run" / "a.mp4")["state"] == "Trusted"


def test_a_failure_of_signing_leaves_no_output_and_the_next_run_signs_without_computing(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise SigningError("cannot be signed: the key is away")

    monkeypatch.setattr(assembly, "sign_output", broken)
    (record,) = go([row(footage, "a.mkv")], tmp_path / "run").records
    assert (record["state"], record["error"]) == ("failed", "cannot be signed: the key is away")
    assert not list((tmp_path / "run").glob("a.*"))
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".a.")]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    report = go([row(footage, "a.mkv")], tmp_path / "run")
    assert (report.exit_code, report.computed) == (0, 0)
    assert manifest_of(tmp_path / "run" / "a.mkv")["state"] == "Trusted"


def test_the_manifest_beside_an_output_is_there_before_it(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between the two, a video without its manifest never lies there."""
    seen: list[bool] = []

    def noted(url: str) -> Any:
        seen.append((tmp_path / "run" / "a.mkv").exists())
        return atomic_write(url)

    monkeypatch.setattr(signing, "atomic_write", noted)
    go([row(footage, "a.mkv")], tmp_path / "run")
    assert seen == [False]
    assert (tmp_path / "run" / "a.mkv").exists()


def test_a_watermark_is_bound_to_the_manifest() -> None:
    facts = DubFacts("k", "o.mp4", "v.mp4", ("s.wav",), watermark_id="00112233aabbccdd")
    told = dub_manifest(facts, "video/mp4")
    bound = soft_binding("00112233aabbccdd")
    assert bound in told["assertions"]
    assert bound is not None
    assert bound["data"]["blocks"][0]["value"] == "00112233aabbccdd"
    assert "c2pa.watermarked.bound" in [one["action"] for one in told["assertions"][0]["data"]["actions"]]
    assert soft_binding("") is None


def test_every_speech_is_an_ingredient() -> None:
    facts = DubFacts("k", "o.mp4", "v.mp4", ("a/anna.wav", "bob.wav", "final.wav"))
    assert ingredients(facts) == {
        "source": "v.mp4",
        "speech": "a/anna.wav",
        "speech2": "bob.wav",
        "speech3": "final.wav",
    }
    (dubbed,) = [one for one in actions(facts) if one["action"] == "c2pa.dubbed"]
    assert dubbed["parameters"]["ingredientIds"] == ["speech", "speech2", "speech3"]
    told = [ingredient(facts, label) for label in ingredients(facts)]
    assert [one["relationship"] for one in told] == ["parentOf", *["componentOf"] * 3]
    assert len({one["instance_id"] for one in told}) == 4


def test_a_watermarked_file_validates_and_verify_finds_the_id(footage: Path, tmp_path: Path) -> None:
    made = load_signing(ProvenanceConfig(), BUNDLED)
    assert made is not None
    target = tmp_path / "w.mp4"
    target.write_bytes((footage / "a.mp4").read_bytes())
    facts = DubFacts(
        "k",
        str(target),
        str(footage / "a.mp4"),
        (str(footage / "exact.wav"),),
        watermark_id="00112233aabbccdd",
    )
    signed = sign_output(target, facts, made)
    assert signed.manifest_id == manifest_id("k")
    (finding, *_) = verify_file(str(target), Trust(own_roots()[0].read_text())).findings
    assert finding.state == "trusted"
    assert "00112233aabbccdd" in finding.ids


def test_the_same_dub_has_the_same_manifest_name_and_another_has_another() -> None:
    assert manifest_id("a") == manifest_id("a") != manifest_id("b")


def test_a_time_stamp_authority_that_does_not_answer_is_a_note(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "TSA_PAUSES", (0.0, 0.0))
    tsa = "http://127.0.0.1:9/none"
    (record,) = go([row(footage)], tmp_path / "run", provenance={"tsa": tsa}).records
    assert (record["state"], record["provenance"], record["time_stamp"]) == ("done", "embedded", "none")
    assert any(note.startswith(f"no time stamp: {tsa} gave none") for note in record["notes"])
    assert manifest_of(tmp_path / "run" / "a.mp4")["state"] == "Trusted"


def test_the_key_is_sent_to_no_other_process() -> None:
    made = load_signing(ProvenanceConfig(), BUNDLED)
    assert made is not None
    with pytest.raises(TypeError, match="a private key is not sent"):
        pickle.dumps(made)
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("reached", ["over a socket", "by way of the desk"])
def test_on_ray_the_driver_signs_and_the_key_is_in_no_file_of_ray(
    footage: Path, tmp_path: Path, ray_session: Any, reached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reached == "by way of the desk":
        far = tmp_path / ("d" * 100)  # too long for the path of a socket
        far.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(far))
    report = go([row(footage), row(footage, "b.mkv")], tmp_path / "run", runner="ray")
    assert [record["state"] for record in report.records] == ["done", "done"]
    for name in ("a.mp4", "b.mkv"):
        assert manifest_of(tmp_path / "run" / name)["state"] == "Trusted"
    key = (own_roots()[0].parent / "key.pem").read_text().splitlines()[1].encode()
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    session = Path(ray_session._private.worker._global_node.get_session_dir_path())
    written += [path for path in session.rglob("*") if stat.S_ISREG(path.lstat().st_mode)]
    assert len(written) > 10
    assert not [path for path in written if key in path.read_bytes()]
    assert pickle.loads(pickle.dumps(AskDesk("x"))) == AskDesk("x")


def test_verify_names_the_ledgers_row(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go([row(footage), row(footage, "b.mkv")], tmp_path / "run")
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "run"), "--ledger", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "ledger: title a, dub dub" in said
    assert "ledger: title b, dub dub" in said
    assert main(["verify", str(tmp_path / "run" / "a.mp4"), "--ledger", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ledger = told["files"][0]["ledger"]
    assert ledger["title"] == "a"
    assert ledger.keys() > {"watermark_speech", "watermark_picture"}
    assert ROOT  # the name of the file to give to others
