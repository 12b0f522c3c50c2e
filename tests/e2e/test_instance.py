"""An instance as an operator meets it: probes, metrics, logs, signals, curl, and wrong configurations."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.kit.binary import Binary, fastanchor
from tests.kit.fire import serves, until

ASK = '{"model":"demo-fast","messages":[{"role":"user","content":"Hello canary-prompt"}],"stream":true}'
DEMO = '[[channels]]\nname = "demo"\nprovider = "demo"\nmodels = "*"\n'


def curl(*arguments: str) -> str:
    return subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def test_curl_streams(instance: Binary) -> None:
    out = curl("-N", f"{instance.url}/v1/chat/completions", "-H", "Authorization: Bearer sk-test", "-d", ASK)
    assert out.count("data: ") > 5
    assert out.endswith("data: [DONE]\n\n")


def test_probes(instance: Binary) -> None:
    for path in ("/livez", "/readyz", "/health"):
        assert instance.get(path)[0] == 200
    assert "200" in curl("-I", f"{instance.url}/")


def test_metrics_add_up(instance: Binary) -> None:
    curl("-N", f"{instance.url}/v1/chat/completions", "-H", "Authorization: Bearer sk-test", "-d", ASK)
    status, page = instance.get("/metrics")
    assert status == 200
    labels = b'{code="200",endpoint="chat.completions",model="demo-fast",provider="demo"}'
    assert b"fastanchor_requests_total" + labels in page
    assert b"fastanchor_time_to_first_token_seconds_bucket" in page


def test_metrics_tell_which_limits_were_hit(instance: Binary) -> None:
    assert curl("-o", "/dev/null", "-w", "%{http_code}", f"{instance.url}/{'x' * 9000}") == "414"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-H", "a: " + "x" * 17_000, instance.url) == "431"
    page = instance.get("/metrics")[1]
    assert b'fastanchor_limit_hits_total{limit="request_line"} 1.0' in page
    assert b'fastanchor_limit_hits_total{limit="field"} 1.0' in page


def access_lines(binary: Binary) -> list[str]:
    return [line for line in binary.log.splitlines() if line.startswith("{")]


def test_access_log_has_one_line_per_request_and_no_secret(tmp_path: Path) -> None:
    key = '[[keys]]\nname = "dev"\nkey = "canary-key-7f3a"\n'
    with fastanchor(tmp_path, key + DEMO) as binary:
        for _ in range(3):
            curl("-N", f"{binary.url}/v1/chat/completions", "-H", "Authorization: Bearer canary-key-7f3a", "-d", ASK)
        until(lambda: len(access_lines(binary)) == 3, "the log has not a line per request")
        lines = [orjson.loads(line) for line in access_lines(binary)]
        assert "canary" not in binary.log
    assert [line["status"] for line in lines] == [200, 200, 200]
    assert lines[0]["tokens_out"] > 0


def test_first_request_works_without_any_configuration(tmp_path: Path) -> None:
    with fastanchor(tmp_path) as binary:
        out = curl(f"{binary.url}/v1/chat/completions", "-d", ASK.replace("true", "false"))
    assert orjson.loads(out)["choices"][0]["message"]["content"]


def test_open_streams_end_well_when_the_instance_drains(tmp_path: Path) -> None:
    ask = ASK.replace("demo-fast", "demo-n40-p20")
    with fastanchor(tmp_path, DEMO) as binary:
        command = ["curl", "-sSN", f"{binary.url}/v1/chat/completions", "-d", ask]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            first = client.stdout.readline()
            binary.signal(signal.SIGTERM)
            rest = client.communicate(timeout=60)[0]
        assert binary.process.wait(60) == 0
    assert first.startswith("data: ")
    assert rest.endswith("data: [DONE]\n\n")


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with fastanchor(tmp_path, DEMO) as binary:
        children = Path(f"/proc/{binary.process.pid}/task/{binary.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        until(lambda: "worker 0" in binary.log and serves(binary), "no worker took its place")


def test_children_leave_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with fastanchor(tmp_path, DEMO) as binary:
        children = Path(f"/proc/{binary.process.pid}/task/{binary.process.pid}/children").read_text().split()
        binary.process.kill()
        binary.process.wait()
        until(lambda: not any(_running(int(pid)) for pid in children), "children stay behind")


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_reload_takes_a_good_configuration_and_refuses_a_bad_one(tmp_path: Path) -> None:
    file = tmp_path / "fastanchor.toml"
    with fastanchor(tmp_path, DEMO) as binary:
        file.write_text('[[channels]]\nname = "demo"\nprovider = "demo"\nmodels = ["other"]\n')
        binary.signal(signal.SIGHUP)
        until(lambda: b'"other"' in binary.get("/v1/models")[1], "the file is not in force")
        file.write_text("nonsense = ")
        binary.signal(signal.SIGHUP)
        until(lambda: "not TOML" in binary.log, "nobody says what is wrong")
        assert b'"other"' in binary.get("/v1/models")[1]


@pytest.mark.parametrize("command", [["check", "--config"], ["serve", "--config"]])
def test_wrong_configuration_is_told_with_its_key_path(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[[channels]]\nname = "a"\nprovider = "openai"\nmodels = "*"\nwieght = 2\n')
    done = subprocess.run(
        [sys.executable, "-m", "fastanchor", *command, str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "channels[0].wieght" in done.stderr
    assert "weight" in done.stderr


def test_taken_address_is_told(instance: Binary, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("")
    command = [sys.executable, "-m", "fastanchor", "demo", "--listen", f"127.0.0.1:{instance.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "cannot listen" in done.stderr
