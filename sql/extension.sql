-- The extension's objects, other schemas, removal.

SELECT extversion, nspname, obj_description(e.oid, 'pg_extension') FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname = 'vecckpt';
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS object FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vecckpt')
  AND classid <> 'pg_type'::regclass  -- views' row types, from version 17 on
ORDER BY 1;
-- Each of them says what it is, and so does each column of the views.
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS without_comment FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vecckpt')
  AND classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;
SELECT attrelid::regclass AS view, attname AS without_comment FROM pg_attribute
WHERE attrelid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass
                   AND refclassid = 'pg_extension'::regclass AND deptype = 'e')
  AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
ORDER BY 1, 2;
SELECT amname, opcname, amvalidate(c.oid) AS valid FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE amname = 'vhnsw' ORDER BY opcname;
SELECT property, pg_indexam_has_property(oid, property) AS am FROM pg_am,
    unnest(ARRAY['can_order', 'can_unique', 'can_multi_col', 'can_exclude', 'can_include']) property WHERE amname = 'vhnsw';

-- Removal needs CASCADE while an index stands on it.
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, ARRAY[i, i]::real[] FROM generate_series(1, 10) i;
CREATE INDEX t_v ON t USING vhnsw (v);
DROP EXTENSION vecckpt;
DROP EXTENSION vecckpt CASCADE;
SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass;
CREATE INDEX t_v ON t USING vhnsw (v);

-- In a schema off the search path.
CREATE SCHEMA vectors;
CREATE EXTENSION vecckpt SCHEMA vectors;
SELECT '{1}'::real[] <-> '{2}';
SELECT '{1}'::real[] OPERATOR(vectors.<->) '{2}' AS distance;
-- The default operator class is found wherever it is.
CREATE INDEX t_v ON t USING vhnsw (v);
DROP INDEX t_v;
CREATE INDEX t_v ON t USING vhnsw (v real_l2_ops);
CREATE INDEX t_v ON t USING vhnsw (v vectors.real_l2_ops);
SET enable_seqscan = off;
SELECT id FROM t ORDER BY v OPERATOR(vectors.<->) '{4.1,4.1}' LIMIT 1;
SELECT vectors.vec_checkpoint('t_v');
SELECT index, "table", entries FROM vectors.vec_indexes;
ALTER EXTENSION vecckpt SET SCHEMA public;
SELECT id FROM t ORDER BY v <-> '{4.1,4.1}' LIMIT 1;
SELECT index, "table", entries FROM vec_indexes;

-- Removed and made again in one transaction that fails, then for good.
BEGIN;
DROP EXTENSION vecckpt CASCADE;
CREATE EXTENSION vecckpt;
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '{4.1,4.1}' LIMIT 1;
DROP EXTENSION vecckpt CASCADE;
DROP SCHEMA vectors;
DROP TABLE t;
CREATE EXTENSION vecckpt VERSION '0.9';
CREATE EXTENSION vecckpt;
