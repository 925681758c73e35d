"""torch's optimizers where nothing is compiled, without torch's compiler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside, nothing may be compiled. Where the compiler is loaded already, nothing changes.

    An optimizer of torch 2.13 tells the compiler to keep off it, and loads the compiler to say so: two seconds.
    """
    if _COMPILER in sys.modules:
        yield
        return
    told: list[Any] = []

    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        told.append(function)
        return function

    silent: Any = ModuleType(_COMPILER)
    silent.disable, silent.graph_break = disable, lambda: None
    sys.modules[_COMPILER] = torch._dynamo = silent
    try:
        yield
    finally:
        del sys.modules[_COMPILER], torch._dynamo
        for function in told:
            del function.__dynamo_disable  # what torch remembers of the answer
