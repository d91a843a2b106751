-- One row per endpoint. `measured` holds schema.SUMS rows of the window, `latencies` (endpoint, status_code, value_ms, n)
-- the durations: bucket estimates, or the logged values themselves when exact figures are asked for.
-- A percentile is the nearest rank: the smallest value with at least p * n values at or below it.
-- Apdex (Apdex Technical Specification 1.1, section 4): satisfied up to $apdex_ms, tolerating up to four times that;
-- a server error frustrates however quick it is.
WITH totals AS (
    SELECT
        environment, service, method, route,
        sum(calls)::BIGINT AS calls,
        coalesce(sum(calls) FILTER (status_code BETWEEN 500 AND 599), 0) / sum(calls) AS error_ratio,
        coalesce(sum(calls) FILTER (status_code BETWEEN 400 AND 499), 0) / sum(calls) AS client_error_ratio,
        least(sum(response_bytes), 9223372036854775807)::BIGINT AS response_bytes,
        min(first_seen) AS first_seen,
        max(last_seen) AS last_seen
    FROM measured
    GROUP BY ALL
), counted AS (
    SELECT environment, service, method, route, value_ms, sum(n) AS n,
        coalesce(sum(n) FILTER (status_code IS NULL OR status_code < 500), 0) AS without_error
    FROM latencies
    GROUP BY ALL
), ranked AS (
    SELECT *, sum(n) OVER upto AS rank, sum(n) OVER whole AS durations
    FROM counted
    WINDOW
        upto AS (PARTITION BY environment, service, method, route ORDER BY value_ms),
        whole AS (PARTITION BY environment, service, method, route)
), quantiles AS (
    SELECT
        environment, service, method, route,
        max(durations)::BIGINT AS durations,
        min(value_ms) FILTER (rank >= ceil(0.50 * durations)) AS p50_ms,
        min(value_ms) FILTER (rank >= ceil(0.90 * durations)) AS p90_ms,
        min(value_ms) FILTER (rank >= ceil(0.95 * durations)) AS p95_ms,
        min(value_ms) FILTER (rank >= ceil(0.99 * durations)) AS p99_ms,
        (coalesce(sum(without_error) FILTER (value_ms <= $apdex_ms), 0)
            + coalesce(sum(without_error) FILTER (value_ms > $apdex_ms AND value_ms <= 4 * $apdex_ms), 0) / 2
        ) / max(durations) AS apdex
    FROM ranked
    GROUP BY ALL
)
SELECT
    t.environment, t.service, t.method, t.route, t.calls, t.error_ratio, t.client_error_ratio,
    q.p50_ms, q.p90_ms, q.p95_ms, q.p99_ms, coalesce(q.durations, 0) AS durations, q.apdex,
    t.response_bytes, t.first_seen, t.last_seen
FROM totals AS t
LEFT JOIN quantiles AS q
  ON q.environment IS NOT DISTINCT FROM t.environment
 AND q.service IS NOT DISTINCT FROM t.service
 AND q.method IS NOT DISTINCT FROM t.method
 AND q.route IS NOT DISTINCT FROM t.route
ORDER BY t.calls DESC, t.environment, t.service NULLS FIRST, t.method NULLS FIRST, t.route NULLS FIRST
