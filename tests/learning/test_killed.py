import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed.py")


def run(folder: Path, seed: int) -> str:
    folder.mkdir()
    done = subprocess.run([sys.executable, PROGRAM, folder, str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_at_random_moments_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    assert "killed 0 times" not in run(tmp_path / "one", 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_many_random_moments_it_ends_in_the_same_bytes(tmp_path: Path, seed: int) -> None:
    run(tmp_path / "one", seed)
