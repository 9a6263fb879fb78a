# Inputs that graphs and float codes do badly on. Of each, once indexed by CREATE INDEX and once by inserts and the
# builder: at ef_search = 100 every row is found by its own vector, and recall@10 does not fall below 0.9. Under inner
# product a row's own vector has other nearest rows: there an exhaustive search returns every row instead.

use strict;
use warnings;

use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecData;
use VecTest;

use constant { QUERIES => 60, MOST_PROBES => 1500 };

seed_random();

# Rounded to float32, so that none is a number that real does not hold.
sub gaussian
{
	my ($dims, $scale) = @_;
	return vector_text(map { sprintf('%.9g', $_) } unpack('f*', pack('f*', map { $scale * normal() } 1 .. $dims)));
}

# A vector of many dimensions that vary in 16 ways only, as real data do.
my @mix = map { [ map { [ int(rand 16), normal() ] } 1 .. 3 ] } 1 .. 112;

sub correlated
{
	my ($scale, $most) = @_;
	my @latent = map { normal() } 1 .. 16;
	my @values = map { my $sum = 0; $sum += $latent[ $_->[0] ] * $_->[1] foreach @$_; $scale * $sum } @mix;
	if ($most) { @values = map { $_ > $most ? $most : $_ < -$most ? -$most : $_ } @values }
	return vector_text(map { sprintf('%.9g', $_) } unpack('f*', pack('f*', @values)));
}

sub many
{
	my ($count, $make) = @_;
	return [ map { $make->() } 1 .. $count ];
}

# Each has rows, and where these are not good queries, queries.
my %inputs = (
	copies => {
		rows => [ shuffle(@{ many(40_000, sub { gaussian(16, 1) }) }, ('{' . join(',', (0.25) x 16) . '}') x 5_000) ],
		queries => [ @{ many(QUERIES - 1, sub { gaussian(16, 1) }) }, '{' . join(',', (0.25) x 16) . '}' ],
	},
	equal => { rows => [ ('{1,2,3,4,5,6,7,8}') x 5_000 ], queries => many(10, sub { gaussian(8, 3) }) },
	log_normal => {
		operator => '<#>',
		class => 'real_ip_ops',
		rows => many(8_000, sub { gaussian(96, exp(normal())) }),
		queries => many(QUERIES, sub { gaussian(96, 1) }),
	},
	# No direction is special here, which is harder than real data.
	huge => { rows => many(6_000, sub { gaussian(96, 1e20) }) },
	near_maximum => { rows => many(5_000, sub { correlated(1e38, 3.4e38) }) },
	denormal => { rows => many(5_000, sub { correlated(1e-41) }) },
	mixed_magnitudes => {
		rows => [ shuffle(@{ many(3_000, sub { gaussian(16, 1e30) }) }, @{ many(3_000, sub { gaussian(16, 1e-30) }) }) ],
	},
	huge_cosine => {
		operator => '<=>',
		class => 'real_cosine_ops',
		rows => many(5_000, sub { correlated(1e20) }),
		queries => many(QUERIES, sub { correlated(1e-20) }),
	},
	huge_l1 => { operator => '<+>', class => 'real_l1_ops', rows => many(5_000, sub { correlated(1e20) }) },
	grid => {
		rows => [ shuffle(map { my $x = $_; map { "{$x,$_}" } 0 .. 181 } 0 .. 181) ],
		queries => many(QUERIES, sub { vector_text(181 * rand, 181 * rand) }),
	},
	line => { rows => many(6_000, sub { gaussian(1, 1) }) },
	wide => { rows => many(40, sub { gaussian(16_000, 1) }), queries => many(10, sub { gaussian(16_000, 1) }) },
);

my $node = new_node('hard_inputs', conf => "maintenance_work_mem = 256MB\nmax_wal_size = 4GB");
$node->start;
setup_vectors($node);

# Two tables of the same rows, "<name>_created" and "<name>_inserted".
foreach my $name (sort keys %inputs)
{
	my $input = $inputs{$name};
	my $class = $input->{class} // 'real_l2_ops';
	my ($created, $inserted) = ("${name}_created", "${name}_inserted");
	$node->safe_psql('postgres',
		"CREATE TABLE $_ (id int PRIMARY KEY, v real[])") foreach $created, $inserted;
	load_vectors($node, $created, $input->{rows});
	$node->safe_psql('postgres', "CREATE INDEX ${created}_v ON $created USING vhnsw (v $class)");
	$node->safe_psql('postgres', "CREATE INDEX ${inserted}_v ON $inserted USING vhnsw (v $class)");
	$node->safe_psql('postgres', "INSERT INTO $inserted SELECT * FROM $created WHERE id % 4 = $_") foreach 0 .. 3;
	my @rows = @{ $input->{rows} };
	load_queries($node, "${name}_queries", $input->{queries} // [ @rows[ map { int(rand(@rows)) } 1 .. QUERIES ] ]);
	set_kth_distances($node, "${name}_queries", $created, $input->{operator} // '<->', 10);
	$node->safe_psql('postgres',
		"CREATE TABLE ${name}_probes AS SELECT * FROM $created ORDER BY random() LIMIT " . MOST_PROBES);
}

wait_until_built($node);
foreach my $name (sort keys %inputs)
{
	my $operator = $inputs{$name}{operator} // '<->';
	foreach my $way ('created', 'inserted')
	{
		my $table = "${name}_$way";
		my $recall = recall($node, "${name}_queries", $table, $operator, 10, 100);
		note("$name, $way: recall $recall, " . segment_summary($node, "${table}_v"));
		cmp_ok($recall, '>=', 0.9, "$name, $way: recall");

		if ($operator eq '<#>')
		{
			exact_everywhere($node, $table, "$name, $way: exhaustive", operator => $operator);
			next;
		}
		my $lost = $node->safe_psql(
			'postgres', index_probe(100) . qq(
			SELECT count(*) FROM ${name}_probes p LEFT JOIN LATERAL
			    (SELECT v $operator p.v AS d FROM $table ORDER BY v $operator p.v LIMIT 1) n ON true
			WHERE n.d IS DISTINCT FROM 0));
		is($lost, '0', "$name, $way: every row is found by its own vector");
	}
}

# Copies are rows of their own: a search returns them all, each once, before anything else.
foreach my $way ('created', 'inserted')
{
	foreach my $case ([ 'copies', '{' . join(',', (0.25) x 16) . '}' ], [ 'equal', '{1,2,3,4,5,6,7,8}' ])
	{
		my ($name, $vector) = @$case;
		is( $node->safe_psql(
				'postgres', index_probe(100) . qq(
				SELECT count(*), count(DISTINCT id), max(d) FROM
				    (SELECT id, v <-> '$vector' AS d FROM ${name}_$way ORDER BY v <-> '$vector' LIMIT 5000) n)),
			'5000|5000|0', "$name, $way: all copies");
	}
}

$node->stop;
done_testing();
