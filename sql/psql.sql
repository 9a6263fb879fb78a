-- What psql's backslash commands show of the access method, its operator classes and its indexes, and that everything has a
-- description for \dx+, \df+, \do+, \dAc+ and \dv+. Commands whose columns differ between versions of psql stay out.
\dA vhnsw
\dAc vhnsw
\dAf vhnsw
\dAo vhnsw
\dAp vhnsw
CREATE TABLE psql_items (id int, v real[]);
CREATE INDEX psql_items_v ON psql_items USING vhnsw (v) WITH (m = 12, quantization = sq4);
CREATE INDEX psql_items_cosine ON psql_items USING vhnsw (v real_cosine_ops) WHERE id > 0;
CREATE INDEX psql_items_part ON psql_items USING vhnsw ((v[1:2]) real_l1_ops);
COMMENT ON INDEX psql_items_v IS 'nearest neighbours';
\d psql_items
\d psql_items_v
\d psql_items_cosine
\d psql_items_part
-- The definition that pg_dump writes.
SELECT pg_get_indexdef('psql_items_v'::regclass);
SELECT pg_get_indexdef('psql_items_cosine'::regclass);
-- Objects of the extension without a description; psql shows none for operator families and row types.
SELECT pg_describe_object(classid, objid, 0)
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vecckpt')
      AND classid NOT IN ('pg_opfamily'::regclass, 'pg_type'::regclass)
      AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;
-- No description ends with a period or begins with a capital that is no name.
SELECT d.description
FROM pg_depend p JOIN pg_description d ON d.classoid = p.classid AND d.objoid = p.objid AND d.objsubid = 0
WHERE p.refclassid = 'pg_extension'::regclass AND p.deptype = 'e'
      AND p.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vecckpt')
      AND (d.description ~ '[.]$' OR (d.description ~ '^[A-Z]' AND d.description !~ '^(HNSW|Euclidean)'));
-- Settings describe themselves.
SELECT name FROM pg_settings WHERE name ~ '^(vhnsw|vecckpt)[.]' AND (short_desc !~ '[.]$' OR category !~ 'Custom');
DROP TABLE psql_items;
