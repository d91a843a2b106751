-- The logged durations in which a percentile or an Apdex threshold lies, told by the histograms in `buckets` (id, failed, bucket, n):
-- `wanted` (id, bucket) are the buckets, `logged` (id, failed, value_ms, n) the calls in them. A call's endpoint is told by a hash of its
-- names, which costs a third of comparing them; two endpoints of one hash show in the counts, see doubt.sql.
CREATE OR REPLACE TEMP TABLE ranked AS
SELECT
    id,
    unnest([50, 90, 95, 99, 99.9]) AS percent,
    unnest([
        min(bucket) FILTER (rank >= ceil(0.50 * whole)), min(bucket) FILTER (rank >= ceil(0.90 * whole)),
        min(bucket) FILTER (rank >= ceil(0.95 * whole)), min(bucket) FILTER (rank >= ceil(0.99 * whole)),
        min(bucket) FILTER (rank >= ceil(0.999 * whole))
    ]) AS bucket
FROM (
    SELECT id, bucket, sum(sum(n)) OVER (PARTITION BY id ORDER BY bucket) AS rank, sum(sum(n)) OVER (PARTITION BY id) AS whole
    FROM buckets
    GROUP BY id, bucket
)
GROUP BY id;

CREATE OR REPLACE TEMP TABLE wanted AS
SELECT id, bucket FROM ranked
UNION
SELECT id, bucket FROM buckets WHERE bucket IN ({apdex_buckets});

CREATE OR REPLACE TEMP TABLE bounds AS
SELECT
    t.id,
    hash(t.environment, t.service, t.method, t.route) AS key,
    max({above}) FILTER (percent = 50) AS above_50, max({upto}) FILTER (percent = 50) AS upto_50,
    max({above}) FILTER (percent = 90) AS above_90, max({upto}) FILTER (percent = 90) AS upto_90,
    max({above}) FILTER (percent = 95) AS above_95, max({upto}) FILTER (percent = 95) AS upto_95,
    max({above}) FILTER (percent = 99) AS above_99, max({upto}) FILTER (percent = 99) AS upto_99,
    max({above}) FILTER (percent = 99.9) AS above_999, max({upto}) FILTER (percent = 99.9) AS upto_999
FROM ranked
JOIN totals AS t USING (id)
GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE logged AS
SELECT b.id, {failed} AS failed, duration_ms AS value_ms, count(*) AS n
FROM calls AS c
JOIN bounds AS b ON b.key = hash(c.environment, c.service, c.method, c.route)
WHERE {condition} AND (
    CASE
        WHEN duration_ms <= above_50 THEN false WHEN duration_ms <= upto_50 THEN true
        WHEN duration_ms <= above_90 THEN false WHEN duration_ms <= upto_90 THEN true
        WHEN duration_ms <= above_95 THEN false WHEN duration_ms <= upto_95 THEN true
        WHEN duration_ms <= above_99 THEN false WHEN duration_ms <= upto_99 THEN true
        WHEN duration_ms <= above_999 THEN false ELSE duration_ms <= upto_999
    END
    {apdex}
)
GROUP BY ALL
