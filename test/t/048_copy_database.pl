# CREATE DATABASE ... TEMPLATE by either strategy, also again under the same OID: the copy has its template's log, answers
# exactly at once, takes rows, gets segments of its own, and survives a crash; a standby that replays it agrees.

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
my $node = new_node('node', init => [ allows_streaming => 1 ], conf => "wal_keep_size = 512MB\nvecckpt.checkpoint_timeout = 2\n");
$node->start;
$node->backup('base');
my $standby = new_standby($node, 'base', 'standby', conf => "vecckpt.checkpoint_timeout = 2\n");

$node->safe_psql('postgres', 'CREATE DATABASE source');
setup_vectors($node, 'source');
$node->safe_psql('source', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 20) id;
CREATE TABLE t (id serial, v real[]);
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, $rows);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 32);
CREATE UNLOGGED TABLE u (id int, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v);
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

# ---- Copies
foreach my $strategy (qw(wal_log file_copy))
{
	# A crash empties it in the template too.
	$node->safe_psql('source', "TRUNCATE u; INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 600) i");
	my $create = "CREATE DATABASE copy TEMPLATE source STRATEGY $strategy OID 88888";
	foreach my $round ('first', 'second')
	{
		my $name = "$strategy, $round copy";
		$node->safe_psql('postgres', $create);
		all_exact('copy', $name, $node, $standby);
		is($node->safe_psql('copy', 'SELECT count(*) FROM u'), 600, "$name: unlogged rows are copied");
		exact_everywhere($node, 'u', "$name: and found", database => 'copy');
		# As many entries in both rounds, but others.
		change('copy');
		all_exact('copy', "$name, changed", $node, $standby);
		all_sealed('copy', $name, $node, $standby);
		if ($round eq 'first')
		{
			$node->safe_psql('postgres', 'DROP DATABASE copy');
			next;
		}
		kill_server($node, all => 1);
		start_again($node);
		all_exact('copy', "$name, after a crash", $node);
		is($node->safe_psql('copy', 'SELECT count(*) FROM u'), 0, "$name, after a crash: the unlogged table is empty");
		$node->safe_psql('copy', "INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 400) i");
		exact_everywhere($node, 'u', "$name, after a crash: and takes rows", database => 'copy');
		$node->safe_psql('postgres', 'DROP DATABASE copy');
	}
}
all_exact('source', 'the template', $node, $standby);

my $kept = join '|', index_key($node, 't_v', 'source'), index_key($node, 'u_v', 'source');
ok( wait_until('the sweep', sub { !grep { !/^($kept)\./ } vec_files($node), vec_files($standby) }, 90),
	'no file of a dropped copy is left');
unlike(log_since($_), qr/PANIC|TRAP:/, 'nothing panicked on ' . $_->name) foreach $node, $standby;

$standby->stop;
$node->stop;
done_testing();
