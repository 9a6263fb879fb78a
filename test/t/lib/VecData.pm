# Vectors for the TAP tests: reading the data sets, loading them with COPY, and measuring recall.
#
# Recall is measured against the k-th true distance of each query: a returned row counts if it is no farther,
# so that ties do not matter. The true distances stand in the query table's column `kth`.
package VecData;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Spec;
use List::Util qw(min);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  sample_file data_file u8_vectors ground_truth normal vector_text
  load_vectors load_queries set_kth_distances recall index_probe wait_until_built segment_summary
);

my $root = File::Spec->rel2abs(dirname(__FILE__) . '/../../..');

# A file the repository ships.
sub sample_file { return "$root/test/data/$_[0]" }

# A file of the large data sets, undef where they are absent.
sub data_file
{
	my ($name) = @_;
	my $folder = $ENV{VECCKPT_DATA} // "$root/../shared/data";
	return -r "$folder/$name" ? "$folder/$name" : undef;
}

# The first `most` vectors of a .u8bin file, as real[] text.
sub u8_vectors
{
	my ($path, $most) = @_;
	open(my $file, '<:raw', $path) or die "could not open $path: $!";
	read($file, my $head, 8) == 8 or die "$path is too short";
	my ($rows, $dims) = unpack('VV', $head);
	$rows = min($rows, $most) if defined $most;
	my @vectors;
	while (@vectors < $rows)
	{
		read($file, my $row, $dims) == $dims or die "$path is too short";
		push @vectors, '{' . join(',', unpack('C*', $row)) . '}';
	}
	return \@vectors;
}

# The k-th true distance of each query of a ground truth file.
sub ground_truth
{
	my ($path, $k) = @_;
	open(my $file, '<:raw', $path) or die "could not open $path: $!";
	local $/;
	my $bytes = <$file>;
	my ($queries, $depth) = unpack('VV', $bytes);
	my @distances = unpack('f<*', substr($bytes, 8 + 4 * $queries * $depth));
	return [ map { $distances[ $_ * $depth + $k - 1 ] } 0 .. $queries - 1 ];
}

# A normally distributed number.
sub normal { return sqrt(-2 * log(1 - rand)) * cos(6.283185307179586 * rand) }

sub vector_text { return '{' . join(',', @_) . '}' }

# Appends rows (id, v) with ids from `first`, by COPY.
sub load_vectors
{
	my ($node, $table, $vectors, $first) = @_;
	$first //= 0;
	my $path = $node->basedir . "/$table.copy";
	open(my $file, '>', $path) or die "could not open $path: $!";
	print $file $first + $_, "\t", $vectors->[$_], "\n" for 0 .. $#$vectors;
	close $file or die "could not write $path: $!";
	$node->safe_psql('postgres', "\\copy $table (id, v) from '$path'");
	unlink $path;
}

# A table of queries (id, v, kth).
sub load_queries
{
	my ($node, $table, $vectors) = @_;
	$node->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v real[], kth float8)");
	load_vectors($node, $table, $vectors);
}

# Fills in the k-th true distances by exact scans.
sub set_kth_distances
{
	my ($node, $queries, $table, $operator, $k) = @_;
	$node->safe_psql(
		'postgres', qq(
		SET enable_indexscan = off;
		UPDATE $queries q SET kth = (SELECT max(d) FROM (
		    SELECT t.v $operator q.v AS d FROM $table t ORDER BY d LIMIT $k) n)));
}

# What makes the planner search `table` by an index, and the search width.
sub index_probe
{
	my ($ef) = @_;
	return "SET enable_seqscan = off; SET enable_sort = off; SET vhnsw.ef_search = $ef;";
}

# Recall at k of an index search for every query. Dies if a search uses no index or returns a row twice.
sub recall
{
	my ($node, $queries, $table, $operator, $k, $ef) = @_;
	my $search = "SELECT t.id, t.v $operator q.v AS d FROM $table t ORDER BY t.v $operator q.v LIMIT $k";
	my $plan = $node->safe_psql('postgres',
		index_probe($ef) . "EXPLAIN SELECT * FROM $queries q CROSS JOIN LATERAL ($search) n");
	die "no index scan: $plan" unless $plan =~ /Index Scan using \S+ on \S+ t/;
	my ($recall, $repeated) = split /\|/, $node->safe_psql(
		'postgres', index_probe($ef) . qq(
		SELECT avg(hits) / $k, sum(returned - different) FROM (
		    SELECT count(*) FILTER (WHERE n.d <= q.kth) AS hits, count(*) AS returned,
		           count(DISTINCT n.id) AS different
		    FROM $queries q CROSS JOIN LATERAL ($search) n GROUP BY q.id) h));
	die "$repeated rows returned twice" if $repeated != 0;
	return $recall;
}

# Waits until the builder has nothing left to do in this database: no tail long enough to be sealed by itself, and all
# idle for two seconds. Dies if that takes too long.
sub wait_until_built
{
	my ($node, $timeout) = @_;
	my $end = time + ($timeout // 180);
	my $idle_since;
	my $busy = '';
	while (time < $end)
	{
		$busy = $node->safe_psql('postgres',
			q(SELECT index, tail_length, state FROM vec_indexes WHERE tail_length >= 256 OR state <> 'idle'));
		if ($busy eq '')
		{
			$idle_since //= time;
			return 1 if time - $idle_since >= 2;
		}
		else
		{
			undef $idle_since;
		}
		sleep 0.2;
	}
	die "not built: $busy";
}

# The segments of an index in words.
sub segment_summary
{
	my ($node, $index) = @_;
	return $node->safe_psql(
		'postgres', qq(
		SELECT count(*) || ' segments (' || count(*) FILTER (WHERE kind = 'graph') || ' graphs), ' ||
		       coalesce(sum(nodes), 0) || ' nodes, ' || coalesce(sum(entries), 0) || ' entries, ' ||
		       coalesce(sum(orphans), 0) || ' orphans, ' || coalesce(sum(repaired), 0) || ' repaired'
		FROM vec_segments WHERE index = '$index'::regclass));
}

1;
