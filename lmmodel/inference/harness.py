"""lm-eval's tasks, put to any model that lm-eval knows: this project's own tasks over this run's held-out data, and any
of lm-eval's by name.

Scores are lm-eval's; how sure they are is told by `intervals.py`, since lm-eval has no interval for bits per byte and
starts a pool of processes for chrF.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel.inference import task_names
from lmmodel.params import document
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task

DATA_FILES = ("tasks/*.yaml",)
"""What this module reads beside itself, relative to its folder."""


@dataclass(frozen=True)
class Figure:
    """One score of one model. `interval`: half the width of the 95 % interval, where there is one."""

    task: str
    metric: str
    value: float
    interval: float | None
    less_is_better: bool


@dataclass(frozen=True)
class Verdict:
    """What a model scored. `examples`: by task, what it said to each and what that was worth."""

    figures: tuple[Figure, ...]
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@contextmanager
def opened(names: Sequence[str], *, data: Mapping[str, Path]) -> Iterator[Tasks]:
    """The tasks called `names`, ready to be put to models. `data`: by own task, the file of its examples.

    A Refusal names a task whose data is neither here nor within reach.
    """
    with tempfile.TemporaryDirectory() as cache:  # of `datasets`, whose own would outgrow the data
        own = {name: _own(name, data[name], cache) for name in names if name in task_names.own()}
        foreign = _foreign([name for name in names if name not in own])
        ordered = [part for name in names for part in ([own[name]] if name in own else foreign[name])]
        yield Tasks({task.task_name: task for task in ordered})


class Tasks:
    """Tasks with their data, by name, in the order in which they were asked for; a group stands as its parts."""

    def __init__(self, tasks: dict[str, Task]) -> None:
        self.by_name = tasks

    def requests(self, limit: int) -> int:
        """How many questions a model is asked: a choice is one, or two where it is also weighed by itself."""
        return sum(self._asked(task, limit) for task in self.by_name.values())

    def _asked(self, task: Task, limit: int) -> int:
        examples = [example for _, example in task.doc_iterator(limit=limit)]
        if task.OUTPUT_TYPE != "multiple_choice" or task.multiple_input:
            return len(examples)
        alone_too = any(metric["metric"] == "acc_mutual_info" for metric in task.config.metric_list or ())
        return sum(len(task.doc_to_choice(example)) for example in examples) * (1 + alone_too)

    def put_to(self, model: LM, *, limit: int) -> Verdict:
        """Ask `model` the first `limit` examples of each task."""
        from lm_eval.evaluator import evaluate

        if not self.by_name:
            return Verdict(())
        with _quiet():
            results = evaluate(lm=model, task_dict={"tasks": self.by_name}, limit=limit, bootstrap_iters=0)
        figures: list[Figure] = []
        for name, task in self.by_name.items():
            figures += _figures(name, task, results["samples"][name])
        examples = {name: [_example(told) for told in results["samples"][name]] for name in self.by_name}
        return Verdict(tuple(figures), examples)

    def chance(self, *, limit: int) -> Verdict:
        """What guessing scores: of the choices any, of the bytes any. Nothing where a guess scores nothing."""
        figures = [figure for name, task in self.by_name.items() for figure in _chance(name, task, limit)]
        return Verdict(tuple(figures))


def _own(name: str, data: Path, cache: str) -> Task:
    """A task of this project's, over the examples in `data` in place of where its file says they end up."""
    from lm_eval.api.task import ConfigurableTask

    told = document.read(task_names.FOLDER / f"{name}.yaml").data
    told["dataset_kwargs"] = {"data_files": {told["validation_split"]: str(data)}, "cache_dir": cache}
    with _quiet():
        return ConfigurableTask(config=told)


def _foreign(names: Sequence[str]) -> dict[str, list[Task]]:
    """lm-eval's tasks by name; a group or a tag gives several."""
    if not names:
        return {}
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    return {name: _loaded(manager, name) for name in names}


def _loaded(manager: Any, name: str) -> list[Task]:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from requests.exceptions import RequestException

    try:
        with _quiet():
            return list(manager.load([name])["tasks"].values())
    except (ConnectionError, DatasetsError, HfHubHTTPError, OfflineModeIsEnabled, RequestException, OSError) as error:
        source = (manager.task_index[name].cfg or {}).get("dataset_path", "its data")
        raise Refusal(
            f"evaluate.tasks: '{name}' needs {source} from huggingface.co, which is neither kept on this machine nor "
            f"within reach ({type(error).__name__}).\nConnect once and it is kept, or leave the task out."
        ) from None
    except ImportError as error:
        raise Refusal(f"evaluate.tasks: '{name}' needs the Python package '{error.name}': {error.msg}") from None


def _figures(name: str, task: Task, told: list[dict[str, Any]]) -> Iterator[Figure]:
    """What became of a task: of each of its metrics, under each of its filters."""
    from lmmodel.inference.intervals import half_width

    filters = list(dict.fromkeys(example["filter"] for example in told))
    for kind in filters:
        for metric, aggregate in task.aggregation().items():
            values = [example[metric] for example in told if example["filter"] == kind and metric in example]
            if values:
                label = metric if len(filters) == 1 else f"{metric}.{kind}"
                better = bool(task.higher_is_better().get(metric, True))
                yield Figure(name, label, float(aggregate(values)), half_width(aggregate, values), not better)


def _chance(name: str, task: Task, limit: int) -> Iterator[Figure]:
    from lm_eval.api import metrics

    for metric, aggregate in task.aggregation().items():
        better = bool(task.higher_is_better().get(metric, True))
        if task.OUTPUT_TYPE == "multiple_choice" and not task.multiple_input and aggregate is metrics.mean:
            shares = [1 / len(task.doc_to_choice(example)) for _, example in task.doc_iterator(limit=limit)]
            yield Figure(name, metric, sum(shares) / len(shares), None, not better)
        elif aggregate is metrics.bits_per_byte:
            yield Figure(name, metric, 8.0, None, not better)


def _example(told: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one example: its name, what the model said, what that was worth."""
    named = {key: told["doc"][key] for key in ("id", "group", "sort") if key in told["doc"]}
    said = [part[0] if isinstance(part, tuple) else part for part in told["filtered_resps"]]  # nats, not greediness
    return {
        "example": told["doc_id"],
        **named,
        "target": told["target"],
        "said": said[0] if len(said) == 1 else said,
        **{metric: told[metric] for metric in told["metrics"] if isinstance(told[metric], int | float)},
        **({"filter": told["filter"]} if told["filter"] != "none" else {}),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and lines that lm-eval and datasets print for each step; a bar of ours goes on."""
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        yield
