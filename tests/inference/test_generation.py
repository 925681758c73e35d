"""Decoding with a state, many prompts at once, against decoding alone and afresh for every token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmodel.inference.generation import generate, stream
from tests.inference.small import CONTEXT, POSITIONS, VOCABULARY, model, next_log_probabilities

PROMPT = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=2 * CONTEXT)
HALF = CONTEXT // 2


def naively(position: str, prompt: list[int], tokens: int) -> list[int]:
    """The likeliest tokens, the whole model run for each; the later half of a full context goes on."""
    seen, said = prompt[-max(CONTEXT - tokens, HALF) :], []
    for _ in range(tokens):
        seen = seen[-HALF:] if len(seen) > CONTEXT else seen
        said.append(int(next_log_probabilities(model(position), seen).argmax()))
        seen = [*seen, said[-1]]
    return said


@pytest.mark.parametrize("position", POSITIONS)
@settings(max_examples=20, deadline=None)
@given(prompts=st.lists(PROMPT, min_size=1, max_size=6), tokens=st.integers(0, 3 * CONTEXT))
def test_ragged_prompts_with_a_state_say_what_each_says_alone_without(position, prompts, tokens):
    assert generate(model(position), prompts, tokens=tokens) == [naively(position, p, tokens) for p in prompts]


@settings(max_examples=20, deadline=None)
@given(prompts=st.lists(PROMPT, min_size=2, max_size=5), seed=st.integers(0, 9), tokens=st.integers(1, 40))
def test_what_is_drawn_for_a_prompt_does_not_depend_on_the_others(prompts, seed, tokens):
    together = generate(model(), prompts, tokens=tokens, temperature=1.0, seed=seed)
    others = generate(model(), [[1], *prompts[1:]], tokens=tokens, temperature=1.0, seed=seed)
    assert together[1:] == others[1:]
    alone = generate(model(), prompts[:1], tokens=tokens, temperature=1.0, seed=seed)
    assert together[:1] == alone


def test_a_stop_ends_its_own_row_and_is_not_said():
    prompts = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
    full = generate(model(), prompts, tokens=30)
    stop = {full[0][3], full[2][0]}
    expected = [said[: next((i for i, token in enumerate(said) if token in stop), 30)] for said in full]
    assert generate(model(), prompts, tokens=30, stop=stop) == expected
    assert len(expected[0]) <= 3
    assert expected[2] == []


@settings(max_examples=20, deadline=None)
@given(prompts=st.lists(PROMPT, min_size=2, max_size=5), stop=st.sets(st.integers(0, VOCABULARY - 1), max_size=12))
def test_rows_that_stop_early_change_nothing_for_those_that_go_on(prompts, stop):
    together = generate(model(), prompts, tokens=40, stop=stop)
    assert together == [generate(model(), [prompt], tokens=40, stop=stop)[0] for prompt in prompts]


def test_ended_hears_each_row_apart_and_finishes_it():
    lengths = {3: 1, 4: 7, 5: 12}
    prompts = [[3], [4], [5]]
    full = generate(model(), prompts, tokens=20)
    starts = {said[0]: lengths[prompt[0]] for said, prompt in zip(full, prompts, strict=True)}
    assert len(starts) == 3
    ended = generate(model(), prompts, tokens=20, ended=lambda said: len(said) == starts[said[0]])
    assert [len(said) for said in ended] == [1, 7, 12]
    assert all(said == whole[: len(said)] for said, whole in zip(ended, full, strict=True))


def test_a_stream_says_what_generate_says_and_each_token_in_its_turn():
    prompt, manner = [1, 2, 3], {"tokens": 25, "temperature": 0.7, "seed": 5}
    assert list(stream(model(), prompt, **manner)) == generate(model(), [prompt], **manner)[0]
    first = next(stream(model(), prompt, tokens=10**9))  # what comes later is not computed
    assert first == naively("rotary", prompt, 1)[0]


def test_draws_follow_the_probabilities_at_the_temperature():
    prompt, rows, temperature = [1, 2, 3], 4000, 2.0
    said = generate(model(), [prompt] * rows, tokens=1, temperature=temperature, seed=3)
    counted = torch.bincount(torch.tensor(said).flatten(), minlength=VOCABULARY) / rows
    expected = torch.softmax(next_log_probabilities(model(), prompt) / temperature, dim=-1)
    noise = (expected * (1 - expected) / rows).sqrt()
    assert ((counted - expected).abs() < 5 * noise + 1e-3).all()
    assert generate(model(), [prompt] * 3, tokens=5, temperature=1.0, seed=4) != generate(
        model(), [prompt] * 3, tokens=5, temperature=1.0, seed=5
    )


def test_generation_leaves_torchs_own_random_numbers_alone():
    before = torch.get_rng_state()
    generate(model(), [[1, 2]], tokens=5, temperature=1.0, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_prompt_needs_a_token():
    with pytest.raises(ValueError, match="at least one token"):
        generate(model(), [[1], []], tokens=1)
