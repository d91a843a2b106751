-- Somebody asked for the same again within a minute of a failure, and had to.
SELECT environment, service, method, route, consumer, start_time, request_id,
       coalesce(before >= 500 OR before IN (408, 429), false) AND start_time - before_at <= INTERVAL 1 MINUTE AS hit
FROM (
    SELECT *,
        lag(status_code) OVER same AS before,
        lag(start_time) OVER same AS before_at
    FROM real_calls WHERE consumer IS NOT NULL
    WINDOW same AS (PARTITION BY environment, consumer, method, path ORDER BY start_time, source_file, source_offset)
)
