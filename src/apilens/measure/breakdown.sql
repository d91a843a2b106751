-- Who was behind the calls of some windows: one row per (window, status code, consumer, node, upstream, address).
-- `windows` holds one half-open window of one endpoint per row; bots, scanners and health checks are left out unless $synthetic.
SELECT
    w.window_id,
    c.status_code,
    c.consumer,
    c.node,
    coalesce(c.upstream_name, c.upstream_address) AS upstream,
    CASE WHEN c.upstream_name IS NOT NULL THEN c.upstream_address END AS address,
    count(*) AS calls,
    count(c.duration_ms) AS timed,
    coalesce(sum(ln(greatest(c.duration_ms, $smallest_ms))), 0.0) AS log_duration_sum,
    min_by(c.request_id, c.start_time, 20) FILTER (WHERE c.request_id IS NOT NULL) AS request_ids,
    min(c.start_time) AS first_seen
FROM windows AS w
JOIN calls AS c
  ON c.start_time >= w."start"
 AND c.start_time < w."end"
 AND c.environment IS NOT DISTINCT FROM w.environment
 AND c.service IS NOT DISTINCT FROM w.service
 AND c.method IS NOT DISTINCT FROM w.method
 AND c.route IS NOT DISTINCT FROM w.route
WHERE ($synthetic OR c.synthetic_type IS NULL)
  AND c.start_time >= $first
  AND c.start_time < $last
GROUP BY ALL
