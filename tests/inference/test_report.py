"""The table and the samples, in the shape that people and programs rely on."""

import pytest

from lmmodel.inference import report
from lmmodel.inference.harness import Figure
from lmmodel.inference.report import Asked, Continued, Said, Summary

BITS, CHOICE, BYTES, ANSWER = (
    ("documents_bits_per_byte", "bits_per_byte"),
    ("dialogues_choice", "acc_mutual_info"),
    ("dialogues_choice", "acc_bytes"),
    ("dialogues_answer", "chrf"),
)


def scored(*told: tuple[tuple[str, str], float, float | None]) -> list[Figure]:
    return [Figure(*place, value, interval, place == BITS) for place, value, interval in told]


VERDICTS = {
    "bz2_given_training": scored((BITS, 2.01, None)),
    "lzma_given_training": scored((BITS, 1.67, None)),
    "bz2_alone": scored((BITS, 2.21, None)),
    "zlib_alone": scored((BITS, 2.644, None)),
    "chance": scored((BITS, 8.0, None), (CHOICE, 0.25, None), (BYTES, 0.25, None)),
    "pretrain": scored((BITS, 1.907, 0.031), (CHOICE, 0.315, 0.0456), (BYTES, 0.33, 0.046), (ANSWER, 9.02, 0.8)),
    "someone/gpt": scored((BITS, 1.5, 0.02), (CHOICE, 0.4, 0.05), (BYTES, 0.4, 0.05), (ANSWER, 20.0, 1.0)),
    "finetune": scored((BITS, 1.971, 0.034), (CHOICE, 0.582, 0.0484), (BYTES, 0.6, 0.05), (ANSWER, 31.44, 2.2)),
}


@pytest.fixture
def summary() -> Summary:
    order = report.in_order(VERDICTS)
    return Summary(
        columns=report.columns([figure for name in order for figure in VERDICTS[name]]),
        rows=tuple(report.row(name, VERDICTS[name]) for name in order),
        examples={"documents_bits_per_byte": 330, "dialogues_choice": 400, "dialogues_answer": 400},
        notes=("A note.",),
        continued=(Continued(prompt="Return a", text=" list\n```of``` things"),),
        asked=(
            Asked(
                question="What is *args?",
                answers=(
                    Said(who="pretrained", text="\n"),
                    Said(who="fine-tuned", text="A list\nof it"),
                    Said(who="true", text="A | tuple."),
                ),
            ),
        ),
    )


def test_models_stand_first_then_references_then_what_stands_in_for_one(summary):
    assert [row.name for row in summary.rows] == [
        *("finetune", "pretrain", "someone/gpt", "chance"),
        *("lzma_given_training", "bz2_given_training", "bz2_alone", "zlib_alone"),
    ]
    assert [row.title for row in summary.rows][:3] == ["fine-tuned", "pretrained", "someone/gpt"]


def test_the_table(summary):
    assert (
        report.markdown(summary)
        == """\
# Evaluation

|  | bits per byte | choice of four | chrF of the answer |
| --- | ---: | ---: | ---: |
|  | held-out text, less is better | held-out questions, more is better | held-out questions, more is better |
| fine-tuned | 1.97 ± 0.03 | 58.2 % ± 4.8 | 31.4 ± 2.2 |
| pretrained | 1.91 ± 0.03 | 31.5 % ± 4.6 | 9.0 ± 0.8 |
| someone/gpt | 1.50 ± 0.02 | 40.0 % ± 5.0 | 20.0 ± 1.0 |
| chance | 8.00 | 25.0 % | - |
| lzma, given the training text | 1.67 | - | - |
| bz2, given the training text | 2.01 | - | - |
| bz2, alone | 2.21 | - | - |
| zlib, alone | 2.64 | - | - |

- A note.

## Other figures

|  | dialogues_choice |
| --- | ---: |
|  | acc_bytes, more is better |
| fine-tuned | 60.0 % ± 5.0 |
| pretrained | 33.0 % ± 4.6 |
| someone/gpt | 40.0 % ± 5.0 |
| chance | 25.0 % |
"""
    )


def test_the_samples(summary):
    assert (
        report.samples(summary)
        == """\
# Samples

## Prompts, continued by the pretrained model

````text
Return a list
```of``` things
````

## Questions

### What is \\*args?

- pretrained: (nothing)
- fine-tuned: A list of it
- true: A \\| tuple.
"""
    )


def test_the_page_for_a_terminal(summary):
    assert (
        report.terminal(summary, folder="models/evaluate")
        == """\
                                        bits per byte      choice of four  chrF of the answer
                                        held-out text  held-out questions  held-out questions
                                       less is better      more is better      more is better
  fine-tuned                                     1.97        58.2 % ± 4.8                31.4
  pretrained                                     1.91        31.5 % ± 4.6                 9.0
  someone/gpt                                    1.50        40.0 % ± 5.0                20.0
  chance                                         8.00              25.0 %                   -
  lzma, given the training text                  1.67                   -                   -
  bz2 | zlib, alone                       2.21 | 2.64                   -                   -
  ± is a 95 % interval over the examples. All figures: models/evaluate/report.md

  What is *args?
    pretrained    (nothing)
    fine-tuned    A list of it
    true          A | tuple."""
    )


def test_numbers_have_flat_keys_and_only_models_have_intervals(summary):
    figures = report.figures(summary)
    assert figures["finetune.dialogues_choice.acc_mutual_info"] == 0.582
    assert figures["finetune.dialogues_choice.acc_mutual_info_interval"] == 0.0484
    assert figures["someone/gpt.dialogues_answer.chrf"] == 20.0
    assert figures["examples.dialogues_choice"] == 400
    assert "chance.dialogues_choice.acc_mutual_info_interval" not in figures
    assert all(isinstance(value, float | int) for value in figures.values())
    scores = sum(len(row.scores) for row in summary.rows)
    assert len(figures) == 3 + scores + 12


def test_a_summary_survives_being_written_down(summary):
    assert Summary.model_validate_json(summary.model_dump_json()) == summary


def test_a_task_of_others_stands_under_its_own_name():
    (first, second) = report.columns(
        [Figure("hellaswag", "acc", 0.3, 0.1, False), Figure("hellaswag", "acc_norm", 0.3, 0.1, False)]
    )
    assert (first.title, first.about, first.head) == ("hellaswag", "acc", True)
    assert second.head is False
