-- vec_index_check: an index in every state it can be in has no findings; what cannot be checked is refused.

CREATE FUNCTION vectors(first int, last int, dims int) RETURNS TABLE (id int, v real[]) LANGUAGE sql AS $$
    SELECT i, ARRAY(SELECT (sin(i * d) * 100)::real FROM generate_series(1, dims) d) FROM generate_series(first, last) i
$$;

-- Empty, with dims known or not; the tail alone; sealed; both.
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE INDEX t_dims ON t USING vhnsw (v) WITH (dims = 12);
SELECT * FROM vec_index_check('t_v');
SELECT * FROM vec_index_check('t_dims', true);
INSERT INTO t SELECT * FROM vectors(1, 100, 12);
SELECT * FROM vec_index_check('t_v', heapallindexed => true);
SELECT vec_checkpoint('t_v');
SELECT * FROM vec_index_check('t_v', true);
INSERT INTO t SELECT * FROM vectors(101, 900, 12);
SELECT * FROM vec_index_check('t_v', true);
SELECT * FROM vec_index_check('t_dims', true);
DROP INDEX t_dims;

-- Rows that are not in an index; entries of rows that were rolled back, deleted, updated with and without a new entry.
INSERT INTO t VALUES (901, NULL);
BEGIN;
INSERT INTO t SELECT * FROM vectors(1001, 1050, 12);
SELECT * FROM vec_index_check('t_v', true);
ROLLBACK;
ALTER TABLE t ADD COLUMN note text;
UPDATE t SET note = 'hot' WHERE id % 7 = 0;
UPDATE t SET note = 'and again' WHERE id % 14 = 0;
UPDATE t SET v[1] = 0 WHERE id % 11 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT * FROM vec_index_check('t_v', true);
VACUUM t;
SELECT * FROM vec_index_check('t_v', true);
SELECT vec_checkpoint('t_v');
SELECT * FROM vec_index_check('t_v', true);
-- Extents that are free, and taken again.
DELETE FROM t;
VACUUM t;
SELECT * FROM vec_index_check('t_v', true);
INSERT INTO t SELECT * FROM vectors(1, 2000, 12);
SELECT * FROM vec_index_check('t_v', true);
REINDEX INDEX t_v;
SELECT * FROM vec_index_check('t_v', true);
TRUNCATE t;
SELECT * FROM vec_index_check('t_v', true);

-- A row of its own transaction, in a snapshot that stays.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO t SELECT * FROM vectors(1, 10, 12);
SELECT * FROM vec_index_check('t_v', true);
COMMIT;

-- Every metric and code kind, zero vectors, a graph, an expression, a predicate, long vectors.
CREATE TABLE k AS SELECT * FROM vectors(1, 4200, 12);
INSERT INTO k VALUES (0, array_fill(0::real, ARRAY[12]));
CREATE INDEX k_l2 ON k USING vhnsw (v) WITH (m = 8, ef_construction = 16);
CREATE INDEX k_ip ON k USING vhnsw (v real_ip_ops) WITH (m = 4, ef_construction = 8, quantization = sq4);
CREATE INDEX k_cosine ON k USING vhnsw (v real_cosine_ops) WITH (m = 4, ef_construction = 8);
CREATE INDEX k_l1 ON k USING vhnsw (v real_l1_ops) WITH (m = 4, ef_construction = 8);
CREATE INDEX k_none ON k USING vhnsw (v) WITH (m = 4, ef_construction = 8, quantization = none);
CREATE INDEX k_expression ON k USING vhnsw ((v[1:3])) WITH (m = 4, ef_construction = 8);
CREATE INDEX k_partial ON k USING vhnsw (v) WHERE id % 3 = 0;
INSERT INTO k SELECT * FROM vectors(4201, 4300, 12);
CREATE UNLOGGED TABLE l AS SELECT * FROM vectors(1, 40, 5000);
CREATE INDEX l_v ON l USING vhnsw (v);
INSERT INTO l SELECT * FROM vectors(41, 50, 5000);
SELECT i.index, c.* FROM vec_indexes i LEFT JOIN LATERAL vec_index_check(i.index, true) c ON true
WHERE i."table" IN ('k'::regclass, 'l'::regclass) ORDER BY i.index::text;

-- What is not a vhnsw index, or not one that can be checked.
SELECT * FROM vec_index_check('t');
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX t_id ON t (id);
SELECT * FROM vec_index_check('t_id');
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE parts (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE INDEX parts_v ON parts USING vhnsw (v);
SELECT * FROM vec_index_check('parts_v');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM vec_index_check('part_v_idx', true);
SELECT * FROM vec_index_check(0);
\echo :LAST_ERROR_SQLSTATE
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_v'::regclass;
SELECT * FROM vec_index_check('t_v');
\echo :LAST_ERROR_SQLSTATE
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 't_v'::regclass;
SELECT * FROM vec_index_check(NULL);

-- For superusers, who may grant it. The index's expressions run as the table's owner.
CREATE ROLE regress_checker;
CREATE ROLE regress_owner;
CREATE FUNCTION who(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE NOTICE 'as %', current_user;
    RETURN v;
END $$;
CREATE TABLE owned AS SELECT * FROM vectors(1, 1, 3);
ALTER TABLE owned OWNER TO regress_owner;
SET client_min_messages = warning;
CREATE INDEX owned_v ON owned USING vhnsw (who(v));
RESET client_min_messages;
SET ROLE regress_checker;
SELECT * FROM vec_index_check('owned_v');
RESET ROLE;
GRANT EXECUTE ON FUNCTION vec_index_check(regclass, boolean) TO regress_checker;
SET ROLE regress_checker;
SELECT * FROM vec_index_check('owned_v', true);
SELECT current_user;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION vec_index_check(regclass, boolean) FROM regress_checker;

DROP TABLE t, k, l, parts, owned;
DROP FUNCTION vectors, who;
DROP ROLE regress_checker, regress_owner;
