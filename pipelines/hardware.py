"""What other machines are, by their makers' data sheets, and what of that a training gets to see.

A sheet gives peaks. Of the products' rate a training reaches about half, of the memory's about three quarters; starting
a kernel from Python takes some microseconds; a tenth of the memory is lost to the driver and to gaps. These are the
usual figures of well-filled steps, not measurements: what comes out is a first idea.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmmodel.learning.outlook import Rates
from lmmodel.params.document import read

SHEETS = Path(__file__).with_suffix(".yaml")

_OF_PRODUCTS, _OF_BANDWIDTH, _OF_MEMORY = 0.5, 0.75, 0.9
_KERNEL_SECONDS = 5e-6


@dataclass(frozen=True)
class Device:
    """One accelerator. `precision`: what a training with `precision: auto` computes in there."""

    name: str
    memory_bytes: float
    precision: str
    rates: Rates
    source: str

    @property
    def usable_bytes(self) -> float:
        """What tensors can have."""
        return _OF_MEMORY * self.memory_bytes


def devices() -> list[Device]:
    """All that there is a sheet of, in the order of the file."""
    return [_device(name, sheet) for name, sheet in read(SHEETS).data.items()]


def _device(name: str, sheet: dict[str, float | str]) -> Device:
    precision = "bfloat16" if "bfloat16_TFLOPS" in sheet else "float32"
    rates = Rates(
        flop_seconds=1 / (_OF_PRODUCTS * 1e12 * float(sheet[f"{precision}_TFLOPS"])),
        byte_seconds=1 / (_OF_BANDWIDTH * 1e9 * float(sheet["bandwidth_GBps"])),
        kernel_seconds=_KERNEL_SECONDS,
    )
    return Device(name, float(sheet["memory_GB"]) * 2**30, precision, rates, str(sheet["source"]))
