# vec_stat counts what was done, exactly: searches of one session and of many at once, rescans, cursors, NULL queries,
# segments, the tail; not scans that ended by an error. Databases count for themselves, vec_stat_reset() sets those of its
# own database to zero, and REINDEX starts anew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

# Segments and tails stay as they are made here.
my $node = new_node('counters', conf => "fsync = off\nvecckpt.builder = off\nmax_connections = 30");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE other');
foreach my $database ('postgres', 'other')
{
	setup_vectors($node, $database);
	$node->safe_psql($database, q(
CREATE TABLE t AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE INDEX t_cosine ON t USING vhnsw (v real_cosine_ops);
INSERT INTO t SELECT 5000 + i, random_vector(4) FROM generate_series(1, 70) i;
));
}

# Counters of an index of `postgres`, or another database, joined by |.
sub counters
{
	my ($columns, %params) = @_;
	my $index = $params{index} || 't_v';
	return $node->safe_psql($params{database} || 'postgres', "SELECT $columns FROM vec_stat WHERE index = '$index'::regclass");
}

# What a statement adds to t_v's counters.
sub added
{
	my ($columns, $sql) = @_;
	my @before = split /\|/, counters($columns);
	$node->psql('postgres', "SET enable_seqscan = off;\n$sql");
	my @after = split /\|/, counters($columns);
	return join '|', map { $after[$_] - $before[$_] } 0 .. $#after;
}

my $exact = 'searches, segments_searched, tail_scanned, emitted';
my $search = "SELECT id FROM t ORDER BY v <-> '{0.1,0.2,0.3,0.4}' LIMIT 10;\n";
is($node->safe_psql('postgres', "SELECT segments, tail_length FROM vec_indexes WHERE index = 't_v'::regclass"), '1|70',
	'one segment and a tail');
is(counters($exact), '0|0|0|0', 'nothing was searched yet');
is(added($exact, $search), '1|1|70|10', 'a search');
is(added($exact, $search x 7), '7|7|490|70', 'seven');
is(added($exact, "SELECT count(*) FROM (SELECT id, v FROM t WHERE id <= 5) p, LATERAL (SELECT id FROM t ORDER BY v <-> p.v LIMIT 3) n;"),
	'5|5|350|15', 'each rescan is a search');
is(added($exact, "BEGIN; DECLARE c CURSOR FOR $search FETCH 4 FROM c; CLOSE c; COMMIT;"), '1|1|70|4',
	'a cursor is one, with the rows it fetched');
is(added($exact, "BEGIN; DECLARE c CURSOR FOR $search COMMIT;"), '0|0|0|0', 'a scan that was asked for nothing is none');
is(added($exact, 'SELECT id FROM t ORDER BY v <-> (SELECT NULL::real[]) LIMIT 6;'), '1|0|0|6', 'a NULL query is one, without segments');
is(added($exact, "EXPLAIN $search"), '0|0|0|0', 'EXPLAIN is none');
is(added($exact, "SELECT 1 / (id - id) FROM t ORDER BY v <-> '{0,0,0,0}' LIMIT 1;"), '0|0|0|0', 'one that fails is not counted');
is(added($exact, "BEGIN; DECLARE c CURSOR FOR $search FETCH 4 FROM c; ROLLBACK;"), '0|0|0|0', 'nor is what a rollback ends');
is(added('searches', "SELECT * FROM vec_recall('t_v', samples => 12);"), '12', 'vec_recall\'s searches are counted');
my ($distances, $reranked, $emitted) = split /\|/, added('distances, reranked, emitted', $search);
cmp_ok($distances, '>=', 40, 'distances: at least those of the ef_search nearest');
cmp_ok($distances, '<', 5000, 'and fewer than there are entries');
cmp_ok($reranked, '<=', $distances, 'what is re-ranked was seen');
# With a tail of 70 some of the ten rows may come from it.
cmp_ok($reranked, '>', 0, 'rows of segments are re-ranked');

# Strict order keeps for last what relaxed order returns at once: much, by narrow searches of a poor graph.
$node->safe_psql('postgres', q(
CREATE TABLE poor AS SELECT i AS id, random_vector(9) AS v FROM generate_series(1, 5000) i;
CREATE INDEX poor_v ON poor USING vhnsw (v) WITH (m = 3, ef_construction = 6);
));
foreach my $case ([ 'strict_order', 't', 'rows found late are counted' ], [ 'relaxed_order', 'f', 'none where they are returned' ])
{
	my ($order, $expected, $name) = @$case;
	$node->safe_psql('postgres', "SELECT vec_stat_reset('poor_v'); SET enable_seqscan = off; SET vhnsw.ef_search = 1;"
		  . " SET vhnsw.iterative_scan = $order; SELECT count(*) FROM (SELECT v FROM poor WHERE id <= 40) p,"
		  . ' LATERAL (SELECT id FROM poor ORDER BY v <-> p.v LIMIT 200) n');
	is(counters('searches, emitted, late > 0', index => 'poor_v'), "40|8000|$expected", $name);
}

# ---- Many at once
my @before = split /\|/, counters($exact);
my $script = PostgreSQL::Test::Utils::tempdir() . '/search.sql';
append_to_file($script, "SET enable_seqscan = off;\n$search");
$node->command_ok([ 'pgbench', '-n', '-f', $script, '-c', '8', '-t', '50', 'postgres' ], '8 clients search 50 times each');
my @after = split /\|/, counters($exact);
is(join('|', map { $after[$_] - $before[$_] } 0 .. 3), '400|400|28000|4000', 'not one is lost');

# ---- Databases
is(counters($exact, database => 'other'), '0|0|0|0', 'another database counts for itself');
$node->safe_psql('other', "SET enable_seqscan = off; $search");
is(counters($exact, database => 'other'), '1|1|70|10', 'its own searches');
my $since = counters('stats_reset');
$node->safe_psql('postgres', "SET enable_seqscan = off; SELECT id FROM t ORDER BY v <=> '{1,2,3,4}' LIMIT 1");
is(counters('searches', index => 't_cosine'), '1', 'so does another index');
$node->safe_psql('postgres', "SELECT vec_stat_reset('t_v')");
is(counters('searches, segments_searched, distances, reranked, tail_scanned, emitted, late, went_on_exactly, cut_short, graph_builds, graph_insertions'),
	'0|0|0|0|0|0|0|0|0|0|0', 'a reset sets everything to zero');
is(counters("stats_reset > '$since'"), 't', 'and says when');
is(counters('searches', index => 't_cosine'), '1', 'of that index alone');
is(added($exact, $search), '1|1|70|10', 'it counts on from zero');
$node->safe_psql('postgres', 'SELECT vec_stat_reset()');
is(counters('searches') . counters('searches', index => 't_cosine'), '00', 'a reset of all');
is(counters($exact, database => 'other'), '1|1|70|10', 'is one of this database');
$node->safe_psql('other', 'REINDEX INDEX t_v');
is(counters('searches, graph_builds', database => 'other'), '0|1', 'REINDEX starts anew');

$node->stop;
done_testing();
