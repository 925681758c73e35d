"""This project's tasks through the real lm-eval, each score computed once more by hand."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sacrebleu.metrics.chrf import CHRF

from lmmodel.inference import examples, task_names
from lmmodel.inference.generation import generate
from lmmodel.inference.harness import Verdict, opened
from lmmodel.inference.likelihood import Passage, score
from lmmodel.inference.scoring import LanguageModel
from lmmodel.params import document
from lmmodel.text import dialogues, documents
from lmmodel.text.dialogues import Message, prompt
from tests.inference.small import model, tokenizer

DOCUMENTS, CHOICE, ANSWER = "documents_bits_per_byte", "dialogues_choice", "dialogues_answer"
LIMIT = 12


@pytest.fixture(scope="module")
def asked(ground):
    asked_of = list(dialogues.read(ground.dialogues, "validation"))
    return {
        DOCUMENTS: examples.documents(documents.read(ground.corpus, "validation"), count=LIMIT),
        CHOICE: examples.choices(asked_of, count=LIMIT),
        ANSWER: examples.answers(asked_of, count=LIMIT),
    }


@pytest.fixture(scope="module")
def tasks(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for task, rows in asked.items():
        examples.write(folder / task, rows)
    with opened(list(asked), data={task: folder / task for task in asked}) as found:
        yield found


def language_model(*, roles: bool) -> LanguageModel:
    known = tokenizer("bpe")
    return LanguageModel(model(vocabulary=known.vocab_size), known, roles=roles)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "roles"])
def told(request, tasks) -> tuple[LanguageModel, Verdict]:
    known = language_model(roles=request.param)
    return known, tasks.put_to(known, limit=LIMIT)


def figure(verdict: Verdict, task: str, metric: str) -> float:
    (found,) = [item.value for item in verdict.figures if (item.task, item.metric) == (task, metric)]
    return found


def start(known: LanguageModel, row) -> list[int]:
    if not known.roles:
        return known.tok_encode(row["text"] + "\n")
    return prompt(known.tokenizer, [Message(**said) for said in row["dialogue"]])


def test_bits_per_byte_are_all_nats_over_all_bytes(told, asked):
    known, verdict = told
    texts = [row["text"] for row in asked[DOCUMENTS]]
    nats = [part.nats for part in score(known.model, [Passage(known.tok_encode(text), 1) for text in texts])]
    expected = -sum(nats) / math.log(2) / sum(len(text.encode()) for text in texts)
    assert figure(verdict, DOCUMENTS, "bits_per_byte") == pytest.approx(expected, rel=1e-6)


def likelihoods(known: LanguageModel, before: list[int] | None, context: str, choices: list[str]) -> list[float]:
    """In nats: of each choice after the tokens `before`, or after a text, where tokens may merge."""
    passages = []
    for choice in choices:
        if before is not None:
            passages.append(Passage([*before, *known.tokenizer.encode(choice)], len(before)))
        else:
            first, then = known._encode_pair(context, f"\n{choice}")
            passages.append(Passage([*first, *then], len(first)))
    return [part.nats for part in score(known.model, passages)]


def test_a_choice_is_right_where_it_is_the_likeliest_a_byte_or_for_the_question(told, asked):
    known, verdict = told
    right: dict[str, list[bool]] = {"acc": [], "acc_bytes": [], "acc_mutual_info": []}
    for row in asked[CHOICE]:
        asked_with = start(known, row) if known.roles else None
        by_itself = prompt(known.tokenizer, []) if known.roles else None
        nats = likelihoods(known, asked_with, row["text"], row["choices"])
        alone = likelihoods(known, by_itself, "", row["choices"])
        weights = {
            "acc": nats,
            "acc_bytes": [each / len(choice.encode()) for each, choice in zip(nats, row["choices"], strict=True)],
            "acc_mutual_info": [each - other for each, other in zip(nats, alone, strict=True)],
        }
        for metric, weight in weights.items():
            right[metric].append(row["choices"][weight.index(max(weight))] == row["answer"])
    for metric, found in right.items():
        assert figure(verdict, CHOICE, metric) == pytest.approx(sum(found) / len(found))


def test_an_answer_is_what_greedy_decoding_says_and_chrf_is_sacrebleus(told, asked):
    known, verdict = told
    said = []
    for row in asked[ANSWER]:
        (ids,) = generate(known.model, [start(known, row)], tokens=64, stop=known.tokenizer.special.values())
        said.append(known.tokenizer.decode(ids).partition("\n\n")[0])
    assert [example["said"] for example in verdict.examples[ANSWER]] == said
    expected = CHRF().corpus_score(said, [[row["answer"] for row in asked[ANSWER]]]).score
    assert figure(verdict, ANSWER, "chrf") == pytest.approx(expected)


def test_every_figure_of_ours_has_an_interval_and_a_direction(told):
    _, verdict = told
    assert [(item.task, item.metric, item.less_is_better) for item in verdict.figures] == [
        (DOCUMENTS, "bits_per_byte", True),
        (CHOICE, "acc_mutual_info", False),
        (CHOICE, "acc", False),
        (CHOICE, "acc_bytes", False),
        (ANSWER, "chrf", False),
    ]
    assert all(item.interval is not None and item.interval >= 0 for item in verdict.figures)


def test_each_example_is_kept_with_what_was_said_and_what_that_was_worth(told, asked):
    _, verdict = told
    for task, rows in asked.items():
        assert [example["id"] for example in verdict.examples[task]] == [row["id"] for row in rows]
    choice = verdict.examples[CHOICE][0]
    assert len(choice["said"]) == 2 * len(asked[CHOICE][0]["choices"])  # after the question, and by themselves
    assert all(isinstance(nats, float) for nats in choice["said"])
    assert choice["acc"] in (0.0, 1.0)
    assert choice["sort"] == asked[CHOICE][0]["sort"]


def test_roles_make_a_difference_and_only_to_dialogues(tasks):
    plain, roles = (tasks.put_to(language_model(roles=roles), limit=LIMIT) for roles in (False, True))
    assert plain.examples[DOCUMENTS] == roles.examples[DOCUMENTS]
    assert plain.examples[ANSWER] != roles.examples[ANSWER]


def test_the_same_tasks_can_be_put_twice_and_say_the_same(tasks):
    known = language_model(roles=False)
    assert tasks.put_to(known, limit=3) == tasks.put_to(known, limit=3)
    assert len(tasks.put_to(known, limit=3).examples[DOCUMENTS]) == 3


def test_guessing_scores_a_share_of_the_choices_and_eight_bits(tasks, asked):
    chance = tasks.chance(limit=LIMIT)
    shares = [1 / len(row["choices"]) for row in asked[CHOICE]]
    assert figure(chance, DOCUMENTS, "bits_per_byte") == 8
    assert figure(chance, CHOICE, "acc") == pytest.approx(sum(shares) / len(shares))
    assert ANSWER not in {item.task for item in chance.figures}


def test_every_request_is_counted_before_it_is_made(tasks):
    heard: list[int] = []
    known = tokenizer("bpe")
    tasks.put_to(LanguageModel(model(vocabulary=known.vocab_size), known, advance=heard.append), limit=LIMIT)
    assert sum(heard) == tasks.requests(LIMIT)


def test_nothing_is_printed_on_the_way(tasks, capfd):
    tasks.put_to(language_model(roles=False), limit=2)
    assert capfd.readouterr() == ("", "")


def test_the_files_say_where_the_stage_leaves_its_examples():
    names = {DOCUMENTS: examples.DOCUMENTS, CHOICE: examples.CHOICE, ANSWER: examples.ANSWER}
    assert task_names.own() == tuple(sorted(names))
    for task, name in names.items():
        told = document.read(task_names.FOLDER / f"{task}.yaml").data
        assert told["task"] == task
        assert told["dataset_kwargs"] == {"data_files": {"validation": f"models/evaluate/examples/{name}"}}
        assert all({"metric", "aggregation", "higher_is_better"} <= each.keys() for each in told["metric_list"])


def test_without_tasks_there_is_nothing_to_score():
    with opened([], data={}) as found:
        assert found.put_to(language_model(roles=False), limit=1) == found.chance(limit=1) == Verdict(())
        assert found.requests(1) == 0


@pytest.mark.slow
def test_a_task_of_the_hub_says_what_is_missing_without_a_network(tmp_path):
    code = (
        "from lmmodel.inference.harness import opened\nfrom lmmodel.params.refusal import Refusal\n"
        "try:\n    opened(['hellaswag'], data={}).__enter__()\nexcept Refusal as refusal:\n    print(refusal)"
    )
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **quiet}
    )
    assert ran.stdout.startswith(
        "evaluate.tasks: 'hellaswag' needs Rowan/hellaswag from huggingface.co, which is neither"
    )
