-- What clients without identity that were refused somewhere met elsewhere: one row per (environment, client, endpoint, status code, minute) of
-- their refusals, and one per (environment, client, endpoint, hour) in which they were answered, with or without a name, where they were
-- refused as well: a client behind one address may be answered on all of ten thousand endpoints.
-- `asked` holds one half-open window of one endpoint and status code per row.
WITH numbered AS NOT MATERIALIZED (  -- else every call of all these days is kept in memory
    SELECT
        *,
        -- The last number of an address changes from call to call (also in ::ffff:192.0.2.7); of an IPv6 address the last 64 bits do,
        -- in which `::` stands for as many zeros as are missing of eight groups.
        CASE
            WHEN client_ip LIKE '%:%' AND client_ip NOT LIKE '%.%' THEN array_to_string((
                list_resize(
                    string_split(split_part(client_ip, '::', 1), ':'),
                    greatest(8 - len(string_split(split_part(client_ip, '::', 2), ':')), 0), '0'
                ) || string_split(split_part(client_ip, '::', 2), ':')
            )[:4], ':')
            ELSE rtrim(client_ip, '0123456789')
        END AS block
    FROM calls
    WHERE start_time >= $first AND start_time < $last
), clients AS (
    SELECT DISTINCT c.environment, c.user_agent, c.block
    FROM numbered AS c
    JOIN asked AS a
      ON c.start_time >= a."start"
     AND c.start_time < a."end"
     AND c.status_code = a.status_code
     AND c.environment IS NOT DISTINCT FROM a.environment
     AND c.service IS NOT DISTINCT FROM a.service
     AND c.method IS NOT DISTINCT FROM a.method
     AND c.route IS NOT DISTINCT FROM a.route
    WHERE c.consumer IS NULL AND c.synthetic_type IS NULL AND coalesce(c.client_ip, c.user_agent) IS NOT NULL
), refused AS MATERIALIZED (
    SELECT
        c.environment, c.block, c.user_agent, c.service, c.method, c.route, c.status_code AS refused,
        c.synthetic_type IS NOT NULL AS probe, date_trunc('minute', c.start_time) AS minute, count(*) AS calls
    FROM numbered AS c
    SEMI JOIN clients AS s
      ON c.environment IS NOT DISTINCT FROM s.environment
     AND c.user_agent IS NOT DISTINCT FROM s.user_agent
     AND c.block IS NOT DISTINCT FROM s.block
    WHERE c.consumer IS NULL AND c.status_code IN (401, 403, 404) AND coalesce(c.synthetic_type, 'scanner') = 'scanner'
    GROUP BY ALL
), met AS (
    SELECT DISTINCT environment, block, user_agent, service, method, route FROM refused
), answered AS (
    SELECT
        c.environment, c.block, c.user_agent, c.service, c.method, c.route, NULL AS refused,
        false AS probe, min(date_trunc('minute', c.start_time)) AS minute, count(*) AS calls
    FROM numbered AS c
    SEMI JOIN met AS m
      ON c.environment IS NOT DISTINCT FROM m.environment
     AND c.user_agent IS NOT DISTINCT FROM m.user_agent
     AND c.block IS NOT DISTINCT FROM m.block
     AND c.service IS NOT DISTINCT FROM m.service
     AND c.method IS NOT DISTINCT FROM m.method
     AND c.route IS NOT DISTINCT FROM m.route
    WHERE c.status_code < 400 AND c.synthetic_type IS NULL
    GROUP BY
        c.environment, c.block, c.user_agent, c.service, c.method, c.route, date_trunc('hour', c.start_time)
)
SELECT environment, concat_ws(' ', block, user_agent) AS client, service, method, route, refused, probe, minute, calls
FROM (SELECT * FROM refused UNION ALL SELECT * FROM answered)
