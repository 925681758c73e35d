import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.learning import saving
from lmmodel.learning.reports import Validated
from lmmodel.learning.settings import Keep
from lmmodel.params.refusal import Refusal
from tests import power_cut
from tests.learning import small


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"weights/a": torch.full((3, 2), value), "optimizer/0/step/a": torch.tensor(value)}


def test_the_newest_state_is_read_back_as_it_was(tmp_path: Path) -> None:
    assert saving.latest(tmp_path) is None
    for step in (1, 2, 10):
        saving.save(tmp_path, step, tensors(step), {"step": step, "loss": 0.1 + step})
    found = saving.latest(tmp_path)
    assert found is not None
    assert found[1] == {"step": 10, "loss": 10.1}
    assert all(torch.equal(found[0][name], value) for name, value in tensors(10).items())


def test_only_the_last_states_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        saving.save(tmp_path, step, tensors(step), {})
    assert [path.name for path in saving.states(tmp_path)] == ["step-0000000004", "step-0000000005"]


STEPS = st.sets(st.integers(1, 60), min_size=1)
RULES = st.builds(Keep, last=st.integers(1, 5), every=st.none() | st.integers(1, 20), best=st.booleans())


@given(STEPS, RULES, st.none() | st.integers(1, 60))
def test_the_rule_keeps_the_last_every_so_many_and_the_best_and_nothing_else(
    steps: set[int], keep: Keep, best: int | None
) -> None:
    found = saving.kept(steps, keep, best)
    assert found == sorted(found)
    assert {*found} <= steps
    for step in steps:
        among_last = sum(other > step for other in steps) < keep.last
        regular = keep.every is not None and step % keep.every == 0
        assert (step in found) == (among_last or regular or (keep.best and step == best))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), RULES)
def test_saved_one_by_one_the_same_stay_as_if_all_had_been_there_at_once(nats: list[float], keep: Keep) -> None:
    """A state that goes is never wanted later: the best so far only ever makes way for a better one."""
    there: list[int] = []
    for step in range(1, len(nats) + 1):
        best = 1 + min(range(step), key=nats.__getitem__)
        there = saving.kept([*there, step], keep, best)
    best = 1 + min(range(len(nats)), key=nats.__getitem__)
    assert there == saving.kept(range(1, len(nats) + 1), keep, best)


@pytest.mark.parametrize(
    ("keep", "left"),
    [({"last": 1}, [20]), ({"last": 1, "every": 8}, [8, 16, 20]), ({"last": 1, "best": True}, [12, 20])],
)
def test_a_training_leaves_the_states_that_the_rule_names(
    tmp_path: Path, keep: dict[str, Any], left: list[int]
) -> None:
    """No state is made for want of time: only those that the rule asks for, and the last."""
    told = small.section(budget={"tokens": 20 * small.ROWS * small.CONTEXT}, validate={"times": 20, "tokens": 160})
    training = small.training(tmp_path, told=told, keep=Keep.model_validate(keep))
    for report in training.run():
        if isinstance(report, Validated):  # better and better after steps 3, 9 and 12
            training.rows[-1]["validation_loss_nats"] = 9.0 - report.step * (report.step in (3, 9, 12))
    assert [int(path.name.removeprefix("step-")) for path in saving.states(tmp_path)] == left


class CrashError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("name", ["save_file", "seal", "fsync", "rename", "rmtree"])
def test_wherever_saving_is_cut_off_the_next_start_finds_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Cut off at the first call of `name`, the second, and so on, until saving gets to its end."""
    place = {
        "save_file": "safetensors.torch.save_file",
        "seal": "lmmodel.folder.seal",
        "fsync": "os.fsync",
        "rename": "pathlib.Path.rename",
        "rmtree": "shutil.rmtree",
    }[name]
    cut_off = 0
    while True:
        scratch = tmp_path / str(cut_off)
        for step in (1, 2):
            saving.save(scratch, step, tensors(step), {"step": step})
        with monkeypatch.context() as patched:
            patched.setattr(place, counted(place, cut_off))
            try:
                saving.save(scratch, 3, tensors(3), {"step": 3})
                break
            except CrashError:
                cut_off += 1
        found = saving.latest(scratch)
        assert found is not None
        assert found[1]["step"] in (2, 3)
        assert torch.equal(found[0]["weights/a"], tensors(found[1]["step"])["weights/a"])
        saving.save(scratch, 4, tensors(4), {"step": 4})
        assert saving.latest(scratch)[1]["step"] == 4  # type: ignore[index]
    assert cut_off >= 1


def counted(place: str, most: int):
    """What stands at `place`, until it was called `most` times."""
    module, _, name = place.rpartition(".")
    owner = {"pathlib.Path": Path}.get(module) or __import__(module, fromlist=[name])
    original, calls = getattr(owner, name), 0

    def called(*given, **told):
        nonlocal calls
        if calls == most:
            raise CrashError
        calls += 1
        return original(*given, **told)

    return called


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_cut_off_at_every_file_operation_a_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    said = power_cut.run(Path(__file__).with_name("cut_training.py"), tmp_path)
    assert int(said.split()[0]) > 30


FULL = """
import sys
from pathlib import Path
import torch
from lmmodel.learning import saving
scratch = Path(sys.argv[1])
saving.save(scratch, 1, {"a": torch.zeros(10)}, {"step": 1})
%s
try:
    saving.save(scratch, 2, {"a": torch.zeros(100_000)}, {"step": 2})
except saving.Refusal as refusal:
    print(refusal)
assert saving.latest(scratch)[1] == {"step": 1}
assert [path.name for path in scratch.iterdir()] == ["step-0000000001"]
saving.save(scratch, 3, {"a": torch.ones(10)}, {"step": 3})
"""
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))"
MOUNT = 'mount -t tmpfs -o size=64k none "$1" && exec "$0" -c "$2" "$1"'
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
"""A name space of mounts of its own, so that a file system with no room can be made, and goes with the process."""


def mounts(folder: Path) -> bool:
    done = subprocess.run([*NAMESPACE, f"mount -t tmpfs none {folder}"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("how", ["a file system with no room", "a limit on the size of files"])
def test_a_full_disk_leaves_the_state_before_and_no_rest_and_is_told_in_a_line(tmp_path: Path, how: str) -> None:
    if how.startswith("a limit"):
        command = [sys.executable, "-c", FULL % LIMIT, str(tmp_path)]
    elif shutil.which("unshare") and mounts(tmp_path):
        command = [*NAMESPACE, MOUNT, sys.executable, str(tmp_path), FULL % ""]
    else:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = "the disk is full: there is no room for the state after step 2; step-0000000001 is kept, and it goes on"
    assert done.stdout == f"{tmp_path}: {told} from there\n"


def test_what_else_goes_wrong_in_writing_is_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(given: dict, path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("safetensors.torch.save_file", forbidden)
    with pytest.raises(PermissionError):
        saving.save(tmp_path, 2, tensors(2), {"step": 2})
    assert list(tmp_path.iterdir()) == []


def test_a_state_with_one_flipped_byte_is_refused_by_name(tmp_path: Path) -> None:
    saving.save(tmp_path, 7, tensors(7), {})
    path = tmp_path / "step-0000000007" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"state\.safetensors: its content is not(.|\n)*Remove .*step-0000000007"):
        saving.latest(tmp_path)
