-- Who calls which endpoint: one row per (environment, service, method, route) of real use, over all of the lake; the window's own
-- calls are counted apart. found: some call was answered with something else than "there is no such thing".
SELECT environment, service, method, route,
    count(*) FILTER (WHERE {window}) AS calls,
    count(DISTINCT consumer) FILTER (WHERE {window}) AS consumers,
    mode(consumer) FILTER (WHERE {window}) AS top_consumer,
    bool_or(coalesce(status_code NOT IN (404, 405), false)) AS found,
    min(start_time) AS first_seen,
    max(start_time) AS last_seen
FROM calls
WHERE synthetic_type IS NULL AND method IS NOT NULL AND route IS NOT NULL
GROUP BY environment, service, method, route
