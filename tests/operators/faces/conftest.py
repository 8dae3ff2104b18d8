"""The dlib backend, loaded once: its model is 100 MB."""

import pytest

from operators.faces.dlib_backend import DlibBackend


@pytest.fixture(scope="session")
def backend() -> DlibBackend:
    return DlibBackend()
