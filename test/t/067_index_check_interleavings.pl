# vec_index_check, held between two looks while the log and the segments change under it: extents of dead rows are freed and
# taken, rows are rolled back and their extents freed again, a new generation is published and what the old one had is
# swept. It goes on and finds nothing, on a primary and on a standby where replay does this. Searches are held likewise in
# t/063; damage that is there is found in t/036 and t/037.

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
$node->safe_psql('postgres',
	'CREATE TABLE other (v real[]); INSERT INTO other SELECT random_vector(8) FROM generate_series(1, 100); CREATE INDEX other_v ON other USING vhnsw (v)'
);

# Table t with some 1,500 rows in extents of 64, sealed. The first 500 are dead, so that VACUUM can free their extents while
# a check holds a snapshot. Extents 0 to 2 have been freed, and the last of them has been taken since.
my $ids = 10000;
sub fresh_table
{
	$node->safe_psql(
		'postgres', qq(
SET client_min_messages = warning;
DROP TABLE IF EXISTS t;
CREATE TABLE t (id int, v real[]) WITH (vacuum_truncate = off);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 1500) i;
DELETE FROM t WHERE id <= 192;
));
	wait_for_snapshots();
	free_extents(3);
	insert_rows(37);
	my $sealed = wait_sealed($node, 't_v', ask => 1);
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id <= 500');
	return ok($sealed && wait_for_snapshots(), 'a table with a past');
}

sub insert_rows
{
	my ($count, $end) = @_;
	$ids += $count;
	$node->safe_psql('postgres', sprintf 'BEGIN; INSERT INTO t SELECT i, random_vector(8) FROM generate_series(%d, %d) i; %s',
		$ids - $count + 1, $ids, $end || 'COMMIT');
	return;
}

# Until nobody has a snapshot that sees what was deleted before.
sub wait_for_snapshots
{
	my $xid = $node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
	return wait_until(
		'old snapshots',
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_xmin::text::bigint <= $xid") eq '0';
		});
}

# VACUUM until it has freed at least so many extents.
sub free_extents
{
	my ($count) = @_;
	start_trace($node);
	return wait_until(
		"$count extents to be freed",
		sub {
			$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
			$count <= grep { /^ExtentFreed/ } trace_lines($node);
		});
}

# Brings a sweep, and waits for its end.
sub sweep
{
	start_trace($node);
	$node->safe_psql('postgres', 'REINDEX INDEX other_v; CHECKPOINT');
	return wait_until('a sweep', sub { grep { /^SweepDone/ } trace_lines($node) });
}

sub generation
{
	my ($server) = @_;
	return $server->safe_psql('postgres', "SELECT generation FROM vec_indexes WHERE index = 't_v'::regclass");
}

# The log turns over, and the segments are replaced. One test for each.
sub turn_over
{
	my ($name) = @_;
	my $before = generation($node);
	ok(free_extents(4), "$name: extents are freed");
	insert_rows(150);
	insert_rows(400, 'ROLLBACK');
	ok(free_extents(5), "$name: others took them, and they are freed again");
	insert_rows(200);
	ok(wait_sealed($node, 't_v', ask => 1) && generation($node) > $before, "$name: a generation");
	ok(sweep(), "$name: a sweep");
	return;
}

# Starts a check that will wait behind its look at `what`.
sub start_held
{
	my ($server, $what, $rows) = @_;
	my %held = (server => $server, out => '', error => '');
	set_fault($server, 'CheckStep', 'wait', $what);
	$held{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-c', "SELECT * FROM vec_index_check('t_v', $rows)" ],
		'<', '/dev/null', '>', \$held{out}, '2>', \$held{error});
	ok(wait_waiting($server, 'CheckStep'), $server->name . ", $what: reached") or clear_faults($server);
	return \%held;
}

# Lets it go on to another look: one test.
sub hold_next
{
	my ($held, $what) = @_;
	set_fault($held->{server}, 'CheckStep', 'wait', $what);
	let_go($held->{server}, 'CheckStep');
	return ok(wait_waiting($held->{server}, 'CheckStep'), "then $what") || clear_faults($held->{server});
}

# Lets it go on to its end: one test.
sub end_held
{
	my ($held, $name) = @_;
	let_go($held->{server}, 'CheckStep');
	$held->{run}->finish;
	return is($held->{out} . $held->{error}, '', "$name: no findings, no error");
}

# Sequences 3 to 6 are of dead rows only, 24 is the tail.
my @looks = (
	'meta page', 'map of sequence 3', 'map of sequence 9', 'directory of sequence 4', 'directory of sequence 24',
	'vectors of sequence 4', 'vectors of sequence 23',
	'other extent 0', 'free list to extent', 'free list at extent', 'free list walked', 'suspects',
	'generation', 'files', 'entries of a segment');
foreach my $what (@looks)
{
	fresh_table();
	my $held = start_held($node, $what, $what =~ /vectors|files/ ? 'true' : 'false');
	turn_over($what);
	end_held($held, $what);
	index_check_ok($node, 't_v', "$what: nor later");
}
fresh_table();
my $held = start_held($node, 'log and segments', 'true');
turn_over('log and segments');
end_held($held, 'log and segments');

# ---- Extents that are taken and freed again, between more looks than two
fresh_table();
$held = start_held($node, 'free list to extent', 'false');
my ($head) = map { /^CheckStep free list to extent (\d+)/ ? $1 : () } reverse trace_lines($node);
insert_rows(64, 'ROLLBACK') foreach 1 .. 2;
hold_next($held, "free list at extent $head");
ok(free_extents(5), 'the head of the free list was taken, seen so, and freed again, behind four others');
end_held($held, 'the same head, not the same list');

fresh_table();
$held = start_held($node, 'other extent 1', 'false');
insert_rows(64, 'ROLLBACK') foreach 1 .. 2;
hold_next($held, 'free list walked');
ok(free_extents(5), 'an extent that was seen free was not on the list, and is freed again');
hold_next($held, 'suspects');
insert_rows(64, 'ROLLBACK') foreach 1 .. 2;
hold_next($held, 'free list at extent 4');
ok(free_extents(2), 'and so it is in the next walk');
end_held($held, 'an extent that was never on the list when somebody looked');

# ---- On a standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
# Replay must not wait for the check that waits for it: the primary keeps what its snapshot sees.
$standby->append_conf('postgresql.conf',
	"max_standby_streaming_delay = -1\nhot_standby_feedback = on\nwal_receiver_status_interval = 1s\n");
unlink glob($standby->data_dir . '/fault_points/*');
$standby->start;
foreach my $what (
	'map of sequence 3', 'directory of sequence 4', 'vectors of sequence 4', 'other extent 0', 'free list at extent',
	'suspects', 'generation', 'files', 'log and segments')
{
	fresh_table();
	$node->wait_for_catchup($standby);
	ok(wait_sealed($standby, 't_v', ask => 1), "standby, $what: sealed");
	my $before  = generation($standby);
	my $on_it   = start_held($standby, $what, $what =~ /vectors|files|log and/ ? 'true' : 'false');
	my $xmin = $standby->safe_psql('postgres', "SELECT min(backend_xmin::text::bigint) FROM pg_stat_activity WHERE query ~ '^SELECT . FROM vec_index_check'");
	ok( wait_until(
			'feedback', sub { $node->safe_psql('postgres', "SELECT backend_xmin::text::bigint <= $xmin FROM pg_stat_replication") eq 't' }),
		'the primary knows of its snapshot');
	turn_over("standby, $what");
	$node->wait_for_catchup($standby);
	ok(wait_sealed($standby, 't_v', ask => 1) && generation($standby) > $before, "standby, $what: a generation of its own");
	end_held($on_it, "standby, $what");
	index_check_ok($standby, 't_v', "standby, $what: nor later");
}
$standby->stop;
$node->stop;
done_testing();
