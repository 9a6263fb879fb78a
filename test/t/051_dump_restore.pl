# pg_dump and restore: plain, custom and directory format, restored in one piece or by parallel jobs, from the primary under
# load and from a standby. The restored database has the same rows, the same indexes with their options and operator
# classes, sealed, and the same exact answers.

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
my $node = new_node('node', init => [ allows_streaming => 1 ]);
$node->start;
load_table($node, rows => $rows, dims => $dims);
$node->safe_psql('postgres', qq(
CREATE INDEX t_cosine ON t USING vhnsw (v real_cosine_ops) WITH (quantization = 'sq4', m = 12);
CREATE INDEX t_half ON t USING vhnsw (v real_l1_ops) WHERE id % 2 = 0;
CREATE TABLE parted (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
CREATE INDEX parted_v ON parted USING vhnsw (v) WITH (dims = $dims);
INSERT INTO parted SELECT i, random_vector($dims) FROM generate_series(1, 1999) i;
CREATE UNLOGGED TABLE u (id int, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v real_ip_ops);
INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 700) i;
CREATE TABLE empty (id int, v real[]);
CREATE INDEX empty_v ON empty USING vhnsw (v);
DELETE FROM t WHERE id % 10 = 0;
));
$node->backup('base');
my $standby = new_standby($node, 'base', 'standby');

my $indexes = "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%vhnsw%' ORDER BY 1";
my $folder  = PostgreSQL::Test::Utils::tempdir();
my ($restored, $number) = ('', 0);

# A new database made from a dump, compared with its origin.
sub restored_right
{
	my ($name, @restore) = @_;
	$restored = 'restored_' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $restored TEMPLATE template0");
	command_ok([ map { s/DATABASE/$restored/r } @restore ], "$name: restored");
	is($node->safe_psql($restored, $indexes), $node->safe_psql('postgres', $indexes), "$name: the same indexes");
	foreach my $table (qw(t parted u empty))
	{
		my $digest = "SELECT count(*), md5(string_agg(x::text, '' ORDER BY id)) FROM $table x";
		is($node->safe_psql($restored, $digest), $node->safe_psql('postgres', $digest), "$name: the rows of $table")
		  unless $table eq 'u' && $name =~ /standby/;
	}
	is($node->safe_psql($restored, "SELECT sum(tail_length) FROM vec_indexes WHERE database = '$restored' AND index::text IN ('t_v', 't_cosine', 't_half')"),
		'0', "$name: what CREATE INDEX has built is sealed");
	$node->safe_psql($restored, 'CREATE VIEW half AS SELECT id, v FROM t WHERE id % 2 = 0');
	my %operators = (t => [ '<->', 't_v' ], parted => [ '<->', 'parted_1_v_idx' ], u => [ '<#>', 'u_v' ], half => [ '<+>', 't_half' ]);
	foreach my $table (sort keys %operators)
	{
		my ($operator, $index) = @{ $operators{$table} };
		ok( plan_uses_index($node, "SELECT id FROM $table ORDER BY v $operator (SELECT v FROM probes LIMIT 1) LIMIT 5", $index, $restored),
			"$name: $index is used");
		probes_ok($node, $table, "$name: exact answers of $table", database => $restored, operator => $operator,
			probes => 'SELECT id, v FROM probes WHERE id <= 20');
	}
	exact_everywhere($node, 't', "$name: every row once",           database => $restored);
	exact_everywhere($node, 't', "$name: every row once by cosine", database => $restored, operator => '<=>');
	index_check_ok($node, $_, "$name: index $_", database => $restored) foreach qw(t_v t_cosine t_half u_v empty_v);
	$node->safe_psql($restored, 'INSERT INTO empty SELECT id, v FROM t LIMIT 300; INSERT INTO t SELECT 100000 + id, v FROM u');
	exact_everywhere($node, $_, "$name: $_ takes rows", database => $restored) foreach qw(empty t);
	$node->safe_psql('postgres', "DROP DATABASE $restored");
	return;
}

my @to  = ('-d', $node->connstr('DATABASE'));
my @jobs = ('-j', '2');
command_ok([ 'pg_dump', '-f', "$folder/plain.sql", $node->connstr('postgres') ], 'a plain dump');
restored_right('plain', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/plain.sql", @to);
command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", $node->connstr('postgres') ], 'a dump in custom format');
restored_right('custom, one job', 'pg_restore', '--exit-on-error', @to, "$folder/custom");
restored_right('custom, two jobs', 'pg_restore', '--exit-on-error', @jobs, @to, "$folder/custom");

# A directory, dumped by two jobs while another table is written to.
$node->safe_psql('postgres', 'CREATE TABLE other (LIKE t); CREATE INDEX ON other USING vhnsw (v);');
my $load = client($node, "INSERT INTO other SELECT i, random_vector($dims) FROM generate_series(1, 20) i;\nDELETE FROM other WHERE v[1] < 0.3;\nVACUUM other;\n");
command_ok([ 'pg_dump', '-Fd', @jobs, '-f', "$folder/directory", $node->connstr('postgres') ], 'a dump by two jobs under load');
stop_clients($load);
restored_right('directory, two jobs', 'pg_restore', '--exit-on-error', @jobs, @to, "$folder/directory");

# From a standby, in single transaction.
ok(caught_up($node, $standby), 'the standby catches up');
command_ok([ 'pg_dump', '-Fc', '--no-unlogged-table-data', '-f', "$folder/standby", $standby->connstr('postgres') ], 'a dump of the standby');
restored_right('standby', 'pg_restore', '--exit-on-error', '--single-transaction', @to, "$folder/standby");

$standby->stop;
$node->stop;
done_testing();
