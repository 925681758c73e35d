"""What this machine is, as far as it decides bytes: device, instruction set, threads, and what it computes in.

Everything here follows from capabilities, never from a timing or from free memory, which could fall either way.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lmmodel.params.refusal import Refusal

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h of glibc numbers them
_NEVER, _LARGEST, _LARGEST_OF_OLD = -1, 2**31 - 1, 2**25  # older ones refuse more than half an arena
_BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16")


def devices() -> tuple[str, ...]:
    """The kinds of device that are here, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name, here in found.items() if here)


def device(wanted: str) -> str:
    """The device meant by `launch.device`; a Refusal when this machine has none."""
    here = devices()
    if wanted == "auto":
        return here[0]
    if wanted not in here:
        raise Refusal(f"params.yaml: launch.device '{wanted}' is not on this machine, which has {', '.join(here)}")
    return wanted


def precision(wanted: str, device: str, *, key: str = "precision") -> str:
    """`auto` settled: bfloat16 where `device` computes in it, float32 where it would only be imitated.

    A Refusal names `key` where float8 is wanted, and `device` does not multiply in it.
    """
    if wanted == "float8" and not computes_in_float8(device):
        raise Refusal(
            f"params.yaml: {key} 'float8' takes a GPU that multiplies numbers of 8 bits (NVIDIA's from compute "
            f"capability 8.9 on: Ada, Hopper, Blackwell), and this trains on {_named(device)}: take auto, bfloat16 or "
            "float32"
        )
    if wanted != "auto":
        return wanted
    return "bfloat16" if computes_in_bfloat16(device) else "float32"


def computes_in_bfloat16(device: str) -> bool:
    """Whether `device` has instructions for products of bfloat16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and any(instructions().get(name, False) for name in _BFLOAT16_INSTRUCTIONS)


def computes_in_float8(device: str) -> bool:
    """Whether `device` has instructions for products of numbers of 8 bits."""
    return device == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability() >= (8, 9)


def _named(device: str) -> str:
    """With what decides whether it computes in float8."""
    if device != "cuda":
        return device
    return (
        f"{torch.cuda.get_device_name()}, compute capability {'.'.join(map(str, torch.cuda.get_device_capability()))}"
    )


def instructions() -> dict[str, bool]:
    """Instruction sets of the processor by name, as far as this torch can tell."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name: value for name, value in torch.cpu.get_capabilities().items() if isinstance(value, bool)}
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx_tile": torch.cpu._is_amx_tile_supported()}


def compiler() -> bool:
    """Whether Inductor finds what it needs to build what it writes for a processor: a compiler, Python's headers."""
    named = os.environ.get("CXX")
    there = any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))
    return there and Path(sysconfig.get_path("include"), "Python.h").is_file()


def record(device: str) -> dict[str, str]:
    """What of the machine a result depends on, without a name that would tell one machine from its like."""
    bfloat16 = "bfloat16" if computes_in_bfloat16("cpu") else "no bfloat16"
    processor = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {bfloat16}"
    shown = torch.cuda.get_device_name() if device == "cuda" else device
    return {"device": shown, "processor": processor, "system": platform.system(), "torch": torch.__version__}


@contextmanager
def determined(device: str, threads: int, *, compiled: bool = False) -> Iterator[None]:
    """Inside, the same computation gives the same bits, `compiled` or not; what was set before is put back.

    Without it compiled training on a CPU gave five results in six runs: the embedding's backward adds atomically. On a
    GPU an operation that has no such form only warns.
    """
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    compiled = compiled or "torch._inductor" in sys.modules
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    _strict(2 if device == "cpu" else 1, compiled=compiled)
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _strict(before[1], compiled=compiled)
        deterministic.fill_uninitialized_memory = filled


def keep_freed_memory() -> None:
    """Have what this process frees kept for what it allocates next. Elsewhere than under glibc nothing is done.

    glibc hands large blocks back to the system, which gives them out again as pages that fault one by one: 127,000 of
    them in a step of 8,192 tokens at six layers of width 384, and 5 % of its time. The peak stays what it was.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _NEVER)
        if not mallopt(_MMAP_THRESHOLD, _LARGEST):
            mallopt(_MMAP_THRESHOLD, _LARGEST_OF_OLD)


def _strict(mode: int, *, compiled: bool) -> None:
    """What gives other bits each time is let pass (0), warned of (1), refused (2).

    torch 2.13 tells its compiler too, and loads it to do so: two seconds that a step can do without, if not compiled.
    """
    if compiled:
        torch.use_deterministic_algorithms(mode > 0, warn_only=mode == 1)
    else:
        torch.set_deterministic_debug_mode(mode)
