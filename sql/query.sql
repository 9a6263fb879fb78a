-- Which plans use the index, and what scans return.

CREATE TABLE docs (id int PRIMARY KEY, kind int NOT NULL, v real[]);
INSERT INTO docs SELECT i, i % 7, ARRAY[i % 50, i / 50]::real[] FROM generate_series(0, 4999) i;
INSERT INTO docs VALUES (9001, 1, NULL), (9002, 2, NULL);
CREATE INDEX docs_v ON docs USING vhnsw (v);
ANALYZE docs;

-- ORDER BY the operator with a LIMIT.
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY v <-> '{10,20}' LIMIT 5;
SELECT id, v <-> '{10,20}' AS distance FROM docs ORDER BY v <-> '{10,20}' LIMIT 1;
-- The operator commutes.
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY '{10,20}' <-> v LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE kind = 3 ORDER BY v <-> '{10,20}' LIMIT 5;

-- No other query: all rows, descending, another operator, a condition on the distance, a further sort key.
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY v <-> '{10,20}';
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY v <-> '{10,20}' DESC LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY v <#> '{10,20}' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE v <-> '{10,20}' < 1;
EXPLAIN (COSTS OFF) SELECT count(*) FROM docs;
-- The planner offers two distances of the operator to the index together, which has rows in the order of one.
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY v <-> '{10,20}', v <-> '{30,20}' LIMIT 2;
SELECT id FROM docs ORDER BY v <-> '{10,20}', v <-> '{30,20}' LIMIT 2;
SET enable_seqscan = off;
-- From version 18 on a plan tells what of it is disabled.
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line !~ '^ *Disabled: true$' THEN
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;
SELECT plan_of($$SELECT id FROM docs WHERE v <-> '{10,20}' < 1$$);
SELECT plan_of($$SELECT v FROM docs WHERE v = '{10,20}'$$);
SELECT plan_of($$SELECT id FROM docs ORDER BY v <-> '{10,20}', v <-> '{30,20}' LIMIT 2$$);

-- Distances ascend, filters apply, and a filter that keeps few rows still fills the LIMIT.
SELECT count(*), bool_and(ascends) AS ascend
FROM (SELECT d >= lag(d, 1, 0) OVER (ROWS UNBOUNDED PRECEDING) AS ascends
      FROM (SELECT v <-> '{10.3,20.6}' AS d FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 200) n) a;
SELECT array_agg(id) FROM (SELECT id FROM docs WHERE kind = 3 ORDER BY v <-> '{10.3,20.6}' LIMIT 3) n;
SELECT count(*) FROM (SELECT id FROM docs WHERE id % 100 = 7 ORDER BY v <-> '{10.3,20.6}' LIMIT 20) n;
SELECT count(*) FROM (SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 0) n;
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' OFFSET 2 LIMIT 2) n;
SET vhnsw.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM docs WHERE id % 100 = 7 ORDER BY v <-> '{10.3,20.6}' LIMIT 20) n;
RESET vhnsw.iterative_scan;

-- A small ef returns fewer only where iterative scans are off.
SET vhnsw.ef_search = 10;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 100) n;
SET vhnsw.iterative_scan = off;
SELECT count(*) BETWEEN 10 AND 99 AS fewer FROM (SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 100) n;
RESET vhnsw.iterative_scan;
RESET vhnsw.ef_search;

-- Rows with a NULL vector are not in the index.
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE id + 0 > 9000 ORDER BY v <-> '{10,20}' LIMIT 10;
SELECT count(*) FROM (SELECT id FROM docs WHERE id + 0 > 9000 ORDER BY v <-> '{10,20}' LIMIT 10) n;

-- A NULL query returns the indexed rows with NULL distances.
SELECT count(*), count(d) FROM
    (SELECT v <-> (SELECT NULL::real[]) AS d FROM docs ORDER BY v <-> (SELECT NULL::real[]) LIMIT 10) n;

-- Bad queries.
SELECT id FROM docs ORDER BY v <-> '{1,2,3}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{1}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{{1,2}}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{1,NULL}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{1,NaN}' LIMIT 1;
SELECT id FROM docs ORDER BY v <-> '{1,Infinity}' LIMIT 1;

-- Parameters, joins and rescans.
PREPARE nearest(real[], int) AS SELECT id FROM docs ORDER BY v <-> $1 LIMIT $2;
EXECUTE nearest('{3,4}', 1);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest('{3,4}', 1);
EXECUTE nearest('{3,4}', 1);
EXECUTE nearest('{49,99}', 1);
RESET plan_cache_mode;
EXPLAIN (COSTS OFF) SELECT q, n.id FROM generate_series(0, 3) q, LATERAL
    (SELECT id FROM docs ORDER BY v <-> ARRAY[q, 2 * q]::real[] LIMIT 1) n;
SELECT q, n.id FROM generate_series(0, 3) q, LATERAL
    (SELECT id FROM docs ORDER BY v <-> ARRAY[q, 2 * q]::real[] LIMIT 1) n;

-- Cursors go forward; going back needs SCROLL, which keeps the rows.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 100;
FETCH 1 FROM c;
FETCH 2 FROM c;
MOVE 80 FROM c;
FETCH 100 FROM c \g /dev/null
FETCH 1 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 100;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
CLOSE c;
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 100;
FETCH 1 FROM h;
COMMIT;
FETCH 1 FROM h;
CLOSE h;

-- A cursor sees the rows of its snapshot.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 4;
FETCH 1 FROM c;
INSERT INTO docs VALUES (5001, 0, '{10.3,20.6}');
DELETE FROM docs WHERE id = 1061;
FETCH ALL FROM c;
CLOSE c;
SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 2;
ROLLBACK;
SELECT id FROM docs ORDER BY v <-> '{10.3,20.6}' LIMIT 2;

-- Data-modifying statements by distance.
UPDATE docs SET kind = 100 WHERE id IN (SELECT id FROM docs ORDER BY v <-> '{0,0}' LIMIT 3) RETURNING kind;
WITH gone AS (DELETE FROM docs WHERE id = (SELECT id FROM docs ORDER BY v <-> '{25,50}' LIMIT 1) RETURNING id)
SELECT id FROM gone;
SELECT id = 2525 AS returned_again FROM docs ORDER BY v <-> '{25,50}' LIMIT 1;

-- Equal vectors all come.
INSERT INTO docs SELECT 6000 + i, 0, '{-5,-5}' FROM generate_series(1, 60) i;
SELECT count(*), min(id), max(id) FROM (SELECT id FROM docs ORDER BY v <-> '{-5,-5}' LIMIT 60) n;
SELECT vec_checkpoint('docs_v');
SELECT count(*), min(id), max(id) FROM (SELECT id FROM docs ORDER BY v <-> '{-5,-5}' LIMIT 60) n;
DROP TABLE docs;
DROP FUNCTION plan_of;

-- Zero vectors have no cosine: not in the index, and no error. A zero query gives NaN to all.
CREATE TABLE angles (id int, v real[]);
CREATE INDEX angles_v ON angles USING vhnsw (v real_cosine_ops);
INSERT INTO angles VALUES (1, '{0,0}'), (2, '{1,0}'), (3, '{1,1}');
SELECT id, round((v <=> '{1,0.1}')::numeric, 4) AS distance FROM angles ORDER BY v <=> '{1,0.1}' LIMIT 10;
SELECT count(*), bool_and(d = 'NaN') AS nan FROM (SELECT v <=> '{0,0}' AS d FROM angles ORDER BY v <=> '{0,0}' LIMIT 10) n;
DROP TABLE angles;

-- What an index serves and what not: distance functions are planned as their operators, in any schema; no second sort
-- by the same distance, unless it looks different.
CREATE TABLE served (id int, v real[]);
INSERT INTO served SELECT i, ARRAY[i, i % 7] FROM generate_series(1, 500) i;
CREATE INDEX served_l2 ON served USING vhnsw (v);
CREATE INDEX served_ip ON served USING vhnsw (v real_ip_ops);
CREATE INDEX served_cosine ON served USING vhnsw (v real_cosine_ops);
CREATE INDEX served_l1 ON served USING vhnsw (v real_l1_ops);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM served ORDER BY l2_distance(v, '{3,4}') LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM served ORDER BY negative_inner_product(v, '{3,4}') LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM served ORDER BY cosine_distance(v, '{3,4}') LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM served ORDER BY l1_distance('{3,4}', v) LIMIT 2;
SELECT id, l2_distance(v, '{3,4}') AS d FROM served ORDER BY l2_distance(v, '{3,4}') LIMIT 2;
SELECT l2_distance('{1,2}', '{4,6}'), inner_product('{1,2}', '{3,4}'), negative_inner_product('{1,2}', '{3,4}');
SET vhnsw.iterative_scan = relaxed_order;
EXPLAIN (COSTS OFF) SELECT * FROM (SELECT id, v <-> '{3,4}' AS d FROM served ORDER BY v <-> '{3,4}' LIMIT 5) s ORDER BY d;
EXPLAIN (COSTS OFF) SELECT * FROM (SELECT id, v <-> '{3,4}' AS d FROM served ORDER BY v <-> '{3,4}' LIMIT 5) s ORDER BY d + 0;
RESET vhnsw.iterative_scan;
SELECT id FROM served ORDER BY v <-> '{3,4}'::double precision[] LIMIT 1;
SELECT id FROM served ORDER BY v <-> '{3,4}'::double precision[]::real[] LIMIT 1;
-- A distance limit beside the search and around it.
SELECT id FROM served WHERE 1 - (v <=> '{3,4}') > 0.97 ORDER BY v <=> '{3,4}' LIMIT 10;
WITH nearest AS MATERIALIZED (SELECT id, v <=> '{3,4}' AS d FROM served ORDER BY d LIMIT 10) SELECT id FROM nearest WHERE 1 - d > 0.97;
RESET enable_seqscan;
DROP TABLE served;
