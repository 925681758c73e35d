"""Every parameter has one role, and its module decides which."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lmmodel.architecture.roles import roles
from tests.architecture import properties


@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_parameter_is_in_exactly_one_role(tied):
    made = properties.model(f"{{like: gpt2, embedding: {{tied: {tied}}}}}")
    found = roles(made)
    assert list(found) == [name for name, _ in made.named_parameters()]
    assert found["embedding.weight"] == found["position.table.weight"] == "embedding"
    assert found.get("head.weight") == (None if tied == "true" else "embedding")
    assert found["layers.0.attention.query.weight"] == "matrix"
    assert found["layers.0.attention.query.bias"] == found["layers.0.attention_norm.weight"] == "vector"


class Stack(nn.Module):
    matrices = ("up_EDF",)

    def __init__(self):
        super().__init__()
        self.up_EDF = nn.Parameter(torch.zeros(2, 3, 4))
        self.table_BH = nn.Parameter(torch.zeros(5, 6))
        self.taps = nn.Conv1d(4, 4, 3, groups=4)
        self.again = self.first = nn.Linear(2, 2)


def test_a_bare_parameter_is_a_vector_unless_its_class_says_that_it_is_a_matrix():
    assert roles(Stack()) == {
        "up_EDF": "matrix",
        "table_BH": "vector",
        "taps.weight": "vector",
        "taps.bias": "vector",
        "again.weight": "matrix",
        "again.bias": "vector",
    }
