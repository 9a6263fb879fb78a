-- vec_checkpoint: what it returns, what it refuses, who may call it.

CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, ARRAY[i, i % 17]::real[] FROM generate_series(1, 1000) i;

SELECT vec_checkpoint('t_v');
SELECT coverage >= 1000 AS covered, tail_length, segments > 0 AS has_segments, durable_generation > 0 AS durable,
       file_bytes > 0 AS has_files, last_error, last_checkpoint IS NOT NULL AS has_time,
       last_checkpoint_lsn IS NOT NULL AS has_lsn
FROM vec_indexes WHERE index = 't_v'::regclass;
SELECT sum(entries) AS entries, min(first_position), bool_and(end_position > first_position) AS ranges
FROM vec_segments WHERE index = 't_v'::regclass;

-- Again without a change, after few rows (a tail far too short for the builder), and of all indexes.
SELECT vec_checkpoint('t_v');
INSERT INTO t VALUES (1001, '{1001,1}');
SELECT tail_length FROM vec_indexes WHERE index = 't_v'::regclass;
SELECT vec_checkpoint() >= 1 AS some;
SELECT tail_length, durable_generation > 0 AS durable FROM vec_indexes WHERE index = 't_v'::regclass;
CHECKPOINT;
SET enable_seqscan = off;
SELECT id FROM t ORDER BY v <-> '{1001,1}' LIMIT 1;

-- An empty index.
CREATE TABLE nothing (v real[]);
CREATE INDEX nothing_v ON nothing USING vhnsw (v);
SELECT vec_checkpoint('nothing_v');

-- Rows of a transaction that is still open are entries too; they count as invisible until it commits.
BEGIN;
INSERT INTO nothing VALUES ('{1,2}');
SELECT vec_checkpoint('nothing_v');
ROLLBACK;
SELECT v FROM nothing ORDER BY v <-> '{1,2}' LIMIT 1;

-- Not an index of ours, or nothing at all.
SELECT vec_checkpoint('t');
CREATE INDEX t_id ON t (id);
SELECT vec_checkpoint('t_id');
SELECT vec_checkpoint('no_such_index');
SELECT vec_checkpoint(0);
SELECT vec_checkpoint(NULL) IS NULL AS strict;

-- What a concurrent build leaves that failed in the table, and one that failed when it had a log. Neither is locked, and
-- there is room in shared memory.
CREATE TABLE uneven (v real[]);
INSERT INTO uneven VALUES ('{1,2}'), ('{1,2,3}');
CREATE INDEX CONCURRENTLY uneven_v ON uneven USING vhnsw (v);
CREATE INDEX t_failed ON t USING vhnsw (v);
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 't_failed'::regclass;
SELECT index, entries, state, last_error FROM vec_indexes WHERE index IN ('uneven_v'::regclass, 't_failed'::regclass) ORDER BY 1;
SELECT vec_checkpoint('uneven_v');
SELECT vec_checkpoint('t_failed');
SELECT vec_checkpoint() >= 1 AS some;
DROP INDEX uneven_v, t_failed;

-- In a read-only transaction: it writes nothing that belongs to the database.
BEGIN READ ONLY;
SELECT vec_checkpoint('t_v');
ROLLBACK;

-- Privileges.
CREATE ROLE regress_vecckpt_user;
GRANT SELECT ON t TO regress_vecckpt_user;
SET ROLE regress_vecckpt_user;
SELECT vec_checkpoint();
SELECT vec_checkpoint('t_v');
SELECT index, entries FROM vec_indexes WHERE index = 't_v'::regclass;
RESET ROLE;
GRANT pg_checkpoint TO regress_vecckpt_user;
SET ROLE regress_vecckpt_user;
SELECT vec_checkpoint() >= 1 AS some;
SELECT vec_checkpoint('t_v');
RESET ROLE;
DROP TABLE t, nothing, uneven;
DROP ROLE regress_vecckpt_user;
