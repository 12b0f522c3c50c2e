"""h2spec, whole, in clear and over TLS (https://github.com/summerwind/h2spec)."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.compliance.conftest import Site

SUMMARY = re.compile(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")
FAILURES = re.compile(r"^Failures: $.*", re.MULTILINE | re.DOTALL)


@pytest.mark.interop
def test_all_of_h2spec(h2spec: str, site: Site) -> None:
    tls = ["-t", "-k"] if site.authority else []
    ran = subprocess.run(
        [h2spec, "-h", "localhost", "-p", str(site.port), "-o", "5", "-S", *tls],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    summary = SUMMARY.search(ran.stdout)
    assert summary is not None, ran.stdout[-500:] + ran.stderr[-500:]
    total, passed, skipped, failed = map(int, summary.groups())
    failures = FAILURES.search(ran.stdout)
    assert (failed, skipped) == (0, 0), failures[0] if failures else ran.stdout
    assert passed == total >= 140
