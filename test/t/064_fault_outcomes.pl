# What exactly follows from some failures: of fsync, of a checkpoint behind the rename, of the builder's visits, of VACUUM,
# of a crash before CREATE INDEX commits.

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

my $node = fault_node(
	'node', conf => q(
vecckpt.checkpoint_timeout = 3600
checkpoint_timeout = 1h
max_prepared_transactions = 2
));
my $ids = 0;
foreach my $table (qw(t other))
{
	$node->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v real[])");
	insert($table, 600);
	$node->safe_psql('postgres', "CREATE INDEX ${table}_v ON $table USING vhnsw (v)");
}
$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
my $key = index_key($node, 't_v');

sub insert
{
	my ($table, $count) = @_;
	my $first = $ids + 1;
	$ids += $count;
	return $node->safe_psql('postgres',
		"INSERT INTO $table SELECT i, random_vector(8) FROM generate_series($first, $ids) i");
}

# What vec_checkpoint('t_v') complains about.
sub checkpoint
{
	my (undef, undef, $error) = $node->psql('postgres', "SELECT vec_checkpoint('t_v')");
	return $error;
}

sub sweep
{
	start_trace($node);
	insert('other', 1);
	$node->safe_psql('postgres', "SELECT vec_checkpoint('other_v')");
	return wait_until('a sweep', sub { grep { /^SweepDone/ } trace_lines($node) });
}

sub state
{
	return $node->safe_psql('postgres',
		"SELECT tail_length, generation = durable_generation, last_error FROM vec_indexes WHERE index = 't_v'::regclass");
}

# ---- A segment that could not be synced is given up: its pages may be gone from the cache, so that a second fsync would
# report what is not true.
insert('t', 100);
set_fault($node, 'FileSync', 'error', '.seg');
my $error = checkpoint();
like($error, qr/could not checkpoint index "t_v": fault point FileSync vector-ckpt\S+\.seg/, 'fsync fails, so does the checkpoint');
my ($failed) = $error =~ /\.([0-9a-f]{16})\.seg/;
is(checkpoint(), '', 'the next one succeeds');
unlike(vec_segments($node, 't_v'), qr/$failed/, 'without the segment that was not synced');
is(state(), '0|t|', 'all is sealed again and durable, and the error is forgotten');
sweep();
is(scalar(grep { /$failed/ } vec_files($node)), 0, 'its file is swept');
exact_everywhere($node, 't', 'every row once');

# ---- The manifest has its durable name, but the folder could not be synced: that is all that is left to do.
insert('t', 100);
set_fault($node, 'CheckpointRenamed', 'error');
like(checkpoint(), qr/could not checkpoint index "t_v": fault point CheckpointRenamed/, 'a checkpoint fails behind the rename');
my $segments = vec_segments($node, 't_v');
sweep();
is(scalar(grep { $_ eq "$key.ckpt" } vec_files($node)), 1, 'the manifest is not swept');
exact_everywhere($node, 't', 'every row once');
is(checkpoint(), '', 'the next checkpoint succeeds');
is(state(), '0|t|', 'all is durable, and the error is forgotten');
is(vec_segments($node, 't_v'), $segments, 'nothing was built again');
$node->restart;
is(vec_segments($node, 't_v'), $segments, 'nor after a restart');

# ---- A builder that cannot read an index goes on when it can. It comes to this one by the catalog, as it does when it starts.
$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
$node->reload;
insert('t', 300);
set_fault($node, 'SealRead', 'fail');
$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->restart;
ok(wait_until('the error', sub { state() =~ /fault point SealRead/ }), 'a visit fails, vec_indexes says why');
like(checkpoint(), qr/fault point SealRead/, 'so does vec_checkpoint()');
exact_everywhere($node, 't', 'every row once');
clear_faults($node);
ok(wait_sealed($node, 't_v'), 'it goes on by itself');
ok(wait_until('no error', sub { state() =~ /^0\|[tf]\|$/ }), 'and the error is forgotten');

# ---- What a VACUUM has flagged as dead before it fails is counted: the next one does not flag it again.
sub bitmaps { return grep { /\.live$/ } vec_files($node, index_key($node, 'other_v')) }

$node->safe_psql('postgres',
	'DELETE FROM other WHERE id IN (SELECT id FROM other ORDER BY id LIMIT 10) OR id IN (SELECT id FROM other ORDER BY id OFFSET 500 LIMIT 10)'
);
set_fault($node, 'VacuumExtent', 'wait');
my $vacuum = $node->background_psql('postgres', on_error_stop => 0);
# Whoever has a snapshot for a moment, a worker too, keeps dead rows.
foreach my $attempt (1 .. 5)
{
	$vacuum->query_until(qr/go/, "\\echo go\nVACUUM (INDEX_CLEANUP ON) other;\n");
	last if wait_waiting($node, 'VacuumExtent', 10);
}
set_fault($node, 'VacuumExtent', 'error');
let_go($node, 'VacuumExtent');
ok(wait_fired($node, 'VacuumExtent'), 'a VACUUM fails between two extents');
ok(wait_until('a bitmap', sub { bitmaps() > 0 }), 'the dead of the first are counted');
$vacuum->quit;

# ---- A crash before CREATE INDEX commits, when its segments were durable already. PostgreSQL leaves the relation's file;
# ours go, and no builder stays for them.
sub files_of { my ($filenode) = @_; return grep { /^\d+_\d+_$filenode\./ } vec_files($node); }

my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe('BEGIN; CREATE INDEX lost_v ON t USING vhnsw (v)');
my $filenode = $session->query_safe("SELECT pg_relation_filenode('lost_v')");
$node->safe_psql('postgres', 'CHECKPOINT');
cmp_ok(scalar(grep { /\.ckpt$/ } files_of($filenode)), '==', 1, 'an index that is not committed is durable');
kill_server($node, all => 1);
eval { $session->quit };
start_again($node);
ok(wait_until('its files to go', sub { !files_of($filenode) }), 'after a crash its files go');
ok( wait_until(
		'the builder to leave',
		sub {
			$node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder'") eq '0';
		}),
	'and the builder leaves');
exact_everywhere($node, 't', 'every row once');

# One that was prepared comes back with its segments.
$node->safe_psql('postgres', "BEGIN; CREATE INDEX kept_v ON t USING vhnsw (v); PREPARE TRANSACTION 'kept'");
$node->safe_psql('postgres', 'CHECKPOINT');
kill_server($node, all => 1);
start_again($node);
sweep();
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'; DROP INDEX t_v");
is( $node->safe_psql('postgres', "SELECT segments > 0, tail_length FROM vec_indexes WHERE index = 'kept_v'::regclass"),
	't|0', 'CREATE INDEX in a prepared transaction keeps its segments over a crash');
exact_everywhere($node, 't', 'and finds every row');

unlike(log_since($node), qr/PANIC|TRAP:|signal (?:6|11)|XX001/, 'nothing worse in the log');
$node->stop;
done_testing();
