# Where the segments of an index on a temporary table cannot be written, scans say so in a WARNING and answer without them,
# and later ones build them; CREATE INDEX fails. Where building takes longer than a search may, the next searches do without.

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

# The graph takes several seconds. What the cancelled search leaves is what the next one uses: the same files, or none. More
# than one attempt, as other work on the machine may come between the two for as long as building is put off.
foreach my $attempt (1 .. 3)
{
	($code, $out, $err) = $node->psql(
		'postgres', q(
SET enable_seqscan = off;
CREATE TEMP TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (ef_construction = 1000);
INSERT INTO t SELECT i, random_vector(64) FROM generate_series(1, 20000) i;
CREATE FUNCTION pg_temp.mapped() RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(DISTINCT m[1], ' ') FROM regexp_matches(pg_read_file('/proc/self/maps'), '(vector-ckpt/\\S+) \\(deleted\\)', 'g') m$$;
SET statement_timeout = '1s';
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
SET statement_timeout = 0;
SELECT pg_temp.mapped() AS before \\gset
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
SELECT pg_temp.mapped() IS NOT DISTINCT FROM nullif(:'before', '');
), on_error_stop => 0);
	last if $out =~ /t$/;
}

is($code, 0, 'a session whose search is cancelled goes on');
like($err, qr/canceling statement due to statement timeout/, 'a search that builds for too long is cancelled');
is($out, "7\nt", 'the next one answers without building');
is(join(' ', vec_files($node)), '', 'no file stays');

done_testing();
