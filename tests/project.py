"""A project of its own in a folder of its own, for tests that run it for real: `dvc repro`, edits, clones, kills."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
TINY = Path(__file__).with_name("tiny.yaml")
STAGES = ("design", "corpus", "tokenizer", "shards", "dialogues", "pretrain", "finetune", "evaluate")


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, all that it printed, and the stages that DVC executed, in their order."""

    code: int
    output: str

    @property
    def stages(self) -> list[str]:
        return re.findall(r"Running stage '(\w+)'", self.output)

    @property
    def restored(self) -> list[str]:
        return re.findall(r"Stage '(\w+)' is cached", self.output)


@dataclass(frozen=True)
class Project:
    """A copy of this project's tree, a git repository with one commit, on the tiny parameters."""

    root: Path

    @classmethod
    def make(cls, root: Path, files: dict[str, str]) -> Project:
        """The tree as it is on disk now, committed or not; then `files` on top of it."""
        listed = _run(["git", "ls-files", "-coz", "--exclude-standard"], TREE).output
        for name in filter(None, listed.split("\0")):
            if (TREE / name).is_file() and not name.startswith(("tests/", "dvc.lock")):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(TREE / name, root / name)
        project = cls(root)
        project.write({"params.yaml": TINY.read_text(encoding="utf-8"), **files})
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "a project"]):
            _must(project.run("git", *command))
        return project

    def copy(self, root: Path) -> Project:
        """Another one like this, results and cache included."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def clone(self, root: Path) -> Project:
        """What git has of it: no results."""
        _must(self.run("git", "clone", "-q", str(self.root), str(root)))
        return Project(root)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> Callable[[], None]:
        """Replace the one place where `old` stands; what comes back undoes it."""
        text = self.read(name)
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.write({name: text.replace(old, new)})
        return lambda: self.write({name: text})

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command under way, in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: str) -> Ran:
        return _run(list(command), self.root)

    def python(self, *arguments: str) -> Ran:
        return self.run(sys.executable, *arguments)

    def dvc(self, *arguments: str) -> Ran:
        return self.python("-m", "dvc", *arguments)

    def repro(self, *arguments: str) -> Ran:
        """`dvc repro`, which has to succeed."""
        return _must(self.dvc("repro", *arguments))

    def outputs(self) -> dict[str, bytes]:
        """Every byte that stages wrote."""
        paths = [path for top in ("data", "models") for path in (self.root / top).rglob("*") if path.is_file()]
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in sorted(paths)}


def raw() -> dict[str, str]:
    """A little text and some questions about it, the same on every machine."""
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghilmnoprstu", k=chance.randint(2, 7))) for _ in range(120)]

    def sentence() -> str:
        return " ".join(chance.choices(words, k=chance.randint(4, 9))).capitalize() + "."

    texts = {f"data/raw/documents/{n:02}.txt": " ".join(sentence() for _ in range(12)) + "\n" for n in range(40)}
    talks = [{"prompt": f"What is {chance.choice(words)}{n}?", "completion": sentence()} for n in range(60)]
    return {**texts, "data/raw/dialogues/talks.jsonl": "".join(f"{json.dumps(talk)}\n" for talk in talks)}


def environment() -> dict[str, str]:
    """This process's environment with the tests' Python first on the path, one thread, and nothing that phones home."""
    bin_folder = str(Path(sys.executable).parent)
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}
    quiet |= {
        "LMMODEL_TRACKING": os.environ.get("LMMODEL_TRACKING", "off")
    }  # MLflow's import takes longer than a stage
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    author = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **quiet, **own, **author, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}


def kill(process: subprocess.Popen[str]) -> None:
    """End a command and all that it started, as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def until(there: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait for something that another process does."""
    ends = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def _run(command: list[str], folder: Path) -> Ran:
    done = subprocess.run(
        command, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Ran(done.returncode, done.stdout)


def _must(ran: Ran) -> Ran:
    assert ran.code == 0, ran.output
    return ran
