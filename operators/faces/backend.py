"""Interface of face backends, and the choice of one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, Protocol, TypeGuard, get_args

import numpy as np

from operators.faces.dlib_backend import MODELS
from operators.faces.picture import Picture

if TYPE_CHECKING:
    from operators.faces.mesh_backend import MeshLook
    from retalk_models.tflite.runtime import RuntimeName

BackendName = Literal["auto", "dlib", "face-alignment", "mesh", "mesh-or-dlib"]


class FaceBackend(Protocol):
    """Detector and landmark predictor. Pictures are luma uint8[h, w], or RGB uint8[h, w, 3] where ``colour``
    is set.
    """

    name: str
    colour: bool

    def detect(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Boxes float32[n, 4] and scores float32[n], best first, of faces about 80 to 400 pixels wide with a
        score over ``threshold``.

        Boxes are squares as dlib's: `canonical.BOX_EYES` wide. Scores: 0 is as likely a face as not, sure
        ones exceed 1.
        """

    def landmarks(self, crop: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Points float64[68, 2] in a canonical crop and their uncertainty float64[68], eye distances;
        ``exact=False`` is quicker.
        """

    def confirm(self, crop: np.ndarray) -> float:
        """Score, as `detect`'s, of the face that should fill a canonical crop; -1: none."""


class PictureBackend(FaceBackend, Protocol):
    """A backend that crops pictures itself and gives a dense mesh (`mesh_backend.MeshBackend`)."""

    def look(
        self,
        picture: Picture,
        transform: np.ndarray,
        mesh: np.ndarray | None,
        guess: bool,
        exact: bool,
    ) -> MeshLook:
        """The face in an RGB picture, where a transform to the canonical crop or a mesh says it is; ``exact=False`` is quicker and
        gives no spread.
        """


def chosen_backend(name: BackendName, device: str, runtime: RuntimeName = "auto") -> tuple[BackendName, str]:
    """The backend that ``"mesh-or-dlib"`` stands for here, and why it is dlib, "" where it is not: the mesh where its files are here
    and LiteRT is, without which it takes three times dlib's time, or a GPU that torch runs it on. Other names stand for themselves.
    """
    from operators.faces.mesh_backend import FILES, missing_files

    if name != "mesh-or-dlib":
        return name, ""
    if missing_files():
        return "dlib", f"the face mesh's files are not here: retalk models pull {' '.join(FILES)}"
    if runtime == "auto" and device.startswith("cpu") and mesh_runtime("auto", device) == "torch":
        from retalk_models.installation import install_hint

        return "dlib", f"without LiteRT the face mesh is slow: {install_hint('litert')}"
    return "mesh", ""


def gives_mesh(backend: FaceBackend) -> TypeGuard[PictureBackend]:
    """True for a `PictureBackend`. It is asked several times a frame: checking a protocol takes long."""
    return hasattr(backend, "look")


def make_backend(name: BackendName, device: str, runtime: RuntimeName = "auto") -> FaceBackend:
    """The backend asked for; ``"auto"`` is face-alignment where it is installed, its weights are cached and a
    GPU is there, else dlib; ``"mesh-or-dlib"`` is what `chosen_backend` says.

    Args:
        name: of the backend.
        device: torch device.
        runtime: what runs the networks of "mesh", see `retalk_models.tflite.runtime.chosen_runtime`.

    Raises:
        FileNotFoundError, WeightsError: the model files of the backend asked for are missing; names them.
        MissingRuntimeError: the mesh's runtime is not installed; has the command that installs it.
        ValueError: unknown name.
    """
    from operators.faces.fan_backend import FaceAlignmentBackend, is_installed, missing_weights

    if name not in get_args(BackendName):
        raise ValueError(f"face backend {name!r} is unknown: use one of {', '.join(get_args(BackendName))}")
    name, _ = chosen_backend(name, device, runtime)
    if name == "mesh":
        from operators.faces.mesh_backend import require_files

        require_files()  # also where one was made from files that are gone
        return _shared_mesh(device, mesh_runtime(runtime, device))
    # On a CPU the networks need a second for a frame that dlib does in milliseconds.
    if name == "face-alignment" or (
        name == "auto" and device.startswith("cuda") and is_installed() and not missing_weights()
    ):
        return FaceAlignmentBackend(device)
    return _shared_dlib()


def backend_models(name: BackendName) -> tuple[str, ...]:
    """Models that a backend may load: names of `retalk_models.registry.bundled`, and of the weights' catalogue. Those of
    ``"mesh-or-dlib"`` are dlib's, as long as it is not decided.
    """
    from operators.faces.fan_backend import DETECTOR_FILE, LANDMARKS_FILE, is_installed, missing_weights

    fan = (DETECTOR_FILE, LANDMARKS_FILE)
    if name == "face-alignment":
        return fan
    if name == "mesh":
        return ()
    return (*MODELS, *(fan if name == "auto" and is_installed() and not missing_weights() else ()))


def backend_files(name: BackendName) -> tuple[str, ...]:
    """Files of the weights' catalogue without which a backend cannot be made."""
    from operators.faces.mesh_backend import FILES

    return FILES if name == "mesh" else ()


def mesh_runtime(name: RuntimeName, device: str) -> RuntimeName:
    """The runtime that runs the mesh's networks here, see `retalk_models.tflite.runtime.chosen_runtime`.

    Raises:
        MissingRuntimeError: it is asked for by name and not installed; has the command that installs it, and the option.
    """
    from retalk_models.tflite.runtime import MissingRuntimeError, chosen_runtime

    try:
        return chosen_runtime(name, device)
    except MissingRuntimeError as problem:
        raise MissingRuntimeError(f"{problem}; or set detect.mesh_runtime=torch") from problem


@functools.cache
def _shared_mesh(device: str, runtime: RuntimeName) -> FaceBackend:
    """One for the process, device and runtime; it keeps no state."""
    from operators.faces.mesh_backend import MeshBackend

    return MeshBackend(device, runtime)


@functools.cache
def _shared_dlib() -> FaceBackend:
    """One for the process: loading takes a second, and it keeps no state."""
    from operators.faces.dlib_backend import DlibBackend

    return DlibBackend()
