"""Tables for runs of tokens: what is looked up, where runs end, and that a run is known by all of its tokens."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.architecture.ngrams import NGrams
from lmmodel.architecture.span import Span
from tests.architecture import properties

MANY = 1_000_003


def looked_up(rows: list[int], tokens_BT: torch.Tensor, documents_BT: torch.Tensor | None = None) -> list[torch.Tensor]:
    """The row of each table that every token's run has."""
    made = NGrams(rows, 1)
    found = []
    for own in made.tables:
        for table in made.tables:
            torch.nn.init.zeros_(table.weight)
        own.weight.data = torch.arange(float(own.num_embeddings))[:, None]
        with torch.no_grad():
            found.append(made(tokens_BT, Span(tokens_BT, documents_BT=documents_BT))[..., 0].long())
    return found


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=12), st.integers(1, 3))
def test_a_row_is_that_of_the_run_and_of_nothing_else(tokens: list[int], shift: int) -> None:
    rows = [MANY, 977, 31]
    alone = looked_up(rows, torch.tensor([tokens]))
    later = looked_up(rows, torch.tensor([[7] * shift + tokens]))
    for back, (one, other) in enumerate(zip(alone, later, strict=True), 1):
        assert torch.equal(one[:, back:], other[:, shift + back :])  # the same wherever it stands, once it is complete
        assert one.min() >= 0
        assert one.max() < rows[back - 1]


def test_runs_that_differ_in_any_token_have_rows_of_their_own() -> None:
    """As long as there are many more rows than runs: of 65 letters all 4,225 pairs, and 4,000 triples."""
    letters = torch.arange(65)
    pairs = torch.cartesian_prod(letters, letters)
    row = looked_up([MANY, MANY], pairs)[0][:, 1]
    assert len(row.unique()) > 0.99 * len(pairs)
    triples = torch.randint(65, (4000, 3), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    row = looked_up([MANY, MANY], triples)[1][:, 2]
    assert len(row.unique()) > 0.99 * len(triples)


def test_a_run_does_not_reach_into_another_document() -> None:
    tokens = torch.tensor([[3, 4, 5, 3, 4, 5]])
    documents = torch.tensor([[0, 0, 0, 1, 1, 1]])
    for found in looked_up([MANY, MANY], tokens, documents):
        assert torch.equal(found[:, :3], found[:, 3:])
    without = looked_up([MANY, MANY], tokens)
    assert not torch.equal(without[0][:, 3], without[0][:, 0])


def test_its_rows_are_counted_learnt_as_tables_and_told() -> None:
    from lmmodel.architecture import count
    from lmmodel.architecture.roles import roles
    from pipelines.drawing import drawn

    declaration = properties.declared("{embedding: {ngrams: [50, 70]}}")
    plain = count.measure(properties.declared("{}"))
    counts = count.measure(declaration)
    assert counts.parameters - plain.parameters == (50 + 70) * 32
    assert counts.parts["embedding"].parameters == (19 + 50 + 70) * 32
    assert counts.flops_per_token == plain.flops_per_token
    model = properties.model("{embedding: {ngrams: [50, 70]}}")
    assert roles(model)["ngrams.tables.1.weight"] == "embedding"
    assert "70 rows" in "\n".join(drawn(declaration, counts.dump()))


def test_what_one_table_adds_is_what_the_model_adds() -> None:
    """The stream that enters the first layer is the token's row and those of its runs, by plain look-ups."""
    model = properties.model("{embedding: {ngrams: [50, 70]}}")
    tokens_BT = properties.tokens(2, 9)
    seen: list[torch.Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _, told: seen.append(told[0]))
    model(tokens_BT)
    rows = looked_up([50, 70], tokens_BT)
    wanted = model.embedding.weight[tokens_BT]
    for table, found in zip(model.ngrams.tables, rows, strict=True):
        wanted = wanted + table.weight[found]
    assert properties.error(seen[0], wanted) < 1e-12
