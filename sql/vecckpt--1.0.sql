-- vecckpt 1.0: distance operators on real[], access method vhnsw, checkpoint functions and views.

\echo Use "CREATE EXTENSION vecckpt" to load this file. \quit

-- Distances. Both arguments: one-dimensional, of equal length 1 to 16000, finite, without NULL elements.

CREATE FUNCTION l2_distance(real[], real[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vecckpt_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(real[], real[]) IS 'Euclidean distance';

CREATE FUNCTION inner_product(real[], real[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vecckpt_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(real[], real[]) IS 'inner product';

CREATE FUNCTION negative_inner_product(real[], real[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vecckpt_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION negative_inner_product(real[], real[]) IS 'inner product times -1';

CREATE FUNCTION cosine_distance(real[], real[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vecckpt_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(real[], real[]) IS '1 - cosine similarity; NaN if a vector is zero';

CREATE FUNCTION l1_distance(real[], real[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vecckpt_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(real[], real[]) IS 'taxicab distance';

CREATE OPERATOR <-> (
    LEFTARG = real[], RIGHTARG = real[], FUNCTION = l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (real[], real[]) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = real[], RIGHTARG = real[], FUNCTION = negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (real[], real[]) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = real[], RIGHTARG = real[], FUNCTION = cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (real[], real[]) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = real[], RIGHTARG = real[], FUNCTION = l1_distance, COMMUTATOR = '<+>'
);
COMMENT ON OPERATOR <+> (real[], real[]) IS 'taxicab distance';

-- A call of a distance function is planned as its operator, so that an index serves it too.
CREATE FUNCTION vecckpt_distance_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
COMMENT ON FUNCTION vecckpt_distance_support(internal) IS 'planner support for distance functions';
ALTER FUNCTION l2_distance(real[], real[]) SUPPORT vecckpt_distance_support;
ALTER FUNCTION negative_inner_product(real[], real[]) SUPPORT vecckpt_distance_support;
ALTER FUNCTION cosine_distance(real[], real[]) SUPPORT vecckpt_distance_support;
ALTER FUNCTION l1_distance(real[], real[]) SUPPORT vecckpt_distance_support;

-- The access method. Support function 1 of an operator class tells it the metric and the type of the elements.

CREATE FUNCTION vhnsw_handler(internal) RETURNS index_am_handler
    AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON FUNCTION vhnsw_handler(internal) IS 'vhnsw index access method handler';

CREATE ACCESS METHOD vhnsw TYPE INDEX HANDLER vhnsw_handler;
COMMENT ON ACCESS METHOD vhnsw IS 'HNSW vector index with background builds and checkpoints';

CREATE FUNCTION vhnsw_real_l2_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_real_l2_support(internal) IS 'vhnsw support: real[], Euclidean distance';
CREATE FUNCTION vhnsw_real_ip_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_real_ip_support(internal) IS 'vhnsw support: real[], negative inner product';
CREATE FUNCTION vhnsw_real_cosine_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_real_cosine_support(internal) IS 'vhnsw support: real[], cosine distance';
CREATE FUNCTION vhnsw_real_l1_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_real_l1_support(internal) IS 'vhnsw support: real[], taxicab distance';

CREATE OPERATOR CLASS real_l2_ops DEFAULT FOR TYPE real[] USING vhnsw AS
    OPERATOR 1 <-> (real[], real[]) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_real_l2_support(internal);
COMMENT ON OPERATOR CLASS real_l2_ops USING vhnsw IS 'Euclidean distance on real[]';
COMMENT ON OPERATOR FAMILY real_l2_ops USING vhnsw IS 'Euclidean distance on real[]';

CREATE OPERATOR CLASS real_ip_ops FOR TYPE real[] USING vhnsw AS
    OPERATOR 1 <#> (real[], real[]) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_real_ip_support(internal);
COMMENT ON OPERATOR CLASS real_ip_ops USING vhnsw IS 'negative inner product on real[]';
COMMENT ON OPERATOR FAMILY real_ip_ops USING vhnsw IS 'negative inner product on real[]';

CREATE OPERATOR CLASS real_cosine_ops FOR TYPE real[] USING vhnsw AS
    OPERATOR 1 <=> (real[], real[]) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_real_cosine_support(internal);
COMMENT ON OPERATOR CLASS real_cosine_ops USING vhnsw IS 'cosine distance on real[]';
COMMENT ON OPERATOR FAMILY real_cosine_ops USING vhnsw IS 'cosine distance on real[]';

CREATE OPERATOR CLASS real_l1_ops FOR TYPE real[] USING vhnsw AS
    OPERATOR 1 <+> (real[], real[]) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_real_l1_support(internal);
COMMENT ON OPERATOR CLASS real_l1_ops USING vhnsw IS 'taxicab distance on real[]';
COMMENT ON OPERATOR FAMILY real_l1_ops USING vhnsw IS 'taxicab distance on real[]';

-- Checkpoints.

CREATE FUNCTION vec_checkpoint() RETURNS bigint
    AS 'MODULE_PATHNAME', 'vec_checkpoint_all' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vec_checkpoint() IS
    'seals every vhnsw index up to its end and makes it durable; returns how many indexes are durable';

CREATE FUNCTION vec_checkpoint(index regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'vec_checkpoint_one' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vec_checkpoint(regclass) IS
    'seals one vhnsw index up to its end and makes it durable, or raises an error';

REVOKE ALL ON FUNCTION vec_checkpoint() FROM PUBLIC;
REVOKE ALL ON FUNCTION vec_checkpoint(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vec_checkpoint() TO pg_checkpoint;
GRANT EXECUTE ON FUNCTION vec_checkpoint(regclass) TO pg_checkpoint;

-- Checks.

CREATE FUNCTION vec_index_check(
    index regclass, heapallindexed boolean DEFAULT false,
    OUT severity text, OUT place text, OUT message text
) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vec_index_check(regclass, boolean) IS
    'checks the log and the segments of a vhnsw index, and that every row of the table has its entry; one row a finding';

-- As amcheck: for superusers, who may grant it.
REVOKE ALL ON FUNCTION vec_index_check(regclass, boolean) FROM PUBLIC;

-- Measuring. For the index's owner and members of pg_stat_scan_tables, which the functions check themselves.

CREATE FUNCTION vec_recall(
    index regclass, k integer DEFAULT 10, samples integer DEFAULT 100, ef_search integer DEFAULT NULL,
    seed bigint DEFAULT NULL,
    OUT recall double precision, OUT low double precision, OUT high double precision, OUT queries integer,
    OUT entries bigint, OUT search_ms double precision, OUT exact_ms double precision
) RETURNS record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vec_recall(regclass, integer, integer, integer, bigint) IS
    'recall of searches for k rows, measured with sampled entries as queries, with its 95 % confidence interval';

CREATE FUNCTION vec_suggest_ef(
    index regclass, k integer DEFAULT 10, target_recall double precision DEFAULT 0.95,
    samples integer DEFAULT 100, seed bigint DEFAULT NULL
) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vec_suggest_ef(regclass, integer, double precision, integer, bigint) IS
    'smallest vhnsw.ef_search with which a sample of searches for k rows has the recall wanted; NULL if none has';

-- Needs SELECT on the table, which the function checks itself.

CREATE FUNCTION vec_prewarm(
    index regclass, log text DEFAULT 'none',
    OUT segments integer, OUT segment_bytes bigint, OUT log_pages bigint
) RETURNS record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vec_prewarm(regclass, text) IS
    'reads the segments of a vhnsw index into memory, and its log: "none", "prefetch" or "buffer"';

-- Views.

CREATE FUNCTION vec_index_info(
    OUT index regclass, OUT database name, OUT identity text, OUT metric text, OUT dims integer,
    OUT m integer, OUT ef_construction integer, OUT quantization text, OUT entries bigint,
    OUT live_entries bigint, OUT coverage bigint, OUT tail_length bigint, OUT segments integer, OUT file_bytes bigint,
    OUT generation bigint, OUT durable_generation bigint, OUT state text, OUT last_error text,
    OUT last_checkpoint timestamp with time zone, OUT last_checkpoint_lsn pg_lsn, OUT warning text
) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;  -- it uses subtransactions
COMMENT ON FUNCTION vec_index_info() IS
    'one row for each vhnsw index of this database, and one for each other index in shared memory';

CREATE VIEW vec_indexes AS
    SELECT f.index, i.indrelid::regclass AS "table", f.database, f.identity, f.metric, f.dims, f.m,
           f.ef_construction, f.quantization, f.entries, f.live_entries, f.coverage, f.tail_length, f.segments,
           f.file_bytes, f.generation, f.durable_generation, f.state, f.last_error,
           f.last_checkpoint, f.last_checkpoint_lsn, f.warning
    FROM vec_index_info() f LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = f.index;
COMMENT ON VIEW vec_indexes IS 'state of the vhnsw indexes: log, segments, builder, checkpoint';
COMMENT ON COLUMN vec_indexes.index IS 'the index; NULL if it is of another database';
COMMENT ON COLUMN vec_indexes."table" IS 'its table';
COMMENT ON COLUMN vec_indexes.database IS 'its database';
COMMENT ON COLUMN vec_indexes.identity IS 'random number, new with every build of the index';
COMMENT ON COLUMN vec_indexes.metric IS 'l2, inner_product, cosine or l1';
COMMENT ON COLUMN vec_indexes.dims IS 'dimensions of its vectors; 0 until the first one';
COMMENT ON COLUMN vec_indexes.m IS 'links of a graph node';
COMMENT ON COLUMN vec_indexes.ef_construction IS 'candidates kept while a node is inserted';
COMMENT ON COLUMN vec_indexes.quantization IS 'how segments keep vectors: sq8, sq4 or none';
COMMENT ON COLUMN vec_indexes.entries IS 'entries in the log';
COMMENT ON COLUMN vec_indexes.live_entries IS 'those that VACUUM has not marked dead';
COMMENT ON COLUMN vec_indexes.coverage IS 'position up to which segments cover the log';
COMMENT ON COLUMN vec_indexes.tail_length IS 'entries that no segment covers';
COMMENT ON COLUMN vec_indexes.segments IS 'number of segments';
COMMENT ON COLUMN vec_indexes.file_bytes IS 'size of their files';
COMMENT ON COLUMN vec_indexes.generation IS 'the current list of segments';
COMMENT ON COLUMN vec_indexes.durable_generation IS 'the last one that a checkpoint made durable';
COMMENT ON COLUMN vec_indexes.state IS 'what the builder does with it';
COMMENT ON COLUMN vec_indexes.last_error IS 'why building, a checkpoint or reading the log failed last; NULL when it then went well';
COMMENT ON COLUMN vec_indexes.last_checkpoint IS 'when the durable generation was made durable';
COMMENT ON COLUMN vec_indexes.last_checkpoint_lsn IS 'position of the WAL at that time';
COMMENT ON COLUMN vec_indexes.warning IS 'advice';

CREATE FUNCTION vec_segment_info(
    OUT index regclass, OUT segment text, OUT kind text, OUT first_position bigint,
    OUT end_position bigint, OUT nodes bigint, OUT entries bigint, OUT orphans bigint,
    OUT repaired bigint, OUT bytes bigint
) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vec_segment_info() IS 'one row for each segment of the vhnsw indexes of this database';

CREATE VIEW vec_segments AS SELECT * FROM vec_segment_info();
COMMENT ON VIEW vec_segments IS 'segments of the vhnsw indexes of this database';
COMMENT ON COLUMN vec_segments.index IS 'the index';
COMMENT ON COLUMN vec_segments.segment IS 'id, as in the name of its file';
COMMENT ON COLUMN vec_segments.kind IS 'flat or graph';
COMMENT ON COLUMN vec_segments.first_position IS 'first position of the log that it covers';
COMMENT ON COLUMN vec_segments.end_position IS 'position behind the last one';
COMMENT ON COLUMN vec_segments.nodes IS 'distinct codes';
COMMENT ON COLUMN vec_segments.entries IS 'entries of the log';
COMMENT ON COLUMN vec_segments.orphans IS 'nodes that no search would find, compared with every query';
COMMENT ON COLUMN vec_segments.repaired IS 'links added so that searches find every other node';
COMMENT ON COLUMN vec_segments.bytes IS 'size of its file';

CREATE FUNCTION vec_stat_info(
    OUT index regclass, OUT searches bigint, OUT segments_searched bigint, OUT distances bigint,
    OUT reranked bigint, OUT tail_scanned bigint, OUT emitted bigint, OUT late bigint,
    OUT went_on_exactly bigint, OUT cut_short bigint, OUT seals bigint, OUT merges bigint, OUT graph_builds bigint,
    OUT graph_insertions bigint, OUT set_aside bigint,
    OUT stats_reset timestamp with time zone
) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vec_stat_info() IS
    'counters of each vhnsw index of this database since stats_reset';

CREATE VIEW vec_stat AS SELECT * FROM vec_stat_info();
COMMENT ON VIEW vec_stat IS 'counters of the vhnsw indexes of this database since stats_reset';
COMMENT ON COLUMN vec_stat.index IS 'the index';
COMMENT ON COLUMN vec_stat.searches IS 'index scans that ended without an error';
COMMENT ON COLUMN vec_stat.segments_searched IS 'segments that they looked into';
COMMENT ON COLUMN vec_stat.distances IS 'distances computed on codes';
COMMENT ON COLUMN vec_stat.reranked IS 'distances computed exactly, with the vector from the log';
COMMENT ON COLUMN vec_stat.tail_scanned IS 'entries of the tail, compared exactly';
COMMENT ON COLUMN vec_stat.emitted IS 'rows returned to the executor';
COMMENT ON COLUMN vec_stat.late IS 'rows found too late for their place in strict order';
COMMENT ON COLUMN vec_stat.went_on_exactly IS 'searches that came to their limit and compared all other rows';
COMMENT ON COLUMN vec_stat.cut_short IS 'searches that the settings ended before they had been through everything';
COMMENT ON COLUMN vec_stat.seals IS 'flat segments made of the tail';
COMMENT ON COLUMN vec_stat.merges IS 'flat segments made of flat ones';
COMMENT ON COLUMN vec_stat.graph_builds IS 'segments made with a graph';
COMMENT ON COLUMN vec_stat.graph_insertions IS 'nodes inserted into graphs';
COMMENT ON COLUMN vec_stat.set_aside IS 'files given up as damaged or of another history';
COMMENT ON COLUMN vec_stat.stats_reset IS 'the counters count from here';

CREATE FUNCTION vec_stat_reset() RETURNS void
    AS 'MODULE_PATHNAME', 'vec_stat_reset_all' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vec_stat_reset() IS 'sets the counters of all vhnsw indexes of this database to zero';

CREATE FUNCTION vec_stat_reset(index regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'vec_stat_reset_one' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vec_stat_reset(regclass) IS 'sets the counters of one vhnsw index to zero';

-- As pg_stat_reset(): for superusers, who may grant it.
REVOKE ALL ON FUNCTION vec_stat_reset() FROM PUBLIC;
REVOKE ALL ON FUNCTION vec_stat_reset(regclass) FROM PUBLIC;

CREATE FUNCTION vec_progress_info(
    OUT pid integer, OUT database name, OUT index regclass, OUT job text, OUT phase text, OUT done bigint,
    OUT total bigint, OUT unit text, OUT started timestamp with time zone,
    OUT phase_started timestamp with time zone, OUT rate double precision,
    OUT estimated_end timestamp with time zone
) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vec_progress_info() IS 'one row for each job that a builder of any database runs now';

CREATE VIEW vec_progress AS SELECT * FROM vec_progress_info();
COMMENT ON VIEW vec_progress IS 'jobs that the builders of all databases run now, and how far they are';
COMMENT ON COLUMN vec_progress.pid IS 'process of the builder';
COMMENT ON COLUMN vec_progress.database IS 'its database';
COMMENT ON COLUMN vec_progress.index IS 'the index; NULL if it is of another database';
COMMENT ON COLUMN vec_progress.job IS 'seal, merge, graph, absorb, rebuild, verify or count dead';
COMMENT ON COLUMN vec_progress.phase IS 'what the job is at';
COMMENT ON COLUMN vec_progress.done IS 'units done in this phase; NULL if it counts none';
COMMENT ON COLUMN vec_progress.total IS 'units of this phase';
COMMENT ON COLUMN vec_progress.unit IS 'entries, nodes or bytes';
COMMENT ON COLUMN vec_progress.started IS 'when the job began';
COMMENT ON COLUMN vec_progress.phase_started IS 'when the phase began';
COMMENT ON COLUMN vec_progress.rate IS 'units a second in this phase';
COMMENT ON COLUMN vec_progress.estimated_end IS 'when the phase ends at that rate';

-- As the statistics views of the server: for everyone to look at.
GRANT SELECT ON vec_indexes, vec_segments, vec_stat, vec_progress TO PUBLIC;
