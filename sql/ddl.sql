-- What can be indexed, what not, and how the index follows its table.

CREATE TABLE t (id int, kind int, v real[], d double precision[], n int[]);
INSERT INTO t SELECT i, i % 3, ARRAY[i, i + 1]::real[], ARRAY[i, i + 1], ARRAY[i, i + 1] FROM generate_series(1, 300) i;

-- Refused.
CREATE INDEX ON t USING vhnsw (v, v);
CREATE INDEX ON t USING vhnsw (v, id);
CREATE UNIQUE INDEX ON t USING vhnsw (v);
CREATE INDEX ON t USING vhnsw (v) INCLUDE (id);
CREATE INDEX ON t USING vhnsw (v DESC);
CREATE INDEX ON t USING vhnsw (v NULLS FIRST);
CREATE INDEX ON t USING vhnsw (id);
CREATE INDEX ON t USING vhnsw (d);
CREATE INDEX ON t USING vhnsw (n real_l2_ops);
CREATE INDEX ON t USING vhnsw (v array_ops);
CREATE INDEX ON t USING btree (v real_l2_ops);
\set VERBOSITY sqlstate
ALTER TABLE t ADD EXCLUDE USING vhnsw (v WITH <->);
\set VERBOSITY default
CREATE INDEX t_v ON t USING vhnsw (v);
CLUSTER t USING t_v;
DROP INDEX t_v;

-- Expressions and conditions.
SET enable_seqscan = off;
CREATE INDEX t_cast ON t USING vhnsw ((d::real[]));
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY d::real[] <-> '{42,43}' LIMIT 2;
SELECT id FROM t ORDER BY d::real[] <-> '{42.1,43.1}' LIMIT 2;
CREATE INDEX t_partial ON t USING vhnsw (v) WHERE kind = 1;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE kind = 1 ORDER BY v <-> '{42,43}' LIMIT 2;
SELECT id FROM t WHERE kind = 1 ORDER BY v <-> '{42.1,43.1}' LIMIT 2;
UPDATE t SET kind = 1 WHERE id = 42;
SELECT id FROM t WHERE kind = 1 ORDER BY v <-> '{42.1,43.1}' LIMIT 2;
SELECT index, entries FROM vec_indexes WHERE "table" = 't'::regclass ORDER BY index::text;
DROP INDEX t_cast, t_partial;

-- Changes of the table.
CREATE INDEX t_v ON t USING vhnsw (v);
ALTER TABLE t ADD COLUMN extra text DEFAULT 'x';
ALTER TABLE t DROP COLUMN n;
ALTER INDEX t_v RENAME TO t_vectors;
ALTER TABLE t RENAME COLUMN v TO w;
SELECT id FROM t ORDER BY w <-> '{42.1,43.1}' LIMIT 2;
ALTER TABLE t RENAME COLUMN w TO v;
ALTER TABLE t ALTER COLUMN v TYPE real[] USING ARRAY[v[2], v[1]];
SELECT id FROM t ORDER BY v <-> '{43.1,42.1}' LIMIT 2;
ALTER TABLE t ALTER COLUMN v TYPE double precision[];
VACUUM FULL t;
SELECT id FROM t ORDER BY v <-> '{43.1,42.1}' LIMIT 2;
CREATE TABLE copied (LIKE t INCLUDING ALL);
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'copied'::regclass;
DROP TABLE copied;
REINDEX INDEX t_vectors;
REINDEX TABLE t;
REINDEX INDEX CONCURRENTLY t_vectors;
REINDEX TABLE CONCURRENTLY t;
SELECT id FROM t ORDER BY v <-> '{43.1,42.1}' LIMIT 2;
CREATE INDEX CONCURRENTLY t_second ON t USING vhnsw (v real_l1_ops);
SELECT indexrelid::regclass, indisvalid, indisready FROM pg_index WHERE indrelid = 't'::regclass ORDER BY indexrelid::regclass::text;
SELECT id FROM t ORDER BY v <+> '{43.1,42.1}' LIMIT 2;
DROP INDEX CONCURRENTLY t_second;
TRUNCATE t;
SELECT id FROM t ORDER BY v <-> '{43.1,42.1}' LIMIT 2;
INSERT INTO t (id, v) VALUES (1, '{1,2,3}');
SELECT id FROM t ORDER BY v <-> '{1,2,3}' LIMIT 2;
DROP TABLE t;

-- Partitions.
CREATE TABLE parted (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
INSERT INTO parted SELECT i, ARRAY[i, i]::real[] FROM generate_series(0, 99) i;
CREATE INDEX parted_v ON parted USING vhnsw (v);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT i, ARRAY[i, i]::real[] FROM generate_series(100, 199) i;
CREATE TABLE parted_3 (id int, v real[]);
INSERT INTO parted_3 SELECT i, ARRAY[i, i]::real[] FROM generate_series(200, 299) i;
ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES FROM (200) TO (300);
EXPLAIN (COSTS OFF) SELECT id FROM parted ORDER BY v <-> '{99.6,99.6}' LIMIT 4;
SELECT id FROM parted ORDER BY v <-> '{99.6,99.6}' LIMIT 4;
SELECT index, "table", entries FROM vec_indexes WHERE "table"::text LIKE 'parted%' ORDER BY index::text;
ALTER TABLE parted DETACH PARTITION parted_1;
SELECT id FROM parted ORDER BY v <-> '{99.6,99.6}' LIMIT 2;
DROP TABLE parted, parted_1;

-- Inheritance and foreign keys do not get in the way.
CREATE TABLE parent (id int PRIMARY KEY, v real[]);
CREATE TABLE child () INHERITS (parent);
CREATE INDEX ON parent USING vhnsw (v);
CREATE INDEX ON child USING vhnsw (v);
INSERT INTO parent SELECT i, ARRAY[i]::real[] FROM generate_series(1, 50) i;
INSERT INTO child SELECT i, ARRAY[i]::real[] FROM generate_series(51, 100) i;
SELECT id FROM parent ORDER BY v <-> '{50.6}' LIMIT 3;
DROP TABLE parent, child;

-- Unlogged tables, and back and forth.
CREATE UNLOGGED TABLE u (id int, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v);
INSERT INTO u SELECT i, ARRAY[i, i]::real[] FROM generate_series(1, 300) i;
SELECT id FROM u ORDER BY v <-> '{42.1,42.1}' LIMIT 2;
ALTER TABLE u SET LOGGED;
SELECT id FROM u ORDER BY v <-> '{42.1,42.1}' LIMIT 2;
ALTER TABLE u SET UNLOGGED;
SELECT id FROM u ORDER BY v <-> '{42.1,42.1}' LIMIT 2;
TRUNCATE u;
INSERT INTO u VALUES (1, '{1}');
SELECT id FROM u ORDER BY v <-> '{1}' LIMIT 2;
DROP TABLE u;

-- Materialized views and tables filled by a query.
CREATE TABLE source AS SELECT i AS id, ARRAY[i, -i]::real[] AS v FROM generate_series(1, 100) i;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM source;
CREATE INDEX ON mv USING vhnsw (v);
INSERT INTO source VALUES (101, '{0,0}');
SELECT id FROM mv ORDER BY v <-> '{0,0}' LIMIT 1;
REFRESH MATERIALIZED VIEW mv;
SELECT id FROM mv ORDER BY v <-> '{0,0}' LIMIT 1;
DROP TABLE source CASCADE;
