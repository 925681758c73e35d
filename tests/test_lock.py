"""The committed record of the reference run belongs to the code and the parameters that are committed with it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_committed_lock_is_current():
    """Changed outputs are no matter: a fresh clone has none. Changed dependencies or parameters are."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "design"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    changes = json.loads(done.stdout).get("design", [])
    stale = [change for change in changes if isinstance(change, str) or "changed deps" in change]
    assert not stale, f"run `make lock` and commit dvc.lock: {stale}"
