# Unlogged tables: a crash empties them, and their index works on under a new identity, so that files of before are not
# believed; a clean restart keeps rows and segments. ALTER TABLE ... SET LOGGED and back keeps the answers right.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 16;
my $rows = 5000;

my $node = new_node('node', conf => "restart_after_crash = on\n");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', qq(
CREATE UNLOGGED TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE UNLOGGED TABLE built (id int, v real[]);
INSERT INTO built SELECT i, random_vector($dims) FROM generate_series(1, $rows) i;
CREATE INDEX built_v ON built USING vhnsw (v);
CREATE TABLE logged (id int, v real[]);
INSERT INTO logged SELECT i, random_vector($dims) FROM generate_series(1, 1000) i;
CREATE INDEX logged_v ON logged USING vhnsw (v);
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 50) i;
CHECKPOINT;
));
my $fill = sub {
	my ($table) = @_;
	$node->safe_psql('postgres', "INSERT INTO $table SELECT i, random_vector($dims) FROM generate_series(1, $rows) i");
};
sub identity
{
	return $node->safe_psql('postgres', "SELECT identity FROM vec_indexes WHERE index = '$_[0]'::regclass");
}
$fill->('t');
probes_ok($node, $_, "$_: answers are exact") foreach 't', 'built';
ok(wait_sealed($node, "${_}_v", ask => 1), "$_ is sealed") foreach 't', 'built';
probes_ok($node, $_, "$_: answers are exact once sealed") foreach 't', 'built';

# ---- Clean restart
my %segments = map { $_ => vec_segments($node, "${_}_v") } 't', 'built';
my %identity = map { $_ => identity("${_}_v") } 't', 'built';
$node->restart;
foreach my $table ('t', 'built')
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), $rows, "$table: a clean restart keeps the rows");
	is(identity("${table}_v"), $identity{$table}, 'the identity');
	is($node->safe_psql('postgres', "SELECT graph_builds + seals FROM vec_stat WHERE index = '${table}_v'::regclass"),
		'0', 'and the segments: nothing is built again');
	probes_ok($node, $table, 'and answers exactly');
}

# ---- Crashes. The second one hits an index that took no row since the first.
foreach my $round (1 .. 3)
{
	%identity = map { $_ => identity("${_}_v") } 't', 'built';
	kill_server($node);
	start_again($node);
	foreach my $table ('t', 'built')
	{
		is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), '0', "crash $round: $table is empty");
		exact_everywhere($node, $table, 'and answers so',
			probe => 'SELECT v FROM probes ORDER BY id LIMIT 1');
	}
	next if $round == 2;
	foreach my $table ('t', 'built')
	{
		# As many rows as before, so that only the identity tells the old files from new ones.
		$fill->($table);
		probes_ok($node, $table, "$table takes rows again");
		isnt(identity("${table}_v"), $identity{$table}, 'under a new identity');
		ok(wait_sealed($node, "${table}_v", ask => 1), 'is sealed');
		probes_ok($node, $table, 'and answers exactly');
		exact_everywhere($node, $table, 'as a whole too');
	}
	$node->safe_psql('postgres', 'CHECKPOINT');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM logged'), '1000', 'the logged table kept its rows');
probes_ok($node, 'logged', 'and answers exactly');

# A crash of one backend empties them too, in the same postmaster.
$fill->('t');
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid    = $victim->query('SELECT pg_backend_pid()');
kill_pid($pid);
eval { $victim->quit; };
ok(wait_until('recovery', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 }), 'the server recovers from a killed backend');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '0', 'the table is empty');
$fill->('t');
probes_ok($node, 't', 'and takes rows again');

# ---- Logged and back
$node->safe_psql('postgres', 'ALTER TABLE t SET LOGGED');
probes_ok($node, 't', 'SET LOGGED keeps the answers');
ok(wait_sealed($node, 't_v', ask => 1), 'and is sealed');
kill_server($node);
start_again($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $rows, 'now a crash keeps the rows');
probes_ok($node, 't', 'and the answers');
$node->safe_psql('postgres', 'ALTER TABLE t SET UNLOGGED');
probes_ok($node, 't', 'SET UNLOGGED keeps the answers');
$node->safe_psql('postgres', 'CHECKPOINT');
kill_server($node);
start_again($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '0', 'and a crash empties it again');
$fill->('t');
probes_ok($node, 't', 'with right answers afterwards');
unlike(log_since($node, 0), qr/PANIC/, 'nothing panicked');

$node->stop;
done_testing();
