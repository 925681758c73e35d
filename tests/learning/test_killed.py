"""kill -9 at random moments: what a training ends in does not know of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed.py")


MEMORY = Path("/dev/shm")
"""Where no disk is waited for, if there is one: unlike a power cut, a kill loses nothing that was written."""


def kills(seeds: range) -> list[int]:
    """How often each seed's training was killed before it ended in the bytes of an unbroken one."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        command = [sys.executable, PROGRAM, folder, *map(str, seeds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(count) for count in done.stdout.split()[1:-1]]


def test_killed_at_random_moments_it_ends_in_the_same_bytes() -> None:
    assert max(kills(range(1, 4))) > 0


@pytest.mark.slow
def test_killed_at_many_random_moments_it_ends_in_the_same_bytes() -> None:
    counts = kills(range(4, 24))  # those before are tried above
    assert len(counts) == 20
    assert max(counts) > 2
    assert min(counts) >= 0
