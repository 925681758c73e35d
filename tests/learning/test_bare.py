"""Learning takes no more installed than torch, numpy, safetensors, pydantic and ruamel.yaml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.learning.bare import required

PROGRAM = Path(__file__).with_name("bare.py")


def test_learning_takes_five_packages_and_what_they_require(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["without tqdm", "found"]


def test_what_they_require_is_found_in_turn_and_extras_are_not() -> None:
    assert {"pydantic-core", "sympy", "mpmath"} <= required(["pydantic", "torch"])  # mpmath is what sympy requires
    assert not {"email-validator", "optree"} & required(["pydantic", "torch"])
