"""Work of credits in the background: recognising revenue after consumption was booked (ledger section 8)."""

from collections.abc import Mapping

from meterhouse.credits.booking import RECOGNIZE
from meterhouse.credits.recognition import recognize
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import JobHandler


def handlers(db: Database) -> list[JobHandler]:
    """Return the handlers of this package: `credits.recognize`, payload `namespace`, `customer_id`, `currency`."""

    async def run(payload: Mapping[str, str]) -> None:
        async with db.write() as session:
            await recognize(session, payload["namespace"], payload["customer_id"], payload["currency"])

    return [JobHandler(RECOGNIZE, run)]
