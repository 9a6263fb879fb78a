# doc/capacity.md reckons right: its formulas give the sizes of a server's log and segments, and what an insert writes to the
# WAL, and its table shows what the formulas give.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Document;
use List::Util qw(max min);
use POSIX qw(ceil);
use PgvectorTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

# The formulas of doc/capacity.md, where an element has so many bytes.
sub log_slots
{
	my ($dims, $bytes) = @_;
	return max(16, min(676, int(1048576 / ($bytes * $dims))));
}

sub log_bytes
{
	my ($dims, $bytes) = @_;
	my $slots = log_slots($dims, $bytes);
	my $pages = 1 + ceil($slots * $bytes * $dims / 8160);
	return 8192 * $pages / $slots;
}

sub segment_bytes
{
	my ($dims, $kind, $m) = @_;
	my $code = { sq8 => $dims + 24, sq4 => $dims / 2 + 24, none => 4 * $dims }->{$kind};
	return 64 * ceil($code / 64) + 8 * $m + 12 + (4 * $m + 8) / ($m - 1);
}

# ---- The table
my @rows = grep { $_->[0] =~ /^\d+( dimensions)?$/ && @$_ == 6 } tables_of("$FindBin::RealBin/../../doc/capacity.md");
cmp_ok(scalar(@rows), '>=', 3, 'doc/capacity.md has a table of sizes');
foreach my $row (@rows)
{
	my ($dims) = $row->[0] =~ /(\d+)/;
	my @said = map { tr/,//dr } @$row[ 1 .. 4 ];
	my @reckoned = map { sprintf('%.0f', $_) } log_bytes($dims, 4), map { segment_bytes($dims, $_, 16) } 'sq8', 'sq4', 'none';
	is("@said", "@reckoned", "the table's bytes of a row, $dims dimensions");
	my @million = map { sprintf('%.2f', $_ / 1000) } @reckoned[ 0, 1 ];
	is($row->[5], "$million[0] + $million[1] GB", "and of a million");
}

# ---- A server. Enough rows for a graph; whole extents, because the last one is given its pages when they are needed.
seed_random();
my $node = new_node('node', conf => "full_page_writes = off\nvecckpt.builder = off\n");
$node->start;
setup_vectors($node);
# What the document says of halfvec is tried where there is one.
my $pgvector = has_pgvector();
$node->safe_psql('postgres', 'CREATE EXTENSION vecckpt_pgvector CASCADE') if $pgvector;
my %BYTES_OF = ('real[]' => 4, halfvec => 2);
like(slurp_file("$FindBin::RealBin/../../doc/capacity.md"), qr/`halfvec` counts 2 bytes a dimension/, 'doc/capacity.md speaks of halfvec');
foreach my $case ([ 48, 16, 'real[]' ], [ 128, 16, 'real[]' ], [ 128, 8, 'real[]' ], [ 600, 16, 'real[]' ], [ 600, 16, 'halfvec' ])
{
	my ($dims, $m, $type) = @$case;
	next if $type eq 'halfvec' && !$pgvector;
	my $slots = log_slots($dims, $BYTES_OF{$type});
	my $rows = $slots * ceil(6000 / $slots);
	$node->safe_psql('postgres', qq(
CREATE TABLE t (id int, v $type);
INSERT INTO t SELECT i, random_vector($dims + i * 0) FROM generate_series(1, $rows) i));
	foreach my $kind ('sq8', 'sq4', 'none')
	{
		$node->safe_psql('postgres', "CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = $m, quantization = $kind)");
		my ($log, $files, $nodes) = split /\|/, $node->safe_psql('postgres', q(
SELECT pg_relation_size('t_v'), sum(bytes), sum(nodes) FROM vec_segments WHERE index = 't_v'::regclass AND kind = 'graph'));
		is($nodes, $rows, "$type, $dims dimensions, m $m, $kind: a graph of all rows");
		# Beside the extents there are a meta page and a map page.
		is($log, sprintf('%.0f', $rows * log_bytes($dims, $BYTES_OF{$type}) + 2 * 8192), 'the log is as large as the formula says');
		# Levels are drawn at random, so their lists are not exactly as many; a file has a header and parameters besides.
		my $expected = $rows * segment_bytes($dims, $kind, $m);
		my $upper    = $rows * (4 * $m + 8) / ($m - 1);
		cmp_ok(abs($files - $expected), '<', 0.25 * $upper + 4096 + 8 * $dims + 2048, 'the segment too')
		  or diag("$files bytes, not $expected");
		$node->safe_psql('postgres', 'DROP INDEX t_v');
	}
	$node->safe_psql('postgres', 'DROP TABLE t');
}

# ---- WAL of inserts: the vector's bytes and about 130 more
foreach my $case ([ 128, 'real[]' ], [ 768, 'real[]' ], [ 768, 'halfvec' ])
{
	my ($dims, $type) = @$case;
	next if $type eq 'halfvec' && !$pgvector;
	$node->safe_psql('postgres', qq(
CREATE TABLE source AS SELECT i AS id, random_vector($dims + i * 0)::$type AS v FROM generate_series(1, 700) i;
CREATE TABLE plain (id int, v $type);
CREATE TABLE indexed (id int, v $type);
CREATE INDEX ON indexed USING vhnsw (v);
));
	my %wal;
	foreach my $table ('plain', 'indexed')
	{
		$node->safe_psql('postgres', "INSERT INTO $table SELECT * FROM source LIMIT 100");
		# Not counting what happens beside it, such as a snapshot of running transactions.
		$wal{$table} = $node->safe_psql('postgres', qq(
SELECT pg_current_wal_insert_lsn() AS lsn \\gset
INSERT INTO $table SELECT * FROM source OFFSET 100;
SELECT pg_current_wal_insert_lsn() - :'lsn'));
	}
	my $each = ($wal{indexed} - $wal{plain}) / 600;
	cmp_ok(abs($each - ($BYTES_OF{$type} * $dims + 130)), '<', 60, "WAL of an insert, $type, $dims dimensions") or diag("$each bytes");
	$node->safe_psql('postgres', 'DROP TABLE source, plain, indexed');
}

$node->stop;
done_testing();
