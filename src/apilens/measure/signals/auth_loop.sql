-- A consumer is turned away ten times or more within ten minutes on one endpoint, and hardly ever let in: it does not give up.
SELECT environment, service, method, route, consumer, start_time, request_id, refused AND refusals >= 10 AND refusals >= 0.9 * tries AS hit
FROM (
    SELECT *,
        status_code IN (401, 403) AS refused,
        count(*) FILTER (WHERE status_code IN (401, 403)) OVER near AS refusals,
        count(*) OVER near AS tries
    FROM real_calls
    WINDOW near AS (
        PARTITION BY environment, coalesce(consumer, client_ip), service, method, route
        ORDER BY start_time RANGE BETWEEN INTERVAL 5 MINUTE PRECEDING AND INTERVAL 5 MINUTE FOLLOWING
    )
)
