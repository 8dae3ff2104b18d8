"""Files that are signed with a given identity, by the library alone: for tests of what `retalk verify` says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import c2pa

from pipelines.provenance.home import CHAIN, KEY

OPENED: dict[str, Any] = {
    "label": "c2pa.actions.v2",
    "data": {"actions": [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}]},
}


def sign_file(
    source: Path,
    target: Path,
    identity: dict[str, bytes],
    embed: bool = True,
    remote: str = "",
    **fields: Any,
) -> bytes:
    """Sign a copy of a file.

    Args:
        source: MP4, or with ``embed=False`` any file.
        target: the copy.
        identity: of `pipelines.provenance.identity.make_identity`.
        embed: write the manifest into the copy.
        remote: address of a manifest that the copy refers to.
        fields: of the manifest.

    Returns:
        The manifest.
    """
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "format": "video/mp4",
        "title": target.name,
        "ingredients": [{"title": "source.mp4", "relationship": "parentOf", "label": "source"}],
        "assertions": [OPENED],
        **fields,
    }
    info = c2pa.C2paSignerInfo(b"es256", identity[CHAIN], identity[KEY], None)
    settings = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
    builder = c2pa.Builder(json.dumps(manifest), c2pa.Context.from_dict(settings))
    if not embed:
        builder.set_no_embed()
    if remote:
        builder.set_remote_url(remote)
    mime = "video/mp4" if target.suffix == ".mp4" else "video/x-matroska"
    with source.open("rb") as given, target.open("w+b") as made:
        return builder.sign(c2pa.Signer.from_info(info), mime, given, made)
