# CREATE INDEX of more parts than there are places for writers in shared memory: it takes one place however many files it
# has finished and not yet published, fails for nothing, and a sweep meanwhile leaves all its files alone. When it is given
# up, the files go.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;
use FaultPoints;

require_fault_points();

my $node = fault_node('parts',
	conf => "max_connections = 8\nmax_wal_senders = 0\nmax_worker_processes = 4\nautovacuum_max_workers = 1\nvecckpt.build_threads = 1");

# Two for each process there can be and, with fault points, 8 for each of 4 builders (src/pg/writers.cpp); the server
# counts 2 processes more than these settings from version 17 on.
my $places = 4 * 8 + 2 * $node->safe_psql(
	'postgres', q(
SELECT sum(setting::int) + 3 FROM pg_settings
WHERE name IN ('max_connections', 'max_worker_processes', 'autovacuum_max_workers', 'autovacuum_worker_slots', 'max_wal_senders')));

# No graph fits 1 MB, and with fault points parts may then be of three extents.
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT i AS id, random_vector(2) AS v FROM generate_series(1, 20000) i');
my $create = "SET maintenance_work_mem = '1MB'; CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8)";
sub start_create
{
	return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $create ],
		'<', '/dev/null', '>', '/dev/null', '2>', $node->basedir . '/create.err');
}
sub parts
{
	my $other = index_key($node, 'other_v');
	return grep { /\.seg$/ && !/^\Q$other\E\./ } vec_files($node);
}

# A sweep follows when an index was made durable, else it comes within 20 seconds.
$node->safe_psql('postgres',
	"CREATE TABLE other (v real[]); CREATE INDEX other_v ON other USING vhnsw (v); SELECT vec_checkpoint('other_v')");
sub bring_sweep
{
	$node->safe_psql('postgres', "INSERT INTO other VALUES (random_vector(2)); SELECT vec_checkpoint('other_v')");
	return;
}

# A whole sweep, from its first look to its last.
sub sweep
{
	set_fault($node, 'SweepStart', 'wait');
	bring_sweep();
	ok(wait_waiting($node, 'SweepStart'), 'a sweep begins');
	set_fault($node, 'SweepDone', 'wait');
	let_go($node, 'SweepStart');
	ok(wait_waiting($node, 'SweepDone'), 'and ends');
	let_go($node, 'SweepDone');
	return;
}

set_fault($node, 'CreateIndexPublish', 'wait');
my $session = start_create();
ok(wait_waiting($node, 'CreateIndexPublish'), 'all parts are finished') or diag(slurp_file($node->basedir . '/create.err'));
my @unpublished = parts();
cmp_ok(scalar(@unpublished), '>', $places, "there are more of them than $places places");
sweep();
is_deeply([ parts() ], \@unpublished, 'the sweep leaves unpublished files alone');
let_go($node, 'CreateIndexPublish');
ok($session->finish, 'CREATE INDEX succeeds');
is($node->safe_psql('postgres', "SELECT segments, tail_length FROM vec_indexes WHERE index = 't_v'::regclass"),
	@unpublished . '|0', 'with all its parts');

# The same, given up in the end.
$node->safe_psql('postgres', 'DROP INDEX t_v; CHECKPOINT');
bring_sweep();
ok(wait_until('the files to go', sub { !parts() }), 'DROP INDEX leaves no file');
set_fault($node, 'CreateIndexPublish', 'error');
$session = start_create();
ok(!$session->finish, 'CREATE INDEX fails');
ok(wait_until('the files to go', sub { !parts() }), 'and leaves no file');
$node->safe_psql('postgres', $create);
is($node->safe_psql('postgres', "SELECT segments > $places FROM vec_indexes WHERE index = 't_v'::regclass"),
	't', 'the place it had is free again');
unlike(log_since($node), qr/setting aside/, 'no file in use was removed');
$node->stop;
done_testing();
