"""A real browser, Debian's Chromium with Playwright at the wheel, in front of the servers that a person would start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.project import Project, environment, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SILENT = ["--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run"]  # and it asks nobody on the network
SILENT += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install -e '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium here: Debian's package `chromium` has it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SILENT)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 800})
    page.set_default_timeout(90_000)
    yield page
    page.close()


@pytest.fixture
def keep(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Takes a picture of what is seen; `make screenshots` has it put into docs/."""
    folder = Path(os.environ.get("LMMODEL_SCREENSHOTS", tmp_path))
    return lambda name: page.screenshot(path=folder / f"{name}.png") and None


@contextmanager
def served(project: Project, *command: str, log: Path) -> Iterator[str]:
    """The address of a server that was started in the project, once it answers; ended as by Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=project.root,
            env=environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: _answers(address) or process.poll() is not None, f"an answer of {command}; see {log}", 240)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
