"""curl, nghttp and h2load against our server: the versions they negotiate, bodies, streams, and load without a loss."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.compliance.conftest import EVENTS, Site, program

pytestmark = pytest.mark.interop

LOAD = re.compile(r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")


def run(name: str, *arguments: str, given: bytes = b"") -> str:
    ran = subprocess.run([program(name), *arguments], input=given, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-1000:]
    return ran.stdout.decode()


def curl(site: Site, path: str, *options: str, given: bytes = b"") -> str:
    trust = ("--cacert", str(site.authority)) if site.authority else ()
    return run("curl", "-sS", "-m", "60", *trust, *options, site.url + path, given=given)


def over_h2(site: Site) -> str:
    """How curl is told to speak HTTP/2 here."""
    return "--http2" if site.authority else "--http2-prior-knowledge"


def test_curl_with_http2(site: Site) -> None:
    assert curl(site, "/version", over_h2(site)) == "2"


def test_curl_with_http1(site: Site) -> None:
    assert curl(site, "/version", "--http1.1") == "1.1"


def test_curl_offering_an_upgrade_in_clear_gets_http1(site: Site) -> None:
    assert curl(site, "/version", "--http2") == ("2" if site.authority else "1.1")


def test_curl_with_prior_knowledge_over_tls_too(site: Site) -> None:
    assert curl(site, "/version", "--http2-prior-knowledge") == "2"


def test_curl_uploads(site: Site) -> None:
    assert curl(site, "/", over_h2(site), "--data-binary", "@-", given=bytes(5_000_000)) == "5000000"


def test_curl_uploads_when_told_to_continue(site: Site) -> None:
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "30")
    assert curl(site, "/", over_h2(site), *expect, "--data-binary", "@-", given=bytes(100_000)) == "100000"


def test_curl_downloads(site: Site) -> None:
    assert curl(site, "/size/8000000", over_h2(site), "-o", "/dev/null", "-w", "%{size_download}") == "8000000"


def test_curl_streams(site: Site) -> None:
    assert curl(site, "/stream", over_h2(site), "-N").count("data: ") == EVENTS


def test_curl_asks_for_the_head(site: Site) -> None:
    head = curl(site, "/size/7", over_h2(site), "-I")
    assert head.startswith("HTTP/2 200")
    assert "content-length: 7" in head


def test_nghttp(site: Site) -> None:
    shown = run("nghttp", "-ns", "-m", "20", site.url + "/size/100000")
    assert len(re.findall(r" 200 +97K /size/100000", shown)) == 20


@pytest.mark.parametrize(("path", "total"), [("/", 10_000), ("/size/100000", 500), ("/stream", 1000)])
def test_h2load_loses_nothing(site: Site, path: str, total: int) -> None:
    """100 streams on each of 50 connections at most."""
    shown = run("h2load", "-n", str(total), "-c", "50", "-m", "100", site.url + path)
    found = LOAD.search(shown)
    assert found is not None, shown
    assert [int(n) for n in found.groups()] == [total, total, total, total, 0, 0]
