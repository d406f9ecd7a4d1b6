"""Simulated time, on servers that were started with it (setting `test_clock`); no part of the contract."""

from fastapi import APIRouter, Request

from meterhouse.api.deps import services
from meterhouse.api.problems import errors
from meterhouse.api.wire import Instant, V3Model
from meterhouse.kernel.errors import NotFound
from meterhouse.kernel.testclock import SimulatedTime

router = APIRouter(tags=["Test clock"])

PATH = "/api/v3/meterhouse/test-clock"


class TestClock(V3Model):
    """Where the simulated clock stands."""

    now: Instant


def _simulated_time(request: Request) -> SimulatedTime:
    simulated = services(request).simulated_time
    if simulated is None:
        raise NotFound("this server runs on real time; start it with the setting test_clock to simulate time")
    return simulated


@router.get(
    PATH, operation_id="getTestClock", summary="Read the simulated clock", responses=errors("v3", 404), status_code=200
)
async def get_test_clock(request: Request) -> TestClock:
    """Tell the instant at which simulated time stands."""
    return TestClock(now=await _simulated_time(request).read())


@router.put(
    PATH,
    operation_id="advanceTestClock",
    summary="Let simulated time pass",
    responses=errors("v3", 400, 404, 409),
    status_code=200,
)
async def advance_test_clock(request: Request, body: TestClock) -> TestClock:
    """Move the clock forward, doing on the way everything that becomes due; answers when all of it is done."""
    return TestClock(now=await _simulated_time(request).advance_to(body.now))
