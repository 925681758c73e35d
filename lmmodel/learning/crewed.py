"""How a crew comes together: started here by its first process, or by torchrun, whose environment says who is who.

    with together(processes=2, device="cpu", command=[...]) as crew:

Nobody is left behind: a process that was started here ends when the first one does, however that ends; and the first
ends when one of the others does. All of them stand in process groups of their own: what asks the first to stop is
agreed on by all after the step.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lmmodel.learning.crew import ALONE, Crew
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch.distributed import TCPStore

_STORE = "LMMODEL_STORE"
_HOME = "127.0.0.1"
_GRACE_SECONDS = 10.0  # for a first process that hangs in a sum to notice by itself that another is gone
_LEAVING_SECONDS = 60.0
_PATIENCE = timedelta(minutes=30)


@contextmanager
def together(processes: int, *, device: str, command: Sequence[str]) -> Iterator[Crew]:
    """The crew that this process belongs to; it comes together here, and parts at the end.

    command: starts another process like this one, where this is the first and nobody else has started them.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        if _STORE in os.environ:
            threading.Thread(target=_end_with_the_first, daemon=True).start()
        with _joined(rank, size, device, _store(rank, size)) as crew:
            yield crew
    elif processes > 1:
        _fits(processes, device)
        _stay_home()
        store = _store(0, processes)
        assert store is not None
        with _Others(processes, store.port, command), _joined(0, processes, device, store) as crew:
            yield crew
    else:
        yield ALONE


def _fits(processes: int, device: str) -> None:
    import torch

    if device == "mps":
        raise Refusal(f"params.yaml: launch.processes {processes}: a Mac has one GPU, and mps takes processes: 1")
    if device == "cuda" and processes > (here := torch.cuda.device_count()):
        raise Refusal(f"params.yaml: launch.processes {processes}: this machine has {here} GPUs, and each takes one")


def _stay_home() -> None:
    """Have gloo listen where only this machine reaches it: unless told, it takes the address of the machine's name."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])


def _store(rank: int, size: int) -> TCPStore | None:
    """Where the processes that were started here meet; None: as the environment says."""
    from torch.distributed import TCPStore

    if rank == 0 and "WORLD_SIZE" not in os.environ:
        own = socket.create_server((_HOME, 0))  # the store's own would listen on every address of the machine
        port = own.getsockname()[1]
        return TCPStore(_HOME, port, size, is_master=True, wait_for_workers=False, master_listen_fd=own.detach())
    if _STORE not in os.environ:
        return None
    host, _, port = os.environ[_STORE].rpartition(":")
    return TCPStore(host, int(port), size, is_master=False)


@contextmanager
def _joined(rank: int, size: int, device: str, store: TCPStore | None) -> Iterator[Crew]:
    import torch

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    told: dict[str, Any] = {} if store is None else {"store": store, "rank": rank, "world_size": size}
    torch.distributed.init_process_group(backend, timeout=_PATIENCE, **told)
    try:
        crew = Crew(rank, size)
        yield crew
        crew.anywhere(False)  # nobody leaves before all are done
    finally:
        torch.distributed.destroy_process_group()


class _Others:
    """Processes 1 and up, started by the first, which holds a pipe to each: when it closes, they end."""

    def __init__(self, size: int, port: int, command: Sequence[str]) -> None:
        self.size, self.port, self.command = size, port, command
        self.children: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()

    def __enter__(self) -> None:
        for rank in range(1, self.size):
            told = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.size)}
            where = {_STORE: f"{_HOME}:{self.port}"}
            child = subprocess.Popen(
                self.command, env={**os.environ, **told, **where}, stdin=subprocess.PIPE, process_group=0
            )
            self.children.append(child)
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._over.set()
        ends = time.monotonic() + (_LEAVING_SECONDS if kind is None else 0)
        for child in self.children:
            try:
                child.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            assert child.stdin is not None
            child.stdin.close()

    def _watch(self) -> None:
        """When one is gone before its time, let none wait for it."""
        while not self._over.wait(0.2):
            codes = {rank: child.poll() for rank, child in enumerate(self.children, 1)}
            gone = [rank for rank, code in codes.items() if code]
            if gone:
                print(f"process {gone[0]} of {self.size} ended with {codes[gone[0]]}", file=sys.stderr, flush=True)
                for child in self.children:
                    child.kill()
                if not self._over.wait(_GRACE_SECONDS):
                    os._exit(1)


def _end_with_the_first() -> None:
    """Nothing ever comes by this pipe but its end."""
    os.read(0, 1)
    os._exit(1)
