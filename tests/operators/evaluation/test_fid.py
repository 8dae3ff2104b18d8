"""Features of pictures for FID, by the network with made-up weights."""

import numpy as np
import pytest

from operators.evaluation.fid import InceptionStatistics, inception_features
from operators.evaluation.frechet import FeatureStatistics, frechet_distance
from tests.retalk_models.digest_inputs import picture
from tests.retalk_models.recipe import Subject
from tests.weight_recipe import generator


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject("inception")


def pictures(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    made = picture(generator(f"fid {size}"), (count, 3, *size))
    return [np.ascontiguousarray(one.transpose(1, 2, 0)) for one in made]


def test_features_do_not_depend_on_batches_and_sizes_may_mix(subject: Subject) -> None:
    some, others = pictures(3), pictures(2, (64, 48))
    mixed = [some[0], some[1], others[0], some[2], others[1]]
    together = inception_features(subject.module, mixed, batch=2)
    alone = np.concatenate([inception_features(subject.module, [one]) for one in mixed])
    assert together.shape == (5, 2048)
    np.testing.assert_allclose(together, alone, atol=1e-4 * np.abs(alone).max())
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


def part(statistics: FeatureStatistics) -> FeatureStatistics:
    """Those of every 16th number of a feature: the distance takes seconds with all."""
    state = statistics.state()
    return FeatureStatistics.from_state(
        {"count": state["count"], "mean": state["mean"][::16], "scatter": state["scatter"][::16, ::16]}
    )


def test_equal_sets_have_fid_zero_and_others_more(subject: Subject) -> None:
    """The statistics of shards of pictures, in another order; a change of brightness shows."""
    some = pictures(6)
    first, second, darker = (InceptionStatistics(subject.module, batch=4) for _ in range(3))
    for one in some:
        first.add(one)
        darker.add(one // 2)
    for one in some[:3]:
        second.add(one)
    rest = InceptionStatistics(subject.module)
    for one in some[3:]:
        rest.add(one)
    whole = second.statistics.merge(rest.statistics)
    first_part, whole_part, darker_part = map(part, (first.statistics, whole, darker.statistics))
    spread = np.trace(first_part.covariance)
    assert frechet_distance(first_part, whole_part) == pytest.approx(0, abs=1e-4 * spread)
    assert frechet_distance(first_part, darker_part) > 0.1 * spread
