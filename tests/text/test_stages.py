"""The four stages of text, one after the other, without DVC around them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lmmodel import folder as folders
from lmmodel.learning.settings import Launch
from lmmodel.params.settings import Settings
from lmmodel.text import settings
from lmmodel.text.dialogues import read as read_dialogues
from lmmodel.text.documents import read as read_documents
from lmmodel.text.shards import Shards
from lmmodel.text.tokenizer import Tokenizer
from pipelines import corpus, dialogues, shards, tokenizer, work
from tests.text import tables
from tests.text.web import Web

STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("corpus", corpus, ()),
    ("tokenizer", tokenizer, ("corpus",)),
    ("shards", shards, ("corpus", "tokenizer")),
    ("dialogues", dialogues, ()),
)


def made(root: Path, sections: dict[str, Settings], *, workers: int = 1) -> dict[str, Any]:
    """Run the stages that have a section; their metrics."""
    metrics = {}
    for name, module, needs in STAGES:
        if name in sections:
            place = root / name
            shutil.rmtree(place, ignore_errors=True)
            for part in ("output", "scratch"):
                (place / part).mkdir(parents=True)
            module.produce(
                work.Job(
                    stage=name,
                    section=sections[name],
                    seed=0,
                    launch=Launch(workers=workers),
                    output=place / "output",
                    scratch=place / "scratch",
                    curve=place / "curve.csv",
                    inputs={need: root / need / "output" for need in needs},
                    identity="",
                )
            )
            folders.verify(place / "output")
            metrics[name] = json.loads((place / "metrics.json").read_text())
    return metrics


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """Of a project with texts and dialogues of one's own, which is where one stands."""
    monkeypatch.chdir(tmp_path)
    words = ["Return", "the", "number", "of", "items", "in", "a", "container", "file", "path", "or", "None"]
    texts = [" ".join(words[(number * k) % 12] for k in range(1, 60)) + f" {number}" for number in range(300)]
    tables.lines(tmp_path / "data/raw/documents/texts.jsonl", [{"text": text} for text in [*texts, texts[0]]])
    asked = [{"prompt": f"What is {number}?", "completion": f"It is {number}."} for number in range(100)]
    tables.lines(tmp_path / "data/raw/dialogues/asked.jsonl", asked)
    return {
        "corpus": settings.Corpus(source="files"),
        "tokenizer": settings.Tokenizer(vocab_size=340),
        "shards": settings.Shards(tokens_per_shard=1000),
        "dialogues": settings.Dialogues(source="files"),
    }


def test_the_stages_fit_together(sections: dict[str, Settings], tmp_path: Path) -> None:
    metrics = made(tmp_path, sections)
    assert metrics["corpus"]["duplicates_removed"] == 1
    assert sum(metrics["corpus"][split]["documents"] for split in ("train", "validation")) == 300
    assert metrics["tokenizer"]["round_trip_failures"] == 0
    assert metrics["tokenizer"]["bytes_per_token"] > 1.5
    assert metrics["dialogues"]["train"]["tasks"] == {"dialogue": metrics["dialogues"]["train"]["dialogues"]}
    opened = Shards.open(tmp_path / "shards/output")
    loaded = Tokenizer.load(tmp_path / "tokenizer/output")
    texts = [one.text for one in read_documents(tmp_path / "corpus/output", "validation")]
    stream = opened.split("validation")[:].tolist()
    assert stream == [index for text in texts for index in [loaded.begin, *loaded.encode(text)]]
    assert len(stream) == metrics["shards"]["validation"]["tokens"]


def test_the_bytes_depend_neither_on_the_place_nor_on_the_workers(
    sections: dict[str, Settings], tmp_path: Path
) -> None:
    for name, workers in (("one", 1), ("other", 3)):
        made(tmp_path / name, sections, workers=workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_documentation_and_questions_about_it_share_the_split(tmp_path: Path) -> None:
    metrics = made(tmp_path, {"corpus": settings.Corpus(), "dialogues": settings.Dialogues()})
    assert metrics["dialogues"]["train"]["dialogues"] > 3000
    groups = {
        split: {one.group for one in read_documents(tmp_path / "corpus/output", split)}
        | {one.group for one in read_dialogues(tmp_path / "dialogues/output", split)}
        for split in ("train", "validation")
    }
    assert not groups["train"] & groups["validation"]
    assert len(groups["validation"]) > 10


def test_no_stage_imports_what_it_does_not_use(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.text.test_stages import *\n"
        "made(Path(sys.argv[1]), {'corpus': settings.Corpus(), 'tokenizer': settings.Tokenizer(vocab_size=500),"
        " 'shards': settings.Shards(), 'dialogues': settings.Dialogues()})\n"
        "heavy = {'torch', 'datasets', 'pandas', 'mlflow', 'dagster'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=300)


def test_a_source_with_a_split_of_its_own_keeps_it_and_trains_on_none_of_it(web: Web, tmp_path: Path) -> None:
    tables.parquet(web.folder / "train.parquet", [{"text": f"text {number}"} for number in range(30)])
    tables.parquet(web.folder / "test.parquet", [{"text": f"text {number}"} for number in range(25, 35)])
    files = {split: [web.url(f"{split}.parquet")] for split in ("train", "test")}
    section = settings.Corpus.model_validate(
        {"source": {"kind": "huggingface", "name": "parquet", "data_files": files}, "validation": {"split": "test"}}
    )
    metrics = made(tmp_path, {"corpus": section})["corpus"]
    assert (metrics["train"]["documents"], metrics["validation"]["documents"]) == (25, 10)
    assert metrics["duplicates_removed"] == 5


def test_a_fetch_that_was_killed_is_taken_up_in_scratch(web: Web, tmp_path: Path) -> None:
    path = tables.parquet(web.folder / "train.parquet", [{"text": f"text {number}"} for number in range(300)])
    url = web.url("train.parquet")
    source = {
        "kind": "huggingface",
        "name": "parquet",
        "data_files": {"train": [url]},
        "sha256": {url: sha256(path.read_bytes()).hexdigest()},
    }
    made(tmp_path, {"corpus": settings.Corpus.model_validate({"source": source})})
    assert [file.name.endswith("train.parquet") for file in (tmp_path / "corpus/scratch").iterdir()] == [True]
    assert url not in (tmp_path / "corpus/output/index.json").read_text()
