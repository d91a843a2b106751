-- Calls that the caller got wrong; a matter of teaching when many consumers do (least_consumers).
SELECT environment, service, method, route, consumer, start_time, request_id, status_code IN (400, 404, 405, 406, 409, 415, 422) AS hit
FROM real_calls
