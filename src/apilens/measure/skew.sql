-- Calls that several gateway instances logged under one id: by how much an inner one (shorter, nested in the outermost) must be off
-- at least. ahead_s: it began so long after the last moment at which it could have begun; behind_s: so long before the outer one.
-- Each is held against the outermost alone, so that one wrong clock in a chain is one disagreement.
WITH seen AS (
    SELECT environment, coalesce(trace_id, request_id) AS id, coalesce(node, gateway, '') AS node, start_time, duration_ms,
        time_bucket(INTERVAL {hours} HOUR, start_time) AS block
    FROM calls
    WHERE start_time >= $first AND start_time < $end AND coalesce(trace_id, request_id) IS NOT NULL
),
-- More instances than a chain has, or one of them twice: an id that says nothing about nesting.
chains AS (
    SELECT block, environment, id FROM seen
    GROUP BY ALL HAVING count(*) BETWEEN 2 AND 8 AND min(node) <> max(node)
),
shared AS (
    SELECT s.*,
        row_number() OVER (PARTITION BY block, environment, id ORDER BY coalesce(duration_ms, 0) DESC, node DESC) AS place,
        count(*) OVER (PARTITION BY block, environment, id) = count(DISTINCT node) OVER (PARTITION BY block, environment, id) AS once
    FROM seen AS s SEMI JOIN chains USING (block, environment, id)
),
pairs AS (
    SELECT i.block, i.environment, o.node AS outer_node, i.node AS inner_node,
        epoch_us(i.start_time) / 1e6 - epoch_us(o.start_time) / 1e6 AS later_s,
        (coalesce(o.duration_ms, 0) - coalesce(i.duration_ms, 0)) / 1e3 AS room_s
    FROM shared AS o
    JOIN shared AS i ON i.block = o.block AND i.environment = o.environment AND i.id = o.id
    WHERE o.once AND o.place = 1 AND i.place > 1
)
SELECT block, environment, outer_node, inner_node, count(*) AS pairs,
    quantile_cont(later_s - room_s, 0.25) AS ahead_s, -quantile_cont(later_s, 0.75) AS behind_s, median(later_s - room_s / 2) AS offset_s
FROM pairs
GROUP BY ALL
HAVING pairs >= 20 AND (ahead_s > $least OR behind_s > $least)
