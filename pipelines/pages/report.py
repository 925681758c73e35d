"""What stands in the project: the model, how it was made, how it does beside others, and what it says.

Everything is read from what the stages wrote; how long they took, from what this machine noted. A stage whose result
DVC restored was not run here, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal
from pipelines import describing, health, parameters, paths, record, standing, timings, tracking, wording
from pipelines.standing import Standing
from pipelines.tracking import links

_HEAD = 12
_LETTERS = 200  # of what MLflow raises, which may be a page


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing: it is about what stands here."""


def show(told: argparse.Namespace) -> None:
    """Print the page; make the runs that are missing in MLflow."""
    print("\n".join(page(standing.survey(parameters.read()))), flush=True)
    mend()


def page(found: list[Standing]) -> list[str]:
    """The page as lines."""
    here = {item.stage.name: item.stage for item in found if item.stage.metrics.is_file()}
    lines = [_title(found), *_stale(found), ""]
    if "pretrain" not in here:
        return [
            *lines,
            "  No model stands here yet. `make run` or `dvc repro` makes one; `lmmodel plan` says how long.",
        ]
    lines += [*_model(here["pretrain"]), *_pretrain(here["pretrain"])]
    if "finetune" in here:
        lines += _finetune(here["finetune"])
    lines += [*_machine(here["pretrain"]), *_health(here["pretrain"])]
    if "evaluate" in here:
        lines += ["", *_judged(here["evaluate"])]
    return [*lines, "", *_further(here["pretrain"])]


def mend() -> None:
    """Have the runs made that MLflow lacks, and say what came of it."""
    if not tracking.is_on() or not tracking.missing():
        return
    try:
        made = tracking.rebuild_apart()
    except tracking.RebuildingError as error:
        said = f"MLflow may lack runs, and took none: {textwrap.shorten(str(error), _LETTERS, placeholder=' ...')}"
    else:
        if made == []:
            return
        said = "MLflow has yet to answer: the runs that it lacks are being made in the background."
        if made:
            said = f"MLflow had no run of {wording.listed(made)}: made from what the stages wrote."
    print("\n".join(["", *wording.entry("", said, at=2)]))


def _title(found: list[Standing]) -> str:
    waiting = [item.stage.name for item in found if not item.is_current]
    some = wording.listed(waiting) if len(waiting) < len(found) else "everything"
    right = f"out of date: {some}" if waiting else "everything is up to date"
    return f"lmmodel{right:>{wording.width() - len('lmmodel')}}"


def _stale(found: list[Standing]) -> Iterator[str]:
    """Why what stands is not what would be made now; what merely follows from it is left out."""
    changed = [item for item in found if item.causes and item.causes != standing.NEVER]
    for item in changed:
        yield from _entry(item.stage.name, record.some(list(item.causes)))
    if changed:
        yield "  Below is what was made before. `lmmodel plan` says how long making it anew takes, `dvc repro` does it."


def _model(stage: paths.Stage) -> list[str]:
    declaration = _json(stage.output / "declaration.json")
    text = f"{wording.short(_json(stage.metrics)['parameters'])} parameters: {describing.size(declaration)}"
    return [*_entry("model", text), *_entry("", describing.brief(declaration))]


def _pretrain(stage: paths.Stage) -> list[str]:
    numbers = _json(stage.metrics)
    text = (
        f"{wording.short(numbers['tokens'])} tokens of {_source('corpus')}, {wording.times(numbers['epochs'])} over, "
        f"{wording.flops(numbers['flops'])}: {took(stage, numbers['tokens'])}"
    )
    return _entry(stage.name, text)


def _finetune(stage: paths.Stage) -> list[str]:
    numbers = _json(stage.metrics)
    if "skipped" in numbers:
        return _entry(stage.name, f"skipped: {numbers['skipped']}")
    count = _json(paths.stage("dialogues").metrics)["train"]["dialogues"]
    method = _section(stage)["method"]["kind"]
    how = "every weight" if method == "full" else describing.name(method)
    text = f"{count:,} dialogues, {wording.times(numbers['epochs'])} over, {how}: {took(stage)}"
    return _entry(stage.name, text)


def _machine(stage: paths.Stage) -> list[str]:
    """On what the weights were made, which may be another machine than this."""
    made = _json(stage.output / "checkpoint.json").get("platform", {})
    device = made.get("device", "cpu")
    on = wording.several(made.get("threads", 1), "core") if device == "cpu" else device
    return _entry("machine", f"{on}, {made.get('precision', '')}, torch {made.get('torch', '')}")


def _health(stage: paths.Stage) -> list[str]:
    """How the model was in itself, where this machine has seen it."""
    told = health.known(stage.name, _identity(stage))
    return _entry("health", health.summary(told["figures"])) if told and told["figures"] else []


def _identity(stage: paths.Stage) -> str:
    """Of the work that made the stage's result; nothing where what it read has been freed."""
    try:
        return record.read(stage).identity
    except Refusal:
        return ""


def took(stage: paths.Stage, tokens: float | None = None) -> str:
    """`3 min 12 s at 13,000 tokens/s`; `restored` where no run of this very work is known on this machine."""
    if not standing.is_recorded(stage, standing.lock()):
        return "made before"
    run = timings.known().get(stage.name, {}).get(_identity(stage))
    if run is None:
        return "restored"
    if run.get("resumed"):
        return f"stopped and resumed, the last part in {wording.duration(run['seconds'])}"
    pace = f" at {round(tokens / run['seconds'], -2):,.0f} tokens/s" if tokens else ""
    return f"{wording.duration(run['seconds'])}{pace}"


def _judged(stage: paths.Stage) -> list[str]:
    """The table and a few questions, as the evaluation itself lays them out."""
    from lmmodel.inference import evaluation, report

    found = evaluation.read(stage.output)
    more = "... and all others" if found.asked else "what the models say"
    return [*report.terminal(found, folder=str(stage.output)).splitlines(), f"  {more}: {stage.output}/samples.md"]


def _further(stage: paths.Stage) -> list[str]:
    """Where to look and what to change next."""
    look = [
        *([] if os.environ.get("VIRTUAL_ENV") else [("source .venv/bin/activate", "")]),
        ("lmmodel design", "the model drawn, counted, foretold"),
        ('lmmodel generate --prompt "What does"', "from the model that was trained last"),
        ("dagster dev", "the same stages in a browser"),
        ("MLflow" if links.server() else links.command(), "curves, and this result beside others, at"),
    ]
    rows = [*wording.table(look, "<<"), f"  {links.candidates()}"]
    lines = [f"  {'' if index else 'Look':<{_HEAD}}{row}" for index, row in enumerate(rows)]
    return [
        *lines,
        *_entry("Change", f"a line in params.yaml, {_suggestion(stage)}; then `lmmodel design`, `dvc repro`"),
    ]


def _suggestion(stage: paths.Stage) -> str:
    """A whole section: the options of one kind are not those of another."""
    position = _json(stage.output / "declaration.json")["layers"][0]["position"]["kind"]
    return f"say `position: {{kind: {'alibi' if position == 'rotary' else 'rotary'}}}`"


def _source(stage: str) -> str:
    source = _section(paths.stage(stage))["source"]
    parts = source if isinstance(source, list) else [source]
    return wording.listed([str(part.get("name") or part["kind"]) for part in parts])


def _section(stage: paths.Stage) -> dict[str, Any]:
    section: dict[str, Any] = _json(stage.plan)["section"]
    return section


def _entry(head: str, text: str) -> list[str]:
    return wording.entry(head, text, at=_HEAD + 2, indent=2)


def _json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Refusal(f"{path}: is missing or damaged; `dvc checkout --force` brings back what was recorded") from None
    return data
