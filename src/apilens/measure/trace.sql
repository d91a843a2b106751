-- The calls of one request or one consumer in a window, in the order in which they began; bots too: who asks names them.
SELECT
    start_time, duration_ms, method, route, path, status_code, upstream_status_code, upstream_duration_ms,
    upstream_name, upstream_address, node, gateway, service, consumer, request_id, trace_id, response_flags,
    source_file, source_offset
FROM calls
WHERE (request_id = $request OR trace_id = $request OR consumer = $consumer)
  AND ($first::TIMESTAMPTZ IS NULL OR start_time >= $first)
  AND ($last::TIMESTAMPTZ IS NULL OR start_time < $last)
ORDER BY start_time, duration_ms DESC NULLS LAST, source_file, source_offset
LIMIT $most
