-- Indexes on temporary tables: the session builds their segments and keeps them for itself.
\pset null '(null)'
SET extra_float_digits = 0;

-- Files this session has mapped that have no name any more.
CREATE FUNCTION private_segments() RETURNS bigint LANGUAGE sql AS
    $$SELECT count(DISTINCT m[1]) FROM regexp_matches(pg_read_file('/proc/self/maps'), '(vector-ckpt/\S+) \(deleted\)', 'g') m$$;
-- Rows that index and table disagree about.
CREATE FUNCTION wrong_answers(query real[]) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off
    SET vhnsw.ef_search = 10000 SET vhnsw.iterative_scan = relaxed_order SET vhnsw.max_scan_tuples = 1000000 AS $$
DECLARE wrong bigint;
BEGIN
    SELECT count(*) INTO wrong
    FROM (SELECT id FROM t ORDER BY v <-> query) i FULL JOIN (SELECT id FROM t OFFSET 0) h USING (id)
    WHERE i.id IS NULL OR h.id IS NULL;
    RETURN wrong;
END $$;
CREATE FUNCTION vector(i int) RETURNS real[] LANGUAGE sql IMMUTABLE AS
    $$SELECT array_agg(sin(i * j)::real) FROM generate_series(1, 8) j$$;

CREATE TEMP TABLE t (id int, v real[]);
INSERT INTO t SELECT i, vector(i) FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT private_segments();
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 3;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
SELECT wrong_answers(vector(42));
SELECT * FROM vec_index_check('t_v', true);

-- Nobody else knows of it.
SELECT count(*) FROM vec_indexes WHERE index = 't_v'::regclass;
SELECT vec_checkpoint('t_v');
SELECT vec_stat_reset('t_v');
SELECT segments = private_segments() AS segments, segment_bytes > 0 AS segment_bytes FROM vec_prewarm('t_v');

-- Few new rows are scanned, many sealed by the next scan.
INSERT INTO t SELECT i, vector(i) FROM generate_series(5001, 5100) i;
SELECT id FROM t ORDER BY v <-> vector(5042) LIMIT 1;
SELECT private_segments();
INSERT INTO t SELECT i, vector(i) FROM generate_series(5101, 5500) i;
SELECT id FROM t ORDER BY v <-> vector(5442) LIMIT 1;
SELECT private_segments();
INSERT INTO t SELECT i, vector(i) FROM generate_series(5501, 9000) i;
SELECT id FROM t ORDER BY v <-> vector(8999) LIMIT 1;
SELECT private_segments();
SELECT wrong_answers(vector(7));
SELECT * FROM vec_index_check('t_v', true);

-- Deleted, updated, vacuumed.
DELETE FROM t WHERE id % 2 = 0;
UPDATE t SET v = vector(-id) WHERE id % 100 = 1;
SELECT wrong_answers(vector(7));
VACUUM t;
SELECT wrong_answers(vector(7));
SELECT private_segments();
SELECT * FROM vec_index_check('t_v', true);

-- A transaction's rows are found by itself, and not once it is rolled back.
BEGIN;
INSERT INTO t SELECT i, vector(i) FROM generate_series(20001, 21000) i;
SELECT id FROM t ORDER BY v <-> vector(20500) LIMIT 1;
SELECT wrong_answers(vector(7));
ROLLBACK;
SELECT id > 20000 AS rolled_back FROM t ORDER BY v <-> vector(20500) LIMIT 1;
SELECT wrong_answers(vector(7));

-- A cursor goes on over a rebuild; savepoints and truncation give files back.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> vector(7);
FETCH 1 FROM c;
INSERT INTO t SELECT i, vector(i) FROM generate_series(30001, 36000) i;
SELECT id FROM t ORDER BY v <-> vector(35999) LIMIT 1;
SELECT count(*) FROM t;
MOVE 20 FROM c;
CLOSE c;
SAVEPOINT s;
TRUNCATE t;
INSERT INTO t SELECT i, vector(i) FROM generate_series(1, 300) i;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
ROLLBACK TO s;
SELECT id FROM t ORDER BY v <-> vector(35999) LIMIT 1;
SELECT wrong_answers(vector(7));
COMMIT;
REINDEX INDEX t_v;
SELECT private_segments();
SELECT wrong_answers(vector(7));
TRUNCATE t;
SELECT private_segments();
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
INSERT INTO t SELECT i, vector(i) FROM generate_series(1, 300) i;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
SELECT private_segments();

-- What is dropped, or was never committed, gives its files back when a transaction ends.
DROP TABLE t;
SELECT private_segments();
BEGIN;
CREATE TEMP TABLE t ON COMMIT DROP AS SELECT i AS id, vector(i) AS v FROM generate_series(1, 5000) i;
CREATE INDEX ON t USING vhnsw (v real_cosine_ops) WITH (quantization = 'none');
SELECT private_segments();
SELECT id FROM t ORDER BY v <=> vector(42) LIMIT 1;
ROLLBACK;
BEGIN;
CREATE TEMP TABLE t (id int, v real[]) ON COMMIT DELETE ROWS;
CREATE INDEX t_v ON t USING vhnsw (v);
COMMIT;
SELECT private_segments();
BEGIN;
INSERT INTO t SELECT i, vector(i) FROM generate_series(1, 5000) i;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
SELECT private_segments();
COMMIT;
SELECT private_segments();
SELECT count(*) FROM t;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
BEGIN;
INSERT INTO t SELECT i, vector(i) FROM generate_series(1, 300) i;
SELECT id FROM t ORDER BY v <-> vector(42) LIMIT 1;
SELECT wrong_answers(vector(7));
COMMIT;
DROP TABLE t;
SELECT private_segments();
-- No file of theirs stays.
SELECT count(*) FROM pg_ls_dir('vector-ckpt') f WHERE f ~ '\.tmp$';
DROP FUNCTION private_segments(), wrong_answers(real[]), vector(int);
