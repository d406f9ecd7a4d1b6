"""The real process: from nothing to an answer, one owner per data directory, killed and started again."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

START_SECONDS = 60  # far more than it takes; other tests run beside this one

CUSTOMER = {"name": "Acme", "key": "acme", "usageAttribution": {"subjectKeys": ["acme-app"]}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A served process on a data directory."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "meterhouse", "serve", "--data-dir", str(data_dir), "--port", str(port)]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path / "data", *options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop(signal.SIGTERM)
        if server.process.stderr:
            server.process.stderr.close()


def engines_of(data_dir: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if str(data_dir / "postgres") in (p.info["cmdline"] or [])]


def test_a_killed_server_comes_back_with_its_data_and_a_stopped_one_leaves_nothing_running(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    first = serve()
    made = httpx.post(f"{first.url}/api/v1/customers", json=CUSTOMER)
    assert made.status_code == 201

    second = subprocess.run(
        [sys.executable, "-m", "meterhouse", "serve", "--data-dir", str(tmp_path / "data"), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another Meterhouse runs on the data directory" in second.stderr.replace("\n", " ")
    assert "Traceback" not in second.stderr

    first.stop(signal.SIGKILL)
    again = serve()
    assert httpx.get(f"{again.url}/api/v1/customers/{made.json()['id']}").json()["key"] == "acme"

    assert again.stop(signal.SIGINT) == 0
    assert engines_of(tmp_path / "data") == []


def test_simulated_time_survives_a_restart(serve: Callable[..., Server]) -> None:
    first = serve("--test-clock", "2025-01-15T00:00:00Z")
    moved = httpx.put(f"{first.url}/api/v3/meterhouse/test-clock", json={"now": "2025-03-01T00:00:00Z"})
    assert moved.json() == {"now": "2025-03-01T00:00:00Z"}
    assert first.stop(signal.SIGTERM) == 0
    again = serve("--test-clock", "2025-01-15T00:00:00Z")
    assert httpx.get(f"{again.url}/api/v3/meterhouse/test-clock").json() == {"now": "2025-03-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--test-clock", "yesterday"], "no RFC 3339 instant"),
        (["--roles", "api"], "embedded engines serve one process"),
        (["--roles", "cook"], "roles"),
        (["--config", "/nowhere.yaml"], "no such configuration file"),
    ],
)
def test_wrong_settings_are_told_without_a_trace(options: list[str], told: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "meterhouse", "serve", "--data-dir", str(tmp_path), *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode in (1, 2)
    assert told in run.stderr.replace("\n", " ")
    assert "Traceback" not in run.stderr
