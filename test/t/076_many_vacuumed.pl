# More indexes with dead entries than files can be written at a time: a builder that finds them all at once counts the dead of
# every one, and none fails.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant TABLES => 1100;    # writers have 1,024 places

seed_random();
my $node = new_node('node',
	conf => "fsync = off\nmax_locks_per_transaction = 1000\nvecckpt.max_indexes = 2000\nvecckpt.builder = off\nlog_min_messages = warning\n");
$node->start;
setup_vectors($node);
my @tables = map { "t$_" } 1 .. TABLES;
$node->safe_psql(
	'postgres', join ';',
	map {
		"CREATE TABLE $_ AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, 4) i; CREATE INDEX ${_}_v ON $_ USING vhnsw (v);"
		  . " DELETE FROM $_ WHERE id = 1"
	} @tables);
$node->safe_psql('postgres', 'VACUUM ' . join(', ', @tables));
is(scalar(grep { /\.live$/ } vec_files($node)), 0, 'no builder, no bitmap');

my $offset = log_size($node);
$node->append_conf('postgresql.conf', "vecckpt.builder = on\nlog_min_messages = info\n");
$node->reload;
ok(
	wait_until(
		'a liveness bitmap for each index', sub { TABLES == grep { /\.live$/ } vec_files($node) }),
	'the dead of all are counted');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vec_indexes WHERE last_error IS NOT NULL'), '0', 'none failed');
unlike(log_since($node, $offset), qr/too many files|builder failed/, 'nor before');

$node->stop('immediate');  # else the launcher makes all of them durable first
done_testing();
