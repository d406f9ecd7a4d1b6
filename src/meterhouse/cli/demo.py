"""`meterhouse demo`: the product's whole flow against a running server, told as a story.

On a simulated clock the story takes a month, day by day. On the real clock a month cannot be waited for, so the
customer brings two weeks of usage from before the subscription (metered, not billed) and then uses the product for
some seconds.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from meterhouse.cli.options import fail
from meterhouse.kernel import clock

UNIT_PRICE = Decimal("0.02")
GRANT = Decimal("100.00")
HISTORY_DAYS = 14
MONTH_DAYS = 31
BAR_WIDTH = 26  # leaves room for the numbers on a terminal of 80 columns
REQUEST_TIMEOUT_SECONDS = 120  # moving a simulated clock answers only when all due work is done


class DemoFailed(Exception):
    """The server could not be reached or refused a step; the message says which and what to do."""


@dataclass
class Api:
    """The HTTP calls of the story."""

    http: httpx.Client

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request and return the answer's JSON.

        Raises:
            DemoFailed: the server does not answer, or with an error.
        """
        answer = self._send(method, path, body, **options)
        if answer.is_error:
            raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    def simulated_now(self) -> datetime | None:
        """Return the instant of the server's simulated clock, None when it runs on the real one."""
        answer = self._send("GET", "/api/v3/meterhouse/test-clock")
        return datetime.fromisoformat(answer.json()["now"]) if answer.is_success else None

    def _send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        try:
            return self.http.request(method, path, json=body, **options)
        except httpx.TransportError as error:
            raise DemoFailed(
                f"No server answers at {self.http.base_url} ({error}). Start one with `make quickstart`, "
                "or name another with --url."
            ) from error


@dataclass
class Story:
    """What happened, collected for telling."""

    customer_id: str
    subject: str
    usage: dict[str, Decimal] = field(default_factory=dict)  # by day
    balances: list[tuple[datetime, Decimal, Decimal]] = field(default_factory=list)  # instant, settled, live


class Demo:
    """Runs the flow step by step and prints it."""

    def __init__(self, api: Api, console: Console, seed: int) -> None:
        self.api = api
        self.console = console
        self.random = random.Random(seed)
        simulated = api.simulated_now()
        self.simulated = simulated is not None
        self.now = simulated or clock.now()
        # Keys are taken for good once used, so each run brings its own.
        self.tag = f"demo_{int(clock.now().timestamp() * 1000):x}"

    def run(self) -> None:
        """Tell the whole story."""
        with self._progress("Setting up", 6) as step:
            story = self._set_up(step)
        self._tell_set_up(story)
        if self.simulated:
            self._live_a_month(story)
        else:
            self._live_some_seconds(story)
        self._tell_usage(story)
        self._tell_balance(story)
        self._tell_charges(story)
        self._tell_invoices(story)
        self._tell_transactions(story)

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Any]:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=total)

            def step(description: str) -> None:
                progress.update(task, description=description, advance=1)

            yield step

    def _set_up(self, step: Any) -> Story:
        subject = f"{self.tag}_app"
        step("customer")
        customer = self.api.call(
            "POST",
            "/api/v1/customers",
            {"key": self.tag, "name": "Acme Rockets", "usageAttribution": {"subjectKeys": [subject]}},
        )
        step("meter")
        meter = {"slug": self.tag, "eventType": self.tag, "aggregation": "SUM", "valueProperty": "$.tokens"}
        self.api.call("POST", "/api/v1/meters", meter)
        step("feature")
        self.api.call("POST", "/api/v1/features", {"key": self.tag, "name": "LLM tokens", "meterSlug": self.tag})
        step("plan")
        plan = self.api.call("POST", "/api/v1/plans", self._plan())
        self.api.call("POST", f"/api/v1/plans/{plan['id']}/publish")
        step("subscription")
        subscription = {"customerId": customer["id"], "plan": {"key": self.tag}}
        self.api.call("POST", "/api/v1/subscriptions", subscription)
        step("credit grant")
        grant = {"name": "Welcome credit", "funding_method": "none", "currency": "USD", "amount": str(GRANT)}
        self.api.call("POST", f"/api/v3/openmeter/customers/{customer['id']}/credits/grants", grant)
        return Story(customer["id"], subject)

    def _plan(self) -> dict[str, Any]:
        card = {
            "type": "usage_based",
            "key": self.tag,
            "name": "LLM tokens",
            "featureKey": self.tag,
            "billingCadence": "P1M",
            "price": {"type": "unit", "amount": str(UNIT_PRICE)},
        }
        phase = {"key": "main", "name": "Main", "duration": None, "rateCards": [card]}
        return {"key": self.tag, "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": [phase]}

    def _use(self, story: Story, instant: datetime, tokens: int) -> None:
        event = {
            "specversion": "1.0",
            "id": f"{self.tag}-{instant.isoformat()}-{tokens}-{len(story.usage)}",
            "source": "meterhouse-demo",
            "type": self.tag,
            "subject": story.subject,
            "time": instant.isoformat(),
            "data": {"tokens": tokens},
        }
        self.api.call("POST", "/api/v1/events", event, headers={"content-type": "application/cloudevents+json"})
        day = instant.date().isoformat()
        story.usage[day] = story.usage.get(day, Decimal(0)) + tokens

    def _live_a_month(self, story: Story) -> None:
        start = self.now
        with self._progress("A month passes", MONTH_DAYS) as step:
            for day in range(MONTH_DAYS):
                at = start + timedelta(days=day, hours=12)
                self._move(at)
                self._use(story, at - timedelta(hours=1), self.random.randint(20, 400))
                self._move(at + timedelta(minutes=1))
                self._note_balance(story, at)
                step(f"day {day + 1}")
            self._move(start + timedelta(days=MONTH_DAYS, hours=3))
            self._note_balance(story, start + timedelta(days=MONTH_DAYS, hours=3))

    def _live_some_seconds(self, story: Story) -> None:
        with self._progress("Usage from before the subscription", HISTORY_DAYS) as step:
            for day in range(HISTORY_DAYS, 0, -1):
                self._use(story, self.now - timedelta(days=day), self.random.randint(20, 400))
                step(f"{day} days ago")
        with self._progress("Using the product", 6) as step:
            for second in range(6):
                self._use(story, clock.now(), self.random.randint(100, 500))
                time.sleep(1)
                self._note_balance(story, clock.now())
                step(f"second {second + 1}")
            step("invoice what is billable now")
            invoice = {"customerId": story.customer_id, "progressiveBillingOverride": True}
            self.api.call("POST", "/api/v1/billing/invoices/invoice", invoice)
            self._note_balance(story, clock.now())

    def _move(self, to: datetime) -> None:
        self.api.call("PUT", "/api/v3/meterhouse/test-clock", {"now": to.isoformat()})

    def _note_balance(self, story: Story, at: datetime) -> None:
        found = self.api.call("GET", f"/api/v3/openmeter/customers/{story.customer_id}/credits/balance")
        (usd,) = found["balances"]
        story.balances.append((at, Decimal(usd["settled"]), Decimal(usd["live"])))

    def _tell_set_up(self, story: Story) -> None:
        lines = [
            f"Customer [b]Acme Rockets[/b] ({story.customer_id}) is on plan [b]Pro[/b]:",
            f"{UNIT_PRICE} USD a token, monthly, paid from credits first and by invoice for the rest.",
            f"It was granted [b]{GRANT} USD[/b] of credit.",
            "The server runs on a simulated clock: a month passes now."
            if self.simulated
            else "The server runs on the real clock: some seconds pass now.",
        ]
        self.console.print(Panel("\n".join(lines), title="Meterhouse", expand=False))

    def _bars(self, title: str, rows: list[tuple[str, Decimal, str]]) -> None:
        table = Table(title=title, show_header=False, box=None, title_justify="left", padding=(0, 1))
        top = max((value for _, value, _ in rows), default=Decimal(1)) or Decimal(1)
        for label, value, note in rows:
            width = max(0, int(BAR_WIDTH * value / top))
            table.add_row(label, "█" * width, f"{value:,}", f"[dim]{note}[/dim]")
        self.console.print(table, "")

    def _tell_usage(self, story: Story) -> None:
        params = {"subject": story.subject, "windowSize": "DAY"}
        rows = self.api.call("GET", f"/api/v1/meters/{self.tag}/query", params=params)["data"]
        start = self.now.date().isoformat()
        shown = [
            (
                row["windowStart"][:10],
                Decimal(str(row["value"])),
                "before subscribing" if row["windowStart"][:10] < start else "",
            )
            for row in rows
        ]
        self._bars("Tokens used, by day (metered always, billed from the subscription on)", shown)

    def _tell_balance(self, story: Story) -> None:
        shown = [
            (f"{at:%d %b %H:%M:%S}", max(live, Decimal(0)), f"settled {settled}, live {live}")
            for at, settled, live in story.balances
        ]
        self._bars("Credit balance, live (USD): it falls with usage, before anything is invoiced", shown)

    def _tell_charges(self, story: Story) -> None:
        table = Table(title="Charges", title_justify="left")
        for column in ("period", "status", "booked amount", "from credits", "left to invoice", "usage so far"):
            table.add_column(column)
        path = f"/api/v3/openmeter/customers/{story.customer_id}/charges"
        for charge in self.api.call("GET", path, params={"expand": "real_time_usage"})["data"]:
            booked, period = charge["totals"]["booked"], charge["service_period"]
            realtime = charge["totals"].get("realtime") or {}
            table.add_row(
                f"{_short(period['from'])} to {_short(period['to'])}",
                charge["status"],
                booked["amount"],
                booked["credits_total"],
                booked["total"],
                realtime.get("total", ""),
            )
        self.console.print(table, "")

    def _tell_invoices(self, story: Story) -> None:
        params = {"customers": story.customer_id, "expand": "lines"}
        for invoice in self.api.call("GET", "/api/v1/billing/invoices", params=params)["items"]:
            if invoice["status"] == "gathering":
                continue
            table = Table(title=f"Invoice {invoice['number']}, {invoice['status']}", title_justify="left")
            for column in ("line", "from", "to", "tokens", "amount", "credits", "to pay"):
                table.add_column(column)
            for line in invoice["lines"]:
                totals = line["totals"]
                period = line["period"]
                table.add_row(
                    line["name"],
                    _short(period["from"]),
                    _short(period["to"]),
                    line.get("quantity", ""),
                    totals["amount"],
                    totals["creditsTotal"],
                    totals["total"],
                )
            self.console.print(table, "")

    def _tell_transactions(self, story: Story) -> None:
        table = Table(title="Credit transactions", title_justify="left")
        for column in ("booked", "type", "amount", "before", "after"):
            table.add_column(column)
        path = f"/api/v3/openmeter/customers/{story.customer_id}/credits/transactions"
        for row in reversed(self.api.call("GET", path)["data"]):
            balance = row["available_balance"]
            table.add_row(_short(row["booked_at"]), row["type"], row["amount"], balance["before"], balance["after"])
        self.console.print(table)


def _short(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%d %b %H:%M:%S}"


def demo(
    url: Annotated[str, typer.Option("--url", help="Where the server listens.")] = "http://localhost:8888",
    seed: Annotated[int, typer.Option("--seed", help="Makes the usage reproducible.")] = 7,
) -> None:
    """Run the whole flow against a running server and tell its story.

    Makes a customer, a plan, a subscription and a credit grant of its own, sends usage, and shows the charge, the
    invoice and the credit balance going down. On a simulated clock a whole month passes, else some seconds.
    """
    out = Console()
    try:
        with httpx.Client(base_url=url, timeout=REQUEST_TIMEOUT_SECONDS) as http:
            Demo(Api(http), out, seed).run()
    except DemoFailed as failure:
        fail(str(failure))
