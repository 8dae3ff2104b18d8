"""The catalogue of model files: sizes and digests, names, selections."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retalk_models.build import NETWORKS
from retalk_models.registry.catalog import load_catalog, parse_catalog, parse_size, shipped_catalog, show_size
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import home_registry

CATALOG = shipped_catalog()
#: File -> its publisher's size in bytes (rounded where the publisher rounds) and the start of its SHA-256 (""
#: where none is stated). A second copy, so that a slip in the catalogue shows: change a row only after
#: looking at the publisher's page.
PUBLISHED: dict[str, tuple[int | None, str]] = {
    "DNet.pt": (180000000, ""),
    "LNet.pth": (1530000000, "7ae06fef0454c421"),
    "ENet.pth": (573000000, "967ee3ed857619ce"),
    "30_net_gen.pth": (33877439, "4db83e1727128e2c"),
    "expression.mat": (1460, ""),
    "similarity_Lm3D_all.mat": (994, "53b83ce6e35c50dd"),
    "face3d_pretrain_epoch_20.pth": (288860037, "6d17a6b23457b521"),
    "GFPGANv1.3.pth": (348632874, "c953a88f2727c85c"),
    "GFPGANv1.4.pth": (348632874, "e2cd4703ab14f4d0"),
    "GPEN-BFR-512.pth": (284085738, "f1002c41add95b0d"),
    "ParseNet-latest.pth": (85331193, "3d558d8d0e42c202"),
    "RetinaFace-R50.pth": (109497761, "6d1de9c2944f2ccd"),
    "shape_predictor_68_face_landmarks.dat": (99693937, "fbdc2cb80eb9aa7a"),
    "s3fd-619a316812.pth": (89843225, "619a31681264d3f7"),
    "2DFAN4-11f355bf06.pth.tar": (None, "11f355bf06931202"),
    "face_landmarker.task": (3758596, "64184e229b263107"),
    "face_detection_full_range.tflite": (1083984, "99bf9494d84f50ac"),
    "syncnet_v2.model": (54573114, "961e8696f888fce4"),
    "sfd_face.pth": (89844381, "d54a87c2b7543b64"),
    "pt_inception-2015-12-05-6726825d.pth": (95628359, "6726825d0af5f729"),
    "alexnet-owt-7be5be79.pth": (244000000, ""),
    "lpips-alex.pth": (6009, "df73285e35b22355"),
    "vgg19-dcbb9e9d.pth": (574673361, "dcbb9e9dad569fff"),
    "arcface_resnet18.pth": (None, ""),
    "wav2lip_gan.pth": (None, ""),
    "talkin.pt": (None, ""),
    "audioseal_generator_base.pth": (None, ""),
    "audioseal_detector_base.pth": (None, ""),
    "videoseal_y_256b_img.jit": (None, ""),
}


def test_every_digest_is_a_digest_and_every_network_has_files() -> None:
    assert set(CATALOG.networks) == set(NETWORKS)
    assert len(CATALOG.files) == 29
    for entry in CATALOG.files.values():
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256), entry.file
        assert entry.commercial in ("yes", "no", "unknown"), entry.file
        assert set(entry.groups) <= {"retalk", "option", "eval", "train"}, entry.file
        assert not (entry.size and entry.about), entry.file
        assert all(url.startswith(("https://", "http://")) for url in entry.urls), entry.file
    # torch hub's naming: these names carry the first digits of their digest
    for file in ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar", "pt_inception-2015-12-05-6726825d.pth"):
        digest = CATALOG.files[file].sha256
        assert digest is not None
        assert digest.startswith(re.split("[-.]", file.removesuffix(".tar").removesuffix(".pth"))[-1])


def test_sizes_and_digests_are_the_published_ones() -> None:
    assert set(CATALOG.files) == set(PUBLISHED)
    for file, (size, digest) in PUBLISHED.items():
        entry = CATALOG.files[file]
        assert (entry.about if entry.size is None else entry.size) == size, file
        assert (entry.sha256 or "")[: len(digest) or None] == digest, file


def test_digests_that_are_not_certain_say_so() -> None:
    assert {entry.file: entry.pinning for entry in CATALOG.files.values() if entry.pinning != "pinned"} == {
        "DNet.pt": "unknown",
        "LNet.pth": "verify",
        "expression.mat": "unknown",
        "alexnet-owt-7be5be79.pth": "unknown",
        "vgg19-dcbb9e9d.pth": "verify",
        "arcface_resnet18.pth": "unknown",
        "wav2lip_gan.pth": "unknown",
        "talkin.pt": "unknown",
        "audioseal_generator_base.pth": "unknown",
        "audioseal_detector_base.pth": "unknown",
        "videoseal_y_256b_img.jit": "unknown",
    }


def test_names_of_networks_files_and_aliases() -> None:
    files = [entry.file for entry in CATALOG.files_of(["enet", "parsing_parsenet.pth", "LNet.pth"])]
    assert files == ["ENet.pth", "LNet.pth", "ParseNet-latest.pth"]
    with pytest.raises(WeightsError, match=r"'lnett'.*did you mean.*lnet"):
        CATALOG.files_of(["lnett"])


def test_licence_clean_leaves_out_what_data_restricts_too() -> None:
    open_licence, _ = CATALOG.select("open-licence")
    keep, left_out = CATALOG.select("licence-clean")
    assert {entry.file for entry in keep} < {entry.file for entry in open_licence}
    assert {"LNet.pth", "GFPGANv1.3.pth", "2DFAN4-11f355bf06.pth.tar"} <= {entry.file for entry in left_out}
    assert all(entry.commercial == "yes" and entry.data_commercial != "no" for entry in keep)
    assert all(entry.data for entry in CATALOG.files.values() if entry.data_commercial != "unknown")


def test_an_open_licence_leaves_out_what_a_licence_restricts() -> None:
    keep, left_out = CATALOG.select("open-licence")
    kept, out = {entry.file for entry in keep}, {entry.file for entry in left_out}
    assert {
        "GPEN-BFR-512.pth",
        "similarity_Lm3D_all.mat",
        "wav2lip_gan.pth",
        "shape_predictor_68_face_landmarks.dat",
    } <= out
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
    assert [parse_size(text) for text in ("994 B", "1.46 kB", "180 MB", "1.53 GB")] == [
        994,
        1460,
        180_000_000,
        1_530_000_000,
    ]
    assert show_size(348632874) == "348.6 MB"
    assert show_size(None) == "?"
    entry = CATALOG.files["DNet.pt"]
    assert not entry.wrong_size(180 * 2**20)  # the page may mean mebibytes
    assert "not about 180 MB" in entry.wrong_size(90_000_000)
    assert "not 348632874" in CATALOG.files["GFPGANv1.3.pth"].wrong_size(348632873)


ENTRY: dict[str, Any] = {
    "urls": ["acme", "acme other/name.pth", "https://mirror.example/x.pth"],
    "licence": "MIT",
    "commercial": "yes",
    "used_by": ["stage x"],
}
SOURCES = {"acme": "https://acme.example/"}


def test_an_entry_of_another_distribution_needs_few_fields() -> None:
    found = parse_catalog({"sources": SOURCES, "files": {"x.pth": ENTRY}}, "acme 1.0").files["x.pth"]
    assert found.urls == (
        "https://acme.example/x.pth",
        "https://acme.example/other/name.pth",
        "https://mirror.example/x.pth",
    )
    assert (found.distribution, found.pinning, found.groups, found.size) == ("acme 1.0", "unknown", (), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": None}, "x.pth: lacks licence"),
        ({"license": "MIT"}, "x.pth: unknown field 'license'"),
        ({"commercial": True}, "x.pth: commercial is one of yes, no, unknown"),
        ({"data_commercial": "maybe"}, "x.pth: data_commercial is one of yes, no, unknown"),
        ({"sha256": "12AB"}, "x.pth: sha256 needs 64 digits"),
        ({"size": 7, "about": "7 B"}, "x.pth: size is a number of bytes"),
        ({"urls": "acme"}, "x.pth: urls is a list"),
        ({"urls": ["elsewhere"]}, "x.pth: source 'elsewhere' is not among"),
        ({"groups": ["mine"]}, "x.pth: unknown group 'mine'"),
        ({"distribution": "retalk-dub"}, "x.pth: unknown field 'distribution'"),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_entry_is_said(change: dict[str, Any], message: str) -> None:
    entry = {key: value for key, value in {**ENTRY, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        parse_catalog({"sources": SOURCES, "files": {"x.pth": entry}}, "acme 1.0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no mapping `files`"),
        ({"files": {"../x.pth": ENTRY}}, "'../x.pth': the name of a file"),
        ({"files": {}, "networks": {}}, "unknown key 'networks'"),
        ({"files": {"x.pth": None}}, "x.pth: needs commercial, licence, urls, used_by"),
    ],
)
def test_what_is_wrong_with_a_catalogue_is_said(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_catalog(content, "acme 1.0")


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a distribution that brings model files of these names."""

    def made(name: str, *files: str, broken: bool = False) -> None:
        site = tmp_path / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[retalk.model_files]\n{name} = files_of_{name}:files\n")
        content = {"sources": SOURCES, "files": {} if broken else dict.fromkeys(files, ENTRY)}
        content |= {"weights": 1} if broken else {}
        (site / f"files_of_{name}.py").write_text(f"def files():\n    return {content!r}\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, f"files_of_{name}", raising=False)

    return made


def test_files_of_other_distributions_join_the_catalogue(bring: Callable[..., None]) -> None:
    bring("acme", "x.pth", "y.pth")
    bring("rival", "z.pth")
    catalog = load_catalog()
    assert set(catalog.files) - set(CATALOG.files) == {"x.pth", "y.pth", "z.pth"}
    assert catalog.unusable == {}
    (found,) = catalog.files_of(["z.pth"])
    assert found.distribution == "rival 1.0"
    assert home_registry("/elsewhere").catalog.files["z.pth"].distribution == "rival 1.0"


def test_names_that_clash_and_broken_catalogues_are_left_out(bring: Callable[..., None]) -> None:
    bring("acme", "x.pth", "y.pth")
    bring("rival", "x.pth", "LNet.pth")
    bring("torn", broken=True)
    catalog = load_catalog()
    assert set(catalog.files) - set(CATALOG.files) == {"y.pth"}
    assert catalog.files["LNet.pth"] == CATALOG.files["LNet.pth"]
    assert "rival 1.0: retalk-dub has that name itself" in catalog.unusable["LNet.pth"]
    with pytest.raises(WeightsError, match=r"'x.pth' .* is ambiguous: .*acme 1.0.*uninstall one"):
        catalog.files_of(["x.pth"])
    with pytest.raises(
        WeightsError, match=r"left out: .* of torn 1.0 .*unknown key 'weights'.*uninstall torn"
    ):
        catalog.files_of(["of_torn.pth"])
