# What the TAP tests of vecckpt_pgvector share: whether pgvector is there, and tables of its types.
#
# The sample's vectors hold whole numbers up to 255. Their distances are sums that float32 holds exactly, so pgvector's
# operators, which sum in float32, and the index, which sums in double, must agree in every bit; and float16 holds every
# element.

package PgvectorTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;
use VecData;
use VecTest;

our @EXPORT = qw(has_pgvector require_pgvector sample_vectors create_samples insert_samples %CLASS_OF class_index);

our %CLASS_OF = ('<->' => 'l2', '<#>' => 'ip', '<=>' => 'cosine', '<+>' => 'l1');

sub has_pgvector
{
	my ($folder) = run_command([ 'pg_config', '--sharedir' ]);
	return -f "$folder/extension/vector.control";
}

# Skips the whole file where the server has no pgvector.
sub require_pgvector
{
	plan(skip_all => 'pgvector is not installed') unless has_pgvector();
	return;
}

# The sample's vectors in pgvector's notation.
sub sample_vectors
{
	my ($name) = @_;
	return [ map { tr/{}/[]/r } @{ u8_vectors(sample_file($name)) } ];
}

sub class_index
{
	my ($type, $operator) = @_;
	return "${type}_$CLASS_OF{$operator}";
}

# For each of the types a table (id, v) of the same name behind `t_`, with rows of `vectors` and an index of every class; and
# the table probes_TYPE (id, v).
sub create_samples
{
	my ($node, $vectors, $probes) = @_;
	$node->safe_psql('postgres', 'CREATE EXTENSION vecckpt_pgvector CASCADE');
	foreach my $type (qw(vector halfvec))
	{
		$node->safe_psql('postgres',
			"CREATE TABLE t_$type (id int PRIMARY KEY, v $type(128)); CREATE TABLE probes_$type (id int, v $type(128));");
		load_vectors($node, "probes_$type", $probes);
		load_vectors($node, "t_$type",      $vectors);
		$node->safe_psql('postgres',
			"CREATE INDEX ${\ class_index($type, $_)} ON t_$type USING vhnsw (v ${type}_$CLASS_OF{$_}_ops)")
		  foreach sort keys %CLASS_OF;
	}
	return;
}

# More rows for both.
sub insert_samples
{
	my ($node, $vectors, $first) = @_;
	load_vectors($node, "t_$_", $vectors, $first) foreach qw(vector halfvec);
	return;
}

1;
