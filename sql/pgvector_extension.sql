-- Extension vecckpt_pgvector: its objects, other schemas, updates, removal.

SET client_min_messages = warning;
CREATE EXTENSION vecckpt_pgvector CASCADE;
RESET client_min_messages;
SELECT extname FROM pg_extension WHERE extname IN ('vecckpt', 'vector', 'vecckpt_pgvector') ORDER BY 1;
SELECT pg_describe_object(classid, objid, 0) AS object FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vecckpt_pgvector')
ORDER BY 1;
-- Every class stands under the name that pgvector's own access method has.
SELECT o.opcname, o.opcintype::regtype AS type, o.opcdefault AS is_default, amvalidate(o.oid) AS valid,
       EXISTS (SELECT FROM pg_opclass p JOIN pg_am a ON a.oid = p.opcmethod
               WHERE a.amname = 'hnsw' AND p.opcname = o.opcname AND p.opcintype = o.opcintype) AS like_hnsw
FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod
WHERE a.amname = 'vhnsw' AND o.opcname !~ '^real' ORDER BY 1;

-- A class for a type that its support function cannot read.
CREATE OPERATOR CLASS wrong_ops FOR TYPE halfvec USING vhnsw AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops, FUNCTION 1 vhnsw_vector_l2_support(internal);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'wrong_ops';
CREATE TABLE wrong (v halfvec(3));
INSERT INTO wrong VALUES ('[1,2,3]');
CREATE INDEX ON wrong USING vhnsw (v wrong_ops);
DROP TABLE wrong;
DROP OPERATOR FAMILY wrong_ops USING vhnsw;

-- There is one version.
ALTER EXTENSION vecckpt_pgvector UPDATE;
ALTER EXTENSION vecckpt_pgvector UPDATE TO '0.9';

-- Neither of the two goes without it.
CREATE TABLE items (id int, v vector(2));
INSERT INTO items SELECT i, ARRAY[i, i] FROM generate_series(1, 10) i;
CREATE INDEX items_v ON items USING vhnsw (v);
DROP EXTENSION vecckpt;
DROP EXTENSION vecckpt_pgvector;
DROP EXTENSION vecckpt_pgvector CASCADE;
SELECT count(*) FROM pg_index WHERE indrelid = 'items'::regclass;
CREATE INDEX items_v ON items USING vhnsw (v);

-- Three extensions in three schemas, off the search path.
DROP TABLE items;
SET client_min_messages = warning;
DROP EXTENSION vector;
DROP EXTENSION vecckpt;
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE SCHEMA three;
CREATE EXTENSION vecckpt SCHEMA one;
CREATE EXTENSION vector SCHEMA two;
CREATE EXTENSION vecckpt_pgvector SCHEMA three;
RESET client_min_messages;
CREATE TABLE items (id int, v two.vector(2), h two.halfvec(2));
INSERT INTO items SELECT i, ARRAY[i, i], ARRAY[i, i] FROM generate_series(1, 10) i;
CREATE INDEX items_v ON items USING vhnsw (v);
CREATE INDEX items_h ON items USING vhnsw (h three.halfvec_l1_ops);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v OPERATOR(two.<->) '[4.1,4.1]' LIMIT 1;
SELECT id FROM items ORDER BY v OPERATOR(two.<->) '[4.1,4.1]' LIMIT 1;
SELECT id FROM items ORDER BY h OPERATOR(two.<+>) '[7.1,7.1]' LIMIT 1;
SELECT id FROM items ORDER BY v OPERATOR(three.<->) '{4.1,4.1}'::real[] LIMIT 1;
ALTER EXTENSION vecckpt_pgvector SET SCHEMA public;
ALTER EXTENSION vector SET SCHEMA public;
SELECT id FROM items ORDER BY v <-> '[4.1,4.1]' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '{4.1,4.1}'::real[] LIMIT 1;
RESET enable_seqscan;

-- Removed and made again in a transaction that fails.
BEGIN;
SET client_min_messages = warning;
DROP EXTENSION vector CASCADE;
CREATE EXTENSION vecckpt_pgvector CASCADE;
ROLLBACK;
SELECT id FROM items ORDER BY v <-> '[4.1,4.1]' LIMIT 1;
SET client_min_messages = warning;
DROP TABLE items;
DROP EXTENSION vecckpt_pgvector;
DROP EXTENSION vecckpt;
DROP SCHEMA one, two, three;
CREATE EXTENSION vecckpt;
CREATE EXTENSION vecckpt_pgvector;
