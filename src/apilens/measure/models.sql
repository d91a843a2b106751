-- One row per (endpoint, provider, model) of calls that went to a model, in a window; bots, scanners and health checks are left out unless
-- $synthetic. A call is one of a model when its gateway logged provider, model or tokens.
-- tokens_per_call: over the calls whose tokens were logged; a call with only one of the two counts with that one.
-- A percentile is the nearest rank: the smallest value with at least p * n values at or below it.
SELECT
    environment, service, method, route,
    gen_ai_provider AS provider,
    gen_ai_request_model AS model,
    count(*) AS calls,
    count(*) FILTER (status_code BETWEEN 500 AND 599) / count(*) AS error_ratio,
    count(*) FILTER (status_code = 429) / count(*) AS rate_limited_ratio,
    sum(gen_ai_usage_input_tokens) AS input_tokens,
    sum(gen_ai_usage_output_tokens) AS output_tokens,
    count(coalesce(gen_ai_usage_input_tokens, gen_ai_usage_output_tokens)) AS counted,
    (coalesce(sum(gen_ai_usage_input_tokens), 0) + coalesce(sum(gen_ai_usage_output_tokens), 0))
        / nullif(count(coalesce(gen_ai_usage_input_tokens, gen_ai_usage_output_tokens)), 0) AS tokens_per_call,
    quantile_disc(duration_ms, 0.50) AS p50_ms,
    quantile_disc(duration_ms, 0.95) AS p95_ms,
    count(duration_ms) AS durations,
    min(start_time) AS first_seen,
    max(start_time) AS last_seen
FROM calls
WHERE {window}
  AND ($synthetic OR synthetic_type IS NULL)
  AND coalesce(gen_ai_provider, gen_ai_request_model, gen_ai_usage_input_tokens::VARCHAR, gen_ai_usage_output_tokens::VARCHAR) IS NOT NULL
GROUP BY ALL
ORDER BY calls DESC, provider NULLS LAST, model NULLS LAST, environment, service NULLS FIRST, method NULLS FIRST, route NULLS FIRST
