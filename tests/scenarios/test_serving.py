"""What a user sees of the process itself: start, clean stop, hard kill, configured meters, one owner per directory."""

import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.scenarios.served import Server, served, start, stop

CONFIG = """
meters:
  - slug: calls
    description: Calls of the API
    eventType: call
    aggregation: SUM
    valueProperty: $.weight
    groupBy:
      route: $.route
"""


def send(server: Server, count: int, *, first: int = 0) -> None:
    batch = [
        {
            "specversion": "1.0",
            "id": f"call-{number}",
            "source": "tests",
            "type": "call",
            "subject": "someone",
            "data": {"weight": "0.1", "route": "/"},
        }
        for number in range(first, first + count)
    ]
    headers = {"content-type": "application/cloudevents-batch+json"}
    assert server.http.post("/api/v1/events", json=batch, headers=headers).status_code == 204


def stored(server: Server, expected: str) -> Decimal:
    """Return the sum of all weights, exactly as the wire writes it, once the sink has stored what was sent."""
    deadline = time.monotonic() + 30
    while True:
        answer = server.http.get("/api/v1/meters/calls/query")
        rows = answer.json(parse_float=Decimal, parse_int=Decimal)["data"]
        total = sum((row["value"] for row in rows), Decimal(0))
        if total >= Decimal(expected) or time.monotonic() > deadline:
            return total
        time.sleep(0.05)


def test_acknowledged_events_survive_a_clean_stop_and_a_kill(tmp_path: Path) -> None:
    config = tmp_path / "meterhouse.yaml"
    config.write_text(CONFIG)
    options: dict[str, Any] = {"config": config}

    server = start(tmp_path / "data", **options)
    send(server, 500)
    assert stop(server, signal.SIGINT) == 0

    server = start(tmp_path / "data", **options)
    assert stored(server, "50") == 50
    send(server, 700, first=500)
    stop(server, signal.SIGKILL)

    with served(tmp_path / "data", **options) as again:
        send(again, 1200)  # a client that saw no answer sends everything once more
        assert stored(again, "120") == 120
        time.sleep(1)  # would more come, it would be there by now
        assert stored(again, "120") == 120


def test_configured_meters_are_provisioned_once_and_checked(tmp_path: Path) -> None:
    config = tmp_path / "meterhouse.yaml"
    config.write_text(CONFIG)
    for _ in range(2):
        with served(tmp_path / "data", config=config) as server:
            (meter,) = server.call("GET", "/api/v1/meters")
            assert (meter["slug"], meter["aggregation"], meter["groupBy"]) == ("calls", "SUM", {"route": "$.route"})
    config.write_text(CONFIG.replace("$.weight", "$.other"))
    refused = serve_and_wait(tmp_path / "data", "--config", str(config))
    assert refused.returncode != 0
    assert "calls" in refused.stdout
    assert "Traceback" not in refused.stdout


def serve_and_wait(data_dir: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("meterhouse")), "serve", "--port", "0", "--data-dir", str(data_dir)]
    return subprocess.run(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, check=False
    )


def test_a_second_process_on_the_directory_gets_a_clear_error(tmp_path: Path) -> None:
    with served(tmp_path / "data"):
        second = serve_and_wait(tmp_path / "data")
    assert second.returncode != 0
    assert "another Meterhouse runs on the data directory" in second.stdout
    assert "Traceback" not in second.stdout


def test_without_the_setting_there_is_no_test_clock(tmp_path: Path) -> None:
    with served(tmp_path / "data") as server:
        server.call("GET", "/api/v3/meterhouse/test-clock", status=404)
        server.call("PUT", "/api/v3/meterhouse/test-clock", {"now": "2030-01-01T00:00:00Z"}, status=404)
        assert server.http.get("/docs").status_code == 200
        assert server.http.get("/api/swagger.json").json()["openapi"].startswith("3.")
        assert server.http.get("/api/v3/openapi.json").json()["openapi"].startswith("3.")


def test_demo_tells_the_story_on_both_clocks(tmp_path: Path) -> None:
    for options in ({}, {"test_clock": "2025-01-15T00:00:00Z"}):
        with served(tmp_path / f"data{len(options)}", **options) as server:
            told = run_demo(str(server.http.base_url))
        assert told.returncode == 0, told.stdout
        for word in (
            "Acme Rockets",
            "Tokens used, by day",
            "Credit balance",
            "Charges",
            "Invoice",
            "consumed",
            "funded",
        ):
            assert word in told.stdout


def run_demo(url: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("meterhouse")), "demo", "--url", url]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )


def test_demo_without_a_server_says_what_to_do() -> None:
    told = run_demo("http://127.0.0.1:9")
    assert told.returncode != 0
    assert "make quickstart" in told.stdout
    assert "Traceback" not in told.stdout
