"""The stage `evaluate`: both models on the same tasks, beside chance, fresh weights, compressors and references."""

from __future__ import annotations

import os

import torch

from lmmodel.inference import report, task_names
from lmmodel.inference.evaluation import TABLE, Court
from lmmodel.inference.settings import Evaluate, is_folder
from lmmodel.learning import checkpoint, machine
from pipelines import tracking, work


def produce(job: work.Job[Evaluate]) -> None:
    """Judge the models, and hand in the table, the scores of every example, and samples."""
    _stay_offline(job.section)
    device = machine.device(job.launch.device)
    tuned = job.inputs["finetune"]
    court = Court(
        section=job.section,
        corpus=job.inputs["corpus"],
        dialogues=job.inputs["dialogues"],
        pretrained=job.inputs["pretrain"],
        finetuned=tuned if checkpoint.is_in(tuned) else None,
        device=device,
        seed=job.seed,
    )
    threads = checkpoint.platform(court.pretrained).get("threads") or torch.get_num_threads()
    machine.keep_freed_memory()
    with tracking.follow(job) as run, machine.determined(device, threads):
        figures = report.figures(court.judge(job.output))
        job.metrics(figures)
        run.figures(figures)
        run.artifact(job.output / TABLE)


def _stay_offline(section: Evaluate) -> None:
    """No word to any server, unless a task or a reference has to come from one. The libraries look once, on import."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    own = all(task in task_names.own() for task in section.tasks)
    if own and all(is_folder(reference) for reference in section.references):
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


if __name__ == "__main__":
    work.run("evaluate", Evaluate, produce)
