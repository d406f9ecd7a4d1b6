"""Load over loopback: `wrk` where it is installed, else a small generator of its own.

A generator takes a core that the server would use, so servers are compared by what they do in a second of *their own*
processor time; where they wait for something else (a disk, another process), by the clock.
"""

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import uvloop

# Nothing here takes longer; a server that hangs must not hang the benchmarks.
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to send over and over.

    Attributes:
        bodies: sent one after the other; a GET has one empty body.
        connections: each sends its next request when the last is answered.
    """

    method: str
    path: str
    bodies: Sequence[bytes]
    content_type: str = "application/json"
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of it.

    Attributes:
        requests: answered with success.
        seconds: how long it took.
        server_seconds: processor time of the server process meanwhile.
    """

    requests: int
    seconds: float
    server_seconds: float

    @property
    def per_second(self) -> float:
        """Requests a second by the clock."""
        return self.requests / self.seconds

    @property
    def per_server_second(self) -> float:
        """Requests in a second of the server's processor time."""
        return self.requests / self.server_seconds


async def put(load: Load, port: int, server: int, *, seconds: float | None = None) -> Answered:
    """Put load on a server.

    Args:
        server: its process id.
        seconds: send over and over for so long; None sends every body once.

    Raises:
        RuntimeError: an answer is no success.
    """
    process = psutil.Process(server)
    before = process.cpu_times()
    if seconds is not None and (wrk := shutil.which("wrk")):
        requests, taken = await _wrk(wrk, load, port, seconds)
    else:
        requests, taken = await _own(load, port, seconds)
    after = process.cpu_times()
    return Answered(requests, taken, after.user + after.system - before.user - before.system)


async def _output(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        out, _ = await asyncio.wait_for(child.communicate(), TIMEOUT_SECONDS)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}")
    return out.decode()


async def _wrk(wrk: str, load: Load, port: int, seconds: float) -> tuple[int, float]:
    with tempfile.TemporaryDirectory(prefix="meterhouse-bench-") as directory:
        script = _script(load, Path(directory))
        duration = f"{max(round(seconds), 1)}s"
        url = f"http://127.0.0.1:{port}{load.path}"
        out = await _output(wrk, "-t1", f"-c{load.connections}", f"-d{duration}", "-s", str(script), url)
    found = re.search(r"(\d+) requests in ([0-9.]+)s", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"wrk: {out}")
    return int(found[1]), float(found[2])


def _script(load: Load, directory: Path) -> Path:
    """Write the requests in the language of wrk, built once before the start."""
    lines = [
        f'wrk.method = "{load.method}"',
        f'wrk.headers["Content-Type"] = "{load.content_type}"',
        "local bodies, requests, at = {}, {}, 0",
        'local function read(path) local f = io.open(path, "rb"); local all = f:read("*a"); f:close(); return all end',
    ]
    for index, body in enumerate(load.bodies, start=1):
        path = directory / str(index)
        path.write_bytes(body)
        lines.append(f'bodies[{index}] = read("{path}")')
    lines += [
        "init = function(args) for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end end",
        "request = function() at = at % #requests + 1; return requests[at] end",
    ]
    script = directory / "load.lua"
    script.write_text("\n".join(lines))
    return script


async def _own(load: Load, port: int, seconds: float | None) -> tuple[int, float]:
    with tempfile.TemporaryDirectory(prefix="meterhouse-bench-") as directory:
        work = _written(load, Path(directory))
        given = [] if seconds is None else ["--seconds", str(seconds)]
        out = await _output(sys.executable, __file__, str(work), str(port), *given)
    result = json.loads(out)
    return result["requests"], result["seconds"]


def _written(load: Load, directory: Path) -> Path:
    path = directory / "load"
    path.write_bytes(msgspec.msgpack.encode(load))
    return path


class _Requests:
    """The requests of a load, and how the sending ends."""

    def __init__(self, load: Load, seconds: float | None) -> None:
        head = (
            f"{load.method} {load.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {load.content_type}\r\n"
            "Content-Length: {}\r\n\r\n"
        )
        self._all = [head.format(len(body)).encode() + body for body in load.bodies]
        self._next = 0
        self._once = seconds is None
        self._end = time.perf_counter() + (TIMEOUT_SECONDS if seconds is None else seconds)
        self.answered = 0

    def next(self) -> bytes | None:
        if self._next == len(self._all):
            if self._once:
                return None
            self._next = 0
        if time.perf_counter() >= self._end:
            return None
        self._next += 1
        return self._all[self._next - 1]


class _Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: _Requests) -> None:
        self._requests = requests
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        request = self._requests.next()
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"ontent-length: ", 0, head)
        length = 0 if at < 0 else int(self._buffer[at + 15 : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        if self._buffer[9:10] != b"2":
            self.done.set_exception(RuntimeError(f"refused: {self._buffer.decode()}"))
            self._transport.abort()
            return
        self._requests.answered += 1
        self._buffer = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


async def _generate(load: Load, port: int, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    requests = _Requests(load, seconds)
    start = time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: _Connection(requests), "127.0.0.1", port) for _ in range(load.connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in pairs))
    print(json.dumps({"requests": requests.answered, "seconds": time.perf_counter() - start}))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    load = msgspec.msgpack.decode(given.load.read_bytes(), type=Load)
    uvloop.run(_generate(load, given.port, given.seconds))


if __name__ == "__main__":
    _main()
