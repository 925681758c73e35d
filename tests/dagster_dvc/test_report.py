from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from dagster import MetadataValue

from pipelines.dagster_dvc import picture, report
from pipelines.dagster_dvc.graph import Output, Recipe, Stage


def stage(root: Path, *outputs: Output) -> Stage:
    """A stage whose outputs are recorded as they lie there."""
    recorded = tuple(
        Output(o.path, o.role, hashlib.md5((root / o.path).read_bytes()).hexdigest(), plot=o.plot) for o in outputs
    )
    return Stage("some", ".", None, False, recorded, Recipe("cmd", {}, {}), None)


def test_metrics_are_numbers_by_their_dotted_names_and_one_table(tmp_path: Path) -> None:
    figures = {"loss": 0.5, "size": {"tokens": 1200}, "name": "a|b", "sound": True, "list": [1, 2], "bad": float("nan")}
    (tmp_path / "m.json").write_text(json.dumps(figures))
    told = report.results(tmp_path, stage(tmp_path, Output("m.json", "metric")))
    assert told["loss"] == MetadataValue.float(0.5)
    assert told["size.tokens"] == MetadataValue.int(1200)
    assert told["sound"] == MetadataValue.bool(True)
    assert told["bad"] == MetadataValue.text("nan")
    assert "list" not in told
    assert "| size.tokens | 1,200 |" in told["metrics"].value
    assert "| name | a\\|b |" in told["metrics"].value


@pytest.mark.parametrize(("name", "text"), [("m.yaml", "loss: 5e-1"), ("m.toml", "loss = 0.5")])
def test_metrics_in_other_formats(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    told = report.results(tmp_path, stage(tmp_path, Output(name, "metric")))
    assert told["loss"] == MetadataValue.float(0.5)


def test_a_file_that_is_not_the_recorded_one_is_not_shown_as_the_result(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"loss": 0.5}')
    known = stage(tmp_path, Output("m.json", "metric"))
    (tmp_path / "m.json").write_text('{"loss": 0.4}')
    assert report.results(tmp_path, known) == {}
    (tmp_path / "m.json").unlink()
    assert report.results(tmp_path, known) == {}


def test_a_metrics_file_that_cannot_be_read_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    assert report.results(tmp_path, stage(tmp_path, Output("m.json", "metric"))) == {}


def test_text_is_shown_in_part_when_it_is_long(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# All")
    (tmp_path / "samples.txt").write_text("x" * 30_000)
    told = report.texts(tmp_path, ("report.md", "samples.txt", "missing.md"))
    assert told["report"] == MetadataValue.md("# All")
    assert "10,000 characters more in samples.txt" in told["samples"].value
    assert set(told) == {"report", "samples"}


def png(markdown: str | None) -> bytes:
    found = re.fullmatch(r"!\[.*\]\(data:image/png;base64,(.*)\)", markdown or "")
    assert found, markdown
    return base64.b64decode(found[1])


@pytest.mark.parametrize(
    ("name", "text", "plot"),
    [
        ("c.csv", "step,note,loss\n1,,2\n2,,1.5\n3,,\n", {"x": "step", "y": "loss"}),
        ("c.csv", "step,note,loss\n1,,2\n2,,1.5\n", {}),
        ("c.csv", "step,train,test\n1,2,3\n2,1.5,2.5\n", {"x": "step", "y": ["train", "test"]}),
        ("c.tsv", "step\tloss\n1\t2\n2\t1.5\n", {"y": "loss", "title": "Curve"}),
        ("c.json", '[{"step": 1, "loss": 2}, {"step": 2, "loss": 1.5}]', {"x": "step", "y": "loss"}),
    ],
)
def test_a_curve_is_a_small_picture(tmp_path: Path, name: str, text: str, plot: dict[str, str]) -> None:
    (tmp_path / name).write_text(text)
    content = png(picture.curve(tmp_path / name, plot))
    assert content.startswith(b"\x89PNG")
    assert len(content) < 40_000


def test_curves_that_differ_look_different(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,loss\n1,2\n2,1\n")
    (tmp_path / "b.csv").write_text("step,loss\n1,1\n2,2\n")
    plot = {"x": "step", "y": "loss", "title": "same"}
    assert png(picture.curve(tmp_path / "a.csv", plot)) != png(picture.curve(tmp_path / "b.csv", plot))


@pytest.mark.parametrize("text", ["step,loss\n1,2\n", "step,loss\n", "", "step\n1\n2\n"])
def test_there_is_no_picture_without_two_points(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    assert picture.curve(tmp_path / "c.csv", {"x": "step", "y": "loss"}) is None
    assert picture.curve(tmp_path / "missing.csv", {}) is None
