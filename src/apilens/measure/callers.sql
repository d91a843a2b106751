-- Who calls most. A caller is the consumer, where calls name none the client address.
SELECT
    coalesce(consumer, client_ip) AS caller,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code >= 500) AS errors
FROM calls
WHERE synthetic_type IS NULL
GROUP BY caller
ORDER BY calls DESC, caller
LIMIT $most
