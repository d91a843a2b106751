-- Somebody asked for the same again within a minute of the end of a failure, and had to. What a second gateway logged of one request
-- (the same id, or another kind of gateway) is no retry; stamps may be whole seconds.
SELECT environment, service, method, route, consumer, start_time, request_id,
       coalesce(before >= 500 OR before IN (408, 429), false)
       AND start_time - before_end BETWEEN -INTERVAL 1 SECOND AND INTERVAL 1 MINUTE
       AND coalesce(request_id <> before_id, true) AS hit
FROM (
    SELECT *,
        lag(status_code) OVER same AS before,
        lag(request_id) OVER same AS before_id,
        lag(start_time + coalesce(duration_ms, 0) * INTERVAL 1 MILLISECOND) OVER same AS before_end
    FROM real_calls WHERE consumer IS NOT NULL
    WINDOW same AS (PARTITION BY environment, consumer, method, path, gateway ORDER BY start_time, source_file, source_offset)
)
