-- How often each endpoint answered what.
SELECT environment, service, method, route, status_code, count(*) AS calls
FROM calls
WHERE synthetic_type IS NULL
GROUP BY ALL
ORDER BY calls DESC, environment, service, method, route, status_code
