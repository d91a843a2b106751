-- How far the calls of a window can be trusted to speak for people: shares 0..1 of its calls, null without calls.
-- identity_coverage: calls whose consumer is known, of those that are taken for real use. "412 hit" is fiction behind NAT.
SELECT
    count(*) FILTER (consumer IS NOT NULL AND synthetic_type IS NULL)
        / nullif(count(*) FILTER (synthetic_type IS NULL), 0) AS identity_coverage,
    count(*) FILTER (synthetic_type IS NOT NULL) / nullif(count(*), 0) AS synthetic_share,
    count(*) FILTER (parse_status = 'malformed_request') AS malformed_requests,
    count(*) FILTER (status_code IS NULL) AS without_status
FROM calls
WHERE {window}
