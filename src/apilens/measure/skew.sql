-- Calls that two gateway instances logged under one id: by how much the inner one (the shorter, nested in the outer) must be off at
-- least. ahead_s: it began so long after the last moment at which it could have begun; behind_s: so long before the outer one.
WITH seen AS (
    SELECT environment, coalesce(trace_id, request_id) AS id, coalesce(node, gateway, '') AS node, start_time, duration_ms,
        time_bucket(INTERVAL {hours} HOUR, start_time) AS block
    FROM calls
    WHERE start_time >= $first AND start_time < $end AND coalesce(trace_id, request_id) IS NOT NULL
),
shared AS (
    SELECT * FROM seen
    QUALIFY count(*) OVER (PARTITION BY block, environment, id) = 2
        AND min(node) OVER (PARTITION BY block, environment, id) <> max(node) OVER (PARTITION BY block, environment, id)
),
pairs AS (
    SELECT i.block, i.environment, o.node AS outer_node, i.node AS inner_node,
        epoch_us(i.start_time) / 1e6 - epoch_us(o.start_time) / 1e6 AS later_s,
        (coalesce(o.duration_ms, 0) - coalesce(i.duration_ms, 0)) / 1e3 AS room_s
    FROM shared AS o
    JOIN shared AS i ON i.block = o.block AND i.environment = o.environment AND i.id = o.id AND i.node <> o.node
        AND (coalesce(o.duration_ms, 0), o.node) > (coalesce(i.duration_ms, 0), i.node)
)
SELECT block, environment, outer_node, inner_node, count(*) AS pairs,
    quantile_cont(later_s - room_s, 0.25) AS ahead_s, -quantile_cont(later_s, 0.75) AS behind_s, median(later_s - room_s / 2) AS offset_s
FROM pairs
GROUP BY ALL
HAVING pairs >= 20 AND (ahead_s > $least OR behind_s > $least)
