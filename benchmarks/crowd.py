"""Very many customers with a subscription each, made by the database itself: lists are tried on them."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

# Names in no order of the ids, so that no order of a list is that of the table; few of them are equal.
_CUSTOMERS = """
INSERT INTO customers (id, namespace, key, name, primary_email, currency, metadata, annotations, created_at, updated_at,
                       deleted_at)
SELECT '01' || lpad(n::text, 24, '0'), :namespace, 'key-' || n, 'Customer ' || left(md5(n::text), 5),
       md5(n::text) || '@example.test', 'USD', '{"team": "billing"}', '{}',
       timestamptz '2025-01-01Z' + n * interval '1 second', timestamptz '2025-01-01Z' + n * interval '1 second',
       CASE WHEN n % 50 = 0 THEN timestamptz '2026-01-01Z' END
FROM generate_series(:first, :last) AS n
"""
_ATTRIBUTIONS = """
INSERT INTO customer_attributions (id, namespace, customer_id, subject, is_key, is_subject_key, deleted_at)
SELECT id, namespace, id, key, true, true, deleted_at FROM customers WHERE namespace = :namespace
"""
_SUBSCRIPTIONS = """
INSERT INTO subscriptions (id, namespace, customer_id, plan_id, plan_key, plan_version, name, metadata, annotations,
                           currency, settlement_mode, pro_rating_enabled, billing_cadence, billing_anchor, active_from,
                           active_to, created_at, updated_at)
SELECT '02' || right(id, 24), namespace, id, '03' || repeat('0', 24), 'plan_' || right(id, 2), 1, 'Plan', '{}', '{}',
       'USD', 'credit_then_invoice', true, 'P1M', created_at,
       timestamptz '2025-01-01Z' + ('x' || left(md5(id), 6))::bit(24)::int * interval '1 second',
       CASE WHEN right(id, 1) < '5' THEN timestamptz '2026-01-01Z' + right(id, 5)::int * interval '1 second' END,
       created_at, created_at
FROM customers WHERE namespace = :namespace AND deleted_at IS NULL
"""
_PHASES = """
INSERT INTO subscription_phases (id, namespace, subscription_id, key, name, metadata, active_from, sort_hint,
                                 created_at)
SELECT '04' || right(id, 24), namespace, id, 'main', 'Main', '{}', active_from, 0, created_at
FROM subscriptions WHERE namespace = :namespace
"""

TABLES = ("customers", "customer_attributions", "subscriptions", "subscription_phases")


def crowd(namespace: str, count: int, *, after: int = 0) -> Iterator[TextClause]:
    """Yield the statements that make `count` customers, one in fifty of them deleted; ids go on after `after`."""
    values = {"namespace": namespace, "first": after + 1, "last": after + count}
    for statement in (_CUSTOMERS, _ATTRIBUTIONS, _SUBSCRIPTIONS, _PHASES):
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        yield text(statement).bindparams(**used)
