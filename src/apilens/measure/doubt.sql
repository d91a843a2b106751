-- Endpoints whose calls and histograms do not tell the same: all of them where a unit has no rollups yet (its run died, or has not
-- come to them), those of one hash, those with a duration within rounding of a bucket's edge.
CREATE OR REPLACE TEMP TABLE doubt AS
WITH told AS (
    SELECT id, failed, sum(n) AS n FROM buckets SEMI JOIN wanted USING (id, bucket) GROUP BY ALL
), seen AS (
    SELECT id, failed, sum(n) AS n FROM logged GROUP BY ALL
)
SELECT DISTINCT id FROM told FULL JOIN seen USING (id, failed) WHERE told.n IS DISTINCT FROM seen.n
UNION
SELECT id FROM totals
WHERE (SELECT count(*) FROM calls) IS DISTINCT FROM (SELECT sum(calls) FROM ({measured}));

DELETE FROM buckets WHERE id IN (FROM doubt);

-- Of those every duration counts, whatever it is.
DELETE FROM logged WHERE id IN (FROM doubt);

INSERT INTO logged
SELECT t.id, {failed} AS failed, duration_ms AS value_ms, count(*) AS n
FROM calls AS c
JOIN totals AS t
  ON t.environment IS NOT DISTINCT FROM c.environment
 AND t.service IS NOT DISTINCT FROM c.service
 AND t.method IS NOT DISTINCT FROM c.method
 AND t.route IS NOT DISTINCT FROM c.route
WHERE {condition} AND t.id IN (FROM doubt)
GROUP BY ALL
