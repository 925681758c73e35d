"""The fingerprint against what really happens: no stage runs code that its fingerprint does not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.fingerprint import CODE, reports
from tests.project import STAGES, Project

WATCHED = """
import builtins, importlib, json, runpy, sys

stage, CODE = sys.argv[1], ("lmmodel", "pipelines", "experiments")
edges, usual, dynamic = set(), builtins.__import__, importlib.import_module

def note(importer, name):
    if name.partition(".")[0] in CODE and importer.partition(".")[0] in CODE:
        edges.add((importer, name))

def importing(name, globals=None, locals=None, fromlist=(), level=0):
    found = usual(name, globals, locals, fromlist, level)
    importer = (globals or {}).get("__name__", "")
    note(f"pipelines.{stage}" if importer == "__main__" else importer, name)
    for part in fromlist or ():
        if f"{name}.{part}" in sys.modules:
            note(f"pipelines.{stage}" if importer == "__main__" else importer, f"{name}.{part}")
    return found

def import_module(name, package=None):
    note(f"pipelines.{stage}", name)
    return dynamic(name, package)

builtins.__import__, importlib.import_module = importing, import_module
try:
    runpy.run_module(f"pipelines.{stage}", run_name="__main__", alter_sys=True)
finally:
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "experiments")
    print("EDGES" + json.dumps([sorted(edges), loaded]))
"""
"""Runs a stage and prints who imported what, at whatever moment."""

SILENCED = '''
import importlib, json, sys
from pathlib import Path
from types import ModuleType, SimpleNamespace


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


from lmmodel.params.settings import Settings
from pipelines import parameters, paths
stage = paths.stage(sys.argv[1])
given = parameters.read()
output, scratch = Path("bare/output"), Path("bare/state")
output.mkdir(parents=True), scratch.mkdir()
section = json.loads(stage.plan.read_text())["section"]
seed = section.pop("seed", 0)
metrics = []
job = SimpleNamespace(
    stage=stage.name, section=parameters.SECTIONS[stage.name].model_validate(section), seed=seed, launch=given.launch,
    output=output, scratch=scratch, curve=Path("bare/curve.csv"), inputs=stage.inputs, identity="0" * 32,
    metrics=metrics.append,
)
from pipelines.fingerprint import REPORTING
for name in REPORTING:
    sys.modules[name] = Nothing(name)
    setattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2], sys.modules[name])
sys.modules["pipelines.watching"].shown = lambda reports, *given, **told: reports
importlib.import_module(f"pipelines.{stage.name}").produce(job)
Path("bare/metrics.json").write_text(json.dumps(metrics))
'''
"""Does a stage's work with every reporting module replaced by nothing; what watches a training lets it pass."""


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_runs_no_code_outside_its_fingerprint(finished: Project, tmp_path: Path, stage: str) -> None:
    """Whatever code of the closure imports, at whatever moment, is in the closure too, or only reports."""
    project = finished.copy(tmp_path / "project")
    ran = project.python("-c", WATCHED, stage)
    assert ran.code == 0, ran.output
    edges, own = json.loads(ran.output.partition("EDGES")[2].splitlines()[0])
    code = json.loads(project.read(f"models/design/{stage}.json"))["code"]
    assert len(edges) > 5
    assert [
        f"{one} imports {other}" for one, other in edges if one in code and other not in code and not reports(other)
    ] == []
    assert [name for name in own if name not in code and name.partition(".")[0] in CODE] == []


@pytest.mark.parametrize("stage", STAGES[1:])
def test_what_only_reports_never_reaches_an_output(finished: Project, tmp_path: Path, stage: str) -> None:
    project = finished.copy(tmp_path / "project")
    ran = project.python("-c", SILENCED, stage)
    assert ran.code == 0, ran.output
    folder = next(top for top in ("data", "models") if (project.root / top / stage).is_dir())
    assert tree(project.root / "bare/output") == tree(project.root / folder / stage)
    assert json.loads(project.read("bare/metrics.json"))[-1] == json.loads(project.read(f"{folder}/{stage}.json"))
    if (project.root / folder / f"{stage}.csv").exists():
        assert project.read("bare/curve.csv") == project.read(f"{folder}/{stage}.csv")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
