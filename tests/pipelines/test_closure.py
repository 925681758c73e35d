"""The fingerprint against what really happens: no stage runs code that its fingerprint does not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.fingerprint import CODE, reports
from tests.project import STAGES, Project

BARE = '''
import builtins, importlib, json, sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

edges, usual, dynamic = [], builtins.__import__, importlib.import_module


def watched(name, globals=None, locals=None, fromlist=(), level=0):
    found = usual(name, globals, locals, fromlist, level)
    parts = [f"{name}.{part}" for part in fromlist or () if f"{name}.{part}" in sys.modules]
    edges.extend(((globals or {}).get("__name__", ""), one) for one in (name, *parts))
    return found


def import_module(name, package=None):
    edges.append((f"pipelines.{sys.argv[1]}", name))
    return dynamic(name, package)


builtins.__import__, importlib.import_module = watched, import_module

from pipelines import parameters, paths
from pipelines.fingerprint import REPORTING


class Nothing(ModuleType):
    """Stands where a module that only reports was: takes everything, does nothing."""

    def __getattr__(self, name):
        return Nothing(name) if not name.startswith("__") else ModuleType.__getattribute__(self, name)

    def __call__(self, *arguments, **options):
        return Nothing("answer")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def __getitem__(self, key):
        return self

    def __bool__(self):
        return False

    def __iter__(self):
        return iter(())


stage, given, metrics = paths.stage(sys.argv[1]), parameters.read(), []
section = json.loads(stage.plan.read_text())["section"]
seed = section.pop("seed", 0)
output, scratch = Path("bare/output"), Path("bare/state")
output.mkdir(parents=True), scratch.mkdir()
job = SimpleNamespace(
    stage=stage.name, section=parameters.SECTIONS[stage.name].model_validate(section), seed=seed, launch=given.launch,
    output=output, scratch=scratch, curve=Path("bare/curve.csv"), inputs=stage.inputs, identity="0" * 32,
    metrics=metrics.append,
)
for name in REPORTING:
    sys.modules[name] = Nothing(name)
    setattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2], sys.modules[name])
sys.modules["pipelines.watching"].shown = lambda reports, *given, **told: reports

importlib.import_module(f"pipelines.{stage.name}").produce(job)
edges += [(f"pipelines.{stage.name}", name) for name in sys.modules if name.startswith("experiments.")]
Path("bare/edges.json").write_text(json.dumps(sorted(set(edges))))
Path("bare/metrics.json").write_text(json.dumps(metrics))
'''
"""Does a stage's work with every reporting module replaced by nothing (what watches a training lets it pass), and notes
who imports what, at whatever moment."""


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_is_its_fingerprint(reproduced: Project, tmp_path: Path, stage: str) -> None:
    """No code of a stage imports what its fingerprint does not hold; and what only reports never reaches its output."""
    project = reproduced.copy(tmp_path / "project")
    ran = project.python("-c", BARE, stage)
    assert ran.code == 0, ran.output

    code = json.loads(project.read(f"models/design/{stage}.json"))["code"]
    edges = [(one, other) for one, other in json.loads(project.read("bare/edges.json")) if one in code]
    assert len(edges) > 5
    ours = [edge for edge in edges if edge[1].partition(".")[0] in CODE]
    assert [edge for edge in ours if edge[1] not in code and not reports(edge[1])] == []

    folder = next(top for top in ("data", "models") if (project.root / top / stage).is_dir())
    assert tree(project.root / "bare/output") == tree(project.root / folder / stage)
    assert json.loads(project.read("bare/metrics.json"))[-1] == json.loads(project.read(f"{folder}/{stage}.json"))
    if (project.root / folder / f"{stage}.csv").exists():
        assert project.read("bare/curve.csv") == project.read(f"{folder}/{stage}.csv")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
