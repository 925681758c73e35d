"""A model in pieces, in several processes: trains as one does, and what they save any number goes on with."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from lmmodel.learning import dcp, plan, saving
from lmmodel.learning.settings import Launch
from lmmodel.params.refusal import Refusal
from tests import power_cut
from tests.learning import small
from tests.learning.test_crew import close, command, more, one_is_killed, run, stays_close, told, under_way

SHARD = {"shard": True}


def sharded(save_seconds: str = "0") -> list[str]:
    return [save_seconds, json.dumps({"launch": SHARD, "section": {"optimizer": "muon"}})]


def whole() -> list[str]:
    return ["0", json.dumps({"section": {"optimizer": "muon"}})]


@pytest.mark.parametrize(("design", "optimizer"), [("crossing", "muon"), ("balanced", "adamw")])
def test_pieces_stay_within_rounding_of_a_whole(tmp_path: Path, design: str, optimizer: str) -> None:
    """What crosses layers, tables of their own, heads further ahead; experts with their losses per row."""
    stays_close(tmp_path, design, more(optimizer=optimizer), **SHARD)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        more(optimizer={"kind": "schedule_free", "learning_rate": 0.01}, schedule="constant"),
        more(optimizer={"kind": "lion"}, early_stopping={"patience": 9}),
        more(ema={"decay": 0.8}, batch_warmup={"first_tokens": 3 * small.CONTEXT, "fraction": 0.5}),
        more(launch={"activation_checkpointing": True}),
        more(lora={"rank": 2}, optimizer={"kind": "adamw", "learning_rate": 0.001}),
    ],
    ids=["schedule_free", "lion", "ema", "recomputed", "lora"],
)
def test_in_pieces_too(tmp_path: Path, given: list[str]) -> None:
    stays_close(tmp_path, "dense", given, processes=3, **SHARD)


@pytest.mark.slow
def test_bases_that_gradients_are_turned_into_are_kept_by_one_owner_each(tmp_path: Path) -> None:
    """SOAP's, by two, who sum as one does in two parts: in another order rounding grows to 1e-3 in ten steps."""
    stays_close(tmp_path, "dense", more(optimizer={"kind": "soap", "epsilon": 1e-4, "basis_steps": 3}), **SHARD)


@pytest.mark.slow
def test_what_is_left_out_at_random_is_the_same_in_pieces_as_whole(tmp_path: Path) -> None:
    """Each process draws for its own rows: so two with all of the model are what two with pieces are held against."""
    stays_close(tmp_path, "dense", more(dropout=0.2), alone=2, **SHARD)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float8"])
def test_pieces_in_fewer_bits_learn_as_a_whole_does(tmp_path: Path, precision: str) -> None:
    """What is summed in another order is rounded to other last bits, of 8."""
    stays_close(tmp_path, "crossing", more(precision=precision), tolerance=0.02, **SHARD)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_state_of_two_with_pieces_any_number_goes_on_with(tmp_path: Path, processes: int) -> None:
    told(run(*command(tmp_path / "whole", 1, "10", "dense", *whole())))
    process, _ = under_way(*command(tmp_path / "cut", 2, "10", "dense", *sharded()))
    process.kill()
    process.communicate()
    place, facts = saving.newest(tmp_path / "cut") or (Path(), {})
    assert dcp.wrote(place)
    assert facts["step"] >= 2
    went_on = told(run(*command(tmp_path / "cut", processes, "10", "dense", *sharded())))
    assert [step for step, *_ in went_on] == [*range(facts["step"] + 1, 11)]
    close(tmp_path / "whole", tmp_path / "cut", 1e-5)
    decided = plan.kept(tmp_path / "cut")
    assert decided is not None
    assert (decided.processes, decided.sharded) == (processes, processes > 1)


@pytest.mark.slow
def test_pieces_go_on_from_a_state_of_a_whole(tmp_path: Path) -> None:
    told(run(*command(tmp_path / "whole", 1, "10", "dense", *whole())))
    process, _ = under_way(*command(tmp_path / "cut", 1, "10", "dense", *whole()))
    process.kill()
    process.communicate()
    told(run(*command(tmp_path / "cut", 2, "10", "dense", *sharded())))
    close(tmp_path / "whole", tmp_path / "cut", 1e-5)


def test_when_one_is_killed_none_is_left_and_pieces_go_on_later(tmp_path: Path) -> None:
    one_is_killed(tmp_path / "run", *sharded(), later=3)


@pytest.mark.slow
def test_a_full_disk_is_told_in_a_line_and_leaves_no_part_of_a_state(tmp_path: Path) -> None:
    """No file may be larger than 8 kB, which is what a full disk looks like to who writes one."""
    given = command(tmp_path / "run", 2, "5", "dense", *sharded())
    done = run("sh", "-c", 'ulimit -f 16; exec "$0" "$@"', *given)
    assert done.returncode == 1
    assert "the disk is full: there is no room for the state after step 1; none was kept before it" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock", "plan.json"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
@pytest.mark.parametrize(("rank", "least"), [(0, 30), (1, 10)])
def test_cut_off_at_every_file_operation_of_a_process_a_state_is_the_old_or_the_new_one(
    tmp_path: Path, rank: int, least: int
) -> None:
    """The first writes its part, the index, the names; the other one its part alone."""
    said = power_cut.run(Path(__file__).with_name("cut_pieces.py"), tmp_path, str(rank))
    assert int(said.split()[0]) > least


@pytest.mark.slow
def test_a_flipped_byte_in_one_part_is_refused_by_name(tmp_path: Path) -> None:
    told(run(*command(tmp_path / "run", 2, "3", "dense", *sharded())))
    place, _ = saving.newest(tmp_path / "run") or (Path(), {})
    part = place / "__1_0.distcp"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    done = run(*command(tmp_path / "run", 2, "4", "dense", *sharded()))
    assert done.returncode == 1
    assert f"{part}: its content is not what" in done.stderr
    assert f"Remove {place}" in done.stderr


@pytest.mark.slow
def test_twice_the_same_pieces_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        told(run(*command(tmp_path / name, 2, "4", "experts", *sharded())))
    for file in ("end.safetensors", "curve.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_compiled_pieces_are_refused_at_the_door() -> None:
    with pytest.raises(ValidationError, match="does not go with launch.compile: true"):
        Launch.model_validate({"compile": True, "shard": True})
    assert Launch.model_validate({"compile": "auto", "shard": True}).shard


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(Refusal, match="4 processes share a batch of 6 sequences, and with launch.shard each takes as"):
        small.plan(small.section(), processes=4, shard=True)
    assert small.plan(small.section(), processes=3, shard=True).sharded


def test_one_process_has_nothing_to_share() -> None:
    assert not small.plan(small.section(), shard=True).sharded
