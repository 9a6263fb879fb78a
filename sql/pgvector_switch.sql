-- From hnsw to vhnsw: one word of CREATE INDEX changes, and the prefix of the settings.

CREATE TABLE items (id bigserial PRIMARY KEY, category int, embedding vector(3));
INSERT INTO items (category, embedding) SELECT i % 4, ARRAY[i % 17, i % 19, i % 23] FROM generate_series(1, 3000) i;
CREATE INDEX items_embedding_idx ON items USING hnsw (embedding vector_l2_ops) WITH (m=16, ef_construction=64);
ANALYZE items;
SET hnsw.ef_search = 100;
SET enable_seqscan = off;
PREPARE nearest (vector) AS SELECT id, embedding <-> $1 AS distance FROM items ORDER BY embedding <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE nearest ('[3,1,2]');
RESET enable_seqscan;
-- hnsw may miss a row by chance, so it is not asked what is near.
SET enable_indexscan = off;
SELECT array_agg(distance ORDER BY distance) AS exact FROM
    (SELECT embedding <-> '[3,1,2]' AS distance FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5) n \gset
RESET enable_indexscan;

DROP INDEX items_embedding_idx;
CREATE INDEX items_embedding_idx ON items USING vhnsw (embedding vector_l2_ops) WITH (m=16, ef_construction=64);
SET vhnsw.ef_search = 100;
EXPLAIN (COSTS OFF) EXECUTE nearest ('[3,1,2]');
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE category = 2 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
SELECT array_agg(distance ORDER BY distance) = :'exact' AS same FROM
    (SELECT embedding <-> '[3,1,2]' AS distance FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5) n;
-- The settings have the same names; one is more.
SELECT v.name, h.name IS NOT NULL AS like_hnsw, h.vartype = v.vartype AS same_type, v.boot_val = h.boot_val AS same_default
FROM pg_settings v LEFT JOIN pg_settings h ON h.name = substr(v.name, 2)
WHERE v.name LIKE 'vhnsw.%' ORDER BY 1;
SELECT h.name FROM pg_settings h WHERE h.name LIKE 'hnsw.%' AND NOT EXISTS (SELECT FROM pg_settings v WHERE v.name = 'v' || h.name);

-- Both side by side: the planner takes one.
CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_l2_ops);
SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5) n;
DROP TABLE items;
DEALLOCATE ALL;
SET client_min_messages = warning;
DROP EXTENSION vecckpt_pgvector;
DROP EXTENSION vector;
