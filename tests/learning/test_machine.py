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

def faults(mebibytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(mebibytes << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "kept" in sys.argv:
    machine.keep_freed_memory()
faults(65)
print(faults(64))
"""


def faults(*words: str) -> int:
    """Of a tensor of 64 MiB, after one of a little more was freed: glibc before 2.38 fits none of the same into its
    place where something small has come to lie behind it."""
    command = [sys.executable, "-c", FAULTS, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how another library keeps memory is not known")
def test_the_memory_of_what_was_freed_is_there_for_what_comes_next() -> None:
    assert 10 * faults("kept") < faults()
