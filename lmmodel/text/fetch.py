"""A file from the network, whole and as it was promised: a broken connection goes on where it broke."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lmmodel.folder import digest
from lmmodel.params.refusal import Refusal

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 30.0

Result = TypeVar("Result")


def fetch(url: str, target: Path, *, sha256: str, retries: int) -> Path:
    """`url` as the file `target`, whose SHA-256 is `sha256`, or a Refusal that names the file.

    What is there of `target` already is not fetched again.
    """
    part = target.with_name(target.name + ".part")
    if not (target.is_file() and digest(target) == sha256):
        fresh = not part.exists()
        persevere(lambda: _go_on(url, part), name=url, retries=retries)
        if not fresh and digest(part) != sha256:  # what was there before may have been of another file
            part.unlink()
            persevere(lambda: _go_on(url, part), name=url, retries=retries)
        part.replace(target)
    check(target, name=url, sha256=sha256)
    return target


def check(file: Path, *, name: str, sha256: str) -> None:
    """Refuse, by `name`, a file that is not what its SHA-256 promised."""
    found = digest(file)
    if found != sha256.lower():
        raise Refusal(f"{name}: has changed: its SHA-256 is {found}, not {sha256}")


def persevere(action: Callable[[], Result], *, name: str, retries: int) -> Result:
    """The result of `action`, tried again after each break of the connection, `retries` times at most."""
    for wait in pauses(retries):
        try:
            return action()
        except (OSError, HTTPException) as error:
            if wait is None or not is_passing(error):
                raise Refusal(f"{name}: cannot be fetched: {_cause(error)}") from None
            time.sleep(wait)
    raise AssertionError("the last pause is None")


def pauses(retries: int) -> Iterator[float | None]:
    """Seconds to wait after each failure: 0.5, 1, 2, ...; None after the last."""
    for tried in range(retries):
        yield min(0.5 * 2.0**tried, _LONGEST_WAIT_SECONDS)
    yield None


def is_passing(error: BaseException) -> bool:
    """Whether trying again may help: the connection broke, or the server is busy."""
    if isinstance(error, HTTPError):
        return error.code in (408, 425, 429) or error.code >= 500
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    networks = ("aiohttp", "httpx", "httpcore", "requests", "urllib3", "http")
    return isinstance(error, OSError | EOFError) or type(error).__module__.startswith(networks)


def _go_on(url: str, part: Path) -> None:
    """Fetch what `part` lacks of `url`; OSError where less came than was announced."""
    done = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urlopen(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416 and done:  # there is nothing behind what we have
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as out:
        announced = response.headers.get("Content-Length")
        come = 0
        while chunk := response.read(_CHUNK_BYTES):
            come += out.write(chunk)
        if announced is not None and come < int(announced):
            raise ConnectionError(f"the connection broke after {come:,} of {int(announced):,} bytes")


def _cause(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
