# Where the segments of an index on a temporary table cannot be written, scans say so in a WARNING and answer without them,
# and later ones build them; CREATE INDEX fails.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

seed_random();
my $node = new_node('temporary');
$node->start;
setup_vectors($node);
my $folder = vec_dir($node);
my $tries  = 10 * $PostgreSQL::Test::Utils::timeout_default;

# One session: what it is asked, and what it answers line by line.
my ($code, $out, $err) = $node->psql(
	'postgres', qq(
$EXHAUSTIVE
CREATE TEMP TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
-- Files that it has mapped and that have no name any more.
CREATE FUNCTION private_segments() RETURNS bigint LANGUAGE sql AS
    \$\$SELECT count(DISTINCT m[1]) FROM regexp_matches(pg_read_file('/proc/self/maps'), '(vector-ckpt/\\S+) \\(deleted\\)', 'g') m\$\$;
CREATE FUNCTION answers_right() RETURNS boolean LANGUAGE sql AS
    \$\$SELECT ARRAY(SELECT id FROM t ORDER BY v <-> '{0.1,0.2,0.3,0.4}' LIMIT 10) =
              ARRAY(SELECT id FROM t ORDER BY (v <-> '{0.1,0.2,0.3,0.4}') + 0 LIMIT 10)\$\$;
INSERT INTO t SELECT i, random_vector(4) FROM generate_series(1, 5000) i;

\\! chmod 0500 $folder
SELECT 'unwritable', answers_right(), private_segments();
CREATE INDEX t_second ON t USING vhnsw (v real_l1_ops);
\\! chmod 0700 $folder
DO \$\$
BEGIN
  FOR i IN 1 .. $tries LOOP
    PERFORM id FROM t ORDER BY v <-> '{0,0,0,0}' LIMIT 1;
    EXIT WHEN private_segments() > 0;
    PERFORM pg_sleep(0.1);
  END LOOP;
END \$\$;
SELECT 'writable', answers_right(), private_segments();
SELECT 'check', count(*) FROM vec_index_check('t_v', true);
), on_error_stop => 0);

is($code, 0, 'the session goes on to its end');
is($out, "unwritable|t|0\nwritable|t|1\ncheck|0", 'answers without segments and with them');
like($err, qr/WARNING:  could not build segments of index "t_v": .*Permission denied/, 'a scan says what it does without');
like($err, qr/ERROR:  .*Permission denied/, 'CREATE INDEX fails');
is(join(' ', vec_files($node)), '', 'no file stays');

done_testing();
