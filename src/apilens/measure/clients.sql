-- What consumers of one environment were answered from $start on, of those that were refused three times within an hour since $since with one code,
-- and on more than one endpoint:
-- one row per (environment, consumer, bin, status code, endpoint) of their refusals, and one per (environment, consumer, bin) of all else.
-- Bots, scanners and health checks are left out.
WITH refused AS (
    SELECT consumer, status_code, service, method, route, epoch_us(start_time) // 60_000_000 AS minute, count(*) AS calls
    FROM calls
    WHERE environment IS NOT DISTINCT FROM $environment AND status_code IN (401, 403, 429) AND consumer IS NOT NULL AND synthetic_type IS NULL
      AND start_time >= $since AND start_time < $end
    GROUP BY ALL
), within_an_hour AS (
    SELECT consumer, sum(calls) OVER hour AS calls, min(hash(service, method, route)) OVER hour <> max(hash(service, method, route)) OVER hour AS several
    FROM refused
    WINDOW hour AS (PARTITION BY consumer, status_code ORDER BY minute RANGE BETWEEN 60 PRECEDING AND CURRENT ROW)
), asked AS (
    SELECT DISTINCT consumer FROM within_an_hour WHERE several AND calls >= 3
), answered AS (
    SELECT
        environment, consumer,
        CASE WHEN refusal THEN status_code END AS status_code,
        CASE WHEN refusal THEN service END AS service,
        CASE WHEN refusal THEN method END AS method,
        CASE WHEN refusal THEN route END AS route,
        minute, count(*) AS calls
    FROM (
        SELECT *, coalesce(status_code IN (401, 403, 429), false) AS refusal, epoch_us(start_time) // 60_000_000 AS minute
        FROM calls AS c
        SEMI JOIN asked AS a ON c.consumer = a.consumer
        WHERE environment IS NOT DISTINCT FROM $environment AND synthetic_type IS NULL AND start_time >= $start AND start_time < $end
    )
    GROUP BY ALL
)
SELECT
    r.environment,
    r.consumer,
    r.status_code,
    r.service,
    r.method,
    r.route,
    make_timestamptz(minute // 5 * 300_000_000) AS bin_start,
    [
        coalesce(sum(calls) FILTER (minute % 5 = 0), 0),
        coalesce(sum(calls) FILTER (minute % 5 = 1), 0),
        coalesce(sum(calls) FILTER (minute % 5 = 2), 0),
        coalesce(sum(calls) FILTER (minute % 5 = 3), 0),
        coalesce(sum(calls) FILTER (minute % 5 = 4), 0)
    ] AS minute_calls
FROM answered AS r
GROUP BY r.environment, r.consumer, r.status_code, r.service, r.method, r.route, minute // 5
