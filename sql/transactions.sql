-- The index follows transactions: own rows are seen at once, rolled back ones never.

SET enable_seqscan = off;
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, ARRAY[i, i]::real[] FROM generate_series(1, 300) i;
CREATE INDEX t_v ON t USING vhnsw (v);

BEGIN;
INSERT INTO t VALUES (1001, '{50.1,50.1}');
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;
SAVEPOINT a;
INSERT INTO t VALUES (1002, '{60.1,60.1}');
DELETE FROM t WHERE id = 1001;
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;
SELECT id FROM t ORDER BY v <-> '{60.1,60.1}' LIMIT 1;
ROLLBACK TO a;
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;
SELECT id FROM t ORDER BY v <-> '{60.1,60.1}' LIMIT 1;
SAVEPOINT b;
INSERT INTO t VALUES (1003, '{1,2,3}');
ROLLBACK TO b;
RELEASE b;
COMMIT;
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;

BEGIN;
INSERT INTO t VALUES (1004, '{70.1,70.1}');
UPDATE t SET v = '{80.1,80.1}' WHERE id = 1001;
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '{70.1,70.1}' LIMIT 1;
SELECT id FROM t ORDER BY v <-> '{80.1,80.1}' LIMIT 1;

-- An insert that another constraint refuses leaves nothing to be found.
INSERT INTO t VALUES (1, '{90.1,90.1}');
INSERT INTO t VALUES (1, '{90.1,90.1}') ON CONFLICT (id) DO NOTHING;
INSERT INTO t VALUES (2, '{91.1,91.1}') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT id, v FROM t ORDER BY v <-> '{90.6,90.6}' LIMIT 3;

-- Index and table made, changed and dropped in one transaction.
BEGIN;
DROP INDEX t_v;
SET LOCAL enable_seqscan = on;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '{50,50}' LIMIT 1;
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;
BEGIN;
TRUNCATE t;
INSERT INTO t VALUES (1, '{1,2,3}');
SELECT id FROM t ORDER BY v <-> '{1,2,3}' LIMIT 1;
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '{50.1,50.1}' LIMIT 1;
BEGIN;
REINDEX INDEX t_v;
INSERT INTO t VALUES (1005, '{33.1,33.1}');
SELECT id FROM t ORDER BY v <-> '{33.1,33.1}' LIMIT 1;
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '{33.1,33.1}' LIMIT 1;
BEGIN;
CREATE TABLE brief (id int, v real[]);
CREATE INDEX ON brief USING vhnsw (v);
INSERT INTO brief VALUES (1, '{1,1}'), (2, '{2,2}');
SELECT id FROM brief ORDER BY v <-> '{2,2}' LIMIT 1;
ROLLBACK;

-- Two-phase commit.
BEGIN;
INSERT INTO t VALUES (2001, '{110.1,110.1}');
PREPARE TRANSACTION 'vecckpt_yes';
BEGIN;
INSERT INTO t VALUES (2002, '{120.1,120.1}');
PREPARE TRANSACTION 'vecckpt_no';
SELECT id FROM t ORDER BY v <-> '{110.1,110.1}' LIMIT 1;
SELECT vec_checkpoint('t_v');
COMMIT PREPARED 'vecckpt_yes';
ROLLBACK PREPARED 'vecckpt_no';
SELECT id FROM t ORDER BY v <-> '{110.1,110.1}' LIMIT 1;
SELECT id FROM t ORDER BY v <-> '{120.1,120.1}' LIMIT 1;
BEGIN;
CREATE TABLE prepared (id int, v real[]);
CREATE INDEX ON prepared USING vhnsw (v);
INSERT INTO prepared SELECT i, ARRAY[i]::real[] FROM generate_series(1, 20) i;
PREPARE TRANSACTION 'vecckpt_table';
COMMIT PREPARED 'vecckpt_table';
SELECT id FROM prepared ORDER BY v <-> '{7.1}' LIMIT 1;
DROP TABLE prepared;

-- Isolation levels and snapshots taken earlier.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT id FROM t ORDER BY v <-> '{110.1,110.1}' LIMIT 1;
INSERT INTO t VALUES (2003, '{130.1,130.1}');
SELECT id FROM t ORDER BY v <-> '{130.1,130.1}' LIMIT 1;
COMMIT;

-- Rows deleted and vacuumed are gone; their places are used again.
DELETE FROM t WHERE id BETWEEN 100 AND 200;
SELECT id FROM t ORDER BY v <-> '{150,150}' LIMIT 2;
VACUUM t;
SELECT id FROM t ORDER BY v <-> '{150,150}' LIMIT 2;
INSERT INTO t SELECT i, ARRAY[i, -i]::real[] FROM generate_series(100, 200) i;
SELECT id FROM t ORDER BY v <-> '{150,150}' LIMIT 2;
SELECT id FROM t ORDER BY v <-> '{150,-150}' LIMIT 1;
VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;
SELECT id FROM t ORDER BY v <-> '{150,-150}' LIMIT 1;
SELECT live_entries = (SELECT count(*) FROM t) AS all_live FROM vec_indexes WHERE index = 't_v'::regclass;
DELETE FROM t;
VACUUM t;
SELECT id FROM t ORDER BY v <-> '{150,-150}' LIMIT 1;
SELECT live_entries FROM vec_indexes WHERE index = 't_v'::regclass;
ANALYZE t;
DROP TABLE t;
