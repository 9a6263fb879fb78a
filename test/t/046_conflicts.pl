# A standby without feedback: VACUUM on the primary removes rows that a snapshot of the standby still sees, flags their
# entries, frees their extents, and others take them. Replay may cancel the query; whatever it does return is what its
# snapshot sees. Where replay waits for queries instead, none is cancelled and all rows come.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use ReplicaTest;
use VecTest;

my %size = (rows => 3000, dims => 64);

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "wal_keep_size = 512MB\n");
$primary->start;
load_table($primary, %size);
$primary->backup('base');
my $off = "hot_standby_feedback = off\nvecckpt.checkpoint_timeout = 2\n";
my $hasty   = new_standby($primary, 'base', 'hasty',   conf => "${off}max_standby_streaming_delay = 0\n");
my $patient = new_standby($primary, 'base', 'patient', conf => "${off}max_standby_streaming_delay = -1\n");

# A cursor over the index and its exact counterpart, under one snapshot: (how it ended, whether its rows were right). `wait`
# bytes are replayed between its first rows and the others, if they come within a second.
sub try_cursor
{
	my ($node, $wait) = @_;
	my $query = '(SELECT v FROM probes WHERE id = ' . (int(rand(200)) + 1) . ')';
	my ($code, $out, $err) = $node->psql(
		'postgres', qq(
$EXHAUSTIVE
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM t ORDER BY (v <-> $query) + 0;
SELECT 'index';
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> $query;
FETCH 5 FROM c;
DO \$\$
DECLARE start pg_lsn := pg_last_wal_replay_lsn();
BEGIN
	FOR i IN 1 .. 100 LOOP
		EXIT WHEN pg_last_wal_replay_lsn() - start > $wait;
		PERFORM pg_sleep(0.01);
	END LOOP;
END \$\$;
FETCH 500 FROM c;
FETCH 500 FROM c;
FETCH ALL FROM c;
COMMIT;
));
	my ($expected, $got) = split /^index\n/m, $out;
	if ($code != 0)
	{
		die "unexpected error: $err" unless $err =~ /conflict with recovery/;
		return ('cancelled', index($expected, $got // '') == 0);
	}
	return ('ended', "$got\n" eq $expected);
}

# Tries until `enough` of (ended, cancelled) says so; counts, and how many were wrong.
sub try_cursors
{
	my ($node, $wait, $enough) = @_;
	my %count = (ended => 0, cancelled => 0, wrong => 0);
	my $give_up = time() + 120;
	while (!$enough->(\%count) && time() < $give_up)
	{
		my ($how, $right) = try_cursor($node, $wait);
		$count{$how}++;
		$count{wrong}++ unless $right;
	}
	note(sprintf '%s: %d ended, %d cancelled', $node->name, $count{ended}, $count{cancelled});
	return \%count;
}

my @load  = start_mixed_load($primary, %size);
my $count = try_cursors($hasty, 200000, sub { $_[0]->{cancelled} >= 4 && $_[0]->{ended} + $_[0]->{cancelled} >= 10 });
cmp_ok($count->{cancelled}, '>=', 4, 'replay cancels queries of the standby that does not wait');
is($count->{wrong}, 0, 'which have returned nothing wrong until then');
$count = try_cursors($hasty, 0, sub { $_[0]->{ended} >= 8 });
cmp_ok($count->{ended}, '>=', 8, 'short queries come to their end');
is($count->{wrong}, 0, 'and none returns a wrong row');
$count = try_cursors($patient, 10000000, sub { $_[0]->{ended} >= 6 });
is($count->{cancelled}, 0, 'no query is cancelled where replay waits for it');
is($count->{wrong}, 0, 'and each returns the rows of its snapshot');
stop_clients(@load);
foreach my $node ($hasty, $patient)
{
	ok(caught_up($primary, $node), $node->name . ' catches up');
	same_answers($primary, $node, $node->name);
	exact_everywhere($node, 't', $node->name . ': every row once');
	index_check_ok($node, 't_v', 'the index of ' . $node->name);
	unlike(log_since($node), qr/PANIC|TRAP:/, 'nothing panicked on ' . $node->name);
}

# ---- All rows are replaced in the extents of the old ones, under a snapshot for which replay waits
my $session = $patient->background_psql('postgres', on_error_stop => 1);
$session->query_safe("$EXHAUSTIVE BEGIN ISOLATION LEVEL REPEATABLE READ");
my $query    = '(SELECT v FROM probes WHERE id = 5)';
my $expected = $session->query_safe("SELECT id FROM t ORDER BY (v <-> $query) + 0");
$session->query_safe("DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> $query");
my $got = $session->query_safe('FETCH 5 FROM c');
foreach my $round (1 .. 2)
{
	$primary->safe_psql('postgres', "DELETE FROM t");
	vacuum_wholly($primary, 't');
	$primary->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, $size{rows})");
}
ok(caught_up($primary, $hasty), 'the other standby has replayed it all');
exact_everywhere($hasty, 't', 'and answers exactly');
$got .= "\n" . $session->query_safe('FETCH ALL FROM c');
ok($got eq $expected, 'the waiting standby still returns the rows of the old snapshot');
$session->query_safe('COMMIT');
$session->quit;
ok(caught_up($primary, $patient), 'it goes on when the query has ended');
exact_everywhere($patient, 't', 'and answers exactly');

$_->stop foreach $hasty, $patient, $primary;
done_testing();
