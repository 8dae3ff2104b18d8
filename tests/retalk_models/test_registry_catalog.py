"""The catalogue against the specification's table, and its names and selections."""

import re
from pathlib import Path

import pytest

from retalk_models.build import NETWORKS
from retalk_models.registry_catalog import load_catalog, parse_size, show_size
from retalk_models.registry_errors import WeightsError
from tests.conftest import PARITY

SPEC = Path(PARITY).parent / "spec" / "model-files.md"
CATALOG = load_catalog()


def spec_rows() -> dict[str, tuple[str, str]]:
    """File -> (size, SHA-256) as the specification writes them."""
    rows = {}
    for line in SPEC.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("file", "---"):
            file = cells[0].split(" → ")[-1].split(" (")[0]
            rows[file] = (cells[2], cells[3])
    return rows


def test_every_digest_is_a_digest_and_every_network_has_files() -> None:
    assert set(CATALOG.networks) == set(NETWORKS)
    assert len(CATALOG.files) == 19
    for entry in CATALOG.files.values():
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256), entry.file
        assert entry.commercial in ("yes", "no", "unknown"), entry.file
        assert set(entry.groups) <= {"retalk", "option", "eval"}, entry.file
        assert not (entry.size and entry.about), entry.file
        assert all(url.startswith(("https://", "http://")) for url in entry.urls), entry.file
    # torch hub's naming: these names carry the first digits of their digest
    for file in ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar", "pt_inception-2015-12-05-6726825d.pth"):
        digest = CATALOG.files[file].sha256
        assert digest is not None
        assert digest.startswith(re.split("[-.]", file.removesuffix(".tar").removesuffix(".pth"))[-1])


def test_catalogue_is_the_specifications_table() -> None:
    if not SPEC.is_file():  # the table is written down once more below, as far as it fits
        known = {entry.file: entry.pinning for entry in CATALOG.files.values() if entry.pinning != "pinned"}
        assert known == {
            "DNet.pt": "unknown",
            "LNet.pth": "verify",
            "expression.mat": "unknown",
            "similarity_Lm3D_all.mat": "unknown",
            "wav2lip_gan.pth": "unknown",
        }
        return
    rows = spec_rows()
    assert set(rows) == set(CATALOG.files)
    for file, (size, digest) in rows.items():
        entry = CATALOG.files[file]
        assert (entry.sha256 or "unknown") == digest, file
        exact = re.match(r"([\d,]+)( B of|$)", size)
        if exact:
            assert entry.size == int(exact[1].replace(",", "")), file
        elif size != "–":
            assert entry.about == parse_size(size), file
        assert entry.seen_once == ("verify" in next(line for line in SPEC.read_text().splitlines() if file in line)), file


def test_names_of_networks_files_and_aliases() -> None:
    files = [entry.file for entry in CATALOG.files_of(["enet", "parsing_parsenet.pth", "LNet.pth"])]
    assert files == ["ENet.pth", "LNet.pth", "ParseNet-latest.pth"]
    with pytest.raises(WeightsError, match=r"'lnett'.*did you mean.*lnet"):
        CATALOG.files_of(["lnett"])


def test_licence_clean_leaves_out_what_a_licence_restricts() -> None:
    keep, left_out = CATALOG.select("licence-clean")
    kept, out = {entry.file for entry in keep}, {entry.file for entry in left_out}
    assert {"GPEN-BFR-512.pth", "similarity_Lm3D_all.mat", "wav2lip_gan.pth", "shape_predictor_68_face_landmarks.dat"} <= out
    assert {"LNet.pth", "GFPGANv1.3.pth"} <= kept
    assert kept | out == set(CATALOG.files)
    retalk, _ = CATALOG.select("retalk")
    needed = {
        part.file
        for name in ("dnet", "lnet", "enet", "face3d", "gfpgan", "gpen", "parsenet", "retinaface")
        for part in CATALOG.networks[name]
    }
    assert needed | {"expression.mat", "similarity_Lm3D_all.mat"} <= {entry.file for entry in retalk}


def test_sizes() -> None:
    assert [parse_size(text) for text in ("994 B", "1.46 kB", "180 MB", "1.53 GB")] == [994, 1460, 180_000_000, 1_530_000_000]
    assert show_size(348632874) == "348.6 MB"
    assert show_size(None) == "?"
    entry = CATALOG.files["DNet.pt"]
    assert not entry.wrong_size(180 * 2**20)  # the page may mean mebibytes
    assert "not about 180 MB" in entry.wrong_size(90_000_000)
    assert "not 348632874" in CATALOG.files["GFPGANv1.3.pth"].wrong_size(348632873)
