# For each of the four operators: the index's order is the operator's order, and a row's distance does not depend on
# the way it was found. Random data of several dimensions, exhaustive searches of 3,000 rows, some of them in a graph
# (or a flat segment), some in a later flat segment, some in the tail.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecData;
use VecTest;

use constant { ROWS => 3000, BUILT_ROWS => 2000, SEALED_ROWS => 800, PROBES => 5 };

my @DIMS = (1, 2, 3, 8, 17, 128, 300);
my %CLASSES = ('<->' => 'real_l2_ops', '<#>' => 'real_ip_ops', '<=>' => 'real_cosine_ops', '<+>' => 'real_l1_ops');
my %NAMES = ('<->' => 'l2', '<#>' => 'ip', '<=>' => 'cosine', '<+>' => 'l1');

seed_random();
my $node = new_node('metrics', conf => 'vecckpt.builder = off');
$node->start;
setup_vectors($node);

sub vectors
{
	my ($dims, $count) = @_;
	return [ map { vector_text(map { sprintf('%.9g', normal()) } 1 .. $dims) } 1 .. $count ];
}

sub hold_builder
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "vecckpt.builder = $value");
	$node->reload;
	return;
}

# Two tests. Counted are rows, different rows, rows whose distance is not the one of that rank in the true order, and
# rows whose distance is not that of the same row in the true order.
sub check
{
	my ($dims, $operator) = @_;
	my $name = "$operator, $dims dimensions";
	my $search = "SELECT id, v $operator p.v AS d FROM items_$dims ORDER BY v $operator p.v";
	my $plan = $node->safe_psql('postgres',
		index_probe(10_000) . "EXPLAIN (COSTS OFF) SELECT * FROM probes_$dims p, LATERAL ($search) n");
	like($plan, qr/Index Scan using items_${dims}_$NAMES{$operator}/, "$name: by the index");
	my $result = $node->safe_psql(
		'postgres', qq(
		$EXHAUSTIVE
		SET enable_sort = off;
		CREATE TEMP TABLE got AS
		    SELECT p.id AS probe, n.* FROM probes_$dims p, LATERAL
		        (SELECT s.id, s.d, row_number() OVER () AS n FROM ($search) s) n;
		RESET enable_sort;
		CREATE TEMP TABLE expected AS
		    SELECT p.id AS probe, t.id, t.v $operator p.v AS d,
		           row_number() OVER (PARTITION BY p.id ORDER BY t.v $operator p.v) AS n
		    FROM probes_$dims p, items_$dims t;
		SELECT (SELECT count(*) FROM got), (SELECT count(*) FROM (SELECT DISTINCT probe, id FROM got) d),
		       (SELECT count(*) FROM got g JOIN expected e USING (probe, n) WHERE g.d IS DISTINCT FROM e.d),
		       (SELECT count(*) FROM got g JOIN expected e USING (probe, id) WHERE g.d IS DISTINCT FROM e.d)));
	my $all = ROWS * PROBES;
	is($result, "$all|$all|0|0", "$name: every row once, in the operator's order");
	return;
}

my %vectors;
my $sealed = BUILT_ROWS + SEALED_ROWS;
foreach my $dims (@DIMS)
{
	$vectors{$dims} = vectors($dims, ROWS);
	$node->safe_psql('postgres', "CREATE TABLE items_$dims (id int, v real[]); CREATE TABLE probes_$dims (id int, v real[])");
	load_vectors($node, "probes_$dims", [ @{ vectors($dims, PROBES - 1) }, $vectors{$dims}[7] ]);
	load_vectors($node, "items_$dims", [ @{ $vectors{$dims} }[ 0 .. BUILT_ROWS - 1 ] ]);
	foreach my $operator (keys %CLASSES)
	{
		$node->safe_psql('postgres',
			"CREATE INDEX items_${dims}_$NAMES{$operator} ON items_$dims USING vhnsw (v $CLASSES{$operator})");
	}
	load_vectors($node, "items_$dims", [ @{ $vectors{$dims} }[ BUILT_ROWS .. $sealed - 1 ] ], BUILT_ROWS);
}

hold_builder('on');
my $sealed_all = wait_until(
	'the builder to seal all',
	sub {
		$node->safe_psql('postgres', "SELECT sum(tail_length) = 0 AND bool_and(state = 'idle') FROM vec_indexes") eq 't';
	},
	120);
ok($sealed_all, 'sealed');
hold_builder('off');

foreach my $dims (@DIMS)
{
	load_vectors($node, "items_$dims", [ @{ $vectors{$dims} }[ $sealed .. ROWS - 1 ] ], $sealed);
	note("$dims dimensions: " . segment_summary($node, "items_${dims}_l2"));
	check($dims, $_) foreach sort keys %CLASSES;
}
is( $node->safe_psql('postgres', 'SELECT min(tail_length), max(tail_length) FROM vec_indexes'),
	(ROWS - $sealed) . '|' . (ROWS - $sealed),
	'the last rows stayed in the tail');

$node->stop;
done_testing();
