"""What metering counts about itself, in the form that Prometheus reads. One process counts what it does itself."""

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter("meterhouse_events_accepted", "Events that were acknowledged to their sender.")
STORED = Counter("meterhouse_events_stored", "Events that were stored.")
DUPLICATE = Counter("meterhouse_events_duplicate", "Events that were stored before, and were passed over.")
DEAD_LETTERED = Counter("meterhouse_events_dead_lettered", "Records that could not be stored and were put aside.")
LAG = Gauge("meterhouse_sink_lag_events", "Records in the log that the sink of this process has yet to read.")
AGE = Histogram(
    "meterhouse_event_queryable_seconds",
    "Time from the receipt of a request with events until queries see them; one observation a request.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
