-- Distance functions and operators on real[], with every kind of bad input.

-- Values that floating point holds exactly.
SELECT l2_distance('{0,0}', '{3,4}'), l2_distance('{1,2}', '{1,2}');
SELECT inner_product('{1,2,3}', '{4,5,6}'), negative_inner_product('{1,2,3}', '{4,5,6}');
SELECT inner_product('{1,0}', '{0,1}'), negative_inner_product('{1,0}', '{0,1}'), inner_product('{-1}', '{0}');
SELECT cosine_distance('{1,0}', '{2,0}'), cosine_distance('{1,0}', '{0,3}'), cosine_distance('{1,0}', '{-1,0}');
SELECT l1_distance('{1,2}', '{-1,5}'), l1_distance('{0}', '{0}');

-- The operators are the same functions.
SELECT '{0,0}'::real[] <-> '{3,4}' AS l2, '{1,2,3}'::real[] <#> '{4,5,6}' AS ip,
       '{1,0}'::real[] <=> '{0,3}' AS cosine, '{1,2}'::real[] <+> '{-1,5}' AS l1;
SELECT round(('{1,1}'::real[] <=> '{1,0}')::numeric, 6) AS cosine_of_45_degrees;

-- Sums are taken in double precision: squares beyond real stay finite.
SELECT ('{3e38}'::real[] <-> '{-3e38}') BETWEEN 5.9e38 AND 6.1e38 AS l2,
       ('{1e30,1e30}'::real[] <#> '{1e30,1e30}') BETWEEN -2.1e60 AND -1.9e60 AS ip,
       round(('{1e30,1e30}'::real[] <=> '{1e30,1e30}')::numeric, 6) AS cosine;
SELECT round((l2_distance('{1e-30,0}', '{0,0}') / 1e-30)::numeric, 5) AS tiny;

-- A zero vector has no direction.
SELECT '{0,0}'::real[] <=> '{1,0}' AS zero_left, '{1,0}'::real[] <=> '{0,0}' AS zero_right;
SELECT '{0,0}'::real[] <-> '{0,0}' AS l2, '{0,0}'::real[] <#> '{1,2}' AS ip, '{0,0}'::real[] <+> '{1,2}' AS l1;

-- Commutative, and the same for longer vectors as plain SQL.
WITH v AS (
    SELECT array_agg((i * 7 % 13)::real ORDER BY i) AS a, array_agg((i * 5 % 11)::real ORDER BY i) AS b
    FROM generate_series(1, 1000) i
), plain AS (
    SELECT sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip, sum(abs(x - y)) AS l1,
           1 - sum(x * y) / sqrt(sum(x * x) * sum(y * y)) AS cosine
    FROM v, unnest(a::double precision[], b::double precision[]) AS u (x, y)
)
SELECT abs((a <-> b) - l2) < 1e-9 AS l2, abs((a <#> b) + ip) < 1e-9 AS ip, abs((a <+> b) - l1) < 1e-9 AS l1,
       abs((a <=> b) - cosine) < 1e-9 AS cosine,
       (a <-> b) = (b <-> a) AND (a <#> b) = (b <#> a) AND (a <+> b) = (b <+> a) AND (a <=> b) = (b <=> a) AS commutative
FROM v, plain;

-- Other element types: what casts implicitly works, double precision[] needs a cast.
SELECT ARRAY[0, 0] <-> ARRAY[3, 4] AS integers, ARRAY[0.5, 0] <-> ARRAY[3.5, 4] AS numerics;
SELECT ARRAY[0, 0]::double precision[] <-> ARRAY[3, 4]::double precision[];

-- NULL in, NULL out; lower bounds do not matter; toasted values are fetched.
SELECT NULL::real[] <-> '{1}' IS NULL AS left_null, l1_distance('{1}', NULL) IS NULL AS right_null;
SELECT '[0:1]={0,0}'::real[] <-> '[5:6]={3,4}' AS bounds;
CREATE TABLE toasted (v real[]);
INSERT INTO toasted SELECT array_agg(i::real ORDER BY i) FROM generate_series(1, 16000) i;
SELECT v <-> v AS zero, cardinality(v) FROM toasted;
DROP TABLE toasted;

-- Bad input.
SELECT l2_distance('{1,2}', '{1,2,3}');
SELECT cosine_distance('{1,2,3}', '{1,2}');
SELECT l2_distance('{}', '{}');
SELECT l2_distance('{1}', '{}');
SELECT inner_product('{{1,2},{3,4}}', '{1,2,3,4}');
SELECT l1_distance('{1,2}', '{{1,2}}');
SELECT l2_distance('{1,NULL}', '{1,2}');
SELECT l2_distance('{1,2}', '{NULL,NULL}');
SELECT '{1,NaN}'::real[] <-> '{1,2}';
SELECT '{1,2}'::real[] <=> '{Infinity,2}';
SELECT '{1,2}'::real[] <#> '{-Infinity,2}';
-- Whatever the other vector makes of it: 0 * infinity, a zero vector, infinity - infinity, other dimensions.
SELECT '{0,1}'::real[] <#> '{Infinity,1}';
SELECT '{0,0}'::real[] <=> '{Infinity,2}';
SELECT '{Infinity,1}'::real[] <-> '{Infinity,1}';
SELECT '{1,2}'::real[] <+> '{2,NaN}';
SELECT '{1,2}'::real[] <-> '{1,2,NaN}';
-- Finite vectors are far apart at most.
SELECT '{3e38,3e38}'::real[] <-> '{-3e38,-3e38}' < 'Infinity' AS finite;
SELECT '{1,2}'::real[] <+> '{1e39,2}';
SELECT array_fill(1::real, ARRAY[16000]) <-> array_fill(2::real, ARRAY[16000]) > 126 AS longest;
SELECT array_fill(1::real, ARRAY[16001]) <-> array_fill(2::real, ARRAY[16001]);

-- Their codes.
\set VERBOSITY sqlstate
SELECT l2_distance('{1,2}', '{1,2,3}');
SELECT l2_distance('{}', '{}');
SELECT l2_distance('{{1}}', '{1}');
SELECT l2_distance('{NULL}', '{1}');
SELECT l2_distance('{NaN}', '{1}');
SELECT l2_distance('{Infinity}', '{1}');
SELECT l2_distance(array_fill(1::real, ARRAY[16001]), array_fill(2::real, ARRAY[16001]));
\set VERBOSITY default

-- All may run in parallel workers and in indexes.
SELECT proname, provolatile, proisstrict, proparallel FROM pg_proc
WHERE proname IN ('l2_distance', 'inner_product', 'negative_inner_product', 'cosine_distance', 'l1_distance')
ORDER BY proname;
