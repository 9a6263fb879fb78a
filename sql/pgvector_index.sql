-- Indexes on vector and halfvec: every class, dimensions, NULL and zero vectors, expressions, partitions.

CREATE TABLE items (id int PRIMARY KEY, v vector(3), h halfvec(3), loose vector);
INSERT INTO items SELECT i, x, x, x
FROM (SELECT i, ARRAY[i % 10, i / 10 % 10, i / 100 + 1] AS x FROM generate_series(1, 999) i) n;
INSERT INTO items (id) VALUES (1001), (1002);
INSERT INTO items VALUES (1003, '[0,0,0]', '[0,0,0]', '[0,0,0]');
CREATE INDEX items_v_l2 ON items USING vhnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 64);
CREATE INDEX items_v_ip ON items USING vhnsw (v vector_ip_ops);
CREATE INDEX items_v_cosine ON items USING vhnsw (v vector_cosine_ops);
CREATE INDEX items_v_l1 ON items USING vhnsw (v vector_l1_ops);
CREATE INDEX items_h_l2 ON items USING vhnsw (h halfvec_l2_ops);
CREATE INDEX items_h_ip ON items USING vhnsw (h halfvec_ip_ops);
CREATE INDEX items_h_cosine ON items USING vhnsw (h halfvec_cosine_ops);
CREATE INDEX items_h_l1 ON items USING vhnsw (h halfvec_l1_ops);
ANALYZE items;
-- NULL is not indexed, nor is a zero vector under cosine.
SELECT index, metric, dims, entries FROM vec_indexes ORDER BY index::text COLLATE "C";
SELECT count(*) FROM vec_indexes i, vec_index_check(i.index, true);

-- The best three by each operator, through its index.
CREATE FUNCTION nearest(query text) RETURNS TABLE (index text, rows text) LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    index := 'none';
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        index := coalesce(substring(line FROM 'Index Scan using (\w+)'), index);
    END LOOP;
    EXECUTE 'SELECT string_agg(id || '':'' || round(d::numeric, 4), '' '' ORDER BY d, id) FROM (' || query || ') n' INTO rows;
    RETURN NEXT;
END
$$;
SELECT op, col, n.* FROM unnest(ARRAY['v', 'h']) col, unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op,
    nearest(format('SELECT id, %s %s ''[3.1,4.2,5.6]'' AS d FROM items ORDER BY 2 LIMIT 3', col, op)) n
ORDER BY op COLLATE "C", col;
-- A vector as query of a halfvec.
SELECT * FROM nearest('SELECT id, h <-> ''[3.1,4.2,5.6]''::vector AS d FROM items ORDER BY 2 LIMIT 3');
-- Without an index.
SELECT * FROM nearest('SELECT id, loose <-> ''[3,4,5.5]'' AS d FROM items ORDER BY 2 LIMIT 2');

-- Inserts, and a scan of everything.
INSERT INTO items SELECT i, x, x, x FROM (SELECT i, ARRAY[3, 4, (i - 2000) / 16.0 + 5] AS x FROM generate_series(2000, 2015) i) n;
SELECT * FROM nearest('SELECT id, v <-> ''[3,4,5.5]'' AS d FROM items ORDER BY 2 LIMIT 3');
SELECT * FROM nearest('SELECT id, h <=> ''[3,4,5.5]'' AS d FROM items ORDER BY 2 LIMIT 3');
SET enable_seqscan = off;
SET enable_sort = off;
SET vhnsw.ef_search = 10000;
SELECT count(*), count(DISTINCT id), bool_and(ascends) FROM
    (SELECT id, d >= lag(d, 1, -1) OVER () AS ascends FROM (SELECT id, h <-> '[3,4,5]' AS d FROM items ORDER BY h <-> '[3,4,5]') s) a;
-- A NULL query has NULL distances; a zero vector has no cosine.
SELECT count(*), count(d) FROM (SELECT v <-> (SELECT NULL::vector) AS d FROM items ORDER BY v <-> (SELECT NULL::vector) LIMIT 5) n;
SELECT count(*), count(*) FILTER (WHERE d = 'NaN') FROM (SELECT h <=> '[0,0,0]' AS d FROM items ORDER BY h <=> '[0,0,0]' LIMIT 5) n;
RESET enable_seqscan;
RESET enable_sort;
RESET vhnsw.ef_search;

-- Dimensions: the type modifier's, the option's, the first vector's.
CREATE INDEX loose_v ON items USING vhnsw (loose vector_l2_ops);
SELECT index, dims FROM vec_indexes WHERE index = 'loose_v'::regclass;
INSERT INTO items (id, loose) VALUES (3000, '[1,2]');
CREATE TABLE dims_known (v vector(4), h halfvec(4), loose vector, loose_h halfvec);
CREATE INDEX dims_v ON dims_known USING vhnsw (v);
CREATE INDEX dims_h ON dims_known USING vhnsw (h halfvec_l2_ops);
CREATE INDEX dims_expression ON dims_known USING vhnsw ((loose::vector(5)) vector_l2_ops);
CREATE INDEX dims_option ON dims_known USING vhnsw (loose vector_l2_ops) WITH (dims = 6);
CREATE INDEX dims_same ON dims_known USING vhnsw (v vector_l2_ops) WITH (dims = 4);
CREATE INDEX dims_open ON dims_known USING vhnsw (loose_h halfvec_cosine_ops);
SELECT index, dims FROM vec_indexes WHERE "table" = 'dims_known'::regclass ORDER BY index::text COLLATE "C";
CREATE INDEX dims_differ ON dims_known USING vhnsw (v vector_l2_ops) WITH (dims = 5);
INSERT INTO dims_known (loose) VALUES ('[1,2,3]');
ALTER TABLE dims_known ALTER v TYPE vector(7);
DROP INDEX dims_same;
ALTER INDEX dims_v SET (dims = 8);
REINDEX INDEX dims_v;
ALTER INDEX dims_v RESET (dims);
REINDEX INDEX dims_v;
SELECT index, dims FROM vec_indexes WHERE index = 'dims_v'::regclass;
DROP TABLE dims_known;

-- Beyond the 2,000 and 4,000 dimensions of pgvector's indexes.
CREATE TABLE long (id int, v vector(2001), h halfvec(4001), v_most vector(16000), h_most halfvec(16000));
INSERT INTO long SELECT i, a[1:2001], a[1:4001], a, a
FROM (SELECT i, (SELECT array_agg((i * j % 97 - 48)::real ORDER BY j) FROM generate_series(1, 16000) j) AS a
      FROM generate_series(1, 30) i) n;
CREATE INDEX long_v ON long USING vhnsw (v);
CREATE INDEX long_h ON long USING vhnsw (h halfvec_cosine_ops);
CREATE INDEX long_v_most ON long USING vhnsw (v_most);
CREATE INDEX long_h_most ON long USING vhnsw (h_most halfvec_l2_ops);
INSERT INTO long SELECT 100 + id, v, h, v_most, h_most FROM long;
ANALYZE long;
SET enable_seqscan = off;
SELECT n.* FROM (VALUES ('v', '<->'), ('h', '<=>'), ('v_most', '<->'), ('h_most', '<->')) x(col, op),
    nearest(format('SELECT id, %1$s %2$s (SELECT %1$s FROM long WHERE id = 7) AS d FROM long ORDER BY 2 LIMIT 2', col, op)) n;
SELECT index, dims, entries, metric FROM vec_indexes WHERE "table" = 'long'::regclass ORDER BY index::text COLLATE "C";
SELECT count(*) FROM vec_indexes i, vec_index_check(i.index, true) WHERE "table" = 'long'::regclass;
-- A halfvec takes half the room.
SELECT pg_relation_size('long_h_most') < 0.6 * pg_relation_size('long_v_most') AS half;
DROP TABLE long;

-- Expressions, conditions, partitions, unlogged tables, concurrent builds.
CREATE TABLE docs (id int, kind int, embedding vector(3));
INSERT INTO docs SELECT i, i % 3, ARRAY[i % 20, i / 20, 1] FROM generate_series(1, 400) i;
CREATE INDEX docs_half ON docs USING vhnsw ((embedding::halfvec(3)) halfvec_l2_ops);
CREATE INDEX CONCURRENTLY docs_kind ON docs USING vhnsw (embedding vector_l2_ops) WHERE kind = 1;
ANALYZE docs;
SELECT * FROM nearest('SELECT id, embedding::halfvec(3) <-> ''[5.1,7.2,1]'' AS d FROM docs ORDER BY 2 LIMIT 3');
SELECT * FROM nearest('SELECT id, embedding <-> ''[5.1,7.2,1]'' AS d FROM docs WHERE kind = 1 ORDER BY 2 LIMIT 3');
SELECT * FROM nearest('SELECT id, embedding <-> ''[5.1,7.2,1]'' AS d FROM docs WHERE kind = 2 ORDER BY 2 LIMIT 3');
CREATE TABLE parted (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (200);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (200) TO (1000);
CREATE INDEX parted_v ON parted USING vhnsw (v vector_l2_ops);
INSERT INTO parted SELECT id, embedding FROM docs;
ANALYZE parted;
EXPLAIN (COSTS OFF) SELECT id FROM parted ORDER BY v <-> '[5,10,1]' LIMIT 4;
SELECT id, v <-> '[5,10,1]' AS d FROM parted ORDER BY v <-> '[5,10,1]' LIMIT 1;
SELECT count(DISTINCT id), bool_and(ascends) FROM
    (SELECT id, d >= lag(d, 1, 0) OVER () AS ascends
     FROM (SELECT id, v <-> '[5,10,1]' AS d FROM parted ORDER BY v <-> '[5,10,1]' LIMIT 100) s) a;
CREATE UNLOGGED TABLE fleeting (id int, v halfvec(3));
CREATE INDEX fleeting_v ON fleeting USING vhnsw (v halfvec_ip_ops);
INSERT INTO fleeting SELECT id, embedding FROM docs;
SELECT * FROM nearest('SELECT id, v <#> ''[1,2,1]'' AS d FROM fleeting ORDER BY 2 LIMIT 2');
RESET enable_seqscan;

-- What there is not.
CREATE TABLE other (b bit(8), s sparsevec(8), v vector(2));
CREATE INDEX ON other USING vhnsw (b bit_hamming_ops);
CREATE INDEX ON other USING vhnsw (s sparsevec_l2_ops);
CREATE INDEX ON other USING vhnsw (v halfvec_l2_ops);
DROP TABLE other, docs, parted, fleeting, items;
DROP FUNCTION nearest;
