# DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, and CREATE DATABASE ... TEMPLATE succeed while a
# builder is at work in the database: it leaves for them and comes back afterwards. A copied database's index answers
# exactly and gets segments of its own; a dropped database leaves no file behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('node');
$node->start;
setup_vectors($node);

# A fresh database with a table whose index the builder works on for long.
my $rows = 40000;
sub busy_database
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	setup_vectors($node, $name);
	$node->safe_psql($name, qq(
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (ef_construction = 1000);
INSERT INTO t SELECT i, random_vector(64) FROM generate_series(1, $rows) i;
));
	wait_for_graph($name);
	return;
}

# The index's state names the job started last; graphs of this size keep a builder busy for many seconds.
sub wait_for_graph
{
	my ($name) = @_;
	my $seen = '';
	ok( wait_until(
			"a builder at work in $name",
			sub {
				$seen = $node->safe_psql($name,
					"SELECT state FROM vec_indexes WHERE index = 't_v'::regclass AND state <> 'idle' AND EXISTS"
					  . " (SELECT FROM pg_stat_activity WHERE backend_type = 'vecckpt builder' AND datname = '$name')");
			},
			20),
		"a builder is at work in $name");
	note("state: $seen");
	return;
}

# A command fails if it finds somebody in the database for 5 seconds.
sub succeeds
{
	my ($sql, $name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	is($err, '', "$name succeeds while the builder works");
	return;
}

my $nearest =
  "$EXHAUSTIVE SET vhnsw.ef_search = 200;"
  . " SELECT count(*) FROM (SELECT id, v FROM t WHERE id % 400 = 0) p,"
  . " LATERAL (SELECT id, v <-> p.v AS d FROM t ORDER BY v <-> p.v LIMIT 1) n WHERE n.id = p.id AND n.d = 0";

# ---- Refused: who may not run a command does not disturb the builder by it.
busy_database('one');
$node->safe_psql('postgres', 'CREATE ROLE maker CREATEDB');
my $pid_query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt builder' AND datname = 'one'";
my $pid       = $node->safe_psql('postgres', $pid_query);
foreach my $command (
	'CREATE DATABASE other TEMPLATE one',
	'DROP DATABASE one',
	'ALTER DATABASE one RENAME TO other',
	'ALTER DATABASE one SET TABLESPACE pg_default')
{
	my ($refused, $nothing, $message) = $node->psql('postgres', "SET ROLE maker; $command", on_error_stop => 0);
	like($message, qr/permission denied to copy|must be owner/, "$command is refused");
}
my ($refused, $nothing, $message) = $node->psql('postgres', "BEGIN;\nDROP DATABASE one;\nROLLBACK;", on_error_stop => 0);
like($message, qr/cannot run inside a transaction block/, 'and DROP DATABASE in a transaction for everyone');
is($node->safe_psql('postgres', $pid_query), $pid, 'the builder stayed');

# ---- Rename
succeeds('ALTER DATABASE one RENAME TO two', 'ALTER DATABASE RENAME');
ok(wait_until('a builder in two',
		sub { $node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder' AND datname = 'two'") }),
	'a builder comes back after the rename');
wait_for_graph('two');

# ---- Template
succeeds('CREATE DATABASE copied TEMPLATE two', 'CREATE DATABASE TEMPLATE');
is($node->safe_psql('copied', $nearest), $rows / 400, 'the copy answers right');
is($node->safe_psql('copied', "SELECT identity FROM vec_indexes WHERE index = 't_v'::regclass"),
	$node->safe_psql('two', "SELECT identity FROM vec_indexes WHERE index = 't_v'::regclass"),
	'its log is the same one');
$node->safe_psql('copied', "INSERT INTO t SELECT $rows + 1, random_vector(64)");
ok(wait_sealed($node, 't_v', database => 'copied', ask => 1), 'the copy gets segments');
my $copied_key = index_key($node, 't_v', 'copied');
my $two_key    = index_key($node, 't_v', 'two');
isnt($copied_key, $two_key, 'in files of its own');
ok(scalar(vec_files($node, $copied_key)) > 0, 'which are there');
is($node->safe_psql('copied', $nearest), $rows / 400, 'the copy answers right with segments');

# ---- Tablespace
my $location = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$location'");
wait_for_graph('copied');
succeeds('ALTER DATABASE copied SET TABLESPACE other', 'ALTER DATABASE SET TABLESPACE');
is($node->safe_psql('copied', $nearest), $rows / 400, 'the moved database answers right');
ok(wait_sealed($node, 't_v', database => 'copied', ask => 1), 'its index is sealed again');
isnt(index_key($node, 't_v', 'copied'), $copied_key, 'under a new name');
ok(wait_until('the old files to be swept', sub { !vec_files($node, $copied_key) }), 'the files of the old place are swept');

# ---- Drop
foreach my $name ('two', 'copied')
{
	my $key = index_key($node, 't_v', $name);
	(my $database = $key) =~ s/_.*//;
	$node->safe_psql($name, "INSERT INTO t SELECT i, random_vector(64) FROM generate_series(1, 8000) i");
	wait_for_graph($name);
	succeeds("DROP DATABASE $name", "DROP DATABASE $name");
	ok( wait_until(
			"the files of $name to be swept",
			sub { !grep { /^\Q$database\E_/ } vec_files($node) }),
		"no file of $name is left");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes"), '0', 'nor an entry in shared memory');

# A database in use is refused as ever, and its builder comes back.
busy_database('used');
my $user = $node->background_psql('used');
my ($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE used');
like($err, qr/is being accessed by other users/, 'a database in use is not dropped');
$user->quit;
wait_for_graph('used');
succeeds('DROP DATABASE used', 'DROP DATABASE of a database that was in use');
unlike(log_since($node, 0), qr/PANIC|FATAL:  database|terminated by signal/,
	'nothing crashed, and no builder was started for a dropped database');

$node->stop;
done_testing();
