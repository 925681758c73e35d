"""A small web server on this machine whose connections break when they are told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Web:
    """Serves the files of a folder.

    `breaks` counts, by file name, how many long answers still break off half-way, where only those break that begin in
    `fragile`; `busy` is how many requests after each break are turned away.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.breaks: dict[str, int] = {}
        self.fragile = range(1 << 40)
        self.busy = self.turned_away = 0
        self.asked: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    @contextmanager
    def open(self) -> Iterator[Web]:
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *what: Any) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            name = self.path.lstrip("/")
            wanted = self.headers.get("Range")
            if body:
                web.asked.append((name, wanted))
            if web.turned_away:
                web.turned_away -= 1
                self.send_error(503)
                return
            path = web.folder / name
            if not path.is_file():
                self.send_error(404)
                return
            whole = path.read_bytes()
            start, stop = _span(wanted, len(whole))
            if start >= len(whole):
                self.send_error(416)
                return
            self._head(whole, start, stop, partial=wanted is not None)
            if body:
                self._body(name, whole[start:stop], broken=start in web.fragile)

        def _head(self, whole: bytes, start: int, stop: int, *, partial: bool) -> None:
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(whole)}")
            self.end_headers()

        def _body(self, name: str, data: bytes, *, broken: bool) -> None:
            broken = broken and len(data) > 1000 and web.breaks.get(name, 0) > 0
            try:
                self.wfile.write(data[: len(data) // 2] if broken else data)
                self.wfile.flush()
            except OSError:  # whoever asked went away
                self.close_connection = True
                return
            if broken:
                web.breaks[name] -= 1
                web.turned_away = web.busy
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def _span(wanted: str | None, size: int) -> tuple[int, int]:
    if wanted is None:
        return 0, size
    start, _, stop = wanted.removeprefix("bytes=").partition("-")
    return int(start), min(int(stop) + 1, size) if stop else size
