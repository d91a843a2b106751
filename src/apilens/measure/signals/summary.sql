-- Marked calls per endpoint, where they are enough to be worth a line.
WITH marked AS ({marked}),
consumers AS (
    SELECT environment, service, method, route, consumer, count(*) AS n
    FROM marked WHERE hit AND consumer IS NOT NULL GROUP BY ALL
),
tops AS (
    SELECT environment, service, method, route, count(*) AS consumers, arg_max(consumer, (n, consumer)) AS top_consumer, max(n) AS most
    FROM consumers GROUP BY ALL
)
SELECT
    m.environment, m.service, m.method, m.route,
    count(*) FILTER (WHERE hit) AS calls,
    count(*) FILTER (WHERE hit) / count(*) AS share,
    coalesce(any_value(t.consumers), 0) AS consumers,
    any_value(t.top_consumer) AS top_consumer,
    any_value(t.most) / count(*) FILTER (WHERE hit) AS top_share,
    min(m.start_time) FILTER (WHERE hit) AS first_seen,
    max(m.start_time) FILTER (WHERE hit) AS last_seen,
    coalesce(min_by(m.request_id, m.start_time, 5) FILTER (WHERE hit AND m.request_id IS NOT NULL), []) AS request_ids
FROM marked AS m
LEFT JOIN tops AS t
ON t.environment IS NOT DISTINCT FROM m.environment AND t.service IS NOT DISTINCT FROM m.service
   AND t.method IS NOT DISTINCT FROM m.method AND t.route IS NOT DISTINCT FROM m.route
GROUP BY m.environment, m.service, m.method, m.route
HAVING calls >= $calls AND share >= $share AND consumers >= CASE WHEN $consumers > 1 THEN $consumers ELSE 0 END
