"""A trial on a small file system of its own, which takes Linux and the right to mount one: `confined.py FOLDER`.

The file system is made in a name space of mounts, so that it goes with the process; the program runs inside.
"""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.faults.scene import Scene
from benchmarks.faults.trial import Fault, Outcome, tried
from tests.project import TREE, environment

MEGABYTES = 64
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = f'mount -t tmpfs -o size={MEGABYTES}m none "$0" && exec "$@"'


def is_possible(folder: Path) -> bool:
    """Whether a file system can be mounted at `folder`."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, MOUNT, str(folder), "true"], capture_output=True, check=False).returncode == 0


def run(fault: Fault, seed: int, scene: Scene, folder: Path) -> Outcome:
    """As `tried`, in a project on a file system of its own at `folder`/room."""
    room = folder / "room"
    room.mkdir()
    (folder / "told").write_bytes(pickle.dumps((fault, seed, scene)))
    program = [sys.executable, "-m", "benchmarks.faults.confined", str(folder)]
    done = subprocess.run(
        [*NAMESPACE, MOUNT, str(room), *program], cwd=TREE, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: Outcome = pickle.loads((folder / "found").read_bytes())
    return found


def main(folder: Path) -> None:
    """Inside."""
    fault, seed, scene = pickle.loads((folder / "told").read_bytes())
    (folder / "found").write_bytes(pickle.dumps(tried(fault, seed, scene, folder / "room/project")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
