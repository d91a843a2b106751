-- Calls to /v1/... where the same route exists, and is called, with a higher version.
SELECT c.environment, c.service, c.method, c.route, c.consumer, c.start_time, c.request_id,
       coalesce(TRY_CAST(regexp_extract(c.route, '/v(\d{1,3})(/|$)', 1) AS INTEGER) < n.newest, false) AS hit
FROM real_calls AS c
LEFT JOIN (
    SELECT block, environment, service, method, regexp_replace(route, '/v\d{1,3}(/|$)', '/v*\1') AS family,
           max(TRY_CAST(regexp_extract(route, '/v(\d{1,3})(/|$)', 1) AS INTEGER)) AS newest
    FROM real_calls WHERE status_code < 400 GROUP BY ALL
) AS n
ON n.block = c.block AND n.environment = c.environment AND n.service IS NOT DISTINCT FROM c.service AND n.method = c.method
   AND n.family = regexp_replace(c.route, '/v\d{1,3}(/|$)', '/v*\1')
