"""A DVC project that is not ours, small enough to run for real in every test."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STEP = """
import json, os, pathlib, sys, time

name, *outputs = sys.argv[1:]
settings = dict(line.split(": ") for line in pathlib.Path("params.yaml").read_text().splitlines())
read = [pathlib.Path(path).read_text() for path in os.environ.get("READS", "").split()]
for path in map(pathlib.Path, outputs):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        path.write_text("step,note,loss\\n" + "".join(f"{step},,{1 / step}\\n" for step in range(1, 5)))
    elif path.suffix == ".json":
        path.write_text(json.dumps({"loss": 0.25, "size": {"tokens": 12}, "name": name, "rate": settings["rate"]}))
    else:
        path.write_text(" ".join([path.stem, *read]))
"""

PARAMS = "rate: 0.5\nseed: 1\n"

PIPELINE = """
stages:
  settings:
    desc: What the others are told
    cmd: python step.py settings models/settings/declared.txt models/settings/train.txt
    deps: [step.py]
    params: [seed]
    outs: [models/settings/declared.txt, models/settings/train.txt]
    meta:
      dagster: {assets: [models/settings/declared.txt]}
  split:
    cmd: READS=raw.txt python step.py split data/left.txt data/right.txt data/split.json
    deps: [raw.txt]
    outs: [data/left.txt, data/right.txt]
    metrics: [data/split.json]
  train:
    desc: Learns
    cmd:
      READS="data/left.txt models/settings/train.txt"
      python step.py train models/weights.txt models/train.json models/train.csv
    deps: [data/left.txt, models/settings/train.txt]
    params: [rate]
    outs: [models/weights.txt]
    metrics: [models/train.json]
    plots:
      - models/train.csv: {x: step, y: loss, title: Training}
    meta:
      dagster: {group: learning, kinds: [python], pool: device, show: [models/weights.txt]}
  judge:
    cmd: READS=models/weights.txt python step.py judge scores.json
    deps: [models/weights.txt, data/right.txt]
    metrics: [scores.json]
"""

SLOW = """
import os, pathlib, signal, subprocess, sys, time

if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "aside" in sys.argv:
    if os.fork():
        os.wait()
        sys.exit(1)
    os.setsid()
if "helped" in sys.argv:
    deliver = "import pathlib, sys; sys.stdin.read(); pathlib.Path('delivered.txt').write_text('all')"
    helper = subprocess.Popen([sys.executable, "-c", deliver], stdin=subprocess.PIPE, start_new_session=True)
with open("pids.txt", "a") as file:
    file.write(f"{os.getpid()}\\n")
print("under way", flush=True)
until = pathlib.Path("go")
try:
    while not until.exists():
        time.sleep(0.02)
except KeyboardInterrupt:
    pathlib.Path("saved.txt").write_text("saved")
    sys.exit(1)
pathlib.Path("slow.txt").write_text("done")
"""


@dataclass(frozen=True)
class Toy:
    """A folder that dvc takes for a project; without git, as that is faster."""

    root: Path

    @classmethod
    def make(cls, root: Path, files: dict[str, str] | None = None, *, pipeline: str = PIPELINE) -> Toy:
        toy = cls(root)
        config = "[core]\nno_scm = true\nanalytics = false\ncheck_update = false\n"
        toy.write(
            {".dvc/config": config, "step.py": STEP, "params.yaml": PARAMS, "raw.txt": "text", "dvc.yaml": pipeline}
        )
        toy.write(files or {})
        return toy

    @classmethod
    def slow(cls, root: Path, *how: str) -> Toy:
        """One stage that runs until there is a file called ``go``; its process writes its number into ``pids.txt``."""
        stage = f"cmd: python slow.py {' '.join(how)}\n    deps: [slow.py]\n    outs: [slow.txt]"
        return cls.make(root, {"slow.py": SLOW}, pipeline=f"stages:\n  slow:\n    {stage}\n")

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        self.write({name: text.replace(old, new)})

    def dvc(self, *arguments: str) -> str:
        """A dvc command, as a person types it; it has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.root,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def lock(self) -> str:
        return (self.root / "dvc.lock").read_text(encoding="utf-8")

    @property
    def pids(self) -> list[int]:
        """The processes that ever ran the slow stage."""
        path = self.root / "pids.txt"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def environment() -> dict[str, str]:
    """This process's own, with its Python first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
