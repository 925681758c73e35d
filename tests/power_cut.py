"""What stands on the disk after a power cut, for every moment at which there can be one.

As SQLite's tests do: some work runs in a child that ends at its first file operation, then in another that ends at its
second, until one gets to the end. Whatever was written and not flushed by then is cut in half.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = Path(__file__).with_name("power_cut.c")
ENDED = 77


def run(program: Path, folder: Path, *told: str) -> str:
    """What `program FOLDER` says, which may be `told` more: one that uses `cuts`, under the library that makes them."""
    library = folder / "power_cut.so"
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(build, check=True)
    done = subprocess.run(
        [sys.executable, str(program), str(folder), *told],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cuts(folder: Path, before: Path, work: Callable[[], None]) -> Iterator[int]:
    """Yields each cut's number: `folder` then holds what the cut left of `work`, which began with what is `before`."""
    log = folder.with_name("power_cut.log")
    for number in range(10_000):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        child = os.fork()
        if not child:
            ctypes.CDLL(None).cut(str(folder).encode(), number, str(log).encode())
            work()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, ENDED), f"the work itself failed with {code}"
        for path in unflushed(log.read_text(encoding="utf-8").splitlines()):
            if path.is_file():
                os.truncate(path, path.stat().st_size // 2)
        yield number
        if code == 0:
            return
    raise AssertionError("this does not come to an end")


def unflushed(log: list[str]) -> set[Path]:
    """Files, by their present names, that were written and not flushed since."""
    dirty: set[Path] = set()
    target = Path()
    for line in log:
        what, _, name = line.partition(" ")
        path = Path(name)
        if what == "write":
            dirty.add(path)
        elif what == "flush":
            dirty.discard(path)
        elif what == "rename":
            target = path
        elif what == "from":
            dirty = {target / one.relative_to(path) if one.is_relative_to(path) else one for one in dirty}
    return dirty
