-- vecckpt_pgvector 1.0: operator classes of access method vhnsw for pgvector's types vector and halfvec, and the
-- distances of vector and real[].

\echo Use "CREATE EXTENSION vecckpt_pgvector CASCADE" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.to_regtype('halfvec') IS NULL THEN
        RAISE EXCEPTION 'vecckpt_pgvector needs version 0.7.0 or later of extension vector'
            USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION vector UPDATE';
    END IF;
END
$$;

-- Support function 1 of an operator class tells the access method the metric and the type of the elements.

CREATE FUNCTION vhnsw_vector_l2_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_vector_l2_support(internal) IS 'vhnsw support: vector, Euclidean distance';
CREATE FUNCTION vhnsw_vector_ip_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_vector_ip_support(internal) IS 'vhnsw support: vector, negative inner product';
CREATE FUNCTION vhnsw_vector_cosine_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_vector_cosine_support(internal) IS 'vhnsw support: vector, cosine distance';
CREATE FUNCTION vhnsw_vector_l1_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_vector_l1_support(internal) IS 'vhnsw support: vector, taxicab distance';
CREATE FUNCTION vhnsw_halfvec_l2_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_halfvec_l2_support(internal) IS 'vhnsw support: halfvec, Euclidean distance';
CREATE FUNCTION vhnsw_halfvec_ip_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_halfvec_ip_support(internal) IS 'vhnsw support: halfvec, negative inner product';
CREATE FUNCTION vhnsw_halfvec_cosine_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_halfvec_cosine_support(internal) IS 'vhnsw support: halfvec, cosine distance';
CREATE FUNCTION vhnsw_halfvec_l1_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vhnsw_halfvec_l1_support(internal) IS 'vhnsw support: halfvec, taxicab distance';

-- pgvector's names and pgvector's operators.

CREATE OPERATOR CLASS vector_l2_ops DEFAULT FOR TYPE vector USING vhnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_vector_l2_support(internal);
COMMENT ON OPERATOR CLASS vector_l2_ops USING vhnsw IS 'Euclidean distance on vector';

CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING vhnsw AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_vector_ip_support(internal);
COMMENT ON OPERATOR CLASS vector_ip_ops USING vhnsw IS 'negative inner product on vector';

CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING vhnsw AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_vector_cosine_support(internal);
COMMENT ON OPERATOR CLASS vector_cosine_ops USING vhnsw IS 'cosine distance on vector';

CREATE OPERATOR CLASS vector_l1_ops FOR TYPE vector USING vhnsw AS
    OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_vector_l1_support(internal);
COMMENT ON OPERATOR CLASS vector_l1_ops USING vhnsw IS 'taxicab distance on vector';

CREATE OPERATOR CLASS halfvec_l2_ops DEFAULT FOR TYPE halfvec USING vhnsw AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_halfvec_l2_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING vhnsw IS 'Euclidean distance on halfvec';

CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING vhnsw AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_halfvec_ip_support(internal);
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING vhnsw IS 'negative inner product on halfvec';

CREATE OPERATOR CLASS halfvec_cosine_ops FOR TYPE halfvec USING vhnsw AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_halfvec_cosine_support(internal);
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING vhnsw IS 'cosine distance on halfvec';

CREATE OPERATOR CLASS halfvec_l1_ops FOR TYPE halfvec USING vhnsw AS
    OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 vhnsw_halfvec_l1_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l1_ops USING vhnsw IS 'taxicab distance on halfvec';

-- vector <-> real[]. pgvector converts a real[] to vector by assignment only, but a vector to real[] implicitly. So with
-- the operators of vecckpt alone the column would be converted, which no index serves. These convert the array. The
-- planner puts the functions' bodies in place of the operators and finds pgvector's operator there, and with it the
-- index, be it one of vhnsw or of hnsw. The same for halfvec would make halfvec <-> vector ambiguous.

CREATE FUNCTION vector_real_l2_distance(vector, real[]) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 <-> $2::vector;
COMMENT ON FUNCTION vector_real_l2_distance(vector, real[]) IS 'Euclidean distance';
CREATE FUNCTION real_vector_l2_distance(real[], vector) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1::vector <-> $2;
COMMENT ON FUNCTION real_vector_l2_distance(real[], vector) IS 'Euclidean distance';
CREATE OPERATOR <-> (
    LEFTARG = vector, RIGHTARG = real[], FUNCTION = vector_real_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (vector, real[]) IS 'Euclidean distance';

CREATE OPERATOR <-> (
    LEFTARG = real[], RIGHTARG = vector, FUNCTION = real_vector_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (real[], vector) IS 'Euclidean distance';

CREATE FUNCTION vector_real_negative_inner_product(vector, real[]) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 <#> $2::vector;
COMMENT ON FUNCTION vector_real_negative_inner_product(vector, real[]) IS 'negative inner product';
CREATE FUNCTION real_vector_negative_inner_product(real[], vector) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1::vector <#> $2;
COMMENT ON FUNCTION real_vector_negative_inner_product(real[], vector) IS 'negative inner product';
CREATE OPERATOR <#> (
    LEFTARG = vector, RIGHTARG = real[], FUNCTION = vector_real_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (vector, real[]) IS 'negative inner product';

CREATE OPERATOR <#> (
    LEFTARG = real[], RIGHTARG = vector, FUNCTION = real_vector_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (real[], vector) IS 'negative inner product';

CREATE FUNCTION vector_real_cosine_distance(vector, real[]) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 <=> $2::vector;
COMMENT ON FUNCTION vector_real_cosine_distance(vector, real[]) IS 'cosine distance';
CREATE FUNCTION real_vector_cosine_distance(real[], vector) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1::vector <=> $2;
COMMENT ON FUNCTION real_vector_cosine_distance(real[], vector) IS 'cosine distance';
CREATE OPERATOR <=> (
    LEFTARG = vector, RIGHTARG = real[], FUNCTION = vector_real_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (vector, real[]) IS 'cosine distance';

CREATE OPERATOR <=> (
    LEFTARG = real[], RIGHTARG = vector, FUNCTION = real_vector_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (real[], vector) IS 'cosine distance';

CREATE FUNCTION vector_real_l1_distance(vector, real[]) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 <+> $2::vector;
COMMENT ON FUNCTION vector_real_l1_distance(vector, real[]) IS 'taxicab distance';
CREATE FUNCTION real_vector_l1_distance(real[], vector) RETURNS double precision
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1::vector <+> $2;
COMMENT ON FUNCTION real_vector_l1_distance(real[], vector) IS 'taxicab distance';
CREATE OPERATOR <+> (
    LEFTARG = vector, RIGHTARG = real[], FUNCTION = vector_real_l1_distance, COMMUTATOR = '<+>'
);
COMMENT ON OPERATOR <+> (vector, real[]) IS 'taxicab distance';

CREATE OPERATOR <+> (
    LEFTARG = real[], RIGHTARG = vector, FUNCTION = real_vector_l1_distance, COMMUTATOR = '<+>'
);
COMMENT ON OPERATOR <+> (real[], vector) IS 'taxicab distance';
