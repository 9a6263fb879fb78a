# ALTER DATABASE, TABLE and INDEX ... SET TABLESPACE, there and back, rolled back too, and REINDEX into another tablespace: the
# index answers exactly at once, takes rows, and survives a crash; a standby that replays it agrees; nothing stays behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my $dims = 16;
my $rows = 4500;

seed_random();
# Tablespaces in place need no folders that a standby on the same machine could not share.
my $node = new_node('node', init => [ allows_streaming => 1 ],
	conf => "allow_in_place_tablespaces = on\nwal_keep_size = 512MB\nvecckpt.checkpoint_timeout = 2\n");
$node->start;
$node->safe_psql('postgres', q(CREATE TABLESPACE one LOCATION ''));
$node->safe_psql('postgres', q(CREATE TABLESPACE two LOCATION ''));
$node->backup('base');
my $standby = new_standby($node, 'base', 'standby', conf => "vecckpt.checkpoint_timeout = 2\n");

$node->safe_psql('postgres', 'CREATE DATABASE home');
setup_vectors($node, 'home');
$node->safe_psql('home', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 20) id;
CREATE TABLE t (id serial, v real[]);
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, $rows);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 32);
));

# Other rows than those of anybody else.
sub change
{
	my ($database) = @_;
	$node->safe_psql($database, qq(
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 700);
DELETE FROM t WHERE id % 7 = 3;
));
	$node->safe_psql($database, 'VACUUM (INDEX_CLEANUP ON) t');
	return;
}

# ---- Moves of the database: there, and back while the entry and the files of before may still be around
all_sealed('home', 'before the moves', $node, $standby);
foreach my $place ('one', 'pg_default', 'one')
{
	$node->safe_psql('postgres', "ALTER DATABASE home SET TABLESPACE $place");
	all_exact('home', "database in $place", $node, $standby);
	change('home');
	all_exact('home', "database in $place, changed", $node, $standby);
}
all_sealed('home', 'moved database', $node, $standby);

# ---- Moves of the index and the table
foreach my $move (
	'ALTER INDEX t_v SET TABLESPACE two',
	'BEGIN; ALTER INDEX t_v SET TABLESPACE pg_default; INSERT INTO t (v) SELECT random_vector(16); ROLLBACK',
	'BEGIN; SAVEPOINT a; ALTER INDEX t_v SET TABLESPACE pg_default; ROLLBACK TO a; INSERT INTO t (v) SELECT random_vector(16); COMMIT',
	'ALTER TABLE t SET TABLESPACE two',
	'ALTER INDEX ALL IN TABLESPACE two SET TABLESPACE one',
	'REINDEX (TABLESPACE two) INDEX t_v',
	'REINDEX (TABLESPACE pg_default, CONCURRENTLY) INDEX t_v')
{
	$node->safe_psql('home', $move);
	all_exact('home', $move, $node, $standby);
	$node->safe_psql('home', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 300); DELETE FROM t WHERE id % 11 = 5;");
	all_exact('home', "$move, changed", $node);
}
kill_server($node, all => 1);
start_again($node);
all_exact('home', 'after the moves and a crash', $node, $standby);
all_sealed('home', 'after the moves and a crash', $node, $standby);

# ---- Nothing is left of what was moved away or dropped
$node->safe_psql('postgres', 'DROP DATABASE home');
$node->safe_psql('postgres', 'DROP TABLESPACE two');
ok( wait_until('the sweep', sub { !grep { /_/ } vec_files($node), vec_files($standby) }, 90),
	'no file is left of databases and places that are gone');
unlike(log_since($_), qr/PANIC|TRAP:/, 'nothing panicked on ' . $_->name) foreach $node, $standby;

$standby->stop;
$node->stop;
done_testing();
