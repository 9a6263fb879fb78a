# Every class of vecckpt_pgvector gives the answers of pgvector's own operators: the same rows in the same order as an
# exact scan, for rows that a graph holds, that a flat segment holds, and of the tail. And it finds the true neighbours
# where it searches a graph: recall@10 at least 0.96 at ef_search = 100, as much as real[] classes (see 030).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use PgvectorTest;
use VecData;
use VecTest;

require_pgvector();

use constant { BUILT => 4300, SEALED => 300 };

my $node = new_node('pgvector', conf => 'vecckpt.builder = off');
$node->start;

my $vectors = sample_vectors('photosift5k.u8bin');
my $probes  = sample_vectors('photosift.query50.u8bin');
create_samples($node, [ @$vectors[ 0 .. BUILT - 1 ] ], $probes);

foreach my $type (qw(vector halfvec))
{
	foreach my $operator (sort keys %CLASS_OF)
	{
		my $index = class_index($type, $operator);
		is($node->safe_psql('postgres', "SELECT kind, entries FROM vec_segments WHERE index = '$index'::regclass"),
			'graph|' . BUILT, "$type $operator: CREATE INDEX built a graph");
		$node->safe_psql('postgres', "CREATE TABLE queries AS SELECT *, NULL::float8 AS kth FROM probes_$type");
		set_kth_distances($node, 'queries', "t_$type", $operator, 10);
		my $recall = recall($node, 'queries', "t_$type", $operator, 10, 100);
		note("$type $operator: recall $recall");
		cmp_ok($recall, '>=', 0.96, "$type $operator: recall");
		$node->safe_psql('postgres', 'DROP TABLE queries');
	}
}

# Every index's answers, and its soundness.
sub check_answers
{
	my ($when) = @_;
	foreach my $type (qw(vector halfvec))
	{
		foreach my $operator (sort keys %CLASS_OF)
		{
			my $index = class_index($type, $operator);
			my $name  = "$when, $type $operator";
			ok( plan_uses_index($node, "SELECT id FROM t_$type ORDER BY v $operator (SELECT v FROM probes_$type LIMIT 1) LIMIT 5", $index),
				"$name: the index is used");
			probes_ok($node, "t_$type", "$name: exact answers", operator => $operator, probes => "SELECT id, v FROM probes_$type");
			exact_everywhere($node, "t_$type", "$name: every row once, in order", operator => $operator);
			index_check_ok($node, $index, "$name: the index");
		}
	}
	return;
}

# Deletes every fifth row from id `first` on, and has their entries flagged dead.
sub delete_some
{
	my ($first) = @_;
	foreach my $type (qw(vector halfvec))
	{
		$node->safe_psql('postgres', "DELETE FROM t_$type WHERE id >= $first AND id % 5 = 0");
		wait_until(
			"VACUUM of t_$type",
			sub {
				$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) t_$type");
				return $node->safe_psql('postgres',
					"SELECT bool_and(live_entries = (SELECT count(*) FROM t_$type)) FROM vec_indexes WHERE \"table\" = 't_$type'::regclass") eq 't';
			}) or die 'dead rows stayed';
	}
	return;
}

# A tail with dead entries between the others; then the same as a segment.
insert_samples($node, [ @$vectors[ BUILT .. BUILT + SEALED - 1 ] ], BUILT);
delete_some(BUILT);
is($node->safe_psql('postgres', 'SELECT DISTINCT tail_length FROM vec_indexes'), SEALED, 'a tail');
check_answers('tail');

$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;
foreach my $type (qw(vector halfvec))
{
	ok(wait_settled($node, class_index($type, $_), ask => 1, seconds => 180), "$type $_: sealed") foreach sort keys %CLASS_OF;
}
$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
$node->restart;
my $sealed = BUILT + SEALED;
insert_samples($node, [ @$vectors[ $sealed .. $#$vectors ] ], $sealed);
is( $node->safe_psql('postgres', 'SELECT DISTINCT entries, coverage, tail_length FROM vec_indexes'),
	join('|', scalar(@$vectors), $sealed, @$vectors - $sealed),
	'some in segments, some in the tail');
delete_some(0);
check_answers('all three');

# Vectors whose distances float32 does not hold: the same rows, and distances in order but for its last bits.
$node->safe_psql(
	'postgres', q(
SELECT setseed(0.5);
CREATE TABLE real_vectors AS
    SELECT id, (SELECT array_agg((random() - 0.5)::real) FROM generate_series(1, 300 + 0 * id))::vector AS v FROM generate_series(1, 3000) id;
CREATE INDEX real_vectors_v ON real_vectors USING vhnsw (v vector_cosine_ops);
INSERT INTO real_vectors
    SELECT id, (SELECT array_agg((random() - 0.5)::real) FROM generate_series(1, 300 + 0 * id)) FROM generate_series(3001, 3200) id;
));
is( $node->safe_psql(
		'postgres', "$EXHAUSTIVE SET enable_sort = off;" . q(
SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE before > d + 1e-6)
FROM (SELECT id, d, lag(d) OVER () AS before
      FROM (SELECT id, v <=> (SELECT v FROM real_vectors WHERE id = 17) AS d FROM real_vectors
            ORDER BY v <=> (SELECT v FROM real_vectors WHERE id = 17)) s) o)),
	'3200|3200|0',
	'random vectors: every row once, in order');

$node->stop;
done_testing();
