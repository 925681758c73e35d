"""A learned number for each bucket of distances."""

import math

import pytest
import torch

from lmmodel.architecture.position.relative import Options, Position
from lmmodel.architecture.roles import roles
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties

SIZES = Sizes(width=32, depth=2, heads=4, head_width=8, context=256)


def test_it_is_sound():
    properties.assert_sound("{position: relative, attention: {kind: multi_head, kv_heads: 2}}")


def bucket(distance, buckets=32, furthest=128):
    """T5's rule for a causal model, in plain Python."""
    exact = buckets // 2
    if distance < exact:
        return distance
    return min(buckets - 1, exact + int(math.log(distance / exact) / math.log(furthest / exact) * (buckets - exact)))


@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20), (2, 50)])
def test_buckets_are_those_of_t5(buckets, furthest):
    position = Position(Options(buckets=buckets, furthest=furthest), SIZES)
    with torch.no_grad():
        position.table.weight.copy_(torch.arange(buckets)[:, None].expand(buckets, 4))
    edges = {furthest, buckets // 2}  # where a logarithm's last bit decides
    distances = [distance for distance in range(300) if distance not in edges]
    found = position.bias(torch.tensor(3), torch.tensor(distances)).long().tolist()
    assert found == [bucket(distance, buckets, furthest) for distance in distances]


def test_its_table_is_an_embedding_to_the_optimizer():
    assert roles(properties.model("{position: relative}"))["layers.0.attention.position.table.weight"] == "embedding"


def test_buckets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="7 is not an even number"):
        Options(buckets=7).complete(SIZES)
    with pytest.raises(ValueError, match="furthest should be larger"):
        Options(buckets=64, furthest=32).complete(SIZES)
