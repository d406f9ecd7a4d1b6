"""A served process with its own data directory, driven over real HTTP like a user would."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from meterhouse.api.wire import format_instant

START_TIMEOUT_SECONDS = 90  # a cold start makes a Postgres cluster and loads ClickHouse on a machine that may be busy


def instant(text: str) -> datetime:
    """Read `2025-01-15`, `2025-01-15T12:00` or a full RFC 3339 instant as UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server and the calls that the stories make. Every call asserts its status."""

    def __init__(self, url: str, data_dir: Path, process: "subprocess.Popen[bytes]") -> None:
        self.data_dir = data_dir
        self.process = process
        self.http = httpx.Client(base_url=url, timeout=120)

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        answer = self.http.request(method, path, json=body, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def move_to(self, when: str) -> None:
        """Move the simulated clock; answers when all work that became due is done."""
        self.call("PUT", "/api/v3/meterhouse/test-clock", {"now": format_instant(instant(when))})

    def customer(self, key: str) -> str:
        body = {"key": key, "name": f"Customer {key}", "usageAttribution": {"subjectKeys": [f"{key}-app"]}}
        return str(self.call("POST", "/api/v1/customers", body, status=201)["id"])

    def ingest(self, subject: str, when: str, tokens: str, *, event_id: str) -> None:
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "tests",
            "type": "completion",
            "subject": subject,
            "time": format_instant(instant(when)),
            "data": {"tokens": tokens},
        }
        headers = {"content-type": "application/cloudevents+json"}
        answer = self.http.post("/api/v1/events", json=event, headers=headers)
        assert answer.status_code == 204, answer.text

    def token_catalog(self) -> None:
        """Make the meter, the feature and the plan `pro`: 0.02 USD a token, monthly, credits first, then invoice."""
        meter = {"slug": "tokens", "eventType": "completion", "aggregation": "SUM", "valueProperty": "$.tokens"}
        self.call("POST", "/api/v1/meters", meter, status=201)
        self.call("POST", "/api/v1/features", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"}, status=201)
        self.plan("pro")

    def plan(self, key: str, **members: Any) -> None:
        card = {
            "type": "usage_based",
            "key": "tokens",
            "name": "Tokens",
            "featureKey": "tokens",
            "billingCadence": "P1M",
            "price": {"type": "unit", "amount": "0.02"},
        }
        plan = {
            "key": key,
            "name": key.title(),
            "currency": "USD",
            "billingCadence": "P1M",
            "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [card]}],
            **members,
        }
        made = self.call("POST", "/api/v1/plans", plan, status=201)
        self.call("POST", f"/api/v1/plans/{made['id']}/publish")

    def subscribe(self, customer_id: str, plan: str) -> str:
        body = {"customerId": customer_id, "plan": {"key": plan}}
        return str(self.call("POST", "/api/v1/subscriptions", body, status=201)["id"])

    def grant(self, customer_id: str, amount: str, **members: Any) -> str:
        body = {"name": "Credit", "funding_method": "none", "currency": "USD", "amount": amount, **members}
        path = f"/api/v3/openmeter/customers/{customer_id}/credits/grants"
        return str(self.call("POST", path, body, status=201)["id"])

    def balance(self, customer_id: str) -> dict[str, Decimal]:
        path = f"/api/v3/openmeter/customers/{customer_id}/credits/balance"
        (usd,) = self.call("GET", path)["balances"]
        return {name: Decimal(usd[name]) for name in ("settled", "live", "pending")}

    def transactions(self, customer_id: str) -> list[tuple[str, Decimal, Decimal, Decimal]]:
        path = f"/api/v3/openmeter/customers/{customer_id}/credits/transactions"
        rows = self.call("GET", path, params={"page[size]": 100})["data"]
        return [
            (
                row["type"],
                Decimal(row["amount"]),
                Decimal(row["available_balance"]["before"]),
                Decimal(row["available_balance"]["after"]),
            )
            for row in rows
        ]

    def charges(self, customer_id: str, *, real_time: bool = False) -> list[dict[str, Any]]:
        params: dict[str, str | int] = {"page[size]": 100, "sort": "service_period.from"}
        if real_time:
            params["expand"] = "real_time_usage"
        path = f"/api/v3/openmeter/customers/{customer_id}/charges"
        found: list[dict[str, Any]] = self.call("GET", path, params=params)["data"]
        return found

    def invoice(self, customer_id: str, *, status: int = 201, **members: Any) -> Any:
        body = {"customerId": customer_id, **members}
        return self.call("POST", "/api/v1/billing/invoices/invoice", body, status=status)

    def invoices(self, customer_id: str) -> list[dict[str, Any]]:
        """Return the customer's standard invoices with lines, oldest first."""
        params = {"customers": customer_id, "expand": "lines", "pageSize": 1000}
        found = self.call("GET", "/api/v1/billing/invoices", params=params)["items"]
        return [one for one in found if one["status"] != "gathering"]

    def everything(self, customer_id: str) -> Any:
        """Return all that the API shows of a customer's money, for before-and-after comparisons."""
        return (
            self.balance(customer_id),
            self.transactions(customer_id),
            self.charges(customer_id),
            self.invoices(customer_id),
        )


def start(data_dir: Path, *, test_clock: str | None = None, config: Path | None = None) -> Server:
    """Start `meterhouse serve` on a free port and wait until it is ready."""
    port = _free_port()
    command = [str(Path(sys.executable).with_name("meterhouse")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(data_dir)]
    command += ["--test-clock", test_clock] if test_clock else []
    command += ["--config", str(config)] if config else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}
    log = data_dir.with_name(data_dir.name + ".log")
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    server = Server(f"http://127.0.0.1:{port}", data_dir, process)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        assert process.poll() is None, f"server ended: {log.read_text()[-4000:]}"
        assert time.monotonic() < deadline, f"server not ready: {log.read_text()[-4000:]}"
        try:
            if server.http.get("/readyz").status_code == 200:
                return server
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def stop(server: Server, with_signal: signal.Signals = signal.SIGINT) -> int:
    """End the process as Ctrl-C does (or otherwise) and return its exit code."""
    server.http.close()
    server.process.send_signal(with_signal)
    return server.process.wait(timeout=60)


@contextmanager
def served(data_dir: Path, **options: Any) -> Iterator[Server]:
    """Serve for the length of the block."""
    server = start(data_dir, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            stop(server)
