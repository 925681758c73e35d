"""What came out, side by side in MLflow. The one door to it, and a door that never holds a training up.

    with tracking.follow(job, {"micro_batch": 32}) as run:
        run.log({"loss_nats": 1.2}, step=100)
        run.artifact(path)
        run.figures({"validation": {"bits_per_byte": 1.91}})

A stage only writes notes: lines in a file below `.lmmodel/tracking/`. A process of its own carries them to MLflow, so
that importing MLflow, creating its database, or a server that does not answer costs the training nothing. What could
not be carried stays where it is, and the next one to come by carries it.

    following    what a stage sees: `follow`, and the notes it writes
    notes        the file in between
    opening      what a run says of itself at its start: identity, parameters, data, commit, platform
    delivery     the process that carries notes to MLflow
    store        MLflow itself: one run for each identity
    location     where it is
    experiment   where its runs are together
    inputs       what a run read
    checkpoints  what trainings put out, as models by reference
    limits       what it takes: names, lengths, numbers
    description  the page beside a run: its design drawn, the table, samples
    leaderboard  how its page shows the candidates
    links        where a browser finds that page
    onlooking    for other doors: `Onlooker`, what a work has noted so far, and `address`, where its run is shown
    champion     the best of them in the registry (`registry`): `models:/lmmodel@champion`, which runs `served`, whose
                 weights `fetching` takes out of DVC's cache
    past         the local database, read without MLflow
    ghosts       runs that nobody runs any more: `left_running`, `end_left`
    rebuilding   runs that are missing, made again from what the stages wrote: `missing`, `rebuild`, `rebuild_apart`

A *candidate* is one work of `pretrain`. Its run is found by the work's content hash, in a tag, wherever the result came
from; `finetune` and `evaluate` are nested below it and lift their figures up to it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.tracking.following import Run, follow, is_on
    from pipelines.tracking.ghosts import end_left, left_running
    from pipelines.tracking.onlooking import Onlooker, address
    from pipelines.tracking.rebuilding import RebuildingError, missing, rebuild, rebuild_apart

__all__ = [
    "Onlooker",
    "RebuildingError",
    "Run",
    "address",
    "end_left",
    "follow",
    "is_on",
    "left_running",
    "missing",
    "rebuild",
    "rebuild_apart",
]

_HOMES = {
    "Onlooker": "pipelines.tracking.onlooking",
    "RebuildingError": "pipelines.tracking.rebuilding",
    "Run": "pipelines.tracking.following",
    "address": "pipelines.tracking.onlooking",
    "follow": "pipelines.tracking.following",
    "end_left": "pipelines.tracking.ghosts",
    "is_on": "pipelines.tracking.following",
    "left_running": "pipelines.tracking.ghosts",
    "missing": "pipelines.tracking.rebuilding",
    "rebuild": "pipelines.tracking.rebuilding",
    "rebuild_apart": "pipelines.tracking.rebuilding",
}


def __getattr__(name: str) -> Any:
    """A stage that only follows does not pay for the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pipelines.tracking' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
