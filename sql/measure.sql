-- vec_recall, vec_suggest_ef, vec_prewarm, vec_stat_reset: arguments, shapes, who may call them. Values are in test/t.

CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, ARRAY[i, i % 17, i % 5]::real[] FROM generate_series(1, 500) i;
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE INDEX t_id ON t (id);

-- So few entries have no graph, and nothing is missed. The rule of three says what that proves.
SELECT recall, low, high, queries, entries, search_ms > 0 AS search_ms, exact_ms > 0 AS exact_ms FROM vec_recall('t_v');
SELECT recall, round(low::numeric, 6) AS low, high, queries, entries FROM vec_recall('t_v', 3, 300, 100, 1);
SELECT recall, round(low::numeric, 6) AS low, high, queries, entries FROM vec_recall('t_v', samples => 100000);
-- More rows than there are: all others.
SELECT recall, queries FROM vec_recall('t_v', k => 10000, samples => 5);
SELECT recall, low, high, queries FROM vec_recall('t_v', samples => 1);
SELECT vec_suggest_ef('t_v'), vec_suggest_ef('t_v', 5, 1, 20, 1);

-- Nothing to find: no entry, one entry.
CREATE TABLE few (v real[]);
CREATE INDEX few_v ON few USING vhnsw (v);
SELECT * FROM vec_recall('few_v');
SELECT vec_suggest_ef('few_v');
INSERT INTO few VALUES ('{1,2}');
SELECT recall, low, high, queries, entries FROM vec_recall('few_v');
SELECT vec_suggest_ef('few_v');
-- Entries of rows that nobody sees yet are entries. Two equal ones find each other.
BEGIN;
INSERT INTO few VALUES ('{1,2}');
SELECT recall, low, high, queries, entries FROM vec_recall('few_v');
ROLLBACK;

-- Arguments.
SELECT vec_recall(NULL);
SELECT vec_recall('t_v', NULL);
SELECT vec_recall('t_v', 0);
SELECT vec_recall('t_v', 10001);
SELECT vec_recall('t_v', samples => NULL);
SELECT vec_recall('t_v', samples => -1);
SELECT vec_recall('t_v', samples => 2147483647);
SELECT vec_recall('t_v', ef_search => 0);
SELECT vec_recall('t_v', ef_search => 10001);
SELECT vec_suggest_ef(NULL);
SELECT vec_suggest_ef('t_v', k => NULL);
SELECT vec_suggest_ef('t_v', k => -5);
SELECT vec_suggest_ef('t_v', target_recall => NULL);
SELECT vec_suggest_ef('t_v', target_recall => 0);
SELECT vec_suggest_ef('t_v', target_recall => 1.01);
SELECT vec_suggest_ef('t_v', target_recall => 'NaN');
SELECT vec_suggest_ef('t_v', samples => 0);
-- The session's setting stays, after errors too.
SHOW vhnsw.ef_search;

-- Other relations.
SELECT vec_recall('t');
SELECT vec_recall('t_id');
SELECT vec_recall(0);
SELECT vec_suggest_ef('t_id');
SELECT vec_stat_reset('t_id');
CREATE TABLE parts (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE INDEX parts_v ON parts USING vhnsw (v);
SELECT vec_recall('parts_v');
SELECT vec_suggest_ef('parts_v');
SELECT vec_stat_reset('parts_v');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'few_v'::regclass;
SELECT vec_recall('few_v');
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'few_v'::regclass;

-- In a read-only transaction, and from within a query.
BEGIN READ ONLY;
SELECT recall FROM vec_recall('t_v', samples => 10);
ROLLBACK;
SELECT index, r.recall, r.queries FROM vec_indexes i, vec_recall(i.index, samples => 7) r WHERE i.index = 't_v'::regclass;

-- Prewarming.
SELECT segments, segment_bytes = (SELECT file_bytes FROM vec_indexes WHERE index = 't_v'::regclass) AS segment_bytes, log_pages
FROM vec_prewarm('t_v');
SELECT log_pages = pg_relation_size('t_v') / current_setting('block_size')::int AS log_pages FROM vec_prewarm('t_v', 'buffer');
SELECT log_pages = pg_relation_size('t_v') / current_setting('block_size')::int AS log_pages FROM vec_prewarm('t_v', 'Prefetch');
SELECT vec_prewarm('t_v', 'all');
SELECT vec_prewarm('t_id');
SELECT vec_prewarm('parts_v');
SELECT vec_prewarm(0);
SELECT vec_prewarm(NULL) IS NULL AS strict;
SELECT * FROM vec_prewarm('few_v', 'buffer');

-- Counters.
SELECT vec_stat_reset('t_v');
SELECT searches, segments_searched, distances, reranked, tail_scanned, emitted, late, went_on_exactly, cut_short, seals, merges,
       graph_builds, graph_insertions, set_aside, stats_reset <= now() AS stats_reset
FROM vec_stat WHERE index = 't_v'::regclass;
SELECT vec_stat_reset();
SELECT vec_stat_reset(NULL) IS NULL AS strict;

-- Privileges: the owner of the index and pg_stat_scan_tables measure, superusers reset.
CREATE ROLE regress_vecckpt_owner;
CREATE ROLE regress_vecckpt_reader;
CREATE ROLE regress_vecckpt_monitor IN ROLE pg_monitor;
GRANT SELECT ON t TO regress_vecckpt_reader;
ALTER TABLE t OWNER TO regress_vecckpt_owner;
SET ROLE regress_vecckpt_owner;
SELECT recall FROM vec_recall('t_v', samples => 10);
SELECT vec_suggest_ef('t_v', samples => 10);
SELECT recall FROM vec_recall('few_v', samples => 10);
SELECT segments FROM vec_prewarm('t_v');
SELECT segments FROM vec_prewarm('few_v');
SELECT vec_stat_reset('t_v');
SELECT vec_stat_reset();
SET ROLE regress_vecckpt_reader;
SELECT segments FROM vec_prewarm('t_v');
SELECT recall FROM vec_recall('t_v', samples => 10);
SELECT vec_suggest_ef('t_v', samples => 10);
SELECT count(*) FROM vec_stat WHERE index = 't_v'::regclass;
SET ROLE regress_vecckpt_monitor;
SELECT recall FROM vec_recall('t_v', samples => 10);
SELECT vec_suggest_ef('t_v', samples => 10);
SELECT vec_stat_reset();
RESET ROLE;
DROP TABLE t, few, parts;
DROP ROLE regress_vecckpt_owner, regress_vecckpt_reader, regress_vecckpt_monitor;
