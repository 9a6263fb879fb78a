# vec_checkpoint() never waits for a lock and never for ever: not within a transaction that created the index, not for a
# prepared transaction, not when the builder is terminated meanwhile. A locked index raises 55P03 by name and is a
# warning among others. Only pg_checkpoint members and superusers may call it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use VecTest;

# Not the bound of a wait, but what tells a hang from an answer.
my $timeout = "SET statement_timeout = '30s';\n\\set VERBOSITY verbose\n";

my $node = new_node('node', conf => "max_prepared_transactions = 5\n");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', q(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 1000) i;
CREATE TABLE other (id int PRIMARY KEY, v real[]);
CREATE INDEX other_v ON other USING vhnsw (v);
INSERT INTO other SELECT i, random_vector(8) FROM generate_series(1, 1000) i;
));
sub run
{
	my ($sql) = @_;
	my $start = time();
	my ($code, $out, $err) = $node->psql('postgres', $timeout . $sql);
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return ($out, $err, time() - $start);
}

# The tail of an index after one more row; tells whether a checkpoint has sealed it.
sub add_row { $node->safe_psql('postgres', "INSERT INTO $_[0] SELECT max(id) + 1, random_vector(8) FROM $_[0]"); }
sub tail { $node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes WHERE index = '$_[0]'::regclass"); }

my ($out, $err, $seconds);

# ---- In one transaction
($out, $err, $seconds) = run(q(
BEGIN;
CREATE TABLE fresh AS SELECT * FROM t;
CREATE INDEX fresh_v ON fresh USING vhnsw (v);
SELECT vec_checkpoint('fresh_v');
));
ok($err eq '' || $err =~ /ERROR:  55P03/, 'BEGIN; CREATE INDEX; vec_checkpoint(index): answers, or says that it is locked')
  or diag($err);
cmp_ok($seconds, '<', 20, 'without waiting');
add_row('other');
($out, $err, $seconds) = run(q(
BEGIN;
CREATE TABLE fresh AS SELECT * FROM t;
CREATE INDEX fresh_v ON fresh USING vhnsw (v);
SELECT vec_checkpoint() >= 1;
SELECT count(*) FROM (SELECT FROM fresh ORDER BY v <-> (SELECT v FROM t LIMIT 1) LIMIT 5) s;
COMMIT;
));
like($out, qr/^t\n5$/m, 'vec_checkpoint() in such a transaction succeeds');
unlike($err, qr/ERROR/, 'without an error');
cmp_ok($seconds, '<', 20, 'and without waiting');
is(tail('other_v'), '0', 'other indexes were sealed');
($out, $err) = run("SELECT vec_checkpoint('fresh_v')");
is($err, '', 'after the commit the new index is checkpointed');
($out, $err) = run("BEGIN; REINDEX INDEX t_v; INSERT INTO t VALUES (5000, random_vector(8)); SELECT vec_checkpoint() >= 0; ROLLBACK;");
unlike($err, qr/ERROR/, 'the same with REINDEX and rollback');
probes_ok($node, 't', 'answers are exact after the rollback', probes => 'SELECT id, v FROM t WHERE id <= 50');

# ---- A prepared transaction holds the lock
add_row($_) foreach 't', 'other';
$node->safe_psql('postgres', q(
BEGIN;
DROP INDEX t_v;
PREPARE TRANSACTION 'holds';
));
($out, $err, $seconds) = run("SELECT vec_checkpoint('t_v')");
like($err, qr/ERROR:  55P03/, 'an index locked by a prepared transaction raises 55P03');
cmp_ok($seconds, '<', 20, 'at once');
my $offset = log_size($node);
($out, $err, $seconds) = run('SELECT vec_checkpoint() >= 1');
is($out, 't', 'vec_checkpoint() goes on with the others');
like($err, qr/WARNING:  55P03: .*(t_v|\d+\/\d+\/\d+) is locked/, 'and warns of the locked one');
cmp_ok($seconds, '<', 20, 'at once');
is(tail('other_v'), '0', 'the others are sealed');
($out, $err) = run("SELECT count(*) > 0 FROM vec_indexes; CHECKPOINT;");
is($err, '', 'the view and CHECKPOINT do not wait for the lock either');
ok( wait_until(
		'the builder to leave',
		sub {
			$node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder'"
				  . " AND wait_event_type = 'Lock'") eq '0';
		}),
	'no builder waits for a lock');
$node->restart;
($out, $err) = run("SELECT vec_checkpoint('t_v')");
like($err, qr/ERROR:  55P03/, 'the same after a restart with the transaction still prepared');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'holds'");
add_row('t');
($out, $err) = run("SELECT vec_checkpoint('t_v')");
is($err, '', 'free again, it is checkpointed');
is(tail('t_v'), '0', 'and sealed');
$node->safe_psql('postgres', q(
BEGIN;
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(6001, 6300) i;
PREPARE TRANSACTION 'writes';
));
($out, $err) = run("SELECT vec_checkpoint('t_v')");
is($err, '', 'a prepared transaction that only wrote rows is not in the way');
$node->safe_psql('postgres', "COMMIT PREPARED 'writes'");
probes_ok($node, 't', 'its rows are found after COMMIT PREPARED', probes => 'SELECT id, v FROM t WHERE id % 50 = 0');

# ---- A lock taken by another session
my $holder = $node->background_psql('postgres', on_error_stop => 1);
$holder->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; DROP INDEX t_v');
($out, $err, $seconds) = run("SELECT vec_checkpoint('t_v'::regclass)");
like($err, qr/ERROR:  55P03/, 'an index locked by another session raises 55P03');
cmp_ok($seconds, '<', 20, 'at once');
$holder->query_safe('ROLLBACK');
$holder->query_safe('BEGIN; INSERT INTO t VALUES (7000, random_vector(8))');
($out, $err) = run("SELECT vec_checkpoint('t_v')");
is($err, '', 'ordinary locks are not in the way');
$holder->query_safe('COMMIT');
$holder->quit;

# ---- The builder is terminated while somebody waits
$node->safe_psql('postgres', q(
CREATE TABLE big (id int, v real[]);
CREATE INDEX big_v ON big USING vhnsw (v);
));
foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', "INSERT INTO big SELECT i, random_vector(64) FROM generate_series(1, 8000) i");
	my $waiter = $node->background_psql('postgres', on_error_stop => 0);
	$waiter->query("SET statement_timeout = '60s'");
	$waiter->query_until(qr/go/, "\\echo go\nSELECT vec_checkpoint('big_v');\n\\echo answered\n");
	my $end        = time() + 1;
	my $terminated = 0;
	while (time() < $end)
	{
		$terminated += $node->safe_psql('postgres',
			"WITH b AS MATERIALIZED (SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt builder')"
			  . " SELECT count(*) FROM b WHERE pg_terminate_backend(pid)");
		usleep(20_000);
	}
	cmp_ok($terminated, '>', 0, "round $round: the builder was terminated");
	my $waiting_since = time();
	$waiter->query_until(qr/answered/, "\n");
	cmp_ok(time() - $waiting_since, '<', 30, 'vec_checkpoint() answers within seconds');
	unlike($waiter->{stderr}, qr/statement timeout/, 'by itself');
	$waiter->quit;
}
ok(wait_sealed($node, 'big_v', ask => 1), 'the next builder finishes the work');
probes_ok($node, 'big', 'answers are exact', probes => 'SELECT id, v FROM big LIMIT 20', limit => 5);

# ---- The launcher is terminated: whoever calls meanwhile gets an answer, and it comes back
$node->safe_psql('postgres', "INSERT INTO big SELECT i, random_vector(64) FROM generate_series(1, 1000) i");
my $launcher_pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt launcher'";
my $launcher     = $node->safe_psql('postgres', $launcher_pid);
ok($launcher, 'there is a launcher');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
foreach my $call ('SELECT vec_checkpoint()', "SELECT vec_checkpoint('big_v')", 'CHECKPOINT')
{
	($out, $err, $seconds) = run($call);
	cmp_ok($seconds, '<', 15, "$call answers without a launcher");
	ok($err eq '' || $err =~ /ERROR:  55000: .*launcher/, 'with success or an error that says why') or diag($err);
}
ok( wait_until(
		'a new launcher',
		sub { my $pid = $node->safe_psql('postgres', $launcher_pid); $pid ne '' && $pid != $launcher }, 30),
	'a new launcher is started');
ok(wait_until('vec_checkpoint() to work again', sub { (run("SELECT vec_checkpoint('big_v')"))[1] eq '' }, 15),
	'vec_checkpoint() works again');
is(tail('big_v'), '0', 'and seals');

# ---- Privileges
$node->safe_psql('postgres', q(
CREATE ROLE ordinary LOGIN;
CREATE ROLE checker LOGIN;
GRANT pg_checkpoint TO checker;
));
foreach my $call ('vec_checkpoint()', "vec_checkpoint('t_v')")
{
	my ($code, $o, $e) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call", extra_params => [ '-U', 'ordinary' ]);
	like($e, qr/ERROR:  42501/, "$call is refused to an ordinary role");
	($code, $o, $e) = $node->psql('postgres', "SELECT $call", extra_params => [ '-U', 'checker' ]);
	is($e, '', "$call is allowed to a member of pg_checkpoint");
}

$node->stop;
done_testing();
