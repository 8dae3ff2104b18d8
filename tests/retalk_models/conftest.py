"""`subject`: a network with recipe weights; tests of one network run one after another, so that its weights
are drawn once.
"""

from __future__ import annotations

import pytest

from tests.retalk_models.recipe import Subject, subject_of


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The network named by the parameter."""
    return subject_of(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests that ask for a subject by its name; others stay where they are."""
    places = [
        i
        for i, item in enumerate(items)
        if "subject" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    ordered = sorted((items[i] for i in places), key=lambda item: item.callspec.params["subject"])  # type: ignore[attr-defined]
    for place, item in zip(places, ordered):
        items[place] = item
