"""A corpus, dialogues and two checkpoints, written by the code that writes them in the pipeline."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lmmodel import folder
from lmmodel.learning import checkpoint
from lmmodel.text import dialogues, documents
from lmmodel.text.dialogues import Dialogue, Message
from lmmodel.text.documents import Document
from lmmodel.text.split import divide
from tests.inference.small import model, tokenizer

FACTS = {"stage": "pretrain", "seed": 1, "platform": {"precision": "float32", "threads": 1}}
_WORDS = ("football", "footstep", "ballgame", "stepball", "game", "step", "foot", "in the", "é", "a€b")


@dataclass(frozen=True)
class Ground:
    """Folders as the stages leave them."""

    corpus: Path
    dialogues: Path
    pretrain: Path
    finetune: Path


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    root = tmp_path_factory.mktemp("ground")
    places = {name: root / name for name in ("corpus", "dialogues", "pretrain", "finetune", "tokenizer")}
    places["corpus"].mkdir()
    places["dialogues"].mkdir()
    documents.write(places["corpus"], divide(_documents(), fraction=0.3))
    dialogues.write(places["dialogues"], divide(_dialogues(), fraction=0.3))
    places["tokenizer"].mkdir()
    known = tokenizer("bpe")
    known.save(places["tokenizer"])
    folder.seal(places["tokenizer"], {})
    for name, seed in (("pretrain", 1), ("finetune", 2)):
        trained = copy.deepcopy(model(vocabulary=known.vocab_size, seed=seed)).float()
        checkpoint.save(places[name], model=trained, tokenizer=places["tokenizer"], facts=FACTS)
    return Ground(*(places[name] for name in ("corpus", "dialogues", "pretrain", "finetune")))


def _documents() -> Iterator[Document]:
    chance = random.Random(1)
    for number in range(40):
        yield Document(f"document {number}", f"group {number % 20}", " ".join(chance.choices(_WORDS, k=number + 1)))


def _dialogues() -> Iterator[Dialogue]:
    chance = random.Random(2)
    for number in range(60):
        question = f"What is {' '.join(chance.choices(_WORDS, k=2))} {number}?"
        before = (Message("system", "Be short."),) if number % 7 == 0 else ()
        answer = Message("assistant", " ".join(chance.choices(_WORDS, k=1 + number % 5)))
        sort = ("describe", "find", "rare")[0 if number % 11 else 2 if number % 2 else 1]
        yield Dialogue(f"dialogue {number}", f"group {number % 20}", sort, (*before, Message("user", question), answer))
