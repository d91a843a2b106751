-- How often consumers were answered with some codes: one row per (environment, consumer, status code, endpoint, minute).
-- `asked` holds one (environment, consumer, status code) and its time per row; bots, scanners and health checks are left out unless $synthetic.
SELECT
    c.environment,
    c.consumer,
    c.status_code,
    c.service,
    c.method,
    c.route,
    date_trunc('minute', c.start_time) AS minute,
    count(*) AS calls
FROM calls AS c
SEMI JOIN asked AS a
  ON c.consumer = a.consumer
 AND c.status_code = a.status_code
 AND c.environment IS NOT DISTINCT FROM a.environment
 AND c.start_time >= a."start"
 AND c.start_time < a."end"
WHERE ($synthetic OR c.synthetic_type IS NULL)
  AND c.start_time >= $first
  AND c.start_time < $last
GROUP BY ALL
