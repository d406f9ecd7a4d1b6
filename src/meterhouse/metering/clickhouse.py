"""ClickHouse behind an async door: a server by URL, or an embedded chdb directory, with the same SQL.

The client is synchronous; every call runs on a small pool of threads, each with a client of its own (a shared client
serialises its callers), so the event loop never waits for the engine.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from meterhouse.kernel import clock
from meterhouse.kernel.errors import Unavailable

if TYPE_CHECKING:
    import pyarrow

R = TypeVar("R")

EMBEDDED_SCHEME = "chdb"

# Two queries at once use two cores; more only help a remote server, where the deployment raises it.
DEFAULT_THREADS = 4
# A query that runs longer holds a thread that others wait for.
QUERY_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 5
# How often a change of stored rows is asked whether it is done; it takes from a few milliseconds to hours.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.02, 5.0

# Of SELECTs alone: it changes the type of toStartOfHour(time), which the event table is sorted by. A table made under
# it would be merged without it, in the background, and get an index by which queries lose rows.
_QUERY_SETTINGS: Mapping[str, Any] = {
    # Windows that start before 1970 or end after 2106 must not wrap around.
    "enable_extended_results_for_datetime_functions": 1,
}

_MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS om_migrations $on_cluster (name String, applied_at DateTime64(6, 'UTC'))
ENGINE = ${replicated}MergeTree ORDER BY name
"""

# The engine's profiler stops the threads of a statement each second of its life. Embedded, it now and then stops one
# that holds a lock which the profiler needs: then the statement never ends, and nothing is stored any more.
_EMBEDDED_SETTINGS: Mapping[str, Any] = {
    "query_profiler_real_time_period_ns": 0,
    "query_profiler_cpu_time_period_ns": 0,
}

Row = Sequence[Any]


class MutationFailed(Exception):
    """The engine could not change stored rows; the text is its reason."""


class ClickHouse:
    """A pool of clients for one database.

    Args:
        url: `http(s)://user:password@host:port/database` of a server (`clickhouse://` means http), or
            `chdb:///absolute/directory?database=name` for the embedded engine. One process owns such a directory.
        threads: calls that run at the same time.
        cluster: name of a cluster of one shard, on whose replicas the tables are kept; None for a single server.
    """

    def __init__(self, url: str, *, threads: int = DEFAULT_THREADS, cluster: str | None = None) -> None:
        self._arguments = connection_arguments(url)
        self._cluster = cluster
        if cluster is not None:
            # The event log forgets what was inserted, so it must outlive any one replica.
            self._arguments["settings"]["insert_quorum"] = "auto"
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")

    @property
    def replicated(self) -> bool:
        """Whether the tables are kept on the replicas of a cluster."""
        return self._cluster is not None

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Run a SELECT with bound parameters and return its rows.

        Raises:
            Unavailable: the server does not answer.
        """
        bound = dict(parameters or {})
        return await self._run(
            lambda client: client.query(sql, parameters=bound, settings=dict(_QUERY_SETTINGS)).result_rows
        )

    async def columns(self, sql: str) -> "pyarrow.Table":
        """Run a SELECT and return its columns: for results of so many rows that a Python object each would be dear."""
        return await self._run(lambda client: client.query_arrow(sql, settings=dict(_QUERY_SETTINGS)))

    async def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement without a result."""
        await self._run(lambda client: client.command(sql, parameters=dict(parameters or {})))

    async def insert(self, table: str, rows: "pyarrow.Table", *, name: str | None = None) -> None:
        """Insert an Arrow table in one statement: all rows of one time partition become visible together.

        Args:
            name: tells this insert from all others. The client repeats a request when the connection closes before the
                answer, which may be after the server has done it; under a name the server does it only once.
        """
        # Events of one batch may lie in any number of months; a limit on them would refuse the batch for ever.
        settings: dict[str, Any] = {"async_insert": 0, "max_partitions_per_insert_block": 0}
        if name is not None:
            settings["insert_deduplication_token"] = name
            if self._arguments.get("interface") != EMBEDDED_SCHEME:
                settings["query_id"] = name
        await self._run(lambda client: client.insert_arrow(table, rows, settings=settings))

    async def mutate(self, table: str, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Change stored rows of a table by ALTER TABLE ... UPDATE, and return when it is done.

        Raises:
            MutationFailed: the engine cannot do it; it is given up, so that it does not hold up later ones.
        """
        # Not waited for in the request, which would run into its timeout on a large table.
        await self.command(f"{statement} SETTINGS mutations_sync = 0", parameters)
        mine = "database = currentDatabase() AND table = {table:String}"
        unfinished = (
            f"SELECT count(), anyIf(latest_fail_reason, latest_fail_reason != '') FROM system.mutations"
            f" WHERE {mine} AND NOT is_done"
        )
        pause = FIRST_LOOK_SECONDS
        while True:
            ((count, failure),) = await self.query(unfinished, {"table": table})
            if not count:
                return
            if failure:
                await self.command(f"KILL MUTATION WHERE {mine} AND latest_fail_reason != ''", {"table": table})
                raise MutationFailed(failure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)

    async def _run(self, call: Callable[[Any], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, call)

    def _call(self, call: Callable[[Any], R]) -> R:
        try:
            return call(self._client())
        except OperationalError as error:
            raise Unavailable(f"ClickHouse does not answer: {_first_line(error)}") from error

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            with self._lock:
                client = clickhouse_connect.get_client(**self._arguments)
                self._clients.append(client)
            self._local.client = client
        return client

    async def migrate(self) -> None:
        """Bring the database's tables up to date: every file of `migrations` once, in order of name.

        Applied files are listed in `om_migrations`. Call it from one process at a time.
        """
        await self.command(rendered(_MIGRATIONS_TABLE, self._cluster))
        applied = {name for (name,) in await self.query("SELECT name FROM om_migrations")}
        directory = resources.files("meterhouse.metering").joinpath("migrations")
        for file in sorted((f for f in directory.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name):
            if file.name in applied:
                continue
            for statement in statements(rendered(file.read_text("utf-8"), self._cluster)):
                await self.command(statement)
            await self.command(
                "INSERT INTO om_migrations SELECT {name:String}, {at:DateTime64(6)}",
                {"name": file.name, "at": clock.now()},
            )

    async def close(self) -> None:
        """Close every client and end the threads."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        for client in self._clients:
            client.close()
        self._clients.clear()


def connection_arguments(url: str) -> dict[str, Any]:
    """Translate a URL into the client's arguments.

    Raises:
        ValueError: the scheme is unknown.
    """
    parts = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    database = options.pop("database", None)
    if parts.scheme == EMBEDDED_SCHEME:
        return {
            "interface": "chdb",
            "path": unquote(parts.path),
            "database": database or "default",
            "settings": dict(_EMBEDDED_SETTINGS),
        }
    if parts.scheme not in ("http", "https", "clickhouse"):
        raise ValueError(f"unknown ClickHouse URL scheme: {parts.scheme!r}")
    return {
        "host": parts.hostname or "localhost",
        "port": parts.port or (8443 if parts.scheme == "https" else 8123),
        "username": unquote(parts.username or "default"),
        "password": unquote(parts.password or ""),
        "database": parts.path.strip("/") or database or "default",
        "secure": parts.scheme == "https" or options.pop("secure", "") in ("1", "true"),
        # Lists of subjects outgrow a URL.
        "form_encode_query_params": True,
        # A session would make the server refuse the next query while it still closes the last.
        "autogenerate_session_id": False,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "send_receive_timeout": QUERY_TIMEOUT_SECONDS,
    }


def rendered(text: str, cluster: str | None) -> str:
    """Fill a migration in for a single server, or for the replicas of a cluster.

    Raises:
        ValueError: the cluster's name cannot be written into SQL.
    """
    if cluster is None:
        return Template(text).substitute(on_cluster="", replicated="", window="non_replicated_deduplication_window")
    if not re.fullmatch(r"[A-Za-z0-9_.{}-]+", cluster):
        raise ValueError(f"no name of a ClickHouse cluster: {cluster!r}")
    on_cluster = f"ON CLUSTER '{cluster}'"
    return Template(text).substitute(
        on_cluster=on_cluster, replicated="Replicated", window="replicated_deduplication_window"
    )


def statements(text: str) -> list[str]:
    """Return the statements of a migration, without comments."""
    without_comments = re.sub(r"--[^\n]*", "", text)
    return [statement for part in without_comments.split(";") if (statement := part.strip())]


def _first_line(error: ClickHouseError) -> str:
    return str(error).strip().split("\n", 1)[0]
