-- The affected calls of some endpoints in a window that name no consumer, by the address they came from, most first.
SELECT
    c.client_ip,
    count(*) FILTER (WHERE a.affected) AS affected,
    count(*) AS calls,
    min(c.start_time) FILTER (WHERE a.affected) AS first_affected_at
FROM calls AS c,
LATERAL (
    SELECT CASE WHEN $status IS NOT NULL THEN c.status_code = $status WHEN $kind = 'latency' THEN c.status_code < 400 ELSE true END AS affected
) AS a
WHERE c.synthetic_type IS NULL AND c.consumer IS NULL
  AND c.start_time >= $start AND c.start_time < $end
  AND c.environment = $environment
  AND list_contains($endpoints, coalesce(c.method, '-') || ' ' || coalesce(c.route, '-'))
GROUP BY c.client_ip
HAVING affected > 0
ORDER BY affected DESC, c.client_ip NULLS LAST
LIMIT $most
