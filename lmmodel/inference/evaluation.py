"""Models judged on the same examples, beside what makes their numbers readable.

The pretrained and the fine-tuned model; the same design with fresh weights; guessing; general compressors on the same
text; and models of others, where they are asked for. A model computes in the type of the weights that it was trained
with: float32 after autocast, bfloat16 after float8.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel import folder as sealed
from lmmodel import progress
from lmmodel.inference import compressors, examples, report
from lmmodel.inference.harness import Figure, Tasks, Verdict, opened
from lmmodel.inference.settings import Evaluate
from lmmodel.text import dialogues, documents
from lmmodel.text.split import TRAIN, VALIDATION

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.text.tokenizer import Tokenizer

SUMMARY, TABLE, SAMPLES = "summary.json", "report.md", "samples.md"
EXAMPLES, SCORES = "examples", "scores"
DOCUMENTS, CHOICE, ANSWER = "documents_bits_per_byte", "dialogues_choice", "dialogues_answer"
_HELD_IN = {"autocast": "float32", "float8": "bfloat16"}  # weights, where that is not what they were trained in


@dataclass(frozen=True)
class Court:
    """What is judged and by what: folders of the corpus, the dialogues and the checkpoints.

    finetuned: None where there was no fine-tuning. seed: of fresh weights and of samples.
    """

    section: Evaluate
    corpus: Path
    dialogues: Path
    pretrained: Path
    finetuned: Path | None
    device: str
    seed: int

    def judge(self, folder: Path) -> report.Summary:
        """Judge, and write all that came of it into `folder`, which is sealed."""
        self._refuse_mute()
        data = self._write_examples(folder / EXAMPLES)
        with opened(self.section.tasks, data=data) as tasks:
            verdicts = {"chance": tasks.chance(limit=self.limit), **self._references(tasks), **self._compressors()}
            continued = self._models(tasks, verdicts)
        summary = self._summary(verdicts, continued)
        _write(folder, summary, verdicts)
        return summary

    def _refuse_mute(self) -> None:
        """A Refusal of a model that text cannot be put to, before any work."""
        from lmmodel.learning import checkpoint

        for folder in (self.pretrained, self.finetuned):
            if folder is not None:
                checkpoint.tokenizer(folder)

    @property
    def limit(self) -> int:
        """Examples of each task."""
        return self.section.examples_per_task

    @cached_property
    def rows(self) -> dict[str, list[examples.Row]]:
        """The examples of this project's own tasks, where they are asked for."""
        rows: dict[str, list[examples.Row]] = {}
        if DOCUMENTS in self.section.tasks:
            rows[DOCUMENTS] = examples.documents(documents.read(self.corpus, VALIDATION), count=self.limit)
        if CHOICE in self.section.tasks:
            rows[CHOICE] = examples.choices(dialogues.read(self.dialogues, VALIDATION), count=self.limit)
        if ANSWER in self.section.tasks:
            rows[ANSWER] = examples.answers(dialogues.read(self.dialogues, VALIDATION), count=self.limit)
        return rows

    def _write_examples(self, folder: Path) -> dict[str, Path]:
        names = {DOCUMENTS: examples.DOCUMENTS, CHOICE: examples.CHOICE, ANSWER: examples.ANSWER}
        folder.mkdir(parents=True)
        for task, rows in self.rows.items():
            examples.write(folder / names[task], rows)
        return {task: folder / names[task] for task in self.rows}

    def _references(self, tasks: Tasks) -> dict[str, Verdict]:
        """Before the models, since a reference may be out of reach."""
        if not self.section.references:
            return {}
        from lmmodel.inference import references

        return {
            references.label(name): tasks.put_to(references.load(name, device=self.device), limit=self.limit)
            for name in self.section.references
        }

    def _compressors(self) -> dict[str, Verdict]:
        if DOCUMENTS not in self.rows:
            return {}
        training = compressors.join_last(document.text for document in documents.read(self.corpus, TRAIN))
        measured = compressors.measure(compressors.join(row["text"] for row in self.rows[DOCUMENTS]), training)
        found = {f"{name}_given_training": bits.given_training for name, bits in measured.items()}
        found |= {f"{name}_alone": bits.alone for name, bits in measured.items()}
        return {
            name: Verdict((Figure(DOCUMENTS, "bits_per_byte", bits, None, less_is_better=True),))
            for name, bits in found.items()
        }

    def _models(self, tasks: Tasks, verdicts: dict[str, Verdict]) -> tuple[report.Continued, ...]:
        """Put the tasks to one model after the other; what the pretrained one makes of the prompts."""
        from lmmodel.inference.scoring import LanguageModel

        continued: tuple[report.Continued, ...] = ()
        makers = self._makers()
        with progress.bar(tasks.requests(self.limit) * len(makers), "request", "evaluate") as bar:
            for name, make in makers.items():
                bar.note(model=report.TITLES[name])
                model, tokenizer = make()
                asked = LanguageModel(model, tokenizer, roles=name == "finetune", seed=self.seed, advance=bar.advance)
                verdicts[name] = tasks.put_to(asked, limit=self.limit)
                if name == "pretrain":
                    continued = self._continued(model, tokenizer)
        return continued

    def _makers(self) -> dict[str, Callable[[], tuple[Model, Tokenizer]]]:
        """The models by row, each made when its turn comes."""
        makers = {"pretrain": lambda: self._load(self.pretrained), "untrained": self._untrained}
        if self.finetuned is not None:
            tuned = self.finetuned
            makers = {"finetune": lambda: self._load(tuned), **makers}
        return makers

    def _load(self, folder: Path) -> tuple[Model, Tokenizer]:
        from lmmodel.learning import checkpoint

        model, tokenizer = checkpoint.load(folder, code=checkpoint.own_kinds(folder))
        return self._ready(model, _precision(folder)), tokenizer

    def _untrained(self) -> tuple[Model, Tokenizer]:
        from lmmodel.architecture.model import build

        model, tokenizer = self._load(self.pretrained)
        return self._ready(build(model.declaration, seed=self.seed), _precision(self.pretrained)), tokenizer

    def _ready(self, model: Model, precision: str) -> Model:
        """On its device, its weights as it was trained with them."""
        from lmmodel.learning.weights import DTYPES

        for parameter in model.to(self.device).parameters():
            parameter.data = parameter.data.to(DTYPES[precision])
        return model.eval()

    def _continued(self, model: Model, tokenizer: Tokenizer) -> tuple[report.Continued, ...]:
        from lmmodel.inference.generation import generate

        samples = self.section.samples
        said = generate(
            model,
            [[tokenizer.begin, *tokenizer.encode(prompt)] for prompt in samples.prompts],
            tokens=samples.tokens,
            temperature=samples.temperature,
            seed=self.seed,
            stop=tokenizer.special.values(),
        )
        return tuple(
            report.Continued(prompt=prompt, text=tokenizer.decode(ids))
            for prompt, ids in zip(samples.prompts, said, strict=True)
        )

    def _summary(self, verdicts: dict[str, Verdict], continued: tuple[report.Continued, ...]) -> report.Summary:
        order = report.in_order(verdicts)
        return report.Summary(
            columns=report.columns([figure for name in order for figure in verdicts[name].figures]),
            rows=tuple(report.row(name, verdicts[name].figures) for name in order),
            examples={task: len(told) for task, told in verdicts["pretrain"].examples.items()},
            notes=tuple(self._notes()),
            continued=continued,
            asked=tuple(self._asked(verdicts)),
        )

    def _asked(self, verdicts: dict[str, Verdict]) -> Iterator[report.Asked]:
        """Each question with what the trained models answered, and what is true."""
        names = [name for name in ("pretrain", "finetune") if name in verdicts]
        for place, row in enumerate(self.rows.get(ANSWER, [])):
            said = {report.TITLES[name]: verdicts[name].examples[ANSWER][place]["said"] for name in names}
            answers = [report.Said(who=who, text=text) for who, text in {**said, "true": row["answer"]}.items()]
            yield report.Asked(question=row["text"].strip(), answers=tuple(answers))

    def _computed(self) -> str:
        """In words the precision of the models, which may have been trained in two."""
        precision = _precision(self.pretrained)
        tuned = precision if self.finetuned is None else _precision(self.finetuned)
        if tuned != precision:
            one, other = (
                f"{_HELD_IN[each]} (trained in {each})" if each in _HELD_IN else each for each in (precision, tuned)
            )
            return f"{one}, the fine-tuned one in {other}, as each was trained"
        if precision in _HELD_IN:
            return f"{_HELD_IN[precision]}, and were trained in {precision}"
        return f"{precision}, as they were trained"

    def _notes(self) -> Iterator[str]:
        yield "± is half of a 95 % interval over the examples of a task."
        yield f"This design's models computed in {self._computed()}; references compute in float32."
        if self.finetuned is not None and {CHOICE, ANSWER} & self.rows.keys():
            yield (
                "The fine-tuned model meets a question with the role tokens that it was trained with. To the others "
                "those stand for nothing yet: they meet the same question as plain text, on a line of its own."
            )
        if CHOICE in self.rows:
            yield (
                "Of the choices the one counts as chosen that the question makes likelier than it is by itself by most "
                "(lm-eval's acc_mutual_info). By plain likelihood (acc) a model mostly chooses the commonest phrase."
            )
        if DOCUMENTS in self.rows:
            size = len(compressors.join(row["text"] for row in self.rows[DOCUMENTS]))
            yield (
                f"Compressors read the same {size:,} bytes of held-out text as the models. Given the training text "
                f"means compressed(training text + held-out text) - compressed(training text), of at most the last "
                f"{compressors.TRAINING_BYTES:,} bytes of it."
            )


def _precision(folder: Path) -> str:
    """What the model in `folder` was trained in; float32 where it was imported."""
    from lmmodel.learning import checkpoint

    return str(checkpoint.platform(folder).get("precision", "float32"))


def _write(folder: Path, summary: report.Summary, verdicts: dict[str, Verdict]) -> None:
    """The summary, the pages made of it, and what each model said to each example."""
    (folder / SUMMARY).write_text(sealed.canonical(summary.model_dump(mode="json")), encoding="utf-8")
    (folder / TABLE).write_text(report.markdown(summary), encoding="utf-8")
    (folder / SAMPLES).write_text(report.samples(summary), encoding="utf-8")
    for place, name in enumerate(report.in_order(verdicts)):
        if verdicts[name].examples:
            path = folder / SCORES / f"{place}-{name.replace('/', '--')}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(_lines(verdicts[name].examples)), encoding="utf-8")
    sealed.seal(folder, {"examples": summary.examples})


def _lines(told: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for task, found in told.items():
        for example in found:
            yield json.dumps({"task": task, **example}, ensure_ascii=False) + "\n"


def read(folder: Path) -> report.Summary:
    """The summary that `judge` left in `folder`."""
    return report.Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
