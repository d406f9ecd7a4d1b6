"""Lists: what a page costs by where it lies, and by how many rows there are.

Every page is asked for over HTTP within one process, so an answer holds what a client gets: the page, the total, and
what stands with each row. Two tenants share the tables, one with very many customers and subscriptions, one with few.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import harness
import httpx
from crowd import TABLES, crowd
from harness import Figure, Scale
from sqlalchemy import text

from meterhouse.api.app import create_app
from meterhouse.runtime.composition import Application, compose
from meterhouse.settings import Settings

ROUNDS = {"small": 15, "full": 40}
MANY = {"small": 100_000, "full": 1_000_000}
FEW = 1_000
SIZE = 100
V3 = "/api/v3/openmeter"
LISTS = {
    "customers by name, v1": f"/api/v1/customers?pageSize={SIZE}&page=",
    "customers by creation, v1": f"/api/v1/customers?orderBy=createdAt&order=DESC&pageSize={SIZE}&page=",
    "customers by name, v3": f"{V3}/customers?page[size]={SIZE}&page[number]=",
    "subscriptions by start, v3": f"{V3}/subscriptions?page[size]={SIZE}&page[number]=",
    "subscriptions by end, v3": f"{V3}/subscriptions?sort=active_to+desc&page[size]={SIZE}&page[number]=",
}


async def _page(http: httpx.AsyncClient, path: str, number: int) -> None:
    answer = await http.get(f"{path}{number}")
    answer.raise_for_status()
    body = answer.json()
    if not body.get("items", body.get("data")):
        raise AssertionError(f"page {number} of {path} is empty")


async def _fill(application: Application, many: int) -> None:
    db = application.services.db
    for namespace, count, after in ((application.services.namespace, many, 0), ("few", FEW, many)):
        harness.say(f"making {count:,} customers with subscriptions")
        async with db.write() as session:
            for statement in crowd(namespace, count, after=after):
                await session.execute(statement)
    async with db.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await alone.execute(text(f"VACUUM ANALYZE {', '.join(TABLES)}"))


def _client(application: Application, namespace: str) -> httpx.AsyncClient:
    app = create_app(replace(application.services, namespace=namespace), max_body_bytes=1_000_000)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench", timeout=600)


async def _compared(
    few: httpx.AsyncClient, http: httpx.AsyncClient, name: str, path: str, scale: Scale
) -> list[Figure]:
    last = MANY[scale] * 49 // 50 // SIZE
    calls: list[Callable[[], Awaitable[None]]] = [
        partial(_page, few, path, 1),
        *(partial(_page, http, path, number) for number in (1, last // 2, last)),
    ]
    small, first, middle, end = await harness.alternate(ROUNDS[scale], *calls)
    against = f"first page of {MANY[scale]:,}"
    return [
        Figure("lists", f"{name}: last page", against, harness.ratio(end, first), 1.3, higher=False),
        Figure("lists", f"{name}: middle page", against, harness.ratio(middle, first), 2.0, higher=False),
        Figure(
            "lists",
            f"{name}: first page",
            f"first page of {FEW:,}",
            harness.ratio(first, small),
            2.0,
            higher=False,
            note=harness.milliseconds(first),
        ),
    ]


async def measure(scale: Scale) -> list[Figure]:
    """Measure every list."""
    figures: list[Figure] = []
    with harness.temporary_directory() as directory:
        async with compose(Settings(data_dir=directory), lambda _: None) as application:
            await _fill(application, MANY[scale])
            async with _client(application, "few") as few, _client(application, "default") as http:
                for name, path in LISTS.items():
                    harness.say(f"paging {name}")
                    figures += await _compared(few, http, name, path, scale)
    return figures


if __name__ == "__main__":
    harness.run(measure, __doc__)
