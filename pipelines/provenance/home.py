"""The folder of this user's own signing identity, and the roots in it that `retalk verify` trusts."""

from __future__ import annotations

import os
from pathlib import Path

#: Files of an identity.
ROOT, CHAIN, KEY, ROOT_KEY = "root.pem", "chain.pem", "key.pem", "root-key.pem"
#: The identity in use, and the beginning of the names of those that it has replaced.
LOCAL, REPLACED = "local", "replaced-"


def provenance_home() -> Path:
    """``$XDG_CONFIG_HOME/retalk/provenance``, else ``~/.config/retalk/provenance``. A relative XDG_CONFIG_HOME is ignored, as its
    specification demands.
    """
    xdg = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(xdg) if os.path.isabs(xdg) else Path("~/.config").expanduser()
    return folder / "retalk" / "provenance"


def has_identity() -> bool:
    """True if this user has a signing identity; none is made."""
    return (provenance_home() / LOCAL / KEY).exists()


def own_roots() -> list[Path]:
    """Root certificates of this user's identities, the present one first; replaced ones have signed earlier files."""
    home = provenance_home()
    present = [home / LOCAL / ROOT]
    return [path for path in present + sorted(home.glob(f"{REPLACED}*/{ROOT}")) if path.is_file()]
