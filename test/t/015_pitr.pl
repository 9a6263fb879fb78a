# Point-in-time recovery: files of a timeline that was left are not believed.
#
# A base backup, then load A, all checkpointed; then recovery to before load A, and load B with other vectors, of the
# same number and into the same positions. A's files, put into the recovered server's folder, differ from the
# log in nothing but the running hash. The same for files that cover more than the recovered log holds, and for
# files that left out rows whose deletion the recovery undid.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Copy qw(copy);
use VecTest;

seed_random();
my $first = new_node('first', init => [ has_archiving => 1, allows_streaming => 1 ]);
$first->start;
setup_vectors($first);
$first->safe_psql(
	'postgres', q(
SELECT setseed(0.1);
CREATE TABLE probes AS SELECT id, random_vector(8) AS v FROM generate_series(1, 50) id;
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 32);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 1000) i;
CREATE TABLE del (id int, v real[]);
INSERT INTO del SELECT i, random_vector(128) FROM generate_series(1, 4200) i;
CREATE INDEX del_v ON del USING vhnsw (v) WITH (m = 8, ef_construction = 20);
SELECT vec_checkpoint();
));
my $identity = "SELECT identity FROM vec_indexes WHERE index = 't_v'::regclass";
my $drawn    = $first->safe_psql('postgres', $identity);
$first->backup('base');

$first->safe_psql('postgres', "SELECT pg_create_restore_point('before_load')");
$first->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1001, 1400) i');
$first->safe_psql('postgres', "SELECT pg_create_restore_point('in_load')");

# Behind the restore points: the rest of load A; rows deleted, vacuumed and left out of a new segment.
$first->safe_psql(
	'postgres', q(
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1401, 2000) i;
DELETE FROM del WHERE id % 3 > 0;
VACUUM del;
SELECT vec_checkpoint();
));
ok(wait_sealed($first, 't_v', ask => 1), 'load A is sealed');
ok( $first->poll_query_until('postgres', "SELECT sum(entries) < 2000 FROM vec_segments WHERE index = 'del_v'::regclass"),
	'a segment leaves the deleted rows out');
$first->safe_psql('postgres', 'SELECT vec_checkpoint()');
my $segments = $first->safe_psql('postgres',
	"SELECT string_agg(quote_literal(segment), ',') FROM vec_segments WHERE index IN ('t_v'::regclass, 'del_v'::regclass)");
my $positions = $first->safe_psql('postgres', "SELECT entries FROM vec_indexes WHERE index = 't_v'::regclass");
$first->safe_psql('postgres', 'SELECT pg_switch_wal()');
exact_everywhere($first, 't', 'the first server is exact');
$first->stop;
my @files = vec_files($first);
cmp_ok(scalar(grep { /\.ckpt$/ } @files), '==', 2, 'it leaves durable manifests');

# A server from the base backup, recovered to a restore point and promoted; `early`: the first server's files are
# there from the beginning.
sub recovered
{
	my ($name, $target, $early) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($first, 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf',
		"archive_mode = off\nrecovery_target_name = '$target'\nrecovery_target_action = promote");
	put_files($node) if $early;
	$node->start;
	ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), "$name: promoted");
	return $node;
}

# The first server's files take the place of a stopped server's.
sub put_files
{
	my ($node) = @_;
	mkdir vec_dir($node), 0700;
	unlink glob(vec_dir($node) . '/*');
	copy(vec_dir($first) . "/$_", vec_dir($node) . "/$_") or die "$_: $!" foreach @files;
	chmod 0600, glob(vec_dir($node) . '/*');
	return;
}

# Another load of the same number, then A's files.
my $second = recovered('second', 'before_load', 0);
is($second->safe_psql('postgres', 'SELECT count(*), max(id) FROM t'), '1000|1000', 'second: before the load');
is($second->safe_psql('postgres', $identity), $drawn, 'second: the same identity');
exact_everywhere($second, 't',   'second: exact before load B');
exact_everywhere($second, 'del', 'second: deleted rows are back');
$second->safe_psql('postgres',
	"SELECT setseed(0.9); INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1001, 2000) i");
is($second->safe_psql('postgres', "SELECT entries FROM vec_indexes WHERE index = 't_v'::regclass"),
	$positions, 'second: load B takes the positions of load A');
ok(wait_sealed($second, 't_v', ask => 1), 'second: load B is sealed');
$second->stop;
put_files($second);
my $offset = log_size($second);
$second->start;
like(log_since($second, $offset), qr/loaded 2 indexes/, 'second: the files of load A are loaded');
exact_everywhere($second, 't', 'second: but not believed');
probes_ok($second, 't', 'second: probes');
exact_everywhere($second, 'del', 'second: files without the deleted rows are not believed');
like(log_since($second, $offset), qr/vecckpt: setting aside/, 'second: the log says that they are set aside');
ok(wait_sealed($second, $_, ask => 1), "second: $_ is built again") foreach qw(t_v del_v);
exact_everywhere($second, 't',   'second: exact again');
exact_everywhere($second, 'del', 'second: exact again');
is($second->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE segment IN ($segments)"),
	'0', 'second: no segment of the first server is used');
$second->stop;

# Files that cover more than the recovered log holds, there from the beginning of recovery.
foreach my $target (qw(before_load in_load))
{
	my $node = recovered("third_$target", $target, 1);
	exact_everywhere($node, 't',   "$target: exact with coverage past the log's end");
	exact_everywhere($node, 'del', "$target: deleted rows are back");
	like(log_since($node), qr/vecckpt: setting aside/, "$target: set aside after promotion");

	# More rows than the files cover, of other vectors, so that their coverage lies within the log again.
	$node->safe_psql('postgres', "INSERT INTO t SELECT i, random_vector(8) FROM generate_series(3001, 4500) i");
	exact_everywhere($node, 't', "$target: exact after growing past the old coverage");
	ok(wait_sealed($node, 't_v', ask => 1), "$target: built again");
	exact_everywhere($node, 't', "$target: exact when sealed");
	$node->restart;
	exact_everywhere($node, 't', "$target: exact after a restart");
	$node->stop;
}
done_testing();
