-- Index options.

CREATE TABLE t (id int, v real[]);
CREATE INDEX t_defaults ON t USING vhnsw (v);
CREATE INDEX t_low ON t USING vhnsw (v) WITH (m = 2, ef_construction = 4, dims = 1);
CREATE INDEX t_high ON t USING vhnsw (v) WITH (m = 100, ef_construction = 1000, dims = 16000);
CREATE INDEX t_upper ON t USING vhnsw (v) WITH (M = 8, dims = 0);
SELECT relname, reloptions FROM pg_class WHERE relname LIKE 't\_%' ORDER BY relname;
SELECT index, m, ef_construction, dims FROM vec_indexes WHERE "table" = 't'::regclass ORDER BY index::text;

CREATE INDEX ON t USING vhnsw (v) WITH (m = 1);
CREATE INDEX ON t USING vhnsw (v) WITH (m = 101);
CREATE INDEX ON t USING vhnsw (v) WITH (m = 'many');
CREATE INDEX ON t USING vhnsw (v) WITH (ef_construction = 3);
CREATE INDEX ON t USING vhnsw (v) WITH (ef_construction = 1001);
CREATE INDEX ON t USING vhnsw (v) WITH (dims = -1);
CREATE INDEX ON t USING vhnsw (v) WITH (dims = 16001);
CREATE INDEX ON t USING vhnsw (v) WITH (fillfactor = 90);
CREATE INDEX ON t USING vhnsw (v) WITH (m = 8, m = 9);

-- Changed options count from the next build on.
DROP INDEX t_low, t_high, t_upper;
ALTER INDEX t_defaults SET (m = 1);
ALTER INDEX t_defaults SET (m = 24, ef_construction = 100);
INSERT INTO t VALUES (1, '{1,2,3}');
SELECT index, m, ef_construction, dims FROM vec_indexes WHERE "table" = 't'::regclass;
REINDEX INDEX t_defaults;
SELECT index, m, ef_construction, dims FROM vec_indexes WHERE "table" = 't'::regclass;
ALTER INDEX t_defaults RESET (m, ef_construction);
REINDEX INDEX t_defaults;
SELECT index, m, ef_construction, dims FROM vec_indexes WHERE "table" = 't'::regclass;

-- An index with fixed dimensions refuses others, with the first row as with any.
CREATE INDEX ON t USING vhnsw (v) WITH (dims = 4);
CREATE INDEX t_three ON t USING vhnsw (v) WITH (dims = 3);
INSERT INTO t VALUES (2, '{1,2}');
SELECT count(*) FROM t;
DROP TABLE t;
-- Quantization: sq8 unless the metric is L1 or there are few dimensions.
CREATE TABLE q (v real[]);
CREATE INDEX q_default ON q USING vhnsw (v) WITH (dims = 9);
CREATE INDEX q_few ON q USING vhnsw (v) WITH (dims = 8);
CREATE INDEX q_l1 ON q USING vhnsw (v real_l1_ops) WITH (dims = 9, quantization = sq8);
CREATE INDEX q_none ON q USING vhnsw (v) WITH (dims = 9, quantization = none);
CREATE INDEX q_sq8 ON q USING vhnsw (v) WITH (dims = 9, quantization = 'sq8');
CREATE INDEX q_sq4 ON q USING vhnsw (v) WITH (dims = 9, quantization = 'sq4');
CREATE INDEX q_sq4_few ON q USING vhnsw (v) WITH (dims = 8, quantization = sq4);
SELECT index, quantization FROM vec_indexes WHERE "table" = 'q'::regclass ORDER BY index::text;
CREATE INDEX ON q USING vhnsw (v) WITH (quantization = 'sq3');
DROP TABLE q;
