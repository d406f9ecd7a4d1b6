-- Raw events and the keys that keep each of them single. Times have microseconds, because billing asks for what was
-- stored strictly before an instant. fsync: an insert is acknowledged to the event log, which then forgets the event.
-- The deduplication window makes an insert that the client's transport repeats happen once. Words after a dollar sign
-- are filled in by `clickhouse.rendered`.
CREATE TABLE IF NOT EXISTS om_events $on_cluster (
    namespace LowCardinality(String),
    id String CODEC(ZSTD(1)),
    type LowCardinality(String),
    subject String,
    source LowCardinality(String),
    time DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1)),
    data String CODEC(ZSTD(1)),
    exact_data String CODEC(ZSTD(1)),
    ingested_at DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1)),
    stored_at DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1)),
    store_row_id String CODEC(ZSTD(1)),
    log_partition UInt32 CODEC(ZSTD(1)),
    log_position UInt64 CODEC(T64),
    slots_version UInt32 CODEC(ZSTD(1)),
    n0 Nullable(Decimal(38, 19)) CODEC(ZSTD(1)),
    n1 Nullable(Decimal(38, 19)) CODEC(ZSTD(1)),
    n2 Nullable(Decimal(38, 19)) CODEC(ZSTD(1)),
    n3 Nullable(Decimal(38, 19)) CODEC(ZSTD(1)),
    s0 LowCardinality(String),
    s1 LowCardinality(String),
    s2 LowCardinality(String),
    s3 LowCardinality(String),
    s4 LowCardinality(String),
    s5 LowCardinality(String),
    s6 LowCardinality(String),
    s7 LowCardinality(String),
    t0 String CODEC(ZSTD(1)),
    t1 String CODEC(ZSTD(1)),
    t2 String CODEC(ZSTD(1)),
    t3 String CODEC(ZSTD(1)),
    INDEX stored stored_at TYPE minmax GRANULARITY 4,
    INDEX slots slots_version TYPE minmax GRANULARITY 1,
    INDEX log log_position TYPE minmax GRANULARITY 1
) ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (namespace, type, subject, toStartOfHour(time))
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, $window = 1000;

-- added_at is the engine's own clock, not the clock of the house: a simulated past must not expire keys.
CREATE TABLE IF NOT EXISTS om_event_keys $on_cluster (
    key_hash FixedString(16) CODEC(NONE),
    added_at DateTime DEFAULT now() CODEC(Delta, LZ4)
) ENGINE = ${replicated}MergeTree
ORDER BY key_hash
TTL added_at + INTERVAL 32 DAY
SETTINGS index_granularity = 256, min_compress_block_size = 4096, max_compress_block_size = 8192,
    fsync_after_insert = 1, fsync_part_directory = 1;
