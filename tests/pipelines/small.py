"""A project of two stages beside design, small enough to hold, break and kill: everything but their work is real."""

from __future__ import annotations

from pathlib import Path

from tests.project import TREE, Project

_CORPUS = '''"""Reads slowly: one file a step, each step remembered, and waits wherever a test wants it to."""

import time
from pathlib import Path

from lmmodel import folder
from lmmodel.text import late
from lmmodel.text.settings import Corpus
from pipelines import work

TURNS = 1


def produce(job: work.Job) -> None:
    with Path("computed").open("a") as log:
        log.write(f"{job.stage} {job.identity}\\n")
    done = job.scratch / "done"
    lines = done.read_text().splitlines() if done.exists() else []
    for path in sorted(job.inputs["documents"].glob("*.txt"))[len(lines) :]:
        while Path("hold").exists():
            time.sleep(0.01)
        if Path("slow").exists():
            time.sleep(0.2)
        if Path("full").exists():
            Path("/dev/full").write_text("x")
        lines.append(late.turn(path.read_text(), times=TURNS))
        done.write_text("\\n".join(lines) + "\\n")
    (job.output / "lines.txt").write_text("\\n".join(lines))
    folder.seal(job.output, {"validation": job.section.dump()["validation"]})
    job.metrics({"documents": len(lines)})


if __name__ == "__main__":
    work.run("corpus", Corpus, produce)
'''

_LATE = '''"""What the small corpus computes with."""


def turn(text: str, times: int) -> str:
    for _ in range(times):
        text = text[::-1]
    return text.strip()
'''

_TOKENIZER = '''"""Counts."""

from lmmodel import folder
from lmmodel.text.settings import Tokenizer
from pipelines import work


def produce(job: work.Job) -> None:
    text = (job.inputs["corpus"] / "lines.txt").read_text()
    (job.output / "count.txt").write_text(str(len(text) + job.section.vocab_size))
    folder.seal(job.output, {})
    job.metrics({"characters": len(text)})


if __name__ == "__main__":
    work.run("tokenizer", Tokenizer, produce)
'''

_CHECK = '''"""Finds every design sound, without torch, and waits wherever a test wants it to."""

import time
from pathlib import Path


def hard(declaration: object) -> list:
    Path("judging").touch()
    while Path("hold").exists():
        time.sleep(0.01)
    return []
'''

_COUNT = '''"""Counts nothing, without torch."""


class Counts:
    def dump(self) -> dict:
        return {"parameters": 1}


def measure(declaration: object) -> Counts:
    return Counts()
'''


def small(root: Path) -> Project:
    """The project's tree with its first stages alone, the two after design replaced."""
    graph = (TREE / "dvc.yaml").read_text(encoding="utf-8")
    kept = graph[: graph.index("  shards:\n")]
    outs = "".join(
        f"      - models/design/{name}.json\n" for name in ("shards", "dialogues", "pretrain", "finetune", "evaluate")
    )
    assert outs in kept
    texts = {f"data/raw/documents/{number:02}.txt": f"text number {number}\n" for number in range(12)}
    return Project.make(
        root,
        {
            "dvc.yaml": kept.replace(outs, ""),
            "pipelines/corpus.py": _CORPUS,
            "pipelines/tokenizer.py": _TOKENIZER,
            "lmmodel/text/late.py": _LATE,
            "lmmodel/architecture/check.py": _CHECK,
            "lmmodel/architecture/count.py": _COUNT,
            **texts,
        },
    )
