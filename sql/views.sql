-- The views: columns, and the values that do not depend on time.

\d vec_indexes
\d vec_segments
\d vec_stat
\d vec_progress

CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, ARRAY[i, i % 17, i % 5]::real[] FROM generate_series(1, 500) i;
CREATE INDEX t_v ON t USING vhnsw (v real_cosine_ops) WITH (m = 8, ef_construction = 32);

-- CREATE INDEX leaves everything sealed.
SELECT index, "table", database = current_database() AS here, identity ~ '^[0-9a-f]{16}$' AS identity, metric, dims, m,
       ef_construction, entries, live_entries, tail_length, segments, last_error, warning
FROM vec_indexes WHERE index = 't_v'::regclass;
SELECT kind, nodes <= entries AS shared, entries, orphans FROM vec_segments WHERE index = 't_v'::regclass;

INSERT INTO t VALUES (501, '{1,2,3}'), (502, NULL), (503, '{0,0,0}');
SELECT entries, live_entries, tail_length FROM vec_indexes WHERE index = 't_v'::regclass;
DELETE FROM t WHERE id <= 100;
VACUUM t;
SELECT entries, live_entries FROM vec_indexes WHERE index = 't_v'::regclass;

-- Counters only grow.
CREATE TEMP TABLE before AS SELECT * FROM vec_stat WHERE index = 't_v'::regclass;
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> '{1,2,3}' LIMIT 10) n;
SELECT s.searches - b.searches AS searches, s.emitted - b.emitted >= 10 AS emitted,
       s.distances > b.distances AS distances, s.tail_scanned > b.tail_scanned AS tail_scanned,
       s.reranked >= b.reranked AS reranked,
       s.segments_searched - b.segments_searched AS segments_searched, s.set_aside
FROM vec_stat s JOIN before b USING (index);
DROP TABLE before;

-- A table is named by its schema where needed; a dropped index leaves the views.
CREATE SCHEMA elsewhere;
ALTER TABLE t SET SCHEMA elsewhere;
SELECT index, "table" FROM vec_indexes WHERE index::text LIKE '%t\_v';
DROP SCHEMA elsewhere CASCADE;
SELECT count(*) FROM vec_indexes WHERE index::text LIKE '%t\_v';
