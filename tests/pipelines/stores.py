"""Where results are pushed to, a folder or a bucket, as whoever looks after it sees it: it can refuse and change."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pipelines import loopback_s3
from tests.project import TREE, environment, until


@dataclass(frozen=True)
class Folder:
    """A remote on this machine."""

    root: Path

    @property
    def settings(self) -> dict[str, str]:
        """What dvc is told of it."""
        return {"url": str(self.root)}

    def names(self) -> set[str]:
        """Of the objects that it holds."""
        return names_below(self.root)

    def put(self, oid: str, content: bytes) -> None:
        """Have it hold this under that name."""
        place = self._folder(oid) / oid[2:]
        place.unlink(missing_ok=True)
        place.write_bytes(content)

    @contextmanager
    def refusing(self, oid: str) -> Iterator[None]:
        """Neither takes this object nor gives it: its folder is one in which nobody may write, not even root."""
        folder, aside = self._folder(oid), self.root / "aside"
        folder.parent.mkdir(parents=True, exist_ok=True)
        if there := folder.exists():
            folder.rename(aside)
        folder.symlink_to("/sys")
        yield
        folder.unlink()
        if there:
            aside.rename(folder)

    def _folder(self, oid: str) -> Path:
        return self.root / "files/md5" / oid[:2]


@dataclass(frozen=True)
class Bucket:
    """A remote that speaks S3. folder: where its server runs, to which it is told there what to do."""

    port: int
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What dvc is told of it."""
        return {"url": "s3://bucket/results", "endpointurl": f"http://127.0.0.1:{self.port}"}

    @property
    def client(self) -> Any:
        """Another way to it than dvc's."""
        import boto3

        return boto3.client("s3", endpoint_url=self.settings["endpointurl"])

    def names(self) -> set[str]:
        """Of the objects that it holds."""
        found = self.client.list_objects_v2(Bucket="bucket").get("Contents", [])
        return {_oid(item["Key"]) for item in found}

    def put(self, oid: str, content: bytes) -> None:
        """Have it hold this under that name."""
        self.client.put_object(Bucket="bucket", Key=f"results/files/md5/{oid[:2]}/{oid[2:]}", Body=content)

    @contextmanager
    def refusing(self, oid: str) -> Iterator[None]:
        """Neither takes this object nor gives it."""
        (self.folder / loopback_s3.REFUSES).write_text(oid)
        yield
        (self.folder / loopback_s3.REFUSES).unlink()

    @contextmanager
    def breaking(self, whole: int) -> Iterator[None]:
        """Gone after so many objects, in the middle of the next."""
        (self.folder / loopback_s3.BREAKS).write_text(str(whole))
        yield
        (self.folder / loopback_s3.BREAKS).unlink()

    def sent(self, method: str) -> list[str]:
        """The objects that passed whole since the last call, each as often as it did."""
        log = self.folder / loopback_s3.SENT
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [_oid(line) for line in lines if line.startswith(method)]


@contextmanager
def bucket(folder: Path) -> Iterator[Bucket]:
    """An empty one, on a server of its own that runs in `folder`."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "tests.pipelines.loopback_s3", str(port)]
    told = {**environment(), "PYTHONPATH": os.pathsep.join([str(TREE), os.environ.get("PYTHONPATH", "")])}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=told, stdout=log, stderr=log)
    try:
        until(lambda: _answers(port) or process.poll() is not None, "the server")
        made = Bucket(port, folder)
        made.client.create_bucket(Bucket="bucket")
        yield made
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def names_below(root: Path) -> set[str]:
    """Of the objects in a folder that dvc keeps: a remote, or a cache."""
    return {_oid(path.as_posix()) for path in root.glob("files/md5/*/*")}


def _oid(path: str) -> str:
    return "".join(path.split("/")[-2:])


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
