# Two processes at once, one of them held at a fault point while the other one goes on: searches, inserts and VACUUM
# against seals, merges, graphs, their promotion, checkpoints, sweeps and validation, with extents freed and taken by other
# rows between; on a standby against replay. A search returns the rows of its snapshot, each once and in order, and in
# the end the index answers like an exact scan, without an error, and nothing that is in use was swept.

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
	'node',
	init => [ allows_streaming => 1 ],
	conf => qq(
vecckpt.checkpoint_timeout = 3600
checkpoint_timeout = 1h
));
my $query = "array_fill(0.5::real, '{8}')";

# Rows that were never there before.
my $ids = 600;
sub new_rows
{
	my ($count) = @_;
	$ids += $count;
	return sprintf('SELECT i, random_vector(8) FROM generate_series(%d, %d) i', $ids - $count + 1, $ids);
}

sub insert_rows { my ($count) = @_; return $node->safe_psql('postgres', 'INSERT INTO t ' . new_rows($count)); }

# Table t with 600 rows; the first 300, wholly dead, fill extents that VACUUM can free. With `tail`, all in the tail.
my $full_of_dead;
sub fresh_table
{
	$full_of_dead = 1;
	my (%params) = @_;
	my $create = 'CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8)';
	my $fill   = 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 600) i';
	$node->safe_psql(
		'postgres', join ';', 'SET client_min_messages = warning', 'DROP TABLE IF EXISTS t', 'CREATE TABLE t (id int, v real[])',
		($params{tail} ? ($create, $fill) : ($fill, $create)), 'DELETE FROM t WHERE id <= 300');
	return;
}

# Others come and go: deleted rows' extents are freed and taken by new rows, everything is sealed, made durable and swept.
sub turn_over
{
	my (%params) = @_;
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 5 = 1');
	if   ($full_of_dead) { free_extents(); }
	else                 { $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t'); }
	insert_rows(400);
	sweep() unless $params{no_sweep};
	return;
}

# VACUUM until it frees the extents of the dead rows: whoever has a snapshot for a moment may keep it from doing so.
sub free_extents
{
	start_trace($node);
	ok( wait_until(
			'extents to be freed',
			sub {
				$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
				grep { /^ExtentFreed/ } trace_lines($node);
			}),
		'extents are freed');
	$full_of_dead = 0;
	return;
}

# Brings a sweep, and waits for its end, without any help from the builder.
sub sweep
{
	start_trace($node);
	$node->safe_psql('postgres', 'REINDEX INDEX other_v; CHECKPOINT');
	return wait_until('a sweep', sub { grep { /^SweepDone/ } trace_lines($node) });
}

sub exact_order
{
	my ($server) = @_;
	return ($server || $node)->safe_psql('postgres', "SELECT id FROM t ORDER BY (v <-> $query) + 0");
}

# Starts a statement that will wait at a point. Its output is in $$out when it has finished.
sub start_held
{
	my ($point, $sql, %params) = @_;
	my $server = $params{server} || $node;
	my %held   = (point => $point, server => $server);
	set_fault($server, $point, 'wait', $params{text});
	my $start = sub {
		$held{out} = $held{error} = '';
		$held{run} = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-c', $EXHAUSTIVE, '-c', $sql ],
			'<', '/dev/null', '>', \$held{out}, '2>', \$held{error});
	};
	$start->();
	my $reached = wait_until(
		"somebody to wait at $point",
		sub {
			# VACUUM again, if somebody's snapshot kept it from doing anything.
			if (fault_fired($server, $point)) { return 1; }
			if (!$held{run}->pumpable) { $held{run}->finish; $start->(); }
			return 0;
		});
	ok($reached, "$point is reached");
	clear_faults($server) unless $reached;
	return \%held;
}

# Lets it go on to its end. Returns its output.
sub end_held
{
	my ($held) = @_;
	let_go($held->{server}, $held->{point});
	$held->{run}->finish;
	chomp $held->{out};
	is($held->{error}, '', "$held->{point}: no error");
	return $held->{out};
}

sub generation
{
	return $node->safe_psql('postgres', "SELECT generation FROM vec_indexes WHERE index = 't_v'::regclass");
}

# In the end.
sub all_well
{
	my ($name, $offset) = @_;
	exact_everywhere($node, 't', "$name: every row once");
	ok(wait_sealed($node, 't_v', ask => 1), "$name: sealed");
	exact_everywhere($node, 't', "$name: every row once, sealed");
	is($node->safe_psql('postgres', 'SELECT last_error FROM vec_indexes WHERE last_error IS NOT NULL'), '', "$name: no error");
	unlike(log_since($node, $offset), qr/setting aside|builder failed|ERROR|PANIC/, "$name: nothing was set aside");
	return;
}

$node->safe_psql('postgres',
	'CREATE TABLE other (id int, v real[]); INSERT INTO other ' . new_rows(100) . '; CREATE INDEX other_v ON other USING vhnsw (v)');

# ---- A search, held where it has its segments but not the log's end; where it has scored the tail; where it reads a
# vector; where it returns a row. Meanwhile the rows that were dead before go, others take their extents, and all is sealed.
my $search = "SELECT id FROM t ORDER BY v <-> $query";
foreach my $tail (0, 1)
{
	foreach my $point (qw(ScanMapped ScanStarted ScanRerank ScanEmit))
	{
		next if $tail && $point eq 'ScanRerank';    # its vectors have been read by then
		my $name = $point . ($tail ? ', tail' : ', segments');
		$node->safe_psql('postgres', "ALTER SYSTEM SET vecckpt.builder = @{[$tail ? 'off' : 'on']}; SELECT pg_reload_conf()");
		fresh_table(tail => $tail);
		my $offset   = log_size($node);
		my $expected = exact_order();
		my $held     = start_held($point, $search);
		turn_over();
		$node->safe_psql('postgres', 'ALTER SYSTEM RESET vecckpt.builder; SELECT pg_reload_conf()');
		ok(wait_sealed($node, 't_v', ask => 1), "$name: all is sealed meanwhile");
		turn_over();
		is(end_held($held), $expected, "$name: the search returns the rows of its snapshot");
		all_well($name, $offset);
	}
}

# ---- The builder, held in each step from what it has read to what it publishes, while what it has read goes and comes.
my %bring = (
	seal  => sub { insert_rows(300) },
	merge => sub {
		foreach (1 .. 5)
		{
			insert_rows(30);
			$node->psql('postgres', "SET statement_timeout = '5s'; SELECT vec_checkpoint('t_v')");
		}
	},
	graph => sub { insert_rows(4500) },
	# The first 300 rows' entries die, which liveness bitmaps are to say.
	live => sub { free_extents() });
foreach my $case (
	[ SealRead => 'seal' ], [ JobSeal => 'seal' ], [ JobDone => 'seal' ], [ Promote => 'seal' ],
	[ GenerationWritten => 'seal' ], [ FileRenamed => 'seal', '.seg.tmp' ], [ Promoted => 'seal' ],
	[ JobMerge => 'merge' ], [ JobGraph => 'graph' ], [ JobLiveness => 'live' ], [ LivenessPromote => 'live' ])
{
	my ($point, $bring, $text) = @$case;
	my $name = "builder at $point";
	fresh_table();
	my $offset = log_size($node);
	set_fault($node, $point, 'wait', $text);
	$bring{$bring}->();
	ok(wait_waiting($node, $point), "$name: reached") or clear_faults($node);
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id > 600 AND id % 10 < 8');
	turn_over();
	exact_everywhere($node, 't', "$name: every row once meanwhile");
	let_go($node, $point);
	all_well($name, $offset);
}

# ---- Promotion against a DROP and a new index, TRUNCATE, and an input that is set aside by somebody else
my @statements = ('DROP INDEX t_v; CREATE INDEX t_v ON t USING vhnsw (v)', 'TRUNCATE t', 'REINDEX INDEX CONCURRENTLY t_v');
foreach my $case (map { ([ Promote => 'seal', $_ ], [ LivenessPromote => 'live', $_ ]) } @statements)
{
	my ($point, $bring, $what) = @$case;
	fresh_table();
	my $key    = index_key($node, 't_v');
	my $offset = log_size($node);
	set_fault($node, $point, 'wait');
	$bring{$bring}->();
	ok(wait_waiting($node, $point), "$point against $what");
	$node->safe_psql('postgres', $what);
	let_go($node, $point);
	all_well("$point against $what", $offset);
	$node->safe_psql('postgres', 'CHECKPOINT');
	ok(wait_until('a sweep of the old files', sub { sweep(); !vec_files($node, $key) }), 'no file of the old index stays');
}
fresh_table();
set_fault($node, 'JobMerge', 'wait');
$bring{merge}->();
ok(wait_waiting($node, 'JobMerge'), 'a merge is running');
my ($lost) = map { (split /\|/)[0] } grep { /\|flat\|/ } reverse split /\n/, vec_segments($node, 't_v');
unlink glob(vec_dir($node) . "/*.$lost.seg");
exact_everywhere($node, 't', 'a search sets one of its inputs aside');
unlike(vec_segments($node, 't_v'), qr/$lost/, 'which is listed no more');
let_go($node, 'JobMerge');
all_well('an input was set aside', log_size($node));

# ---- The launcher, held in a checkpoint and in a sweep, while generations come and go
foreach my $point (qw(CheckpointStart CheckpointSegmentsSynced CheckpointManifestSynced CheckpointRenamed))
{
	fresh_table();
	my $offset = log_size($node);
	# The builder first: it needs the launcher to be started.
	set_fault($node, 'JobSeal', 'wait');
	$bring{seal}->();
	ok(wait_waiting($node, 'JobSeal'), "$point: the builder has a seal to do");
	my $held   = start_held($point, 'CHECKPOINT');
	my $before = generation();
	let_go($node, 'JobSeal');
	ok(wait_until('a generation', sub { generation() > $before }), "$point: another generation meanwhile");
	turn_over(no_sweep => 1);
	exact_everywhere($node, 't', "$point: every row once meanwhile");
	end_held($held);
	sweep();
	all_well("launcher at $point", $offset);
	$node->restart;
	exact_everywhere($node, 't', "launcher at $point: after a restart");
	unlike(log_since($node, $offset), qr/setting aside/, "launcher at $point: what is durable is believed");
}
fresh_table();
my $offset = log_size($node);
set_fault($node, 'JobSeal', 'wait');
$bring{seal}->();
ok(wait_waiting($node, 'JobSeal'), 'the builder has a seal to do');
set_fault($node, 'SweepFile', 'wait', '00000000000000ff');
append_to_file(vec_dir($node) . '/' . index_key($node, 't_v') . '.00000000000000ff.seg', 'left');
$node->safe_psql('postgres', 'REINDEX INDEX other_v; CHECKPOINT');
ok(wait_waiting($node, 'SweepFile'), 'a sweep removes files of the index');
my $before = generation();
let_go($node, 'JobSeal');
ok(wait_until('a generation', sub { generation() > $before }), 'a generation is published meanwhile');
let_go($node, 'SweepFile');
sweep();
all_well('launcher at SweepFile', $offset);

# ---- VACUUM, held between looking and flagging, and where TIDs are free but extents are not
foreach my $point (qw(VacuumExtent VacuumCleanup))
{
	fresh_table();
	my $before = log_size($node);
	my $held   = start_held($point, 'VACUUM (INDEX_CLEANUP ON) t');
	insert_rows(400);
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 7 = 1');
	$node->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
	exact_everywhere($node, 't', "$point: every row once meanwhile");
	end_held($held);
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
	is( $node->safe_psql('postgres', "SELECT live_entries - (SELECT count(*) FROM t) FROM vec_indexes WHERE index = 't_v'::regclass"),
		'0', "$point: an entry lives for each row");
	all_well("VACUUM at $point", $before);
}

# ---- An insert, held where its row is in the table but not in the index, and where it is in both
foreach my $point (qw(Insert Inserted))
{
	fresh_table();
	my $before = log_size($node);
	my $held   = start_held($point, "INSERT INTO t VALUES (-1, $query)");
	turn_over();
	$node->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
	exact_everywhere($node, 't', "$point: every row once meanwhile");
	end_held($held);
	is($node->safe_psql('postgres', "$EXHAUSTIVE $search LIMIT 1"), '-1', "$point: the row is found");
	all_well("INSERT at $point", $before);
}

# ---- CREATE INDEX, held before it publishes what it has built
fresh_table();
$node->safe_psql('postgres', 'DROP INDEX t_v');
$offset = log_size($node);
my $held = start_held('CreateIndexPublish', 'CREATE INDEX t_v ON t USING vhnsw (v)');
sweep();
$node->safe_psql('postgres', 'SET client_min_messages = error; SELECT vec_checkpoint()');
end_held($held);
is( $node->safe_psql('postgres', "SELECT tail_length, segments > 0 FROM vec_indexes WHERE index = 't_v'::regclass"),
	'0|t', 'CREATE INDEX leaves everything sealed, its files were not swept');
all_well('CREATE INDEX at CreateIndexPublish', $offset);

# ---- A session, held while it compares what was read from disk with the log; another one does the same and goes on
fresh_table();
$node->safe_psql('postgres', 'ALTER SYSTEM SET vecckpt.builder = off; SELECT vec_checkpoint()');
$node->restart;
$offset = log_size($node);
my $expected = exact_order();
$held = start_held('ValidateCompare', $search);
exact_everywhere($node, 't', 'another session validates meanwhile');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET vecckpt.builder; SELECT pg_reload_conf()');
turn_over();
ok(wait_sealed($node, 't_v', ask => 1), 'and a newer generation is published');
is(end_held($held), $expected, 'the search returns the rows of its snapshot');
all_well('validation', $offset);

# ---- A search on a standby, held while replay frees extents of dead rows and gives them to others
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
unlink glob($standby->data_dir . '/fault_points/*');
$standby->start;
foreach my $point (qw(ScanMapped ScanStarted ScanRerank ScanEmit))
{
	fresh_table();
	$node->wait_for_catchup($standby);
	ok(wait_sealed($standby, 't_v', ask => 1), "standby at $point: there are segments");
	my $all      = exact_order($standby);
	my $on_it    = start_held($point, $search, server => $standby);
	free_extents();
	insert_rows(400);
	$node->wait_for_catchup($standby);
	is(end_held($on_it), $all, "standby at $point: the search returns the rows of its snapshot");
	exact_everywhere($standby, 't', "standby at $point: every row once");
}
$standby->stop;
$node->stop;
done_testing();
