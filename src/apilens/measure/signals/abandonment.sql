-- A consumer who was at work stopped for half an hour right behind an error, on an endpoint where errors end the work at least twice
-- as often as answers do. What came after `told_until` cannot tell.
WITH told AS (
    SELECT * FROM (
        SELECT *,
            status_code >= 400 AND status_code <> 401 AS failed,
            -- At work: three calls more in the half hour before.
            coalesce(start_time - lag(start_time, 3) OVER own <= INTERVAL 30 MINUTE, false)
            AND coalesce(lead(start_time) OVER own - start_time > INTERVAL 30 MINUTE, true) AS stopped
        FROM real_calls WHERE consumer IS NOT NULL
        WINDOW own AS (PARTITION BY environment, consumer ORDER BY start_time, source_file, source_offset)
    )
    WHERE start_time < told_until
),
rates AS (
    SELECT block, environment, service, method, route,
        avg(stopped::INT) FILTER (WHERE failed) AS behind_errors, avg(stopped::INT) FILTER (WHERE NOT failed) AS behind_answers
    FROM told GROUP BY ALL
)
SELECT t.environment, t.service, t.method, t.route, t.consumer, t.start_time, t.request_id,
       t.failed AND t.stopped AND coalesce(r.behind_errors >= 2 * r.behind_answers, true) AS hit
FROM told AS t
JOIN rates AS r
ON r.block = t.block AND r.environment = t.environment AND r.service IS NOT DISTINCT FROM t.service
   AND r.method IS NOT DISTINCT FROM t.method AND r.route IS NOT DISTINCT FROM t.route
