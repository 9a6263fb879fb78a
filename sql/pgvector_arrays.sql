-- vector <-> real[]: which operator a query means, and that it uses the index.

CREATE TABLE items (id int, v vector(2), h halfvec(2), a real[]);
INSERT INTO items SELECT i, x, x, x FROM (SELECT i, ARRAY[i % 50, i / 50] AS x FROM generate_series(1, 2000) i) n;
CREATE INDEX items_v ON items USING vhnsw (v);
CREATE INDEX items_h ON items USING vhnsw (h);
CREATE INDEX items_a ON items USING vhnsw (a);
ANALYZE items;

EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '[10,20]' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '{10,20}'::real[] LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> ARRAY[10,20] LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> ARRAY[10.0,20.5] LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY '{10,20}'::real[] <-> v LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY h <-> '[10,20]'::vector LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY a <-> '{10,20}' LIMIT 1;
SELECT id, v <-> '{10,20}'::real[] AS d FROM items ORDER BY v <-> '{10,20}'::real[] LIMIT 1;
SELECT id, ARRAY[10,20.25] <-> v AS d FROM items ORDER BY d LIMIT 1;

-- Parameters: an untyped one takes the column's type, a real[] one is converted.
PREPARE untyped AS SELECT id FROM items ORDER BY v <-> $1 LIMIT 1;
PREPARE typed (real[]) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT 1;
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
EXECUTE untyped ('[10,20]');
EXECUTE typed ('{10,20}');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE typed ('{10,20}');
EXECUTE typed ('{10,20}');
EXECUTE typed (NULL);
RESET plan_cache_mode;
DEALLOCATE ALL;
-- From another table's arrays.
EXPLAIN (COSTS OFF) SELECT o.id, n.id FROM items o, LATERAL (SELECT id FROM items i ORDER BY i.v <-> o.a LIMIT 2) n WHERE o.id < 4;
SELECT o.id, n.id FROM items o, LATERAL (SELECT id FROM items i ORDER BY i.v <-> o.a LIMIT 1) n WHERE o.id < 4;

-- All four, and their commutators: the distances of two vectors.
SELECT count(*), bool_and(v <-> r = v <-> r::vector AND r <-> v = r::vector <-> v) AS l2,
       bool_and(v <#> r = v <#> r::vector AND r <#> v = r::vector <#> v) AS ip,
       bool_and(v <=> r = v <=> r::vector AND r <=> v = r::vector <=> v) AS cosine,
       bool_and(v <+> r = v <+> r::vector AND r <+> v = r::vector <+> v) AS l1
FROM items, (SELECT '{3.5,-7}'::real[] AS r) q WHERE id < 100;
SELECT o.oprname, c.oprcom = o.oid AS commutes FROM pg_operator o LEFT JOIN pg_operator c ON c.oid = o.oprcom
WHERE o.oprleft = 'vector'::regtype AND o.oprright = 'real[]'::regtype ORDER BY o.oprname COLLATE "C";

-- Bad arrays.
SELECT id FROM items ORDER BY v <-> '{1,2,3}'::real[] LIMIT 1;
SELECT id FROM items ORDER BY v <-> '{}'::real[] LIMIT 1;
SELECT id FROM items ORDER BY v <-> '{NaN,1}'::real[] LIMIT 1;

-- What else two operands mean is what they mean without vecckpt_pgvector.
CREATE DOMAIN embedding AS vector;
CREATE FUNCTION meaning(a text, b text, op text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TEMP VIEW meant AS SELECT %s %s %s AS d', a, op, b);
    RETURN (SELECT string_agg(d.refobjid::regoperator::text, ' ') FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
            WHERE r.ev_class = 'meant'::regclass AND d.refclassid = 'pg_operator'::regclass);
EXCEPTION WHEN undefined_function OR ambiguous_function OR data_exception OR syntax_error THEN
    RETURN SQLERRM;
END
$$;
CREATE FUNCTION meanings() RETURNS TABLE (a text, op text, b text, meant text) LANGUAGE plpgsql AS $$
BEGIN
    FOR a, op, b IN
        WITH operands(text) AS (
            VALUES ($q$'[1,2]'::vector$q$), ($q$'[1,2]'::halfvec$q$), ($q$'{1:1}/2'::sparsevec$q$), ($q$'{1,2}'::real[]$q$),
                   ($q$'{1,2}'::double precision[]$q$), ('ARRAY[1,2]'), ('ARRAY[1.5,2]'), ($q$'[1,2]'$q$), ('NULL'),
                   ($q$'[1,2]'::embedding$q$), ($q$'101'::bit(3)$q$))
        SELECT x.text, o, y.text FROM operands x, operands y, unnest(ARRAY['<->', '<#>', '<=>', '<+>']) o
    LOOP
        meant := meaning(a, b, op);
        DROP VIEW IF EXISTS meant;
        RETURN NEXT;
    END LOOP;
END
$$;
SET client_min_messages = warning;
CREATE TABLE with_it AS SELECT * FROM meanings();
BEGIN;
DROP EXTENSION vecckpt_pgvector CASCADE;
CREATE TEMP TABLE without_it AS SELECT * FROM meanings();
SELECT a, op, b, y.meant AS with_it, x.meant AS without_it FROM without_it x JOIN with_it y USING (a, op, b)
WHERE x.meant <> y.meant AND op = '<->' ORDER BY a COLLATE "C", b COLLATE "C";
SELECT count(*), count(*) FILTER (WHERE x.meant <> y.meant) AS other FROM without_it x JOIN with_it y USING (a, op, b);
-- And what means something to pgvector alone means the same with both.
ALTER TABLE items DROP a;
DROP EXTENSION vecckpt CASCADE;
CREATE TEMP TABLE pgvector_alone AS SELECT * FROM meanings();
SELECT count(*) FILTER (WHERE x.meant LIKE '<%') AS meanings, count(*) FILTER (WHERE x.meant LIKE '<%' AND x.meant <> y.meant) AS other
FROM pgvector_alone x JOIN with_it y USING (a, op, b);
ROLLBACK;
SELECT b, meant FROM with_it WHERE a LIKE '%::vector' AND op = '<->' ORDER BY b COLLATE "C";
DROP FUNCTION meanings, meaning;
DROP TABLE items, with_it;
DROP DOMAIN embedding;
