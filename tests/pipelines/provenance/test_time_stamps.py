"""Time stamps of an authority (RFC 3161) in signed outputs, and what `retalk verify` says of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.cli.main import main
from pipelines.provenance import signing
from pipelines.provenance.findings import Trust
from pipelines.provenance.home import own_roots
from pipelines.provenance.verify import verify_file
from tests.pipelines.provenance.test_signing import go, row
from tests.pipelines.provenance.time_stamps import authority


def _can_stamp() -> bool:
    """OpenSSL 3 is here, which makes the authority's certificates."""
    if shutil.which("openssl") is None:
        return False
    return subprocess.run(
        ["openssl", "version"], check=False, capture_output=True, text=True
    ).stdout.startswith("OpenSSL 3")


@pytest.mark.skipif(not _can_stamp(), reason="needs the program openssl, version 3")
def test_the_time_stamp_of_an_authority_is_in_the_manifest_the_ledger_and_what_verify_says(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(signing, "TSA_PAUSES", (0.0, 0.0))
    (tmp_path / "tsa").mkdir()
    with authority(tmp_path / "tsa") as stamps:
        stamps.refusals = 1  # busy once: it is asked again
        (record,) = go([row(footage)], tmp_path / "run", provenance={"tsa": stamps.url}).records
        assert stamps.asked == 2
    assert (record["state"], record["notes"]) == ("done", [])
    stamped = record["time_stamp"]
    assert stamped.startswith("20")
    output = tmp_path / "run" / "a.mp4"
    own = own_roots()[0].read_text()
    finding = verify_file(str(output), Trust(own + stamps.root)).findings[0]
    assert (finding.state, finding.details["time"], finding.details["time_trusted"]) == (
        "trusted",
        stamped,
        True,
    )
    assert f"at {stamped};" in finding.text
    # An authority that nobody vouches for may have said any time.
    finding = verify_file(str(output), Trust(own)).findings[0]
    assert (finding.state, finding.details["time_trusted"]) == ("trusted", False)
    assert f"at {stamped} by a time-stamp authority that is not trusted here" in finding.text
    assert main(["verify", str(output)]) == 0
    assert stamped in capsys.readouterr().out
