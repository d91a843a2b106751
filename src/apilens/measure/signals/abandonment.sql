-- A consumer who was at work stopped for half an hour right behind an error, on an endpoint where errors end the work at least twice
-- as often as answers do. What came after `told_until` cannot tell.
SELECT environment, service, method, route, consumer, start_time, request_id,
       failed AND stopped AND coalesce(
           avg(stopped::INT) FILTER (WHERE failed) OVER endpoint >= 2 * avg(stopped::INT) FILTER (WHERE NOT failed) OVER endpoint, true
       ) AS hit
FROM (
    SELECT *,
        status_code >= 400 AND status_code <> 401 AS failed,
        count(*) OVER (PARTITION BY environment, consumer ORDER BY start_time RANGE BETWEEN INTERVAL 30 MINUTE PRECEDING AND CURRENT ROW) > 3
        AND coalesce(lead(start_time) OVER own - start_time > INTERVAL 30 MINUTE, true) AS stopped
    FROM real_calls WHERE consumer IS NOT NULL
    WINDOW own AS (PARTITION BY environment, consumer ORDER BY start_time, source_file, source_offset)
)
WHERE start_time < told_until
WINDOW endpoint AS (PARTITION BY block, environment, service, method, route)
