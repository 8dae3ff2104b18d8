"""The suite leaves the caches of whoever runs it alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from retalk_models.registry.home import user_cache
from tests.conftest import CACHE

QUESTION = "from retalk_models.registry.home import user_cache; print(user_cache())"


def test_caches_of_tests_and_of_what_they_start_are_the_sessions() -> None:
    session = Path(os.environ[CACHE])
    assert session.is_dir()
    assert user_cache().is_relative_to(session)
    started = subprocess.run([sys.executable, "-c", QUESTION], check=True, capture_output=True, text=True)
    assert Path(started.stdout.strip()) == user_cache()
