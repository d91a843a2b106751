-- One row per endpoint: what adds up of schema.SUMS rows, and a number to know it by. Durations are added up by number, not by
-- name: there are a hundred times as many of them as of endpoints.
SELECT
    environment, service, method, route,
    (row_number() OVER ())::INTEGER AS id,
    sum(calls)::BIGINT AS calls,
    coalesce(sum(calls) FILTER (status_code BETWEEN 500 AND 599), 0) / sum(calls) AS error_ratio,
    coalesce(sum(calls) FILTER (status_code BETWEEN 400 AND 499), 0) / sum(calls) AS client_error_ratio,
    least(sum(response_bytes), 9223372036854775807)::BIGINT AS response_bytes,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM ({measured})
GROUP BY environment, service, method, route
