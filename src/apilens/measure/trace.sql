-- The calls of one request or one consumer (where calls name none: one client address) in a window, in the order in which they began; bots too: who asks names them. What
-- another gateway logged under the same request id or trace id belongs to it, also where that one does not know the consumer.
WITH near AS (
    SELECT * FROM calls
    WHERE ($first::TIMESTAMPTZ IS NULL OR start_time >= $first) AND ($last::TIMESTAMPTZ IS NULL OR start_time < $last)
),
named AS (
    SELECT request_id, trace_id FROM near WHERE request_id = $request OR trace_id = $request OR coalesce(consumer, client_ip) = $consumer
)
SELECT
    start_time, duration_ms, method, route, path, status_code, upstream_status_code, upstream_duration_ms,
    upstream_name, upstream_address, node, gateway, service, consumer, request_id, trace_id, response_flags,
    source_file, source_offset
FROM near
WHERE request_id = $request OR trace_id = $request OR coalesce(consumer, client_ip) = $consumer
   -- An id that somebody else sends as well says nothing about this consumer.
   OR (($consumer IS NULL OR consumer IS NULL)
       AND (request_id IN (SELECT request_id FROM named WHERE $consumer IS NOT NULL) OR trace_id IN (SELECT trace_id FROM named)))
ORDER BY start_time, duration_ms DESC NULLS LAST, source_file, source_offset
LIMIT $most
