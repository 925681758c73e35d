"""A real S3-speaking server on loopback, which a test can have break off: `python -m tests.pipelines.loopback_s3 PORT`.

What it holds is gone with its process; a break therefore cuts connections and keeps the process. It looks into the
folder that it was started in:

    breaks       a number: of the objects sent either way, so many pass whole, the next is cut in the middle, and nobody
                 answers any more until the file is gone
    refuses      part of a name: access to the objects whose names hold it is denied
    sent         what it writes: method and path of each object that passed whole, a line each
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Environment = dict[str, Any]
Answer = Callable[..., Any]
Served = Callable[[Environment, Answer], Iterable[bytes]]

BREAKS, REFUSES, SENT = Path("breaks"), Path("refuses"), Path("sent")
_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>denied</Message></Error>"


class Breaking:
    """Hands requests on to `served`, as far as the folder says."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._alone = threading.Lock()
        self._passed = 0

    def __call__(self, environ: Environment, answer: Answer) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        sent = method in ("GET", "PUT") and "/files/md5/" in path
        if self._breaks(sent=sent):
            return self._cut(environ, sent=sent)
        if sent and REFUSES.exists() and REFUSES.read_text() in path.replace("/", ""):
            answer("403 FORBIDDEN", [("Content-Type", "application/xml"), ("Content-Length", str(len(_DENIED)))])
            return [_DENIED]
        if sent:
            with self._alone, SENT.open("a") as file:
                file.write(f"{method} {path}\n")
        return self._served(environ, answer)

    def _breaks(self, *, sent: bool) -> bool:
        with self._alone:
            if not BREAKS.exists():
                self._passed = 0
                return False
            whole = int(BREAKS.read_text())
            self._passed += sent
            return self._passed > whole

    def _cut(self, environ: Environment, *, sent: bool) -> Iterable[bytes]:
        """Half of what is sent, and then nothing."""
        if sent and environ["REQUEST_METHOD"] == "PUT":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
        elif sent:
            self._begin(environ)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return []

    def _begin(self, environ: Environment) -> None:
        told: list[Any] = []
        body = b"".join(self._served(environ, lambda status, headers, *rest: told.append((status, headers))))
        status, headers = told[0]
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        environ["werkzeug.socket"].sendall("\r\n".join(lines).encode() + body[: len(body) // 2])


def main() -> None:
    """Serve S3 on 127.0.0.1 until killed."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    served = Breaking(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), served, threaded=True)


if __name__ == "__main__":
    main()
