-- The four operator classes, built from rows and filled after the build, compared with sequential scans.

CREATE TABLE points (id int PRIMARY KEY, v real[]);
INSERT INTO points SELECT i, ARRAY[i % 10 + 0.5, i / 10 % 10, i / 100]::real[] FROM generate_series(1, 500) i;

-- The distances of the k nearest rows by the index, and whether a sequential scan gives the same.
CREATE FUNCTION nearest(rel text, op text, query text, k int, OUT distances numeric[], OUT same boolean, OUT by_index boolean)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    sql text := format('SELECT array_agg(round(d::numeric, 4)) FROM (SELECT v %s %L AS d FROM %s ORDER BY v %s %L LIMIT %s) s',
                       op, query, rel, op, query, k);
    line text;
    exact numeric[];
BEGIN
    by_index := false;
    FOR line IN EXECUTE 'EXPLAIN ' || sql LOOP
        by_index := by_index OR line LIKE '%Index Scan using %';
    END LOOP;
    EXECUTE sql INTO distances;
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_seqscan = on;
    EXECUTE sql INTO exact;
    SET LOCAL enable_indexscan = on;
    same := distances IS NOT DISTINCT FROM exact;
END $$;

CREATE INDEX points_l2 ON points USING vhnsw (v);
SELECT * FROM nearest('points', '<->', '{3.5,4,1}', 4);
SELECT same, by_index FROM nearest('points', '<->', '{3.7,4.2,1.4}', 50);
-- An operator of another class is no use.
SELECT same, by_index FROM nearest('points', '<=>', '{3.7,4.2,1.4}', 5);
DROP INDEX points_l2;

CREATE INDEX points_ip ON points USING vhnsw (v real_ip_ops);
SELECT * FROM nearest('points', '<#>', '{1,1,1}', 3);
SELECT same, by_index FROM nearest('points', '<#>', '{3.7,-4.2,1.4}', 50);
DROP INDEX points_ip;

CREATE INDEX points_cosine ON points USING vhnsw (v real_cosine_ops);
SELECT * FROM nearest('points', '<=>', '{9.5,9,4}', 1);
SELECT same, by_index FROM nearest('points', '<=>', '{3.7,4.2,1.4}', 50);
DROP INDEX points_cosine;

CREATE INDEX points_l1 ON points USING vhnsw (v real_l1_ops);
SELECT * FROM nearest('points', '<+>', '{3.5,4,1}', 4);
SELECT same, by_index FROM nearest('points', '<+>', '{3.7,4.2,1.4}', 50);
DROP INDEX points_l1;

-- Several at once, each for its operator.
CREATE INDEX points_l2 ON points USING vhnsw (v real_l2_ops);
CREATE INDEX points_ip ON points USING vhnsw (v real_ip_ops);
CREATE INDEX points_cosine ON points USING vhnsw (v real_cosine_ops);
CREATE INDEX points_l1 ON points USING vhnsw (v real_l1_ops);
SELECT op, same, by_index FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op, nearest('points', op, '{7,1,3}', 20);

-- Rows that come, change and go.
INSERT INTO points SELECT i, ARRAY[i % 10 + 0.25, i / 10 % 10, i / 100 - 5]::real[] FROM generate_series(501, 1000) i;
UPDATE points SET v = ARRAY[v[1], v[2], v[3] + 0.125] WHERE id % 3 = 0;
DELETE FROM points WHERE id % 5 = 0;
SELECT op, same, by_index FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op, nearest('points', op, '{7,1,3}', 20);
VACUUM points;
SELECT op, same, by_index FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op, nearest('points', op, '{7,1,3}', 20);
SELECT vec_checkpoint(index) FROM vec_indexes WHERE "table" = 'points'::regclass;
SELECT op, same, by_index FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op, nearest('points', op, '{7,1,3}', 20);
INSERT INTO points SELECT 1000 + i, ARRAY[i % 10 + 0.125, i / 10 % 10, i / 100]::real[] FROM generate_series(1, 100) i;
SELECT op, same, by_index FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op, nearest('points', op, '{7,1,3}', 20);
DROP TABLE points;

-- An empty table, filled after the index was created; also with rows enough for a graph.
CREATE TABLE late (id int, v real[]);
CREATE INDEX ON late USING vhnsw (v);
SELECT * FROM nearest('late', '<->', '{1,2}', 3);
INSERT INTO late VALUES (1, '{1,2}'), (2, '{3,4}');
SELECT * FROM nearest('late', '<->', '{1,2}', 3);
TRUNCATE late;
SELECT * FROM nearest('late', '<->', '{1,2}', 3);
-- Dimensions are decided anew after TRUNCATE.
INSERT INTO late VALUES (1, '{1,2,3}');
SELECT * FROM nearest('late', '<->', '{1,2,3}', 3);
DROP TABLE late;

CREATE TABLE many (id int, v real[]);
SELECT setseed(0.25);
INSERT INTO many SELECT i, ARRAY[random(), random(), random(), random(), random(), random(), random(), random()]::real[]
FROM generate_series(1, 6000) i;
CREATE INDEX many_v ON many USING vhnsw (v);
-- Graph search is approximate: of 50 x 10 true neighbours, at least 95 % are found.
CREATE TABLE queries AS SELECT id AS q, v FROM many WHERE id % 120 = 0;
SET enable_seqscan = off;
CREATE TEMP TABLE found AS
SELECT q, n.id FROM queries, LATERAL (SELECT id FROM many ORDER BY many.v <-> queries.v LIMIT 10) n;
SET enable_indexscan = off;
RESET enable_seqscan;
CREATE TEMP TABLE truth AS
SELECT q, n.id FROM queries, LATERAL (SELECT id FROM many ORDER BY many.v <-> queries.v LIMIT 10) n;
RESET enable_indexscan;
SELECT count(*) AS rows, (count(*) FILTER (WHERE t.id IS NOT NULL)) >= 0.95 * 500 AS recall_is_good
FROM found f LEFT JOIN truth t USING (q, id);
SELECT kind, nodes, entries FROM vec_segments WHERE index = 'many_v'::regclass;
DROP TABLE many, queries, found, truth;
DROP FUNCTION nearest;
