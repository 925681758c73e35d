"""MLflow as a team has it: a real PostgreSQL, and a server in front of it that is started as docs/team.md says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.pipelines.stores import free_port
from tests.project import TREE, environment, until

SUPERUSER = "postgres"


def binaries() -> Path | None:
    """Where PostgreSQL's own programs are; Debian keeps them off the path, by version."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return Path(found).resolve().parent if found else debian[-1].parent if debian else None


def lacking() -> str:
    """Why it cannot be started here; nothing where it can."""
    if binaries() is None:
        return "there is no PostgreSQL here; Debian's package is called postgresql"
    return "" if find_spec("psycopg2") else "MLflow takes psycopg2 to speak to PostgreSQL: `make servers` installs it"


@contextmanager
def database() -> Iterator[str]:
    """An empty PostgreSQL of its own; its address, as SQLAlchemy takes it.

    It refuses to run as root, and may then not enter the folders of tests: so it has one of its own.
    """
    programs, port = binaries(), free_port()
    assert programs is not None
    who: dict[str, Any] = {"user": SUPERUSER, "group": SUPERUSER, "extra_groups": []} if os.getuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="lmmodel-"))
    if who:
        shutil.chown(home, SUPERUSER, SUPERUSER)

    def program(name: str, *words: str) -> None:
        with (home.parent / f"{home.name}.log").open("a") as log:
            command = [str(programs / name), *words]
            subprocess.run(command, cwd=home, check=True, stdout=log, stderr=log, timeout=120, **who)

    data = ("-D", str(home / "data"))
    try:
        program("initdb", *data, "-U", SUPERUSER, "--auth", "trust", "--no-sync")
        listening = f"-h 127.0.0.1 -p {port} -k {home} -F"
        program("pg_ctl", *data, "-w", "-o", listening, "start")
        server = ("-h", "127.0.0.1", "-p", str(port), "-U", SUPERUSER)
        program("createuser", *server, "mlflow")
        program("createdb", *server, "--owner", "mlflow", "mlflow")
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"
    finally:
        with suppress(subprocess.CalledProcessError):
            program("pg_ctl", *data, "-m", "immediate", "stop")
        shutil.rmtree(home)
        (home.parent / f"{home.name}.log").unlink()


@dataclass
class Server:
    """MLflow's server at `address`, which can be stopped and started again."""

    store: str
    artifacts: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What everybody sets as `MLFLOW_TRACKING_URI`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def names(self) -> tuple[str, ...]:
        """By which it may be asked: a number, and a name that nothing here resolves."""
        return f"127.0.0.1:{self.port}", f"mlflow.example:{self.port}"

    def start(self) -> None:
        """Until it answers."""
        told = {
            "--backend-store-uri": self.store,
            "--artifacts-destination": str(self.artifacts),
            "--allowed-hosts": ",".join(self.names),
            "--cors-allowed-origins": ",".join(f"http://{name}" for name in self.names),
            "--host": "127.0.0.1",
            "--port": str(self.port),
        }
        command = [sys.executable, "-m", *documented(told), "--workers", "1"]
        with self.artifacts.with_name("server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "MLflow's server", seconds=300)

    def stop(self) -> None:
        """As if its machine went down."""
        if self.process:
            with suppress(ProcessLookupError):  # it never came up
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.artifacts.with_name("server.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=10):
                return True
        except OSError:
            return False


def documented(told: dict[str, str]) -> list[str]:
    """The command of docs/team.md, with other values for all of its options."""
    page = (TREE / "docs/team.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    _, words = (shlex.split(line) for line in script.replace("\\\n", "").splitlines())
    options = [word for word in words if word.startswith("--")]
    assert set(options) == set(told)
    return [told.get(words[at - 1], word) for at, word in enumerate(words)]


@contextmanager
def serving(folder: Path, store: str) -> Iterator[Server]:
    """A server whose runs are in `store` and whose artifacts are below `folder`."""
    server = Server(store, folder / "artifacts", free_port())
    server.artifacts.mkdir(parents=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()
