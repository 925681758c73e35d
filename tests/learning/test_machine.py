"""What is told of this machine, and to it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from lmmodel.learning import machine

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(4, 16 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "kept" in sys.argv:
    machine.keep_freed_memory()
faults()
print(faults())
"""


def faults(*words: str) -> int:
    """Of the second tensor of 64 MiB, the first having been freed."""
    command = [sys.executable, "-c", FAULTS, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how another library keeps memory is not known")
def test_the_memory_of_what_was_freed_is_there_for_what_comes_next() -> None:
    assert 10 * faults("kept") < faults()
