# Cursors on standbys keep the rows of their snapshot while VACUUM on the primary frees extents, other rows take them, and the
# standby's builder replaces and sweeps the segments they read. So do cursors over two generations that were opened
# before a promotion, above what the new primary deletes, vacuums and inserts.

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

my %size = (rows => 3000, dims => 64);    # less than five extents
# The primary keeps what a snapshot on a standby sees. It knows nothing of the page that a cursor's last row keeps pinned, as with
# every index: replay that has to prune that page waits for the cursor, and ends it soon, so that it is tried again.
my $conf = qq(
hot_standby_feedback = on
wal_receiver_status_interval = 1s
max_standby_streaming_delay = 2s
vecckpt.checkpoint_timeout = 2
);

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "wal_keep_size = 512MB\n");
$primary->start;
load_table($primary, %size);
$primary->backup('base');
my $standby = new_standby($primary, 'base', 'standby', conf => $conf);
$standby->backup('base');
my $below = new_standby($standby, 'base', 'below', conf => $conf);

sub first_column { my ($text) = @_; return [ map { (split /\|/)[0] } split /\n/, $text ]; }

# Whether a cursor returns, in order, what an exact scan under its snapshot does, though replay moves on after its first
# rows by what some hundred rows take.
sub cursor_differs
{
	my ($node) = @_;
	my $query  = '(SELECT v FROM probes WHERE id = ' . (int(rand(200)) + 1) . ')';
	my $result = ask(
		$node, 'postgres', qq(
$EXHAUSTIVE
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> $query;
FETCH 5 FROM c;
DO \$\$
DECLARE start pg_lsn := pg_last_wal_replay_lsn();
BEGIN
	FOR i IN 1 .. 1000 LOOP
		EXIT WHEN pg_last_wal_replay_lsn() - start > 300000;
		PERFORM pg_sleep(0.01);
	END LOOP;
END \$\$;
FETCH ALL FROM c;
SELECT 'exact';
SELECT id FROM t ORDER BY (v <-> $query) + 0;
COMMIT;
));
	my ($got, $expected) = split /^exact\n/m, $result;
	return 0 if $got eq "$expected\n";
	my %wanted = map { $_ => 1 } @{ first_column($expected) };
	my %seen;
	$seen{$_}++ foreach @{ first_column($got) };
	diag(sprintf '%d rows, expected %d; missing %d, too many %d, twice %d', scalar(keys %seen), scalar(keys %wanted),
		scalar(grep { !$seen{$_} } keys %wanted), scalar(grep { !$wanted{$_} } keys %seen), scalar(grep { $_ > 1 } values %seen));
	return 1;
}

# Whether the log has had half as many entries again as its pages hold: others lie in extents that were freed before.
sub turned_over
{
	return $primary->safe_psql('postgres', "SELECT (coverage + tail_length) * 4 * $size{dims} > 1.5 * pg_relation_size('t_v')"
		  . " FROM vec_indexes WHERE index = 't_v'::regclass") eq 't';
}

# ---- Under load
my ($rounds, $wrong, $over) = (0, 0, 0);
my @load = start_mixed_load($primary, %size);
my $give_up = time() + 150;
while (!$wrong && time() < $give_up && ($rounds < 10 || !($over = turned_over())))
{
	$wrong += cursor_differs($rounds % 2 ? $below : $standby);
	$rounds++;
}
stop_clients(@load);
is($wrong, 0, 'cursors on the standbys return the rows of their snapshots');
cmp_ok($rounds, '>=', 10, "in $rounds rounds");
ok($over, 'while extents were freed and taken again');
ok(caught_up($primary, $_), $_->name . ' catches up') foreach $standby, $below;
same_answers($primary, $_, $_->name) foreach $standby, $below;
index_check_ok($_, 't_v', 'the index of ' . $_->name) foreach $primary, $standby, $below;

# ---- Across a promotion
my $query = '(SELECT v FROM probes WHERE id = 11)';

# Opens a cursor in a session of its own, and waits until the primary knows of its snapshot.
sub open_cursor
{
	my $own = $standby->background_psql('postgres', on_error_stop => 1);
	$own->query_safe("$EXHAUSTIVE BEGIN ISOLATION LEVEL REPEATABLE READ");
	my $xmin = $own->query_safe('SELECT pg_snapshot_xmin(pg_current_snapshot())');
	ok( wait_until(
			'feedback',
			sub {
				$primary->safe_psql('postgres',
					"SELECT backend_xmin::text::bigint <= $xmin FROM pg_stat_replication WHERE application_name = 'standby'") eq 't';
			}),
		'a cursor is open that the primary knows of');
	my $expected = $own->query_safe("SELECT id FROM t ORDER BY (v <-> $query) + 0");
	$own->query_safe("DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> $query");
	return { session => $own, expected => $expected, got => $own->query_safe('FETCH 5 FROM c') };
}

sub read_on
{
	my ($cursor, $name) = @_;
	while ((my $rows = $cursor->{session}->query_safe('FETCH 300 FROM c')) ne '')
	{
		$cursor->{got} .= "\n$rows";
	}
	ok($cursor->{got} eq $cursor->{expected}, "$name returns the rows of its snapshot");
	$cursor->{session}->query_safe('COMMIT');
	$cursor->{session}->quit;
	return;
}
# Nothing is left that the primary would prune below the cursors: replay would have to end them.
ok(vacuum_wholly($primary, 't'), 'nothing is dead');
ok(caught_up($primary, $standby), 'on the standby, too');
my $older = open_cursor();
my $segments = vec_segments($standby, 't_v');
$primary->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, 700)");
$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 4 = 0');
ok(caught_up($primary, $standby), 'the standby catches up');
ok(wait_sealed($standby, 't_v', ask => 1), 'and has a newer generation');
my $newer = open_cursor();
kill_server($primary);
$standby->promote;
# Nobody but the cursors sees the old rows any more. Many others are sealed, so that no old segment is left as it was.
$standby->safe_psql('postgres', "DELETE FROM t; INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, 6000)");
$standby->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
ok( wait_until(
		'the sweep',
		sub {
			$standby->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
			my $files = join ' ', vec_files($standby);
			return !grep { $files =~ /\Q$_\E/ } @{ first_column($segments) };
		}),
	'the new primary builds on, and sweeps the segments that the older cursor reads');
read_on($newer, 'the newer cursor');
# What only it saw goes now, below the older one.
$standby->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
$standby->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, $size{rows})");
read_on($older, 'the older cursor');
vacuum_wholly($standby, 't');
$standby->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, $size{rows})");
# There are more rows than ef_search can be: strict order may drop what it finds late.
exact_everywhere($standby, 't', 'a new scan returns every row', large => 1);
index_check_ok($standby, 't_v', 'the index');
ok(caught_up($standby, $below), 'the standby below follows');
same_answers($standby, $below, 'below');
unlike(log_since($_), qr/PANIC|TRAP:/, 'nothing panicked on ' . $_->name) foreach $standby, $below;

$below->stop;
$standby->stop;
done_testing();
