from __future__ import annotations

import subprocess
import sys

import pytest

from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import settle
from lmmodel.text.settings import Corpus, Dialogues, Shards, Tokenizer
from pipelines.record import kinds


def corpus(text: str) -> Corpus:
    return settle(Corpus, parse(f"corpus: {text}", name="params.yaml"), ("corpus",))


def test_everything_has_a_default() -> None:
    assert (Corpus().source.kind, Corpus().validation.fraction) == ("python_docs", 0.1)
    assert (Dialogues().source.kind, Dialogues().validation.fraction) == ("python_docs", 0.1)
    assert (Tokenizer().algorithm, Tokenizer().vocab_size) == ("bpe", 4096)
    assert Shards().tokens_per_shard == 1_000_000


def test_what_is_written_out_reads_back_as_it_was() -> None:
    found = corpus("{source: {kind: files, paths: [data/raw/documents/a.txt]}, validation: {fraction: 0.1}}")
    assert Corpus.model_validate(found.dump()) == found
    hub = corpus("{source: {kind: huggingface, name: parquet, data_files: {train: [a, b]}}, validation: {split: test}}")
    assert Corpus.model_validate(hub.dump()) == hub


def test_several_sources_have_weights_and_read_back_as_they_were() -> None:
    found = corpus("{source: [python_docs, {kind: files, paths: [data/raw/documents/a.txt], weight: 3}]}")
    assert [(part.chosen.kind, part.weight) for part in found.source] == [("python_docs", 1.0), ("files", 3.0)]
    assert Corpus.model_validate(found.dump()) == found
    assert {name.rpartition(".")[2] for name in kinds(found)} == {"python_docs", "files"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "{source: {kind: file}}",
            r"params\.yaml:1: corpus\.source\.kind 'file' is not one of .*: did you mean 'files'",
        ),
        ("{source: {kind: files, path: [a]}}", r"corpus\.source\.path is not an option of files, which takes paths, "),
        (
            "{source: {kind: files, paths: [a.txt]}}",
            r"paths 'a\.txt' is not below data/raw/documents/, the only folder",
        ),
        ("{source: {kind: files, paths: [data/raw/documents/../x]}}", r"'data/raw/documents/\.\./x' is not below"),
        ("{validation: {fraction: 0.1, split: test}}", r"corpus\.validation takes exactly one of fraction, split"),
        ("{validation: {}}", r"corpus\.validation takes exactly one of fraction, split; none is given"),
        ("{validation: {fraction: 0}}", r"corpus\.validation\.fraction 0.* should be above 0"),
        ("{validation: {fraction: 1}}", r"corpus\.validation\.fraction 1.* should be below 1"),
        ("{validation: {fraction: '0.1'}}", r"corpus\.validation\.fraction '0\.1' is text"),
        ("{source: []}", r"corpus\.source is an empty list; name a source"),
        ("{source: [files, {kind: file}]}", r"corpus\.source\.1\.kind 'file' is not one of .*: did you mean 'files'"),
        ("{source: [{kind: files, weight: 0}]}", r"corpus\.source\.0\.weight 0.* should be above 0"),
        ("{source: [{kind: files, wait: 2}]}", r"corpus\.source\.0\.wait is not an option of files"),
        ("{sorce: files}", r"corpus\.sorce is not a key here; there are source, validation: did you mean 'source'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        corpus(text)


def test_reading_the_sections_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lmmodel.text.settings import *; Corpus(); Dialogues(); SOURCE.options('huggingface');"
        "assert not {'torch', 'datasets', 'pyarrow', 'numpy', 'sentencepiece'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
