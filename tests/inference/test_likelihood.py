"""Likelihoods against a direct computation, token by token; and the windows in which long texts are read."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lmmodel.inference.likelihood import Passage, score, windows
from tests.inference.small import CONTEXT, POSITIONS, VOCABULARY, model, next_log_probabilities

IDS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=3 * CONTEXT)


@st.composite
def passages(draw) -> Passage:
    ids = draw(IDS)
    return Passage(ids, draw(st.integers(1, len(ids))))


def directly(position: str, passage: Passage) -> tuple[float, bool]:
    """The sum over tokens, each given what its window holds before it."""
    nats, greedy = 0.0, True
    for window in windows(len(passage.ids), passage.first, CONTEXT):
        for place in range(window.first, window.stop):
            log_probabilities = next_log_probabilities(model(position), list(passage.ids[window.start : place]))
            nats += float(log_probabilities[passage.ids[place]])
            greedy &= int(log_probabilities.argmax()) == passage.ids[place]
    return nats, greedy


@pytest.mark.parametrize("position", POSITIONS)
@settings(max_examples=25, deadline=None)
@given(batch=st.lists(passages(), min_size=1, max_size=5))
def test_a_batch_scores_what_each_passage_scores_token_by_token(position, batch):
    for scored, passage in zip(score(model(position), batch), batch, strict=True):
        nats, greedy = directly(position, passage)
        assert scored.nats == pytest.approx(nats, abs=1e-4)  # logits are compared in float32
        assert scored.greedy == greedy


def test_what_is_asked_twice_is_read_once_and_answered_twice():
    read: list[int] = []
    passages = [Passage([1, 2, 3], 1), Passage([1, 2, 3], 2), Passage([1, 2, 3], 1), Passage([4, 5], 1)]
    hook = model().layers[0].register_forward_hook(lambda layer, inputs, output: read.append(inputs[0].shape[0]))
    heard: list[int] = []
    scored = score(model(), passages, advance=heard.append)
    hook.remove()
    assert sum(read) == 3
    assert sum(heard) == 4
    assert scored[0] == scored[2] != scored[1]


def test_the_likeliest_continuation_is_called_greedy_and_no_other_is():
    ids = [3, 1, 4]
    for _ in range(5):
        ids.append(int(next_log_probabilities(model(), ids).argmax()))
    other = [*ids[:-1], (ids[-1] + 1) % VOCABULARY]
    assert [part.greedy for part in score(model(), [Passage(ids, 3), Passage(other, 3)])] == [True, False]


def test_all_continuations_of_one_token_share_a_probability_of_one():
    scored = score(model(), [Passage([5, 7, token], 2) for token in range(VOCABULARY)])
    assert sum(torch.tensor([part.nats for part in scored]).exp()) == pytest.approx(1, abs=1e-6)


def test_a_passage_with_nothing_to_score_is_certain():
    assert score(model(), [Passage([1, 2], 2)]) == [(0.0, True)]


def test_a_passage_cannot_begin_with_a_scored_token():
    with pytest.raises(ValueError, match="place 0"):
        score(model(), [Passage([1, 2], 0)])


def test_advance_hears_of_every_passage_once_however_many_windows_it_takes():
    heard: list[int] = []
    score(model(), [Passage([1] * length, 1) for length in (2, 10, 100)], advance=heard.append)
    assert sum(heard) == 3


@given(length=st.integers(1, 200), context=st.integers(1, 40), data=st.data())
def test_windows_score_every_place_once_within_the_context(length, context, data):
    first = data.draw(st.integers(1, length))
    read = list(windows(length, first, context))
    assert [place for window in read for place in range(window.first, window.stop)] == list(range(first, length))
    for window in read:
        assert 0 <= window.start < window.first < window.stop
        assert window.stop - 1 - window.start <= context
    if length - first <= context and read:  # what fits is read once, with all the context there is room for
        assert len(read) == 1
        assert read[0].start == max(0, length - 1 - context)


@given(ids=st.lists(st.integers(0, 9), min_size=1, max_size=100), context=st.integers(1, 30))
def test_a_whole_text_is_read_in_the_windows_of_lm_eval(ids, context):
    theirs = [
        make_disjoint_window(pair)
        for pair in get_rolling_token_windows(ids, prefix_token=99, max_seq_len=context, context_len=1)
    ]
    text = [99, *ids]
    ours = [(text[w.start : w.first], text[w.first : w.stop]) for w in windows(len(text), 1, context)]
    assert ours == theirs
