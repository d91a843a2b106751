-- Marked calls per block and endpoint; those that are not marked are left out before they are sorted into groups.
WITH marked AS (
    SELECT *, time_bucket(INTERVAL {hours} HOUR, start_time) AS block FROM ({marked}) WHERE hit AND start_time >= $first AND start_time < $end
),
consumers AS (
    SELECT block, environment, service, method, route, consumer, count(*) AS n
    FROM marked WHERE consumer IS NOT NULL GROUP BY ALL
),
tops AS (
    SELECT block, environment, service, method, route, count(*) AS consumers, arg_max(consumer, (n, consumer)) AS top_consumer, max(n) AS most
    FROM consumers GROUP BY ALL
)
SELECT
    m.block, m.environment, m.service, m.method, m.route,
    count(*) AS calls,
    coalesce(any_value(t.consumers), 0) AS consumers,
    any_value(t.top_consumer) AS top_consumer,
    any_value(t.most) / count(*) AS top_share,
    min(m.start_time) AS first_seen,
    max(m.start_time) AS last_seen,
    coalesce(min_by(m.request_id, m.start_time, 5) FILTER (WHERE m.request_id IS NOT NULL), []) AS request_ids
FROM marked AS m
LEFT JOIN tops AS t
ON t.block = m.block AND t.environment IS NOT DISTINCT FROM m.environment AND t.service IS NOT DISTINCT FROM m.service
   AND t.method IS NOT DISTINCT FROM m.method AND t.route IS NOT DISTINCT FROM m.route
GROUP BY m.block, m.environment, m.service, m.method, m.route
HAVING calls >= $least
