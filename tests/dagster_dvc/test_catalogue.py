from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dagster_dvc import graph
from pipelines.dagster_dvc.catalogue import NEVER, Catalogue
from pipelines.dagster_dvc.graph import Output, Stage
from pipelines.dagster_dvc.translator import Translator
from tests.dagster_dvc.test_graph import FOREIGN, SECOND
from tests.dagster_dvc.toy import PARAMS, Toy


def catalogue(toy: Toy, translator: Translator | None = None) -> Catalogue:
    return Catalogue(graph.settled(toy.root).values(), translator or Translator())


def changed(toy: Toy, translator: Translator | None = None) -> set[str]:
    """The stages whose code version is not that of their result."""
    with graph.as_it_lies(toy.root) as project:
        known = Catalogue(project.stages, translator or Translator())
        return {
            name
            for name, stage in known.stages.items()
            if known.code_version(stage, project) != known.recorded_version(stage)
        }


def keys(known: Catalogue) -> dict[str, str]:
    return {path: key.to_user_string() for path, key in known.keys.items()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = Toy.make(tmp_path_factory.mktemp("toy"))
    toy.dvc("repro")
    return toy


def test_one_asset_an_output_and_none_for_details_metrics_and_plots(ran: Toy) -> None:
    assert keys(catalogue(ran)) == {
        "models/settings/declared.txt": "settings",
        "data/left.txt": "split/data/left.txt",
        "data/right.txt": "split/data/right.txt",
        "models/weights.txt": "train",
        "scores.json": "judge",
    }


def test_keys_of_every_form_of_stage(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, {"sub/dvc.yaml": SECOND, "sub/params.yaml": PARAMS, "data.csv": "1,2"}, pipeline=FOREIGN)
    toy.dvc("add", "data.csv")
    assert keys(catalogue(toy)) == {
        "out/small.txt": "each/small",
        "out/large.txt": "each/large",
        "grid/1a.txt": "grid/1-a",
        "grid/2a.txt": "grid/2-a",
        "sub/deep.txt": "inside",
        "still.txt": "still",
        "sub/more.txt": "sub/more",
        "data.csv": "data.csv",
    }


def test_what_a_stage_reads_stands_above_it(ran: Toy) -> None:
    known = catalogue(ran)
    above = {name: known.upstream(stage) for name, stage in known.stages.items()}
    assert above == {
        "settings": [],
        "split": [],
        "train": ["data/left.txt"],
        "judge": ["data/right.txt", "models/weights.txt"],
    }


def test_a_folder_is_read_with_all_that_stages_wrote_into_it(tmp_path: Path) -> None:
    whole = "  all:\n    cmd: ls data\n    deps: [data]\n"
    toy = Toy.make(tmp_path)
    toy.edit("dvc.yaml", "  judge:", f"{whole}  judge:")
    known = catalogue(toy)
    assert known.upstream(known.stages["all"]) == ["data/left.txt", "data/right.txt"]


def test_a_metric_that_a_stage_reads_is_an_asset(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    toy.edit(
        "dvc.yaml", "data/right.txt]\n    metrics: [scores", "data/right.txt, models/train.json]\n    metrics: [scores"
    )
    known = catalogue(toy)
    assert keys(known)["models/train.json"] == "train/models/train.json"
    assert "models/train.json" in known.upstream(known.stages["judge"])


def test_a_stage_without_outputs_is_an_asset_too(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, pipeline="stages:\n  say:\n    cmd: echo hello\n    deps: [raw.txt]\n")
    assert keys(catalogue(toy)) == {"stage:say": "say"}
    assert catalogue(toy).data_version("stage:say") == NEVER
    toy.dvc("repro")
    assert catalogue(toy).data_version("stage:say") != NEVER
    assert not changed(toy)


def test_the_writer_of_a_detail_comes_first(ran: Toy) -> None:
    known = catalogue(ran)
    assert {name: known.prerequisites(stage) for name, stage in known.stages.items()} == {
        "settings": [],
        "split": [],
        "train": ["settings"],
        "judge": [],
    }


def test_the_order_is_that_of_dvc(tmp_path: Path) -> None:
    reads = {"late": ["raw.txt", "b.txt", "a.txt"], "a": [], "c": ["a.txt"], "b": ["c.txt"], "lone": []}
    stages = [
        f"  {name}:\n    cmd: echo {name} > {name}.txt\n    deps: [{', '.join(deps)}]\n    outs: [{name}.txt]\n"
        for name, deps in reads.items()
    ]
    toy = Toy.make(tmp_path, pipeline="stages:\n" + "".join(stages).replace("    deps: []\n", ""))
    toy.dvc("repro")
    ran = re.findall(r"^  (\w+):$", toy.lock, re.MULTILINE)
    assert catalogue(toy).order == ran == ["a", "c", "b", "late", "lone"]


def test_what_never_ran_has_no_version(tmp_path: Path) -> None:
    known = catalogue(Toy.make(tmp_path))
    assert {known.recorded_version(stage) for stage in known.stages.values()} == {NEVER}
    assert {known.data_version(path) for path in known.keys} == {NEVER}


@pytest.mark.parametrize(
    ("edit", "touched"),
    [
        (("params.yaml", "rate: 0.5", "rate: 0.7"), {"train"}),
        (("params.yaml", "seed: 1", "seed: 2"), {"settings"}),
        (("params.yaml", "rate: 0.5", "# slower\nrate: 5e-1"), set()),
        (("params.yaml", "seed: 1", "seed: 1.0"), set()),
        (("raw.txt", "text", "other text"), {"split"}),
        (("step.py", "import json", "import json  # again"), {"settings"}),
        (("models/settings/train.txt", "train", "something else"), {"settings", "train"}),
        (("data/left.txt", "left", "an asset that is not as it was written"), {"split", "train"}),
        (("dvc.yaml", "desc: Learns", "desc: Learns more"), set()),
        (("dvc.yaml", "step.py judge", "step.py  judge"), {"judge"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else " -> ".join(value[1:]),
)
def test_the_code_version_moves_with_what_dvc_would_call_changed(
    tmp_path: Path, ran: Toy, edit: tuple[str, str, str], touched: set[str]
) -> None:
    toy = copy(ran, tmp_path)
    assert not changed(toy)
    toy.edit(*edit)
    assert changed(toy) == touched


def test_a_detail_that_is_not_there_has_the_version_that_was_recorded(tmp_path: Path, ran: Toy) -> None:
    toy = copy(ran, tmp_path)
    (toy.root / "models/settings/train.txt").unlink()
    assert changed(toy) == {"settings"}


def test_a_detail_can_be_foreseen(tmp_path: Path, ran: Toy) -> None:
    class Seer(Translator):
        def foreseen(self, path: str) -> str | None:
            return "tomorrow" if path == "models/settings/train.txt" else None

    assert changed(copy(ran, tmp_path), Seer()) == {"train"}


def test_a_frozen_stage_stays_as_it_is(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, pipeline=FOREIGN.replace("    frozen: true\n", ""))
    toy.dvc("repro", "still")
    toy.edit("dvc.yaml", "  still:", "  still:\n    frozen: true")
    toy.edit("step.py", "import json", "import json, math")
    known = catalogue(toy)
    assert "still" not in changed(toy)
    assert known.upstream(known.stages["still"]) == []


def test_an_output_can_name_its_key(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    toy.edit("dvc.yaml", "outs: [models/weights.txt]", "outs: [models/weights.txt: {meta: {dagster: {key: own/name}}}]")
    assert keys(catalogue(toy))["models/weights.txt"] == "own/name"


def test_hints_and_overridden_methods_decide(ran: Toy) -> None:
    class Own(Translator):
        def key(self, stage: Stage, output: Output, *, alone: bool) -> dg.AssetKey:
            return super().key(stage, output, alone=alone).with_prefix("own")

    known = catalogue(ran, Own())
    stage = known.stages["train"]
    output = known.assets(stage)[0]
    assert known.keys[output.path] == dg.AssetKey(["own", "train"])
    assert known.translator.kinds(stage, output) == {"dvc", "python"}
    assert known.translator.group(stage, output) == "learning"
    assert known.translator.description(stage, output) == "Learns"
    assert known.translator.shown(stage) == ("models/weights.txt",)


def copy(toy: Toy, folder: Path) -> Toy:
    import shutil

    shutil.copytree(toy.root, folder, dirs_exist_ok=True)
    return Toy(folder)
