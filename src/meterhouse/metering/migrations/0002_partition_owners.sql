-- Which sink owns a partition of the event log. A sink that was taken for dead and comes back still believes that it
-- owns what another one reads by now; the constraint refuses what it inserts, so nothing is stored twice. The mark is
-- drawn at random at each takeover; the last one written counts. On a cluster nobody writes marks, since this table is
-- not replicated: all rows have 0, which is what a partition without a mark asks for.
CREATE TABLE IF NOT EXISTS om_partition_owners $on_cluster (
    log_partition UInt32,
    mark UInt64
) ENGINE = Join(ANY, LEFT, log_partition)
SETTINGS join_any_take_last_row = 1;

ALTER TABLE om_events ADD COLUMN IF NOT EXISTS owner_mark UInt64 CODEC(ZSTD(1));

ALTER TABLE om_events ADD CONSTRAINT IF NOT EXISTS inserted_by_owner
    CHECK owner_mark = joinGet('om_partition_owners', 'mark', log_partition);
