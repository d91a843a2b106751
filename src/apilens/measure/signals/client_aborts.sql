-- The caller hung up before the answer came: 499 as NGINX writes it, 460 of AWS load balancers, DC of Envoy.
SELECT environment, service, method, route, consumer, start_time, request_id,
       status_code IN (460, 499) OR list_contains(string_split(coalesce(response_flags, ''), ','), 'DC') AS hit
FROM real_calls
