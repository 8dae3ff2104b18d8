"""Weights for the package face-alignment, linked from the cache into its own folder so that it never
downloads.

face-alignment 1.4 and later loads ``<torch hub>/checkpoints/s3fd-619a316812.pth`` and
``.../2DFAN4-11f355bf06.pth.tar`` and downloads what it does not find there, without checking it. The torch
hub folder is ``torch.hub.get_dir()``: ``$TORCH_HOME/hub``, else ``$XDG_CACHE_HOME/torch/hub``, else
``~/.cache/torch/hub``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from retalk_models.local_files import replacement, sha256_of
from retalk_models.registry.home import temporary_beside
from retalk_models.registry.registry import Registry, default_registry

#: Files that face-alignment's 2-D landmarks need, named as in its own addresses.
FACE_ALIGNMENT = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")


def face_alignment_paths(hub: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folder in which face-alignment looks for its weights, in ``hub``, default ``torch.hub.get_dir()``."""
    return [Path(hub or torch.hub.get_dir()) / "checkpoints" / file for file in FACE_ALIGNMENT]


def _put(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy of it where the file systems differ. Never half
    a file.
    """
    if target.exists() and (
        target.samefile(source)
        or (target.stat().st_size == source.stat().st_size and sha256_of(target) == sha256_of(source))
    ):
        return
    with replacement(target, temporary_beside(target)) as part:
        try:
            os.link(source, part)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, part)


def seed_face_alignment(
    hub: str | os.PathLike[str] | None = None, registry: Registry | None = None
) -> list[Path]:
    """Put face-alignment's weights where it looks for them, by hard link or copy, replacing what is different
    there.

    Call it before ``face_alignment.FaceAlignment(...)`` is constructed; several processes may do so at once.

    Args:
        hub: the torch hub folder; default: ``torch.hub.get_dir()``.
        registry: default: the cache of this environment.

    Returns:
        Their paths in the hub folder.

    Raises:
        WeightsError: the cache lacks them; nothing is downloaded.
    """
    found = (registry or default_registry()).require(FACE_ALIGNMENT)
    targets = face_alignment_paths(hub)
    for file, target in zip(FACE_ALIGNMENT, targets):
        _put(found[file], target)
    return targets
