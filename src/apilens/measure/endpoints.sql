-- One row per endpoint. `totals` holds what adds up, see totals.sql; `latencies` (id of an endpoint, failed: whether the server failed,
-- value_ms, n) the durations: bucket estimates, or the logged values themselves when exact figures are asked for.
-- A percentile is the nearest rank: the smallest value with at least p * n values at or below it.
-- Apdex (Apdex Technical Specification 1.1, section 4): satisfied up to $apdex_ms, tolerating up to four times that;
-- a server error frustrates however quick it is.
WITH latencies AS (
    {latencies}
), counted AS (
    SELECT id, value_ms, sum(n) AS n, coalesce(sum(n) FILTER (NOT failed), 0) AS without_error
    FROM latencies
    GROUP BY ALL
), ranked AS (
    SELECT *, sum(n) OVER upto AS rank, sum(n) OVER whole AS durations
    FROM counted
    WINDOW
        upto AS (PARTITION BY id ORDER BY value_ms),
        whole AS (PARTITION BY id)
), quantiles AS (
    SELECT
        id,
        max(durations)::BIGINT AS durations,
        min(value_ms) FILTER (rank >= ceil(0.50 * durations)) AS p50_ms,
        min(value_ms) FILTER (rank >= ceil(0.90 * durations)) AS p90_ms,
        min(value_ms) FILTER (rank >= ceil(0.95 * durations)) AS p95_ms,
        min(value_ms) FILTER (rank >= ceil(0.99 * durations)) AS p99_ms,
        min(value_ms) FILTER (rank >= ceil(0.999 * durations)) AS p999_ms,
        (coalesce(sum(without_error) FILTER (value_ms <= $apdex_ms), 0)
            + coalesce(sum(without_error) FILTER (value_ms > $apdex_ms AND value_ms <= 4 * $apdex_ms), 0) / 2
        ) / max(durations) AS apdex
    FROM ranked
    GROUP BY ALL
)
SELECT
    t.environment, t.service, t.method, t.route, t.calls, t.error_ratio, t.client_error_ratio,
    q.p50_ms, q.p90_ms, q.p95_ms, q.p99_ms, q.p999_ms, coalesce(q.durations, 0) AS durations, q.apdex,
    t.response_bytes, t.first_seen, t.last_seen
FROM totals AS t
LEFT JOIN quantiles AS q ON q.id = t.id
ORDER BY t.calls DESC, t.environment, t.service NULLS FIRST, t.method NULLS FIRST, t.route NULLS FIRST
