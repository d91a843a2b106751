-- Calls of some endpoints in a window and in the day before it, per value of each dimension: all, affected, and the sums of log ms.
WITH picked AS (
    SELECT
        c.start_time >= $start AS inside,
        CASE WHEN $status IS NOT NULL THEN c.status_code = $status WHEN $kind = 'latency' THEN c.status_code < 400 ELSE true END AS affected,
        ln(greatest(c.duration_ms, 0.001)) AS log_ms,
        coalesce(c.consumer, '') AS consumer,
        coalesce(c.node, '') AS node,
        coalesce(c.upstream_name, c.upstream_address, '') AS upstream,
        -- Where the upstream has no name, its address is what it is called.
        CASE WHEN c.upstream_name IS NOT NULL THEN coalesce(c.upstream_address, '') END AS address,
        coalesce(c.method, '') || ' ' || coalesce(c.route, '') AS endpoint,
        coalesce(CAST(c.status_code AS VARCHAR), '') AS status,
        coalesce(c.user_agent, '') AS client,
        coalesce(c.http_version, '') AS http_version,
        coalesce(regexp_extract(c.host, '^[^:]+'), '') AS host,
        coalesce(regexp_extract(c.url, '/(v\d+)(/|$)', 1), '') AS version
    FROM calls AS c
    WHERE c.synthetic_type IS NULL AND c.start_time >= $before AND c.start_time < $end
      AND c.environment = $environment
      AND list_contains($endpoints, coalesce(c.method, '-') || ' ' || coalesce(c.route, '-'))
)
SELECT dimension, value,
    count(*) FILTER (WHERE NOT inside) AS calls_before,
    count(*) FILTER (WHERE NOT inside AND affected) AS hit_before,
    count(*) FILTER (WHERE inside) AS calls,
    count(*) FILTER (WHERE inside AND affected) AS hit,
    coalesce(avg(log_ms) FILTER (WHERE NOT inside AND affected), 0) AS log_ms_before,
    coalesce(avg(log_ms) FILTER (WHERE inside AND affected), 0) AS log_ms
FROM picked
UNPIVOT (value FOR dimension IN (consumer, node, upstream, address, endpoint, status, client, http_version, host, version))
GROUP BY dimension, value
