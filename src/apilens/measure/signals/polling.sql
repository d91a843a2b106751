-- One consumer asks for one and the same thing at least six times a minute for ten minutes, and gets the same size of answer.
SELECT c.environment, c.service, c.method, c.route, c.consumer, c.start_time, c.request_id, s.consumer IS NOT NULL AS hit
FROM real_calls AS c
LEFT JOIN (
    SELECT environment, consumer, path, time_bucket(INTERVAL 10 MINUTE, start_time) AS bucket
    FROM real_calls
    WHERE consumer IS NOT NULL AND method = 'GET' AND status_code < 400
    GROUP BY ALL
    HAVING count(*) >= 60 AND count(DISTINCT coalesce(response_bytes, response_body_bytes)) <= 0.1 * count(*) + 1
) AS s
ON s.environment = c.environment AND s.consumer = c.consumer AND s.path = c.path
   AND s.bucket = time_bucket(INTERVAL 10 MINUTE, c.start_time) AND c.method = 'GET' AND c.status_code < 400
