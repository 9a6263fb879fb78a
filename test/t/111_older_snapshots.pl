# A search with a snapshot that is older than the index's build returns what that snapshot sees or fails with 40001, never
# less. Builds leave out row versions that are dead to them; an old snapshot of a standby still sees those, and the catalogs
# that it replays lead it to the new index. So with CREATE INDEX and REINDEX, concurrent or not, with and without
# hot_standby_feedback, and after the standby's promotion. vec_index_check does not take such rows for lost. On a primary the
# server waits for such snapshots. Whoever begins after the build is served, whatever holds back his xmin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "wal_keep_size = 512MB\n");
$primary->start;
setup_vectors($primary);
$primary->backup('base');
# Nothing that the standby replays ends an old transaction.
my $waits = "max_standby_streaming_delay = -1\nwal_receiver_status_interval = 1\nenable_seqscan = off\nenable_sort = off\n";
my $standby = new_standby($primary, 'base', 'standby', conf => "hot_standby_feedback = on\n$waits");
my $deaf    = new_standby($primary, 'base', 'deaf',    conf => $waits);

# Table with 2,000 rows, or few enough to leave room in its page, which then is not pruned; and an index unless `bare`.
sub make_table
{
	my ($name, %params) = @_;
	my $rows = $params{rows} || 2000;
	$primary->safe_psql('postgres',
		"CREATE TABLE $name AS SELECT i AS id, random_vector(8) AS v FROM generate_series(1, $rows) i");
	$primary->safe_psql('postgres', "CREATE INDEX ${name}_v ON $name USING vhnsw (v)") unless $params{bare};
	ok(caught_up($primary, $_), "$name is on " . $_->name) foreach $standby, $deaf;
	return;
}

sub count_all { my ($name) = @_; return "SELECT count(*) FROM (SELECT id FROM $name ORDER BY v <-> '{0,0,0,0,0,0,0,0}') s"; }

# A session with a transaction that has taken its snapshot.
sub old_transaction
{
	my ($node) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("$EXHAUSTIVE SET enable_sort = off");
	$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$session->query('SELECT 1');
	return $session;
}

# What a query gives in a session: its result, or its SQLSTATE and error.
sub answer
{
	my ($session, $sql) = @_;
	$session->{stderr} = '';
	$session->query('\set VERBOSITY verbose');
	my $result = $session->query("SAVEPOINT s;\n$sql;");
	my $error  = $session->{stderr};
	$session->query('ROLLBACK TO s');
	return $error =~ /ERROR:  (.*)/ ? $1 : $result;
}
my $too_old = qr/^40001: index "\w+" was built after this transaction's snapshot and may lack rows it sees$/;

sub is_too_old
{
	my ($session, $name, $what) = @_;
	like(answer($session, count_all($name)), $too_old, "$what: an old snapshot is refused");
	like(
		answer($session, "SELECT * FROM vec_index_check('${name}_v', true)"),
		qr/^40001: index "${name}_v" cannot be compared with its table by this transaction's snapshot/,
		"$what: and cannot check the index");
	is(answer($session, "SELECT * FROM vec_index_check('${name}_v', false)"), '', "$what: but its log");
	return;
}

sub is_served
{
	my ($node, $name, $rows, $what) = @_;
	my $session = old_transaction($node);
	is(answer($session, count_all($name)), $rows, "$what: a new snapshot sees every row");
	is(answer($session, "SELECT * FROM vec_index_check('${name}_v', true)"), '', "$what: and finds the index whole");
	$session->quit;
	return;
}

# ---- concurrent builds. A transaction with an old id runs all the time and holds back every xmin.
my $holder = $primary->background_psql('postgres', on_error_stop => 0);
$holder->query('CREATE TABLE held ()');
$holder->query('BEGIN; LOCK held; SELECT pg_current_xact_id()');

foreach my $statement ('REINDEX INDEX CONCURRENTLY r_v', 'CREATE INDEX CONCURRENTLY c_v ON c USING vhnsw (v)')
{
	my $name = $statement =~ /REINDEX/ ? 'r' : 'c';
	make_table($name, bare => $name eq 'c');
	my $session = old_transaction($standby);
	is(answer($session, count_all($name)), '2000', "$statement: the old snapshot sees all") if $name eq 'r';
	my $rows = $primary->safe_psql('postgres', "DELETE FROM $name WHERE id % 2 = 0 RETURNING 1") =~ tr/1//;
	is($rows, '1000', 'half of the rows are deleted');
	$primary->safe_psql('postgres', $statement);
	is($primary->safe_psql('postgres', $EXHAUSTIVE . count_all($name)), '1000', "$statement: served on the primary at once");
	ok(caught_up($primary, $standby), 'it is replayed') if $name eq 'c';
	ok( wait_until(
			'the new index',
			sub { ask($standby, 'postgres', "SELECT count(*) FROM pg_index WHERE indrelid = '$name'::regclass AND indisvalid") eq '1' }),
		"$statement: replayed as far as the index is valid");
	ok(wait_until('another index', sub { answer($session, count_all($name)) =~ $too_old }), "$statement: the new one");
	is_too_old($session, $name, $statement);
	is_served($standby, $name, '1000', "$statement, standby");
	$session->quit;
	ok(caught_up($primary, $standby), 'it is replayed to the end');
	is_served($standby, $name, '1000', "$statement, standby, later");
	is_served($primary, $name, '1000', "$statement, primary");
}
$holder->query('COMMIT');
$holder->quit;

# ---- plain builds. With feedback the primary keeps what the standby's snapshot sees, and its builds take it in.
foreach my $rows (2000, 20)
{
	my $name = "p$rows";
	make_table($name, rows => $rows, bare => 1);
	my $session = old_transaction($standby);
	my $unheard = old_transaction($deaf);
	ok(wait_until('feedback', sub { $primary->safe_psql('postgres', 'SELECT count(backend_xmin) FROM pg_stat_replication') eq '1' }),
		'the primary knows of one snapshot');
	$primary->safe_psql('postgres', "DELETE FROM $name WHERE id % 2 = 0");
	$primary->safe_psql('postgres', "CREATE INDEX ${name}_v ON $name USING vhnsw (v)");
	ok(caught_up($primary, $_), 'the index is on ' . $_->name) foreach $standby, $deaf;
	is(answer($session, count_all($name)), $rows, "$name: with feedback the old snapshot sees all");
	is(answer($session, "SELECT * FROM vec_index_check('${name}_v', true)"), '', "$name: and finds the index whole");
	is(answer($unheard, count_all($name)), $rows, "$name: the deaf standby's old snapshot sees all that are kept for the other");
	$session->quit;
	$primary->safe_psql('postgres', "REINDEX INDEX ${name}_v");
	is_served($primary, $name, $rows / 2, "$name, primary");
	$unheard->quit;
	ok(caught_up($primary, $deaf), 'the deaf standby has the new index');
	is_served($deaf, $name, $rows / 2, "$name, deaf standby");
}
make_table('n', rows => 20, bare => 1);
my $unheard = old_transaction($deaf);
my $deleter = $primary->safe_psql('postgres', 'BEGIN; DELETE FROM n WHERE id % 2 = 0; SELECT pg_current_xact_id(); COMMIT');
ok( wait_until(
		'the other standby to let go of the deleted rows',
		sub { $primary->safe_psql('postgres', "SELECT max(backend_xmin::text::bigint) > $deleter FROM pg_stat_replication") eq 't' }),
	'nobody that the primary knows of sees the deleted rows');
$primary->safe_psql('postgres', 'CREATE INDEX n_v ON n USING vhnsw (v)');
ok(caught_up($primary, $deaf), 'the index is replayed');
is_too_old($unheard, 'n', 'without feedback');
is_served($deaf, 'n', '10', 'without feedback');
$unheard->quit;

# ---- a primary waits
make_table('w');
my $session = old_transaction($primary);
$primary->safe_psql('postgres', 'DELETE FROM w WHERE id % 2 = 0');
my $reindex = $primary->background_psql('postgres', on_error_stop => 0);
$reindex->query_until(qr/begun/, "\\echo begun\nREINDEX INDEX CONCURRENTLY w_v;\n");
ok( wait_until(
		'REINDEX to wait',
		sub {
			$primary->safe_psql('postgres', 'SELECT phase FROM pg_stat_progress_create_index') eq 'waiting for old snapshots';
		}),
	'primary: REINDEX waits for old snapshots');
is(answer($session, count_all('w')), '2000', 'primary: the old snapshot sees all');
is(answer($session, q(SELECT * FROM vec_index_check('w_v', true))), '', 'primary: and finds the index whole');
$session->quit;
$reindex->query('SELECT 1');
is_served($primary, 'w', '1000', 'primary, later');

# ---- promotion leaves an old snapshot what it is
make_table('q');
my $promoted = old_transaction($standby);
$primary->safe_psql('postgres', 'DELETE FROM q WHERE id % 2 = 0');
$primary->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY q_v');
ok(wait_until('the new index', sub { answer($promoted, count_all('q')) =~ $too_old }), 'the old snapshot is refused');
$standby->promote;
is_too_old($promoted, 'q', 'promoted');
is_served($standby, 'q', '1000', 'promoted');
$promoted->quit;
$standby->safe_psql('postgres', 'DELETE FROM q WHERE id % 4 = 1; REINDEX INDEX CONCURRENTLY q_v');
is_served($standby, 'q', '500', 'promoted, and built again');

$_->stop foreach $deaf, $standby, $primary;
done_testing();
