-- How often consumers were answered with some codes: one row per (environment, consumer, status code, endpoint, minute).
-- `asked` holds one (environment, consumer, status code) and its time per row; of a null code all calls count, on all endpoints together. Bots, scanners and health checks are left out unless $synthetic.
SELECT
    c.environment,
    c.consumer,
    a.status_code,
    CASE WHEN a.status_code IS NOT NULL THEN c.service END AS service,
    CASE WHEN a.status_code IS NOT NULL THEN c.method END AS method,
    CASE WHEN a.status_code IS NOT NULL THEN c.route END AS route,
    date_trunc('minute', c.start_time) AS minute,
    count(*) AS calls
FROM calls AS c
JOIN asked AS a
  ON c.consumer = a.consumer
 AND (a.status_code IS NULL OR c.status_code = a.status_code)
 AND c.environment IS NOT DISTINCT FROM a.environment
 AND c.start_time >= a."start"
 AND c.start_time < a."end"
WHERE ($synthetic OR c.synthetic_type IS NULL)
  AND c.start_time >= $first
  AND c.start_time < $last
GROUP BY ALL
