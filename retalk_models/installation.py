"""State of this installation: what to install for an extra, and imports that go wrong because of other
distributions.

The lowest package holds it, so that all others can ask. Standard library only, except `packaging` for an
extra's requirements.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path
from types import TracebackType

#: Name of the distribution. On the package index `retalk` is another project, so no advice may name that.
DISTRIBUTION = "retalk-dub"
#: Folder that holds the packages: a checkout, or site-packages.
ROOT = Path(__file__).resolve().parents[1]
#: Top-level names of the distribution. Most are common words: a foreign package of the same name may be found
#: first.
NAMES = ("retalk", "retalk_models", "operators", "pipelines", "cluster", "configs")
HEADLESS = "opencv-python-headless"
#: Distributions that own the folder `cv2` too.
OTHER_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


class ForeignPackageError(ImportError):
    """Another project's package is found in place of one of ours; the message says where it lies and what to
    do.
    """


def checkout() -> Path | None:
    """Return the folder of the source checkout that the packages are loaded from; None for an installed
    wheel.
    """
    try:
        text = (ROOT / "pyproject.toml").read_text()
    except OSError:
        return None
    return ROOT if re.search(rf'^name = "{DISTRIBUTION}"$', text, re.MULTILINE) else None


def install_hint(*extras: str) -> str:
    """Return the command that installs what extras of pyproject.toml need, e.g. ``pip install
    's3fs>=2024.2'``.

    In a checkout it names the checkout's folder. Elsewhere it names the extra's own requirements, because the
    distribution need not be on any package index.
    """
    if (folder := checkout()) is not None:
        names = ",".join(extras)
        return f"pip install -e {shlex.quote(f'{folder}[{names}]')}"
    try:
        needed = [one for extra in extras for one in extra_requirements(extra)]
        return f"pip install {' '.join(map(shlex.quote, needed))}"
    except ValueError:  # packages that were copied here: nothing says what they need
        what = f"the extra {extras[0]}" if len(extras) == 1 else f"the extras {' and '.join(extras)}"
        return f"install what {what} of {DISTRIBUTION} needs"


def extra_requirements(extra: str) -> list[str]:
    """Return the requirements of an extra on this platform, e.g. ``["s3fs>=2024.2"]``, as the installed
    distribution declares them.

    Raises:
        ValueError: the distribution is not installed, or has no such extra.
    """
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"extra {extra}: the distribution {DISTRIBUTION} is not installed") from None
    found = []
    for one in map(Requirement, declared):
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""}):
            one.marker = None
            found.append(str(one).replace(" ", ""))
    if not found:
        raise ValueError(f"{DISTRIBUTION} has no extra {extra!r}")
    return found


def check_packages() -> None:
    """Check that our top-level names are found where this module lies.

    Raises:
        ForeignPackageError: another project's package is found first.
    """
    for name in NAMES:
        places = _places(name)
        ours = ROOT / name
        if not places or places[0] in (ours, ours.with_suffix(".py")):
            continue
        raise ForeignPackageError(
            f"another project's package {name!r} is found in place of retalk's: {places[0]}, not {ours}; {_advice(name, places[0].parent)}"
        )
    _check_cv2()


def _check_cv2() -> None:
    """OpenCV is a folder with an ``__init__.py``, or a library: a file cv2.py, or a folder without, is another's.

    Raises:
        ForeignPackageError: it is.
    """
    if "cv2" in sys.modules:
        return
    spec = importlib.util.find_spec("cv2")
    if spec is None or (spec.origin or "").endswith((".so", ".pyd", "__init__.py")):
        return
    place = Path(spec.origin) if spec.origin else _places("cv2")[0]
    raise ForeignPackageError(
        f"something else is found in place of the package cv2 (OpenCV): {place}; {_advice('cv2', place.parent)}"
    )


def _places(name: str) -> list[Path]:
    """Folders of a package (several for one without ``__init__.py``), or the file of a module; nothing if it
    is not found.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # loaded by hand, without a specification
        file = getattr(sys.modules[name], "__file__", None)
        return [Path(file).resolve().parent] if file else []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(place).resolve() for place in spec.submodule_search_locations]
    return [Path(spec.origin).resolve()] if spec.origin else []


def _advice(name: str, folder: Path) -> str:
    on_path = [Path(one).resolve() for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    if folder in on_path:
        return f"take {folder} out of PYTHONPATH"
    if folder == Path.cwd():
        return f"run from another folder than {folder}"
    if folder.name not in ("site-packages", "dist-packages"):  # the folder of a script, most likely
        return f"rename it, or keep your script in another folder than {folder}"
    alone = f"install {DISTRIBUTION} in a virtual environment of its own (python -m venv)"
    return f"remove it (pip uninstall retalk), or {alone}" if name == "retalk" else alone


def explain_import_error(problem: ImportError) -> str:
    """Return what to do about an import that failed because OpenCV is missing or does not load here; "" for
    any other import.
    """
    if isinstance(problem, ForeignPackageError):
        return str(problem)
    if not _concerns_cv2(problem):
        return ""
    version = _version(HEADLESS)
    wanted = f"{HEADLESS}=={version}" if version else HEADLESS
    if isinstance(problem, ModuleNotFoundError) and problem.name == "cv2":
        return f"OpenCV is missing: pip install --force-reinstall --no-deps {wanted}"
    others = [name for name in OTHER_OPENCV if _version(name)]
    reason = (
        f"{' and '.join(others)} is installed too and needs the libraries of a desktop. " if others else ""
    )
    return (
        f"OpenCV does not load ({' '.join(str(problem).split())}). {reason}"
        f"Put the build for servers in its place: pip install --force-reinstall --no-deps {wanted}"
    )


def _concerns_cv2(problem: ImportError) -> bool:
    if (problem.name or "").partition(".")[0] == "cv2":
        return True
    trace: TracebackType | None = problem.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "cv2" in (file.parent.name, file.stem):
            return True
        trace = trace.tb_next
    return False


def _version(name: str) -> str:
    """Version of an installed distribution, or ""."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
