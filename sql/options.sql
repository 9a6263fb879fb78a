-- Settings: defaults, limits, who may change them.

SELECT name, setting, unit, min_val, max_val, enumvals, context, vartype FROM pg_settings
WHERE name LIKE 'vhnsw.%' OR name LIKE 'vecckpt.%' ORDER BY name COLLATE "C";

SET vhnsw.ef_search = 1;
SET vhnsw.ef_search = 10000;
SHOW vhnsw.ef_search;
SET vhnsw.ef_search = 0;
SET vhnsw.ef_search = 10001;
SET vhnsw.ef_search = 'many';
RESET vhnsw.ef_search;
SHOW vhnsw.ef_search;

SET vhnsw.iterative_scan = relaxed_order;
SET vhnsw.iterative_scan = off;
SET vhnsw.iterative_scan = strict_order;
SET vhnsw.iterative_scan = on;
SET vhnsw.iterative_scan = sorted;
RESET vhnsw.iterative_scan;

SET vhnsw.max_scan_tuples = 1;
SET vhnsw.max_scan_tuples = 0;
SET vhnsw.max_scan_tuples = -1;
RESET vhnsw.max_scan_tuples;

SET vhnsw.scan_mem_multiplier = 2.5;
SET vhnsw.scan_mem_multiplier = 0.5;
SET vhnsw.scan_mem_multiplier = 1001;
RESET vhnsw.scan_mem_multiplier;
SET vhnsw.on_scan_limit = 'stop';
SET vhnsw.on_scan_limit = 'go on';
RESET vhnsw.on_scan_limit;

SET vecckpt.build_threads = 2;
SET vecckpt.build_threads = 257;
SET vecckpt.build_threads = -1;
RESET vecckpt.build_threads;

-- Not for one connection.
SET vecckpt.checkpoint_timeout = 60;
SET vecckpt.build_memory = '64MB';
SET vecckpt.builder = off;
SET vecckpt.max_indexes = 10;
-- From version 16 on the message gives its range with units.
\set VERBOSITY sqlstate
ALTER SYSTEM SET vecckpt.checkpoint_timeout = 0;
ALTER SYSTEM SET vecckpt.checkpoint_timeout = '2d';
ALTER SYSTEM SET vecckpt.build_memory = '8MB';
\set VERBOSITY default
ALTER SYSTEM SET vecckpt.max_indexes = 0;

-- Names that do not exist.
SET vhnsw.ef = 10;
SET vecckpt.timeout = 10;

-- An ordinary user may change search settings.
CREATE ROLE regress_vecckpt_settings;
SET ROLE regress_vecckpt_settings;
SET vhnsw.ef_search = 100;
SET vecckpt.build_threads = 1;
RESET ROLE;
RESET ALL;
DROP ROLE regress_vecckpt_settings;
