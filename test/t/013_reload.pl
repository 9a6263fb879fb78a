# What a checkpoint made durable is loaded by the next start, after a clean shutdown and after kill -9, and nothing of
# it is built again; the time it takes does not depend on the number of vectors.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

seed_random();

# The milliseconds and the counts of the newest reload line since `offset`.
sub reload_line
{
	my ($node, $offset) = @_;
	my ($indexes, $segments, $milliseconds) =
	  log_since($node, $offset) =~ /vecckpt: loaded (\d+) indexes with (\d+) segments in ([\d.]+) ms/;
	return ($indexes, $segments, $milliseconds);
}

my $node = new_node('reload', conf => "wal_level = minimal\nmax_wal_senders = 0");
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
SELECT setseed(0.3);
CREATE TABLE small (id int, v real[]);
CREATE INDEX small_v ON small USING vhnsw (v);
CREATE TABLE large (id int, v real[]);
INSERT INTO large SELECT i, random_vector(8) FROM generate_series(1, 50000) i;
CREATE INDEX large_v ON large USING vhnsw (v) WITH (m = 8, ef_construction = 16);
INSERT INTO small SELECT i, random_vector(8) FROM generate_series(1, 1000) i;
CREATE TABLE probes AS SELECT id, random_vector(8) AS v FROM generate_series(1, 50) id;
));
# A merge after the checkpoint would make another generation.
ok(wait_settled($node, $_, ask => 1), "$_ is settled") foreach qw(small_v large_v);
is($node->safe_psql('postgres', 'SELECT vec_checkpoint()'), '2', 'two indexes are made durable');

my %before = map { $_ => vec_segments($node, $_) } qw(small_v large_v);
foreach my $index (qw(small_v large_v))
{
	isnt($before{$index}, '', "$index has segments");
	is( $node->safe_psql(
			'postgres', "SELECT tail_length, generation = durable_generation FROM vec_indexes WHERE index = '$index'::regclass"),
		'0|t',
		"$index is durable up to its end");
}

# After a start: the same segments, and not one job.
sub nothing_built
{
	my ($what, $offset) = @_;
	my ($indexes, $segments, $milliseconds) = reload_line($node, $offset);
	is($indexes, 2, "$what: two indexes are loaded");
	my $count = () = join("\n", @before{qw(small_v large_v)}) =~ /\|/g;
	is($segments * 3, $count, "$what: and all their segments");
	cmp_ok($milliseconds, '<', 5000, "$what: reload takes $milliseconds ms");

	# The builder visits each index once, verifies its files and then has nothing to do.
	ok( $node->poll_query_until(
			'postgres',
			"SELECT bool_and(state = 'idle') FROM vec_indexes WHERE index IN ('small_v'::regclass, 'large_v'::regclass)"),
		"$what: validated");
	foreach my $table (qw(small large))
	{
		exact_everywhere($node, $table, "$what: every row of $table once") if $table eq 'small';
		ok( $node->safe_psql(
				'postgres', "SET enable_seqscan = off; SELECT count(*) FROM
					(SELECT id FROM $table ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 10) s") == 10,
			"$what: $table is searched");
	}
	foreach my $index (qw(small_v large_v))
	{
		is(vec_segments($node, $index), $before{$index}, "$what: $index has the same segments");
		is( $node->safe_psql(
				'postgres', "SELECT seals, merges, graph_builds, graph_insertions, set_aside FROM vec_stat
					WHERE index = '$index'::regclass"),
			'0|0|0|0|0',
			"$what: nothing of $index was built again");
		is( $node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes WHERE index = '$index'::regclass"),
			'0', "$what: no tail of $index");
	}
	unlike(log_since($node, $offset), qr/setting aside|sealed positions/, "$what: the log says nothing of builds");
	return $milliseconds;
}

my $offset = log_size($node);
$node->restart;
nothing_built('clean restart', $offset);

$offset = log_size($node);
kill_server($node, all => 1);
start_again($node);
my $both = nothing_built('kill -9', $offset);

# Rows behind the durable generation are tail after a crash, and no more than they.
$node->safe_psql('postgres', "ALTER SYSTEM SET vecckpt.builder = off");
$node->reload;
$node->safe_psql('postgres', 'INSERT INTO small SELECT i, random_vector(8) FROM generate_series(1001, 1100) i');
kill_server($node, all => 1);
start_again($node);
is( $node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes WHERE index = 'small_v'::regclass"),
	'100', 'what came after the checkpoint is tail after kill -9');
exact_everywhere($node, 'small', 'and every row is found once');

# Without the large index, reload takes as long: it reads manifests, not segments. The bound is generous: both
# take well below a millisecond.
$node->safe_psql('postgres', 'DROP TABLE large; CHECKPOINT');
ok(wait_until('the files of the large index to be swept', sub { !grep { /large/ } vec_files($node) }), 'dropped');
$offset = log_size($node);
$node->restart;
my (undef, undef, $alone) = reload_line($node, $offset);
note("reload: $both ms with 50,000 vectors, $alone ms without");
cmp_ok(abs($both - $alone), '<', 25, 'the large index does not slow reload down');

$node->stop;
done_testing();
