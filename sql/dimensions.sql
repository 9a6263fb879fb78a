-- Dimensions: fixed by the first vector, 1 to 16000.

SET enable_seqscan = off;
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT dims FROM vec_indexes WHERE index = 't_v'::regclass;
-- An empty index takes a query of any length, and refuses what is no vector.
SELECT id FROM t ORDER BY v <-> '{1,2,3,4,5}' LIMIT 1;
SELECT id FROM t ORDER BY v <-> '{NaN}' LIMIT 1;
INSERT INTO t VALUES (1, '{1,2,3}');
SELECT dims FROM vec_indexes WHERE index = 't_v'::regclass;
INSERT INTO t VALUES (2, '{1,2}');
INSERT INTO t VALUES (2, '{1,2,3,4}');
UPDATE t SET v = '{1}';
\set VERBOSITY sqlstate
INSERT INTO t VALUES (2, '{1,2}');
SELECT id FROM t ORDER BY v <-> '{1,2}' LIMIT 1;
\set VERBOSITY default
SELECT id FROM t ORDER BY v <-> '{1,2}' LIMIT 1;

-- What cannot be a vector is refused; NULL is not indexed.
INSERT INTO t VALUES (3, '{}');
INSERT INTO t VALUES (3, '{{1,2,3}}');
INSERT INTO t VALUES (3, '{1,NULL,3}');
INSERT INTO t VALUES (3, '{1,NaN,3}');
INSERT INTO t VALUES (3, '{1,-Infinity,3}');
INSERT INTO t VALUES (4, NULL);
INSERT INTO t VALUES (5, '[-1:1]={4,5,6}');
SELECT id FROM t ORDER BY v <-> '{4,5,6}' LIMIT 3;
SELECT entries FROM vec_indexes WHERE index = 't_v'::regclass;

-- The dimensions survive the deletion of all rows; REINDEX of an empty table forgets them.
DELETE FROM t;
VACUUM t;
INSERT INTO t VALUES (6, '{1,2}');
REINDEX INDEX t_v;
INSERT INTO t VALUES (6, '{1,2}');
SELECT dims FROM vec_indexes WHERE index = 't_v'::regclass;
DROP TABLE t;

-- A build meets rows of two lengths.
CREATE TABLE mixed (id int, v real[]);
INSERT INTO mixed VALUES (1, '{1,2}'), (2, NULL), (3, '{1,2,3}');
CREATE INDEX ON mixed USING vhnsw (v);
CREATE INDEX mixed_v ON mixed USING vhnsw (v) WHERE cardinality(v) = 3;
SELECT dims, entries FROM vec_indexes WHERE index = 'mixed_v'::regclass;
DROP TABLE mixed;

-- An error of a build names the row and the index, and tells how to find all rows of its kind, whatever the names are.
CREATE SCHEMA "Odd names";
CREATE TABLE "Odd names"."my table" (id int, "my vector" real[]);
INSERT INTO "Odd names"."my table" VALUES (1, '{1,2}'), (2, '{1,NaN}'), (3, '{-Infinity,1}');
CREATE INDEX broken ON "Odd names"."my table" USING vhnsw ("my vector");
SELECT ctid FROM "Odd names"."my table" WHERE "my vector" && '{NaN,Infinity,-Infinity}';
CREATE INDEX CONCURRENTLY broken ON "Odd names"."my table" USING vhnsw ("my vector");
DROP TABLE "Odd names"."my table";
DROP SCHEMA "Odd names";
CREATE TABLE documents (id int, v real[]);
INSERT INTO documents VALUES (1, '{1,2}'), (2, '{1,NULL}'), (3, '{}'), (4, '{{1,2},{3,4}}'), (5, '{1,2,3}');
CREATE INDEX ON documents USING vhnsw ((v || '{}'));
SELECT ctid FROM documents WHERE num_nulls(VARIADIC (v || '{}')) > 0;
DELETE FROM documents WHERE id = 2;
CREATE INDEX ON documents USING vhnsw ((v || '{}'));
SELECT ctid FROM documents WHERE cardinality((v || '{}')) = 0;
DELETE FROM documents WHERE id = 3;
CREATE INDEX ON documents USING vhnsw ((v || '{}'));
SELECT ctid FROM documents WHERE array_ndims((v || '{}')) > 1;
DELETE FROM documents WHERE id = 4;
CREATE INDEX ON documents USING vhnsw ((v || '{}'));
SELECT cardinality((v || '{}')), count(*), min(ctid) FROM documents GROUP BY 1 ORDER BY 1;
DROP TABLE documents;

-- One dimension.
CREATE TABLE one (id int, v real[]);
INSERT INTO one SELECT i, ARRAY[i]::real[] FROM generate_series(1, 300) i;
CREATE INDEX ON one USING vhnsw (v);
SELECT id FROM one ORDER BY v <-> '{42.2}' LIMIT 3;
DROP TABLE one;

-- The most dimensions, built and inserted; and one more.
CREATE TABLE wide (id int, v real[]);
ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, array_fill(i::real, ARRAY[16000]) FROM generate_series(1, 20) i;
CREATE INDEX wide_v ON wide USING vhnsw (v);
INSERT INTO wide SELECT i, array_fill(i::real, ARRAY[16000]) FROM generate_series(21, 40) i;
SELECT array_agg(id) FROM (SELECT id FROM wide ORDER BY v <-> array_fill(25.25::real, ARRAY[16000]) LIMIT 3) n;
SELECT vec_checkpoint('wide_v');
SELECT array_agg(id) FROM (SELECT id FROM wide ORDER BY v <-> array_fill(25.25::real, ARRAY[16000]) LIMIT 3) n;
SELECT dims, entries, tail_length FROM vec_indexes WHERE index = 'wide_v'::regclass;
INSERT INTO wide VALUES (41, array_fill(1::real, ARRAY[16001]));
DROP INDEX wide_v;
INSERT INTO wide VALUES (41, array_fill(1::real, ARRAY[16001]));
CREATE INDEX ON wide USING vhnsw (v);
DROP TABLE wide;
