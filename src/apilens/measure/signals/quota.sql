-- Calls refused because the consumer had used up its share.
SELECT environment, service, method, route, consumer, start_time, request_id, status_code = 429 AS hit
FROM real_calls
