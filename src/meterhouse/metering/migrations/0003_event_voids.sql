-- Which events do not count: a copy of the records in Postgres (event_voids), for queries. The latest version of an
-- event holds. fsync: the job that copies is done with a record once it is here.
CREATE TABLE IF NOT EXISTS om_event_voids $on_cluster (
    namespace LowCardinality(String),
    type LowCardinality(String),
    source String,
    id String,
    version UInt64,
    voided UInt8
) ENGINE = ${replicated}ReplacingMergeTree(version)
ORDER BY (namespace, type, source, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Corrections name events by id.
ALTER TABLE om_events ADD INDEX IF NOT EXISTS ids id TYPE bloom_filter GRANULARITY 1;
