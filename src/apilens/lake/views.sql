-- What people query. {calls}, {rollups}, {rejects}, {ingests}, {metrics} are the committed files of each table, or an empty relation.
-- {sums} are rows of schema.SUMS, for what counts whole days: of day files and of the bins that those do not hold.
-- {merged_c} and its like join parts.route_merges(service, route, merged_route), the learned merges, which are applied here on every read, as
-- m; {route_c} is the route after them. Without any, the stored route is left alone: Parquet's dictionary of it then goes all the way, and
-- grouping ten million calls by endpoint takes half the time.
CREATE VIEW calls AS
SELECT
    c.* REPLACE (
        {route_c} AS route,
        coalesce(c.url, c.path || coalesce('?' || c.query, '')) AS url,
        CASE WHEN c.request_line = '' THEN
            c.method || ' ' || coalesce(c.url, c.path || coalesce('?' || c.query, '')) || ' HTTP/'
            || CASE c.http_version WHEN '2' THEN '2.0' WHEN '3' THEN '3.0' ELSE c.http_version END
        ELSE c.request_line END AS request_line
    )
FROM {calls} AS c {merged_c};

CREATE VIEW rollups AS
SELECT r.* REPLACE ({route_r} AS route)
FROM {rollups} AS r {merged_r};

CREATE VIEW sums AS
SELECT s.* REPLACE ({route_s} AS route)
FROM {sums} AS s {merged_s};

-- Rows of 0.1.0 have no record and no record_lines: each record was a line.
CREATE VIEW rejects AS
SELECT r.* REPLACE (coalesce(r.record, 0) AS record) FROM {rejects} AS r
JOIN parts.attempts AS a ON a.unit_id = r.unit_id AND a.attempt = r.attempt
WHERE r.resolves_unit_id IS NULL
  AND NOT EXISTS (
      SELECT 1 FROM {rejects} AS done
      JOIN parts.attempts AS b ON b.unit_id = done.unit_id AND b.attempt = done.attempt
      WHERE done.resolves_unit_id = r.unit_id AND done.source_offset = r.source_offset
        AND coalesce(done.record, 0) = coalesce(r.record, 0)
  );

CREATE VIEW ingests AS
SELECT i.* REPLACE (coalesce(i.record_lines, i.read) AS record_lines) FROM {ingests} AS i
JOIN parts.attempts AS a ON a.unit_id = i.unit_id AND a.attempt = i.attempt;

CREATE VIEW metrics AS SELECT * FROM {metrics};
