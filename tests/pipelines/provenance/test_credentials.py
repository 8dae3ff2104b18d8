"""Keys and certificates that cannot be used are refused before anything runs, by a message that holds nothing of the key."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pipelines.cli.main import main
from pipelines.engine.profile_parts import ProvenanceConfig
from pipelines.provenance.credentials import CredentialsError, load_signing
from pipelines.provenance.home import CHAIN, KEY, LOCAL, ROOT, ROOT_KEY, own_roots, provenance_home
from pipelines.provenance.identity import local_identity, make_identity, new_identity
from pipelines.provenance.signing import checked_signing
from pipelines.state.outputs import ExistingOutputError
from tests.pipelines.provenance.test_signing import go, home, row  # noqa: F401

DRAWN = "compositeSynthetic"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The files of a company's identity."""
    found = {}
    for name, content in make_identity("company").items():
        found[name] = tmp_path / name
        found[name].write_bytes(content)
        found[name].chmod(0o600)
    return found


def load(files: dict[str, Path], key: str = "", cert: str = "", **fields: Any) -> Any:
    config = ProvenanceConfig(sign_cert=cert or str(files[CHAIN]), sign_key=key or str(files[KEY]), **fields)
    return checked_signing(config, DRAWN)


def test_a_key_comes_from_a_file_a_variable_or_a_command(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_TEST_KEY", files[KEY].read_text())
    for key in ("", "env:RETALK_TEST_KEY", f"cmd:cat '{files[KEY]}'"):
        assert load(files, key).signer == "retalk local signer company"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_refused(files: dict[str, Path], mode: int) -> None:
    files[KEY].chmod(mode)
    with pytest.raises(CredentialsError, match=rf"others may read it \(mode {mode:04o}\); chmod 600 "):
        load(files)


def test_what_cannot_be_used_is_named(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(make_identity("other")[KEY])
    other.chmod(0o600)
    key = serialization.load_pem_private_key(files[KEY].read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    locked.chmod(0o600)
    expired = make_identity("old", days=0)
    (tmp_path / "expired.pem").write_bytes(expired[CHAIN])
    for given, said in (
        ({"key": str(other)}, "is not the key of the first certificate"),
        ({"key": str(locked)}, "the key is encrypted"),
        ({"cert": str(tmp_path / "expired.pem")}, "expired on"),
        ({"cert": str(files[KEY])}, "holds no PEM certificates"),
        ({"key": str(tmp_path / "absent.pem")}, "cannot be read"),
        ({"key": "env:RETALK_ABSENT"}, "RETALK_ABSENT is not set"),
        ({"key": "cmd:false"}, "exit code 1"),
        ({"key": f"cmd:{sys.executable} -c 'print(1)'"}, "printed no PEM private key"),
        ({"key": files[KEY].read_text()}, "holds a key itself"),
        ({"tsa": "ftp://tsa"}, "must be the http:// or https:// address"),
        ({"cert": str(files[ROOT]), "key": str(files[ROOT_KEY])}, "it has no extended key usage (EKU)"),
    ):
        with pytest.raises(CredentialsError) as problem:
            load(files, **given)
        text = str(problem.value)
        assert said in text, text
        assert files[KEY].read_text().splitlines()[1] not in text
    with pytest.raises(CredentialsError, match="is given without --sign-key"):
        load_signing(ProvenanceConfig(sign_cert=str(files[CHAIN])), DRAWN)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "P-521", "Ed25519", "RSA"],
)
def test_all_kinds_of_keys_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Any) -> None:
    """A leaf with that key, under a root of P-256; `checked_signing` lets the library read what was signed."""
    real, made = ec.generate_private_key, []

    def chosen(curve: Any) -> Any:
        made.append(curve)
        return key if len(made) == 2 else real(curve)

    monkeypatch.setattr(ec, "generate_private_key", chosen)
    identity = make_identity("kinds")
    for name in (CHAIN, KEY):
        (tmp_path / name).write_bytes(identity[name])
        (tmp_path / name).chmod(0o600)
    config = ProvenanceConfig(sign_cert=str(tmp_path / CHAIN), sign_key=str(tmp_path / KEY))
    assert checked_signing(config, DRAWN) is not None


def _identity(config: str, gate: Any) -> str:
    os.environ["XDG_CONFIG_HOME"] = config
    gate.wait()
    return (local_identity() / KEY).read_text()


def test_many_processes_that_start_at_once_get_one_identity(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(4) as pool:
        gate = manager.Barrier(4)
        keys = pool.starmap(_identity, [(str(tmp_path), gate)] * 4)
    assert len(set(keys)) == 1
    folder = tmp_path / "retalk" / "provenance"
    assert [path.name for path in folder.iterdir()] == ["local"], "nothing else is left"
    assert (folder / "local").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (folder / "local").iterdir()} == {0o600}


def test_a_new_identity_needs_force_and_keeps_the_old_root_without_its_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["provenance", "show"]) == 2
    assert main(["provenance", "init"]) == 0
    before = own_roots()[0].read_bytes()
    capsys.readouterr()
    assert main(["provenance", "init"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["provenance", "init", "--force"]) == 0
    assert "1 earlier root is trusted too" in capsys.readouterr().out
    now, earlier = own_roots()
    assert (now.read_bytes() != before, earlier.read_bytes()) == (True, before)
    assert [path.name for path in earlier.parent.iterdir()] == [ROOT]
    new_identity(force=True)
    assert len(own_roots()) == 3


def test_nothing_is_signed_with_a_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["dub", "v.mp4", "s.wav", "-o", "o.mp4", "--provenance", "off", "--sign-cert", "c.pem"]
    assert main(given) == 2
    assert "--provenance off: nothing is signed, so leave out --sign-cert" in capsys.readouterr().err


def test_show_says_that_others_may_read_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provenance", "init"]) == 0
    assert main(["provenance", "show"]) == 0
    assert "others may read it" not in capsys.readouterr().err
    (local_identity() / KEY).chmod(0o644)
    assert main(["provenance", "show"]) == 0
    assert "others may read it (mode 0644); chmod 600" in capsys.readouterr().err


def test_a_run_with_a_wrong_key_does_nothing(footage: Path, tmp_path: Path, files: dict[str, Path]) -> None:
    files[KEY].chmod(0o644)
    given = {"sign_cert": str(files[CHAIN]), "sign_key": str(files[KEY])}
    with pytest.raises(CredentialsError, match="chmod 600"):
        go([row(footage)], tmp_path / "run", provenance=given)
    assert not (tmp_path / "run" / "records").exists()
    assert not (provenance_home() / LOCAL).exists()


def test_a_dry_run_looks_at_the_address_of_the_authority(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(footage / "one.mp4"), str(footage / "short.wav"), "-o", str(tmp_path / "o.mp4")]
    assert main(["dub", *files, "--dry-run", "--tsa", "notaurl"]) == 2
    assert "--tsa notaurl: must be" in capsys.readouterr().err


def test_a_manifest_of_somebody_else_beside_an_output_is_not_overwritten(
    footage: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "run" / "a.c2pa"
    beside.parent.mkdir()
    beside.write_text("precious")
    with pytest.raises(ExistingOutputError, match=r"a\.c2pa: exists already"):
        go([row(footage, "a.mkv")], tmp_path / "run")
    assert beside.read_text() == "precious"
    assert go([row(footage, "a.mkv")], tmp_path / "run", overwrite=True).exit_code == 0
    assert beside.read_bytes() != b"precious"
    # The run's own is replaced, and goes with the signature.
    assert go([row(footage, "a.mkv")], tmp_path / "run", redo=["a"]).exit_code == 0
    (record,) = go([row(footage, "a.mkv")], tmp_path / "run", redo=["a"], provenance={"on": False}).records
    assert (record["provenance"], beside.exists()) == ("off", False)
