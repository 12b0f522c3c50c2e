"""A page in a real browser that runs the JavaScript of an API document against an instance, in clear and over TLS."""

from __future__ import annotations

import json
import queue
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e.conftest import CONFIG
from tests.kit.binary import Binary, fastanchor

pytestmark = pytest.mark.interop

PAGE = Path(__file__).parent / "pages" / "achiral.html"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--no-first-run", "--no-proxy-server", "--ignore-certificate-errors", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE = 60.0
"""Seconds: a browser starts slowly on a busy machine."""


@pytest.fixture
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


@pytest.fixture(params=["ws", "wss"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Binary]]:
    """The scheme, and an instance that speaks it."""
    if request.param == "ws":
        yield "ws", request.getfixturevalue("instance")
        return
    authority = trustme.CA()
    pair = authority.issue_cert("localhost", "127.0.0.1")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    tls = f'\n[server.tls]\ncertificate = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/key.pem"\n'
    with fastanchor(tmp_path, CONFIG + tls, trust=trust) as binary:
        yield "wss", binary


class Host(HTTPServer):
    """Serves one page, and takes what it says it has seen."""

    def __init__(self, page: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.page = page
        self.seen: queue.Queue[dict[str, Any]] = queue.Queue()


class Visit(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self._answer(self.server.page)

    def do_POST(self) -> None:
        self.server.seen.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer(b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test says what it saw."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hosting(page: bytes) -> Iterator[Host]:
    with Host(page) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


@contextmanager
def showing(browser: str, url: str, profile: Path) -> Iterator[None]:
    """The browser at `url`, until the block is left."""
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen([browser, *FLAGS, f"--user-data-dir={profile}", url], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_the_documents_own_page(browser: str, site: tuple[str, Binary], tmp_path: Path) -> None:
    scheme, instance = site
    page = PAGE.read_text().replace("SITE", f"{scheme}://127.0.0.1:{instance.port}")
    page = page.replace("'KEY'", "'sk-test'").replace("'MODEL'", "'demo-fast'")
    profile = tmp_path / "profile"
    profile.mkdir()
    with hosting(page.encode()) as host, showing(browser, f"http://127.0.0.1:{host.server_port}/", profile):
        seen = host.seen.get(timeout=PATIENCE)
    assert seen["errors"] == []
    assert seen["logged"] == [{"type": "authenticated"}, "\nComplete!"]
    assert len(seen["written"].split()) > 3
