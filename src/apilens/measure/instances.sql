-- Calls per gateway instance and 5 minutes: the node where the log names it, else the format of the log.
SELECT environment, coalesce(node, '') AS node, coalesce(gateway, '') AS gateway,
    time_bucket(INTERVAL 5 MINUTE, start_time) AS bin_start, count(*) AS calls
FROM calls
WHERE start_time >= $first AND start_time < $end
GROUP BY ALL
