"""What shows only in training: parameters that no optimizer finds, steps that teach nothing, code that compiles ill."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.finding import Finding
from lmmodel.learning import proof
from lmmodel.learning.families import OPTIMIZER
from lmmodel.params.kinds import choose
from tests.architecture import properties
from tests.architecture.faulty import mixer

HIDDEN = """
    def prepare(self, sizes):
        self.more = [nn.Linear(sizes.width, sizes.width)]
    def mix(self, q, k, v, span):
        return attend(q, *span.extend(self, k, v), span) + self.more[0](v.flatten(2)).unflatten(-1, v.shape[2:])
"""
SHARED = """
    def prepare(self, sizes):
        self.table = nn.Embedding(sizes.width, sizes.width)
        self.table.weight = self.out.weight
"""
NO_MATRIX = """
    matrices = ("steep",)
    def prepare(self, sizes):
        self.steep = nn.Parameter(torch.ones(sizes.width))
    def mix(self, q, k, v, span):
        return attend(q, *span.extend(self, k, v), span) * self.steep.unflatten(0, (self.heads, -1))
"""
NEXT_TO_NOTHING = """
    import torch
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Norm(nn.Module):
        def __init__(self, options, sizes):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(sizes.width))

        def forward(self, x):
            return 1e-6 * x * self.weight
"""
OTHERWISE_COMPILED = """
    def mix(self, q, k, v, span):
        return attend(q, *span.extend(self, k, v), span) * (2 if torch.compiler.is_compiling() else 1)
"""


def found(declaration, name: str, **told) -> Finding:
    (finding,) = proof.proof(declaration, only=[name], **told)
    assert finding.name == name
    return finding


@pytest.mark.parametrize("kind", OPTIMIZER.names())
def test_every_parameter_of_a_sound_design_is_in_one_group(kind):
    declared = properties.declared("{like: mixtral, head: {ahead: 1}, position: learned, embedding: {tied: false}}")
    finding = found(declared, "groups", optimizer=choose(OPTIMIZER, kind))
    assert finding.passed, finding.text
    assert "matrix: attention.query" in finding.found
    assert "embedding: embedding, position.table, head" in finding.found
    assert "feed_forward.up_EFD" in finding.found


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (HIDDEN, "layers.0.attention.more is a parameter that no optimizer finds"),
        (SHARED, "it has two roles"),
        (NO_MATRIX, "steep is a vector, and counts as a matrix"),
    ],
)
def test_a_parameter_in_no_group_or_two_is_named(own, fault, told):
    finding = found(own(mixer(fault)), "groups")
    assert finding.stops
    assert told in finding.found
    assert finding.component.startswith("attention experiments/part.py")
    assert "ModuleList" in finding.cause


def test_an_optimizer_that_forgets_a_role_is_told(monkeypatch):
    from lmmodel.learning.optimizer import adamw

    class Forgets(adamw.Optimizer):
        def __init__(self, options, parameters, *, dtype):
            super().__init__(options, {**parameters, "vector": parameters["embedding"]}, dtype=dtype)

    monkeypatch.setattr(adamw, "Optimizer", Forgets)
    monkeypatch.setattr("torch.optim.AdamW.add_param_group", lambda self, group: self.param_groups.append(group))
    finding = found(properties.declared("gpt2"), "groups", optimizer=choose(OPTIMIZER, "adamw"))
    assert "is in 2 groups of adamw" in finding.found


def test_a_design_whose_predictions_barely_move_does_not_learn(own):
    finding = found(own(NEXT_TO_NOTHING, "norm"), "learns")
    assert finding.stops
    assert "counting letters alone gives" in finding.found
    assert "near 0" in finding.cause


def test_a_design_that_blows_up_does_not_learn(own):
    gives = "x / (x - x.mean(-1, keepdim=True)).abs().amin(-1, keepdim=True) * self.weight * 1e18"
    finding = found(own(NEXT_TO_NOTHING.replace("1e-6 * x * self.weight", gives), "norm"), "learns")
    assert finding.stops
    assert "not finite from step" in finding.found


@pytest.mark.parametrize("design", ["gpt2", "{attention: linear, position: none}"])
def test_a_sound_design_learns_more_than_how_often_letters_come(design):
    finding = found(properties.declared(design), "learns")
    assert finding.passed, finding.text
    assert "in 60 steps" in finding.found


def test_training_on_the_tiny_text_gives_the_same_twice():
    declared = properties.declared("gpt2")
    assert found(declared, "learns") == found(declared, "learns")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "verdict", "told"),
    [
        ("pass", "ok", "equal to eager"),
        (OTHERWISE_COMPILED, "FAILED", "of its size"),
    ],
)
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_code_is_held_against_eager(own, fault, verdict, told):
    # A module of another name each time: what is compiled knows modules by their names, for as long as a process lives.
    finding = found(own(mixer(fault), name=f"part_{verdict.lower()}"), "compiled")
    assert (finding.verdict, told in finding.found) == (verdict, True), finding


@pytest.mark.usefixtures("fresh_compiler")
def test_a_design_that_the_compiler_refuses_is_doubtful(monkeypatch):
    def backend(graph, inputs):
        raise NotImplementedError("no such instruction")

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **told: compiled(module, backend=backend, **told))
    finding = found(properties.declared("gpt2"), "compiled")
    assert finding.verdict == "doubtful"
    assert "it cannot be compiled" in finding.found


def test_without_a_compiler_it_is_said_that_nothing_was_tried(monkeypatch):
    monkeypatch.setattr(proof.machine, "compiler", lambda: False)
    finding = found(properties.declared("gpt2"), "compiled")
    assert finding.passed
    assert "not tried" in finding.found
