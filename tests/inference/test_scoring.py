"""The adapter against a direct computation of the same likelihoods, at the edges where adapters have been wrong."""

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance

from lmmodel.inference.generation import generate
from lmmodel.inference.likelihood import windows
from lmmodel.inference.scoring import LanguageModel
from lmmodel.text.dialogues import Message, prompt
from tests.inference.small import CONTEXT, model, next_log_probabilities, tokenizer

PIECES = st.sampled_from(["foot", "ball", "step", "game", " ", "  ", "\n", "a", "é", "€", "foo", "tball"])
TEXT = st.lists(PIECES, max_size=12).map("".join)
ALGORITHMS = ("byte", "bpe")


def language_model(algorithm: str, **options: Any) -> LanguageModel:
    known = tokenizer(algorithm)
    return LanguageModel(model(vocabulary=known.vocab_size), known, **options)


def asked(kind: str, *arguments: Any, doc: dict[str, Any] | None = None) -> Instance:
    return Instance(kind, doc or {}, arguments, 0, ("task", 0, 1))


def directly(known: LanguageModel, ids: list[int], first: int) -> tuple[float, bool]:
    """The sum of log p(ids[place] | what its window holds before it) over the places from `first` on."""
    nats, greedy = 0.0, True
    for window in windows(len(ids), first, CONTEXT):
        for place in range(window.first, window.stop):
            log_probabilities = next_log_probabilities(known.model, ids[window.start : place])
            nats += float(log_probabilities[ids[place]])
            greedy &= int(log_probabilities.argmax()) == ids[place]
    return nats, greedy


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=25, deadline=None)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
@example(pairs=[("", "football"), ("foot", "ball"), ("foot ", " ball"), ("", ""), ("foot", ""), (" ", "a")])
@example(pairs=[("step by " * 20, "foot"), ("a", "game step " * 20), ("step by " * 20, "game step " * 20)])
def test_likelihoods_are_those_of_the_joint_texts_own_tokens(algorithm, pairs):
    known = language_model(algorithm)
    scored = known.loglikelihood([asked("loglikelihood", *pair) for pair in pairs])
    for (context, continuation), result in zip(pairs, scored, strict=True):
        whole, alone = known.tok_encode(context + continuation), known.tok_encode(context)
        shared = 0
        while shared < min(len(whole), len(alone)) and whole[shared] == alone[shared]:
            shared += 1
        nats, greedy = directly(known, whole, shared)
        assert result[0] == pytest.approx(nats, abs=1e-4)
        assert result[1] == greedy


@settings(max_examples=25, deadline=None)
@given(context=TEXT, continuation=TEXT)
def test_with_bytes_the_whole_text_costs_what_its_parts_cost(context, continuation):
    if len((context + continuation).encode()) > CONTEXT:
        return
    known = language_model("byte")
    parts = known.loglikelihood([asked("loglikelihood", "", context), asked("loglikelihood", context, continuation)])
    (whole,) = known.loglikelihood_rolling([asked("loglikelihood_rolling", context + continuation)])
    assert parts[0][0] + parts[1][0] == pytest.approx(whole, abs=1e-4)


def test_a_continuation_that_merges_with_its_context_is_scored_from_the_merged_token_on():
    known = language_model("bpe")
    whole = known.tok_encode("football")
    assert len(whole) == 2, "one token, with the one before every document"
    assert known.tok_encode("foot")[1:] + known.tokenizer.encode("ball") != whole[1:]
    (result,) = known.loglikelihood([asked("loglikelihood", "foot", "ball")])
    assert result[0] == pytest.approx(directly(known, whole, 1)[0], abs=1e-4)
    assert result[0] < -1e-3  # sliced by the context's own length, nothing would be left to score


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=20, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
@example(texts=["", "step by step " * 15])
def test_a_rolled_text_is_scored_from_its_first_token_to_its_last(algorithm, texts):
    known = language_model(algorithm)
    rolled = known.loglikelihood_rolling([asked("loglikelihood_rolling", text) for text in texts])
    assert rolled == pytest.approx([directly(known, known.tok_encode(text), 1)[0] for text in texts], abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=5))
def test_together_is_as_one_by_one(pairs):
    known = language_model("bpe")
    requests = [asked("loglikelihood", *pair) for pair in pairs]
    for one, all_of_them in zip(requests, known.loglikelihood(requests), strict=True):
        (alone,) = known.loglikelihood([one])
        assert alone[0] == pytest.approx(all_of_them[0], abs=1e-5)
        assert alone[1] == all_of_them[1]


def wish(**told: Any) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": 30, "do_sample": False, **told}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=15, deadline=None)
@given(contexts=st.lists(TEXT, min_size=1, max_size=4))
def test_what_is_generated_is_what_greedy_decoding_says(algorithm, contexts):
    known = language_model(algorithm)
    said = known.generate_until([asked("generate_until", context, wish()) for context in contexts])
    stop = known.tokenizer.special.values()
    for context, text in zip(contexts, said, strict=True):
        (ids,) = generate(known.model, [known.tok_encode(context)], tokens=30, stop=stop)
        assert text == known.tokenizer.decode(ids)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stop_cuts_the_text_wherever_tokens_end_and_is_not_part_of_it(algorithm):
    known = language_model(algorithm)
    (whole,) = known.generate_until([asked("generate_until", "foot", wish())])
    assert len(whole) > 6
    for first in range(len(whole) - 2):
        stop = whole[first : first + 2]
        (said,) = known.generate_until([asked("generate_until", "foot", wish(until=["never", stop]))])
        assert said == whole.partition(stop)[0]


def test_a_stop_also_saves_the_work_behind_it():
    known = language_model("byte")
    passes: list[int] = []
    known.model.register_forward_hook(lambda *_: passes.append(1))
    try:
        (whole,) = known.generate_until([asked("generate_until", "foot", wish(max_gen_toks=12))])
        full = len(passes)
        known.generate_until([asked("generate_until", "foot", wish(max_gen_toks=12, until=[whole[:1]]))])
    finally:
        known.model._forward_hooks.clear()
    assert len(passes) - full < full / 2


def test_requests_that_want_different_things_are_answered_in_their_order():
    known = language_model("byte")
    wishes = [wish(max_gen_toks=length) for length in (3, 9, 3, 9)]
    told = [asked("generate_until", text, each) for text, each in zip(("a", "b", "c", "d"), wishes, strict=True)]
    assert known.generate_until(told) == [known.generate_until([one])[0] for one in told]


def test_drawn_texts_depend_on_the_seed_alone():
    told = [asked("generate_until", "foot", wish(do_sample=True, temperature=1.0))] * 2
    first, again, other = (language_model("byte", seed=seed).generate_until(told) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0] != first[1]


MESSAGES = [{"role": "user", "content": "a game"}]


def test_a_model_that_knows_roles_meets_a_dialogue_as_it_was_trained():
    known = language_model("bpe", roles=True)
    ids = prompt(known.tokenizer, [Message(**message) for message in MESSAGES])
    answer = known.tokenizer.encode("game")
    told = asked("loglikelihood", "a foot in the", "\ngame", doc={"dialogue": MESSAGES})
    assert known.loglikelihood([told])[0][0] == pytest.approx(directly(known, [*ids, *answer], len(ids))[0], abs=1e-4)
    alone = asked("loglikelihood", "", "\ngame", doc={"dialogue": MESSAGES})  # an answer by itself
    whole = [known.tokenizer.begin, known.tokenizer.assistant, *answer]
    assert known.loglikelihood([alone])[0][0] == pytest.approx(directly(known, whole, 2)[0], abs=1e-4)
    told = asked("generate_until", "a foot in the\n", wish(), doc={"dialogue": MESSAGES})
    (expected,) = generate(known.model, [ids], tokens=30, stop=known.tokenizer.special.values())
    assert known.generate_until([told]) == [known.tokenizer.decode(expected)] != [""]


def test_a_model_that_does_not_know_roles_meets_the_same_dialogue_as_text():
    known = language_model("bpe")
    with_dialogue = asked("loglikelihood", "a foot in the\n", "game", doc={"dialogue": MESSAGES})
    without = asked("loglikelihood", "a foot in the\n", "game")
    assert known.loglikelihood([with_dialogue]) == known.loglikelihood([without])
    assert known.loglikelihood([without]) != language_model("bpe", roles=True).loglikelihood([with_dialogue])


def test_advance_hears_of_every_request():
    heard: list[int] = []
    known = language_model("byte", advance=heard.append)
    known.loglikelihood([asked("loglikelihood", "", "step " * n) for n in range(6)])
    known.generate_until([asked("generate_until", "a", wish())] * 3)
    assert sum(heard) == 9


def test_scoring_takes_no_graph():
    known = language_model("byte")
    known.loglikelihood([asked("loglikelihood", "a", "b")])
    assert all(parameter.grad is None for parameter in known.model.parameters())
    assert torch.is_grad_enabled()
