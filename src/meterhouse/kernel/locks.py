"""Advisory locks that last until the end of the transaction."""

from sqlalchemy import text

from meterhouse.kernel.db import WriteSession


async def lock(session: WriteSession, *key: str) -> None:
    """Wait for, then hold, the lock named by the parts of `key` until the transaction ends.

    Take several locks in sorted order of their keys, or two transactions can wait for each other. Names in use:
    `("customer", namespace, id, "billing")` around everything that changes a customer's charges or invoices,
    `("charge", namespace, id)` after it, `("customer", namespace, id, "subscription")`, `("ledger", account_id)`,
    `("catalog", kind, namespace, key)`, `("apps", namespace)`, `("billing_profiles", namespace)`,
    `("due_work", name)`, `("simulated_clock",)`, `("event_voids", namespace)`.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": _name(key)})


async def try_lock(session: WriteSession, *key: str) -> bool:
    """Take the lock as `lock` does when it is free, without waiting; tell whether it was."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool((await session.execute(statement, {"name": _name(key)})).scalar_one())


def _name(key: tuple[str, ...]) -> str:
    return "\x1f".join(key)
