"""What a component sees of a pass, and what is remembered between passes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmmodel.architecture.span import Span
from lmmodel.architecture.state import State

TOKENS = torch.zeros(2, 6, dtype=torch.int64)
OWNER = nn.Identity()


def test_without_documents_rows_agree_on_positions():
    span = Span(TOKENS)
    assert span.positions_BT.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert span.documents_BT is None
    assert span.visible(6) is None


def test_positions_begin_anew_with_each_document():
    span = Span(TOKENS, documents_BT=torch.tensor([[0, 0, 1, 1, 1, 4], [9, 2, 2, 2, 2, 2]]))
    assert span.positions_BT.tolist() == [[0, 1, 0, 1, 2, 0], [0, 0, 1, 2, 3, 4]]


def test_a_mask_is_made_once_a_pass():
    span = Span(TOKENS)
    assert span.visible(6, window=2) is span.visible(6, window=2)
    assert span.visible(6, window=6) is None


documents = st.lists(st.integers(0, 2), min_size=1, max_size=24)


@given(documents, st.integers(1, 30), st.data())
def test_a_token_sees_what_is_not_later_of_its_document_and_within_the_window(ids, window, data):
    """The one rule, held against its words, in one pass and in two."""
    cut = data.draw(st.integers(0, len(ids) - 1))
    documents_BT = torch.tensor([ids])
    state = State(1, len(ids))
    if cut:
        Span(documents_BT[:, :cut], documents_BT=documents_BT[:, :cut], state=state)
        state.length = cut
    rest = Span(documents_BT[:, cut:], documents_BT=documents_BT[:, cut:], state=state)
    mask_TS = rest.visible(len(ids), window)[0]
    for t in range(cut, len(ids)):
        for s in range(len(ids)):
            assert bool(mask_TS[t - cut, s]) == (0 <= t - s < window and ids[t] == ids[s])


@given(documents, st.data())
def test_positions_do_not_depend_on_where_passes_are_cut(ids, data):
    documents_BT = torch.tensor([ids])
    whole = Span(documents_BT, documents_BT=documents_BT).positions_BT[0].tolist()
    state, pieces = State(1, len(ids)), []
    while state.length < len(ids):
        end = data.draw(st.integers(state.length + 1, len(ids)))
        piece = documents_BT[:, state.length : end]
        pieces += Span(piece, documents_BT=piece, state=state).positions_BT[0].tolist()
        state.length = end
    assert pieces == whole


def test_without_documents_each_row_goes_on_with_its_last_one():
    state = State(2, 9)
    Span(TOKENS, documents_BT=torch.tensor([[0, 0, 0, 0, 1, 1], [1] * 6]), state=state)
    state.length = 6
    span = Span(TOKENS[:, :2], state=state)
    assert span.documents_BT.tolist() == [[1, 1], [1, 1]]
    assert span.positions_BT.tolist() == [[2, 3], [6, 7]]
    positions_BS, documents_BS = span.keys(4)
    assert positions_BS.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert documents_BS.tolist() == [[1] * 4, [1] * 4]


def test_documents_may_be_named_after_tokens_that_had_none():
    state = State(2, 9)
    Span(TOKENS[:, :3], state=state)
    state.length = 3
    span = Span(TOKENS[:, :2], documents_BT=torch.tensor([[0, 1], [0, 0]]), state=state)
    assert span.positions_BT.tolist() == [[3, 0], [3, 4]]


def test_extend_gives_back_what_it_was_given_where_there_is_no_state():
    span, (k, v) = Span(TOKENS), torch.randn(2, 2, 6, 3)
    assert span.extend(OWNER, k, v, last=2) == (k, v)
    assert span.recall(OWNER) is None
    span.keep(OWNER, k)
    assert span.recall(OWNER) is None


@pytest.mark.parametrize("last", [None, 1, 3, 50])
def test_extend_gives_what_came_before_and_no_more_than_was_asked_for(last):
    whole_BT = torch.arange(20.0).expand(2, 20)
    state = State(2, 20)
    for start, end in ((0, 4), (4, 5), (5, 5), (5, 14), (14, 15), (15, 20)):
        (seen,) = Span(TOKENS[:, :1].expand(2, end - start), state=state).extend(
            OWNER, whole_BT[:, start:end], last=last
        )
        state.length = end
        first = 0 if last is None else max(0, start - last + 1)
        assert seen.tolist() == whole_BT[:, first:end].tolist()
    assert state.bytes() == 2 * 4 * (20 if last is None else min(20, last - 1))


def test_what_is_kept_takes_the_place_of_what_was():
    state = State(2, 9)
    for value in (1.0, 2.0):
        Span(TOKENS[:, :1], state=state).keep(OWNER, torch.full((2, 3), value))
    (kept,) = Span(TOKENS[:, :1], state=state).recall(OWNER)
    assert kept.tolist() == [[2.0] * 3] * 2
    assert state.bytes() == 24


def test_rows_are_selected_in_any_order_and_more_than_once():
    state = State(2, 9)
    span = Span(TOKENS, documents_BT=torch.tensor([[0, 0, 0, 0, 1, 1], [1] * 6]), state=state)
    span.extend(OWNER, torch.tensor([[1.0] * 6, [2.0] * 6]))
    span.keep(OWNER, torch.tensor([1.0, 2.0]))
    state.length = 6
    chosen = state.select([1, 0, 1])
    assert (chosen.batch, chosen.length, chosen.capacity) == (3, 6, 9)
    again = Span(torch.zeros(3, 1, dtype=torch.int64), state=chosen)
    assert again.positions_BT.tolist() == [[6], [2], [6]]
    assert again.recall(OWNER)[0].tolist() == [2.0, 1.0, 2.0]
    assert again.extend(OWNER, torch.zeros(3, 1))[0][:, 0].tolist() == [2.0, 1.0, 2.0]
    assert state.batch == 2


@pytest.mark.parametrize(("batch", "tokens", "words"), [(3, 1, "2 rows"), (2, 10, "9 tokens")])
def test_what_does_not_fit_a_state_is_refused(batch, tokens, words):
    with pytest.raises(ValueError, match=words):
        State(2, 9).room_for(batch, tokens)


def test_first_gives_what_the_first_caller_gave():
    span = Span(TOKENS)
    value = torch.ones(1)
    assert span.first("value", value) is value
    assert span.first("value", torch.zeros(1)) is value
    assert span.first("other", TOKENS) is TOKENS


def test_reports_and_losses_carry_their_owners_name_and_are_set():
    span = Span(TOKENS, names={OWNER: "layers.0.feed_forward"})
    for value in (1.0, 2.0):
        span.report(OWNER, "load", torch.tensor(value, requires_grad=True))
        span.add_loss(OWNER, "balance", torch.tensor([value, value]))
    assert span.reports["layers.0.feed_forward.load"].item() == 2.0
    assert not span.reports["layers.0.feed_forward.load"].requires_grad
    assert span.losses["layers.0.feed_forward.balance"].tolist() == [2.0, 2.0]
