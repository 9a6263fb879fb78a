# The planner uses the index for ORDER BY v <op> query LIMIT k, and for nothing else: never without ORDER BY, for
# another operator, in descending order or with a further sort key in front; a selective btree condition, or a query
# for all rows, gets another plan. Table of 10,000 rows, settings of a fresh server.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('planner');
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
CREATE TABLE items (id int PRIMARY KEY, kind int, half int, v real[]);
INSERT INTO items SELECT i, i % 1000, i % 2, random_vector(32) FROM generate_series(1, 10000) i;
CREATE INDEX items_l2 ON items USING vhnsw (v);
CREATE INDEX items_kind ON items (kind);
CREATE TABLE unindexed AS SELECT * FROM items;
CREATE TABLE small (id int, v real[]);
INSERT INTO small SELECT i, random_vector(32) FROM generate_series(1, 5) i;
CREATE INDEX small_v ON small USING vhnsw (v);
));
$node->safe_psql('postgres', 'VACUUM ANALYZE');

my $vector = "(SELECT v FROM unindexed WHERE id = 7)";

sub plan_of
{
	my ($query, $settings) = @_;
	return $node->safe_psql('postgres', ($settings || '') . "EXPLAIN (COSTS OFF) $query");
}

# A query without its long constants.
sub shown
{
	my ($query) = @_;
	$query =~ s/'\{[\d.,]*\}'::real\[\]/q/g;
	return $query;
}

sub uses
{
	my ($query, $settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like(plan_of($query, $settings), qr/Index Scan using items_l2/, 'index: ' . shown($query));
	return;
}

sub uses_not
{
	my ($query, $settings, $instead) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $plan = plan_of($query, $settings);
	unlike($plan, qr/items_l2/, 'no index: ' . shown($query));
	like($plan, $instead, "but $instead") if $instead;
	return;
}

my $constant = "'{" . join(',', map { 0.5 } 1 .. 32) . "}'::real[]";
my $no_others = "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off;";

# What the index is for.
uses("SELECT id FROM items ORDER BY v <-> $vector LIMIT $_") foreach 1, 10, 100;
uses("SELECT id FROM items ORDER BY v <-> $constant LIMIT 10");
uses("SELECT id FROM items ORDER BY $constant <-> v LIMIT 10");
uses("SELECT id, v <-> $constant AS d FROM items ORDER BY d LIMIT 10");
uses("SELECT id FROM items ORDER BY l2_distance(v, $constant) LIMIT 10");
uses("SELECT id FROM items ORDER BY v <-> $constant ASC NULLS LAST LIMIT 10");
uses("SELECT id FROM items ORDER BY v <-> $constant LIMIT 10 OFFSET 20");
uses("SELECT id FROM items WHERE half = 1 ORDER BY v <-> $constant LIMIT 10");
uses("SELECT id FROM items WHERE v <-> $constant < 0.5 ORDER BY v <-> $constant LIMIT 10");
uses("SELECT q.id, n.id FROM (SELECT * FROM unindexed LIMIT 3) q, LATERAL"
	  . " (SELECT id FROM items ORDER BY v <-> q.v LIMIT 5) n");
uses("SELECT id FROM items WHERE id IN (SELECT id FROM items ORDER BY v <-> $constant LIMIT 10)");

# A minimum is ORDER BY ... LIMIT 1 to the planner.
uses("SELECT min(v <-> $constant) FROM items");

# Nothing else, not even where the other plans are discouraged.
foreach my $settings ('', $no_others)
{
	uses_not('SELECT count(*) FROM items', $settings);
	uses_not('SELECT id FROM items', $settings);
	uses_not('SELECT id FROM items LIMIT 10', $settings);
	uses_not("SELECT v FROM items WHERE v = $constant", $settings);
	uses_not('SELECT id FROM items WHERE v IS NULL', $settings);
	uses_not('SELECT id FROM items WHERE v IS NOT NULL LIMIT 5', $settings);
	uses_not("SELECT id FROM items WHERE v <-> $constant < 0.5", $settings);
	uses_not('SELECT v FROM items ORDER BY v LIMIT 10', $settings);
	uses_not("SELECT id FROM items ORDER BY v <-> $constant DESC LIMIT 10", $settings);
	uses_not("SELECT id FROM items ORDER BY v <-> $constant NULLS FIRST LIMIT 10", $settings);
	uses_not("SELECT id FROM items ORDER BY v $_ $constant LIMIT 10", $settings) foreach '<#>', '<=>', '<+>';
	uses_not("SELECT id FROM items ORDER BY (v <-> $constant) + 0 LIMIT 10", $settings);
	uses_not("SELECT id FROM items ORDER BY kind, v <-> $constant LIMIT 10", $settings);
	uses_not("SELECT a.id FROM items a JOIN unindexed b ON a.v = b.v", $settings);
	uses_not("DELETE FROM items WHERE v <-> $constant < 0.1", $settings);
}

# A partial index is a path to its predicate's rows, too, which no order makes a scan of.
$node->safe_psql('postgres', 'CREATE INDEX items_l2_partial ON items USING vhnsw (v) WHERE half = 0; ANALYZE items');
foreach my $settings ('', $no_others)
{
	uses_not('SELECT id FROM items WHERE half = 0',                  $settings);
	uses_not('SELECT id FROM items WHERE half = 0 ORDER BY v LIMIT 3', $settings);
}
is($node->safe_psql('postgres', "$no_others SELECT count(*) FROM items WHERE half = 0"), '5000', 'its rows can be counted');
like(plan_of("SELECT id FROM items WHERE half = 0 ORDER BY v <-> $constant LIMIT 10"), qr/items_l2_partial/, 'and searched');
$node->safe_psql('postgres', 'DROP INDEX items_l2_partial');

# Where another plan is cheaper.
uses_not("SELECT id FROM items WHERE id = 5 ORDER BY v <-> $constant LIMIT 10", '', qr/items_pkey/);
uses_not("SELECT id FROM items WHERE kind = 7 ORDER BY v <-> $constant LIMIT 10", '', qr/items_kind/);
uses_not("SELECT id FROM items WHERE id BETWEEN 10 AND 30 ORDER BY v <-> $constant LIMIT 10", '', qr/items_pkey/);
uses_not("SELECT id FROM items ORDER BY v <-> $constant", '', qr/Sort\n.*Seq Scan/s);
uses_not("SELECT id FROM items ORDER BY v <-> $constant LIMIT 10000", '', qr/Sort\n.*Seq Scan/s);
unlike(plan_of("SELECT id FROM small ORDER BY v <-> $constant LIMIT 3"), qr/small_v/, 'a table of one page is scanned');

# A prefix of the order that is not the whole: sorted incrementally (from version 17 on) or fully, in the right order either way.
like(
	plan_of("SELECT id FROM items ORDER BY v <-> $constant, id LIMIT 10", 'SET enable_seqscan = off;'),
	$node->pg_version >= 17 ? qr/Incremental Sort\n.*Presorted Key.*Index Scan using items_l2/s : qr/ Sort\n.*Seq Scan/s,
	'a plan with a further sort key');
is( $node->safe_psql(
		'postgres', qq(SET enable_seqscan = off; SET vhnsw.ef_search = 200;
		SELECT array_agg(id ORDER BY n) = (SELECT array_agg(id) FROM
		    (SELECT id FROM unindexed ORDER BY v <-> $constant, id LIMIT 10) e)
		FROM (SELECT id, row_number() OVER () AS n FROM
		    (SELECT id FROM items ORDER BY v <-> $constant, id LIMIT 10) s) o)),
	't', 'a further sort key behind the distance');

# The estimates: positive, finite, growing with the width of the search.
my $cost = sub {
	my ($settings, $query) = @_;
	my ($line) = split /\n/, $node->safe_psql('postgres', "$settings EXPLAIN $query");
	$line =~ /cost=([\d.]+)\.\.([\d.]+)/ or die "no cost in $line";
	return ($1, $2);
};
my $query = "SELECT id FROM items ORDER BY v <-> $constant LIMIT 10";
my @narrow = $cost->('SET enable_seqscan = off; SET vhnsw.ef_search = 10;', $query);
my @wide = $cost->('SET enable_seqscan = off; SET vhnsw.ef_search = 400;', $query);
cmp_ok($narrow[1], '>', 0, 'a search costs something');
cmp_ok($wide[0], '>', $narrow[0], 'a wider search costs more to start');

# No plan of this table may be lost to an error when every other way is switched off.
is($node->safe_psql('postgres', "$no_others SELECT count(*) FROM items"), '10000', 'counting still works');

# Filters of every selectivity, alone, together and through joins: whatever the plan, as many rows come back as there are,
# in order, and with the index switched off the same number.
my @filters = (
	'true', 'half = 1', 'half = 1 AND id % 2 = 0', 'id % 10 = 3', 'id % 100 = 7', 'id % 1000 = 7', 'kind = 7',
	'kind IN (1, 2, 3)', 'kind <> 7', 'id < 5000', 'id BETWEEN 10 AND 30', 'id = 5', 'id < 0',
	'id < 9000 AND kind > 10', "v <-> $constant < 1.6", "v <-> $constant < 0.1",
	'EXISTS (SELECT FROM small WHERE small.id = items.id)', 'id NOT IN (SELECT id FROM small)',
	'kind IN (SELECT id FROM small WHERE id < 3)');
foreach my $filter (@filters)
{
	my $search = "SELECT id, v <-> $constant AS d FROM items WHERE $filter ORDER BY v <-> $constant LIMIT 25";
	is( $node->safe_psql(
			'postgres', "SELECT count(*), bool_and(d >= before) IS NOT FALSE FROM"
			  . " (SELECT d, lag(d) OVER () AS before FROM ($search) s) o"),
		$node->safe_psql('postgres', "SELECT least(25, count(*)), true FROM items WHERE $filter"),
		'as many rows as there are, in order: ' . shown($filter));
}

# In a parallel worker.
my $forced = $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
like(plan_of($query, "SET $forced = on;"), qr/Gather.*Index Scan using items_l2/s, 'planned for a worker');
is($node->safe_psql('postgres', "SET $forced = on; $query"), $node->safe_psql('postgres', $query),
	'a worker finds the same');

# Every search is counted: three by the outer rows of one statement.
my $three = "SELECT n.id FROM (SELECT * FROM unindexed LIMIT 3) q, LATERAL (SELECT id FROM items ORDER BY v <-> q.v LIMIT 5) n";
my $scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'items_l2'";
my $before = $node->safe_psql('postgres', $scans);
my $analyzed = $node->safe_psql('postgres', "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $three");
like($analyzed, qr/Index Scan using items_l2.*loops=3/, 'three searches');
like($analyzed, qr/Index Searches: 3$/m, 'EXPLAIN counts them') if $node->pg_version >= 18;
ok(wait_until('the statistics', sub { $node->safe_psql('postgres', $scans) >= $before + 3 }), 'pg_stat_user_indexes counts them');

# Prepared statements keep the index in generic plans.
my $generic = $node->safe_psql(
	'postgres', q(SET plan_cache_mode = force_generic_plan;
	PREPARE nearest(real[]) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT 10;
	EXPLAIN (COSTS OFF) EXECUTE nearest(NULL)));
like($generic, qr/Index Scan using items_l2.*v <-> \$1/s, 'a generic plan');

$node->stop;
done_testing();
