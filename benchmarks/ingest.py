"""Taking in events over HTTP, against a bare server that reads the body only, and against a pydantic route.

`function` is the ingest function alone, `application` what is served: with the request's id, the limit of the body and
the choice of the path before it. Both throw the events away. `log` answers when the embedded log has committed them.
"""

import random
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import batches
import harness
import load
import servers
from harness import Figure, Scale
from load import Answered, Load

ROUNDS = {"small": 3, "full": 9}
SECONDS = {"small": 1.0, "full": 3.0}
PATH = "/api/v1/events"

_chance = random.Random(4)
SINGLE = Load("POST", PATH, [batches.body(_chance, 1) for _ in range(500)], "application/cloudevents+json")
BATCH = Load("POST", PATH, [batches.body(_chance, 100) for _ in range(50)], "application/cloudevents-batch+json")
# A pydantic route takes no other media type.
SINGLE_JSON = Load("POST", PATH, SINGLE.bodies)
BATCH_JSON = Load("POST", PATH, BATCH.bodies)


async def in_turns(given: Sequence[tuple[servers.Running, Load]], rounds: int, seconds: float) -> list[list[Answered]]:
    """Load the servers in turns; return what each answered, round by round."""
    found: list[list[Answered]] = [[] for _ in given]
    for round_number in range(rounds + 1):
        for (server, one), answers in zip(given, found, strict=True):
            answered = await load.put(one, server.port, server.pid, seconds=seconds if round_number else 0.3)
            if round_number:  # the first only warms up
                answers.append(answered)
    return found


def by_processor(over: Sequence[Answered], under: Sequence[Answered]) -> float:
    """Return the ratio of requests per second of the server's processor."""
    return harness.ratio([a.per_server_second for a in over], [a.per_server_second for a in under])


def by_clock(over: Sequence[Answered], under: Sequence[Answered]) -> float:
    """Return the ratio of requests per second."""
    return harness.ratio([a.per_second for a in over], [a.per_second for a in under])


def rate(answers: Sequence[Answered], events: int = 1) -> str:
    """Return an order of magnitude for a note."""
    return f"{statistics.median(a.per_second for a in answers) * events:,.2g} a second".replace("e+0", "e")


async def _parsing(rounds: int, seconds: float) -> list[Figure]:
    figures = []
    async with AsyncExitStack() as stack:
        bare, function, application, pydantic = [
            await stack.enter_async_context(servers.serving(name))
            for name in ("bare", "function", "application", "pydantic")
        ]
        for name, one, plain, targets in (
            ("single event", SINGLE, SINGLE_JSON, (0.85, 4)),
            ("batch of 100", BATCH, BATCH_JSON, (0.25, 6)),
        ):
            harness.say(f"{name}: parse only")
            at_bare, at_function, at_application, at_pydantic = await in_turns(
                [(bare, one), (function, one), (application, one), (pydantic, plain)], rounds, seconds
            )
            against = "bare server"
            figures += [
                Figure("ingest", f"{name}, function", against, by_processor(at_function, at_bare), targets[0]),
                Figure("ingest", f"{name}, application", against, by_processor(at_application, at_bare)),
                Figure(
                    "ingest",
                    f"{name}, application",
                    "FastAPI + pydantic",
                    by_processor(at_application, at_pydantic),
                    targets[1],
                    note=f"events {rate(at_application, 100 if one is BATCH else 1)}, generator on the same cores",
                ),
            ]
    return figures


async def _acknowledged(rounds: int, seconds: float) -> list[Figure]:
    figures = []
    with harness.temporary_directory() as directory:
        async with servers.serving("bare") as bare, servers.serving("log", directory) as log:
            for name, one, target in (
                ("single event, 32 connections", SINGLE, None),
                (
                    "single event, 256 connections",
                    replace(SINGLE, connections=256),
                    0.5,
                ),
                ("batch of 100, 32 connections", BATCH, None),
            ):
                harness.say(f"{name}: acknowledged by the embedded log")
                at_bare, at_log = await in_turns([(bare, one), (log, one)], rounds, seconds)
                events = 100 if one is BATCH else 1
                figures.append(
                    Figure(
                        "ingest",
                        f"{name}, durable",
                        "bare server, by the clock",
                        by_clock(at_log, at_bare),
                        target,
                        note=f"events {rate(at_log, events)}",
                    )
                )
    return figures


async def measure(scale: Scale) -> list[Figure]:
    """Load every server in turns."""
    rounds, seconds = ROUNDS[scale], SECONDS[scale]
    return [*await _parsing(rounds, seconds), *await _acknowledged(rounds, seconds)]


if __name__ == "__main__":
    harness.run(measure, __doc__)
