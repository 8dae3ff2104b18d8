"""Every pure function of the original against the committed digest: the same numbers everywhere, with and
without recorded data.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from operators.retalk import boxes, enhance, mel, restore
from tests.operators.retalk import function_digest

DIGEST = json.loads(function_digest.PATH.read_text())


def test_every_case_has_a_digest() -> None:
    assert set(DIGEST) == set(function_digest.CASES)


@pytest.mark.parametrize("name", function_digest.CASES)
def test_results_equal_the_digest(name: str) -> None:
    function_digest.assert_matches(name, DIGEST[name])


@pytest.mark.parametrize(
    ("case", "owner", "name", "change"),
    [
        ("sound", mel, "mel_spectrogram", lambda f: lambda samples: f(samples * np.float32(1.02))),
        ("detections", boxes, "VARIANCES", lambda v: (v[0] * 1.01, v[1])),
        ("enhancer", enhance, "FACE_LABELS", lambda v: v[1:]),
        ("restoration", restore, "TEMPLATE", lambda v: v * 1.01),
    ],
)
def test_the_digest_notices_a_changed_constant(
    case: str, owner: Any, name: str, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, change(getattr(owner, name)))
    with pytest.raises(AssertionError, match=case):
        function_digest.assert_matches(case, DIGEST[case])
