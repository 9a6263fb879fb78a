# A server started without the library preloaded still inserts, vacuums and answers exactly, with one WARNING a
# connection; building an index over rows and vec_checkpoint() refuse with a hint; TRUNCATE works. With the library
# preloaded again everything catches up.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 16;

my $node = new_node('node');
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', qq(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, 3000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE TABLE emptied (id int, v real[]);
INSERT INTO emptied SELECT i, random_vector($dims) FROM generate_series(1, 1000) i;
CREATE INDEX emptied_v ON emptied USING vhnsw (v);
CREATE TABLE no_index AS SELECT * FROM t LIMIT 500;
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 50) i;
SELECT vec_checkpoint();
));
my $segments = vec_segments($node, 't_v');
my $emptied_key = index_key($node, 'emptied_v');

# ---- Without
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
my $offset = log_size($node);
$node->start;
$node->safe_psql('postgres', qq(
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(3001, 4000) i;
UPDATE t SET v = random_vector($dims) WHERE id % 100 = 0;
DELETE FROM t WHERE id % 7 = 0;
VACUUM t;
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(4001, 4500) i;
VACUUM (PARALLEL 2) t;
));
probes_ok($node, 't', 'answers are exact without the library preloaded');
exact_everywhere($node, 't', 'so is a scan of the whole table');

my $search = "SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 3;";
my ($code, $out, $err) = $node->psql('postgres', "SET enable_seqscan = off; $search $search $search");
is($code, 0, 'searches succeed');
is(scalar(() = $err =~ /WARNING/g), 1, 'with one WARNING a connection');
like($err, qr/WARNING:  vecckpt is not preloaded.*\n.*HINT:  .*shared_preload_libraries/, 'which says what to do');
is($node->safe_psql('postgres', "INSERT INTO t VALUES (5000, random_vector($dims)) RETURNING id"), '5000',
	'inserts say nothing');

# What needs the library.
foreach my $refused (
	'CREATE INDEX refused ON no_index USING vhnsw (v)',
	'REINDEX INDEX t_v',
	'REINDEX INDEX CONCURRENTLY t_v',
	'SELECT vec_checkpoint()',
	"SELECT vec_checkpoint('t_v')",
	"SELECT vec_recall('t_v')",
	"SELECT vec_suggest_ef('t_v')",
	"SELECT vec_prewarm('t_v')",
	'SELECT vec_stat_reset()',
	"SELECT vec_stat_reset('t_v')")
{
	($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$refused", on_error_stop => 1);
	isnt($code, 0, "$refused is refused");
	like($err, qr/ERROR:  55000: .*\n.*HINT:  .*shared_preload_libraries/, 'with 55000 and a hint');
}
$node->psql('postgres', q(DO $$ DECLARE n text; BEGIN
FOR n IN SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid LOOP EXECUTE 'DROP INDEX ' || n; END LOOP; END $$));
probes_ok($node, 't', 'the index that was not rebuilt still answers exactly');
foreach my $view ('vec_indexes', 'vec_segments', 'vec_stat', 'vec_progress')
{
	($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM $view", on_error_stop => 1);
	ok($code == 0 || $err =~ /ERROR:  55000: .*\n.*HINT/, "$view answers or refuses with a hint") or diag($err);
}

# A check is of the log and the table, and says so.
($code, $out, $err) = $node->psql('postgres', "SELECT * FROM vec_index_check('t_v', true)");
is($out, '', 'vec_index_check has no findings');
like($err, qr/NOTICE:  vecckpt is not preloaded, only the log of index "t_v" was checked\n.*HINT:  .*shared_preload_libraries/,
	'and says what was not checked');

# What needs nothing.
$node->safe_psql('postgres', 'TRUNCATE emptied');
$node->safe_psql('postgres', "INSERT INTO emptied SELECT i, random_vector($dims) FROM generate_series(1, 400) i");
probes_ok($node, 'emptied', 'TRUNCATE works, and the table takes rows again');
$node->safe_psql('postgres', 'CREATE TABLE later (id int, v real[]); CREATE INDEX later_v ON later USING vhnsw (v)');
$node->safe_psql('postgres', "INSERT INTO later SELECT i, random_vector($dims) FROM generate_series(1, 600) i");
probes_ok($node, 'later', 'an index on an empty table can be created and used');
$node->safe_psql('postgres', 'CREATE TABLE dropped (id int, v real[]); CREATE INDEX dropped_v ON dropped USING vhnsw (v); DROP TABLE dropped');
($code, $out, $err) = $node->psql('postgres', "INSERT INTO t VALUES (9999, '{1,2,3}')");
like($err, qr/expected $dims dimensions, not 3/, 'wrong dimensions are refused as ever');
# A crash meanwhile, for good measure: the log alone has to do.
kill_server($node);
start_again($node);
probes_ok($node, 't', 'answers are exact after a crash without the library');
unlike(log_since($node, $offset), qr/PANIC|terminated by signal/, 'nothing crashed by itself');

# ---- With it again
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'vecckpt'");
$offset = log_size($node);
$node->start;
like(log_since($node, $offset), qr/vecckpt: loaded [1-9]/, 'with the library again the files are loaded');
foreach my $table ('t', 'emptied', 'later')
{
	probes_ok($node, $table, "$table answers exactly at once");
	ok(wait_sealed($node, "${table}_v", ask => 1), 'is sealed up to its end');
	probes_ok($node, $table, 'and answers exactly');
	exact_everywhere($node, $table, 'as a whole too');
	index_check_ok($node, "${table}_v", 'with nothing for vec_index_check to find');
}
my $old = (split /\|/, $segments)[0];
unlike(log_since($node, $offset), qr/setting aside file "[^"]*\Q$old\E/, 'the segment of before is believed: the log only grew');
ok(wait_until('the sweep', sub { !vec_files($node, $emptied_key) }), 'files of the truncated index are swept');
$node->safe_psql('postgres', 'REINDEX INDEX t_v; CREATE INDEX refused ON no_index USING vhnsw (v)');
probes_ok($node, 't', 'REINDEX works again');
probes_ok($node, 'no_index', 'so does CREATE INDEX');

$node->stop;
done_testing();
