-- The logged durations as endpoints.sql wants its latencies, without holding every distinct value: one row per value only in the
-- narrow ranges in which a percentile or an Apdex threshold lies, elsewhere one row per range, which only its count matters of.
-- `ranges` holds, per (endpoint, failed or not, range), the calls in it and their greatest duration; a range is {range} of it.
-- Percentiles as in endpoints.sql.
WITH counted AS (
    SELECT environment, service, method, route, range, sum(n) AS n
    FROM ranges
    GROUP BY ALL
), ranked AS (
    SELECT *,
        sum(n) OVER (PARTITION BY environment, service, method, route ORDER BY range) AS upto,
        sum(n) OVER (PARTITION BY environment, service, method, route) AS whole
    FROM counted
), wanted AS (
    SELECT DISTINCT environment, service, method, route, range
    FROM ranked, (SELECT unnest([0.50, 0.90, 0.95, 0.99]) AS p)
    WHERE (ceil(p * whole) > upto - n AND ceil(p * whole) <= upto)
       OR range IN (SELECT {range} FROM (SELECT unnest([$apdex_ms, 4 * $apdex_ms]) AS duration_ms))
)
SELECT r.environment, r.service, r.method, r.route, r.failed, r.value_ms, r.n
FROM ranges AS r
ANTI JOIN wanted AS w
  ON w.environment IS NOT DISTINCT FROM r.environment
 AND w.service IS NOT DISTINCT FROM r.service
 AND w.method IS NOT DISTINCT FROM r.method
 AND w.route IS NOT DISTINCT FROM r.route
 AND w.range = r.range
UNION ALL
SELECT c.environment, c.service, c.method, c.route, c.failed, c.duration_ms, count(*) AS n
FROM (SELECT *, {range} AS range FROM ({logged})) AS c
SEMI JOIN wanted AS w
  ON w.environment IS NOT DISTINCT FROM c.environment
 AND w.service IS NOT DISTINCT FROM c.service
 AND w.method IS NOT DISTINCT FROM c.method
 AND w.route IS NOT DISTINCT FROM c.route
 AND w.range = c.range
GROUP BY ALL
