# The three modes of vhnsw.iterative_scan and what surrounds a scan: strict_order is sorted and fills every LIMIT,
# relaxed_order returns rows as they are found, off at most ef_search. Rows that come too late for strict_order are counted
# and come last. max_scan_tuples and scan_mem_multiplier bound the search; then the scan goes on exactly, or ends if
# on_scan_limit says so. Then the odd queries (NULL, zero vector) and the ways
# the executor drives scans: rescans, generic plans, cursors, OFFSET, partitions.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecData;
use VecTest;

use constant { ROWS => 12_000, DIMS => 32, RARE => 40 };

seed_random();
my $node = new_node('iterative', conf => "work_mem = 64MB\nmaintenance_work_mem = 256MB");
$node->start;
setup_vectors($node);

my $use_index = 'SET enable_seqscan = off; SET enable_sort = off;';

sub sql
{
	my (@statements) = @_;
	return $node->safe_psql('postgres', join(";\n", $use_index, @statements));
}

sub gaussian { return vector_text(map { sprintf('%.6f', normal()) } 1 .. DIMS) }

# A graph by CREATE INDEX, a few rows in the tail.
$node->safe_psql('postgres', 'CREATE TABLE items (id int PRIMARY KEY, v real[], rare boolean NOT NULL DEFAULT false)');
load_vectors($node, 'items', [ map { gaussian() } 1 .. ROWS ]);
$node->safe_psql(
	'postgres', "UPDATE items SET rare = true WHERE id % (${\ROWS} / ${\RARE}) = 3;
	VACUUM FULL items; ANALYZE items;
	CREATE INDEX items_v ON items USING vhnsw (v);
	CREATE TABLE queries (id int, v real[])");
load_vectors($node, 'items', [ map { gaussian() } 1 .. 100 ], ROWS);
load_vectors($node, 'queries', [ map { gaussian() } 1 .. 20 ]);
my $total = ROWS + 100;
is($node->safe_psql('postgres', "SELECT kind FROM vec_segments"), 'graph', 'one graph');
is($node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes"), '100', 'and a tail');

# For each query: rows, different rows, steps back in distance; summed up or as extremes.
sub scan_facts
{
	my ($settings, $limit, $condition) = @_;
	my $where = $condition ? "WHERE $condition" : '';
	return split /\|/, sql(
		@$settings, "
		SELECT min(returned), max(returned), bool_and(returned = different), sum(back) FROM (
		    SELECT count(n.id) AS returned, count(DISTINCT n.id) AS different,
		           count(*) FILTER (WHERE n.d < n.before) AS back
		    FROM queries q CROSS JOIN LATERAL
		        (SELECT id, d, lag(d) OVER () AS before FROM
		            (SELECT id, v <-> q.v AS d FROM items $where ORDER BY v <-> q.v LIMIT $limit) s) n
		    GROUP BY q.id) f");
}

sub counter
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT $name FROM vec_stat WHERE index = 'items_v'::regclass");
}

my @unbounded = ('SET vhnsw.max_scan_tuples = 2000000000', 'SET vhnsw.scan_mem_multiplier = 1000');
my @strict = ('SET vhnsw.iterative_scan = strict_order', 'SET vhnsw.ef_search = 20');
my @relaxed = ('SET vhnsw.iterative_scan = relaxed_order', 'SET vhnsw.ef_search = 20');
my @off = ('SET vhnsw.iterative_scan = off', 'SET vhnsw.ef_search = 20');

sub check
{
	my ($settings, $limit, $condition, $expected, $name) = @_;
	my ($min, $max, $different, $back) = scan_facts($settings, $limit, $condition);
	$expected->($min, $max) ? pass("$name: $min to $max rows") : fail("$name: $min to $max rows");
	is($different, 't', "$name: no row twice");
	return $back;
}

my $fills = sub { my ($rows) = @_; return sub { $_[0] == $rows && $_[1] == $rows } };

# strict_order, the default: sorted, and a LIMIT far beyond ef_search is filled.
is(sql('SHOW vhnsw.iterative_scan'), 'strict_order', 'the default mode');
foreach my $limit (1, 20, 21, 100, 1000, 5000)
{
	is(check(\@strict, $limit, undef, $fills->($limit), "strict_order, LIMIT $limit"), '0', '  sorted');
	check(\@relaxed, $limit, undef, $fills->($limit), "relaxed_order, LIMIT $limit");
}

# A filter that keeps few rows: all are found.
my $expected_rare = $node->safe_psql('postgres', 'SELECT count(*) FROM items WHERE rare');
is(check([ @strict, @unbounded ], 5, 'rare', $fills->(5), 'strict_order, rare rows'), '0', '  sorted');
is(check(\@strict, 5, 'rare', $fills->(5), 'strict_order, rare rows, default bounds'), '0', '  sorted');
foreach my $order (\@strict, \@relaxed)
{
	check([ @$order, @unbounded ], 100, 'rare', $fills->($expected_rare), "$order->[0], all rare rows");
	check($order, 100, 'rare', $fills->($expected_rare), "$order->[0], all rare rows, default bounds");
}

# The whole table through a narrow search. Late rows come last in strict order: one step back a query, at most.
my @late = counter('late');
my $strict_back = check([ @strict, @unbounded ], 1_000_000, undef, $fills->($total), 'strict_order returns all rows');
push @late, counter('late');
cmp_ok($late[1] - $late[0], '>', 0, '  some of them late, or this shows nothing');
cmp_ok($strict_back, '<=', 20, '  sorted but for these');
check([ @strict, @unbounded, 'SET vhnsw.on_scan_limit = stop' ], 1_000_000, undef,
	sub { $_[0] <= $_[1] && $_[1] <= $total }, 'strict_order as pgvector has it');
push @late, counter('late');
is(sql(@strict, @unbounded, 'SET vhnsw.on_scan_limit = stop', 'SELECT count(*) FROM queries q CROSS JOIN LATERAL'
	  . ' (SELECT id FROM items ORDER BY v <-> q.v LIMIT 1000000) n'), 20 * $total - ($late[2] - $late[1]), '  leaves late rows out');
my $relaxed_back = check([ @relaxed, @unbounded ], 1_000_000, undef, $fills->($total), 'relaxed_order returns all rows');
cmp_ok($relaxed_back, '>', 0, '  not all in order');

# Of the same scan, relaxed_order returns what strict_order returns and more.
is( sql(@unbounded, 'SET vhnsw.ef_search = 20', 'SET vhnsw.iterative_scan = strict_order',
		'CREATE TEMP TABLE strictly AS SELECT q.id AS query, n.id FROM queries q CROSS JOIN LATERAL'
		  . ' (SELECT id FROM items WHERE rare ORDER BY v <-> q.v LIMIT 1000) n',
		'SET vhnsw.iterative_scan = relaxed_order',
		'CREATE TEMP TABLE relaxedly AS SELECT q.id AS query, n.id FROM queries q CROSS JOIN LATERAL'
		  . ' (SELECT id FROM items WHERE rare ORDER BY v <-> q.v LIMIT 1000) n',
		'SELECT count(*) FROM (TABLE strictly EXCEPT TABLE relaxedly) e'),
	'0', 'every row of strict_order is in relaxed_order');

# off: at most ef_search rows, sorted; fewer than a filter's LIMIT asks for.
foreach my $ef (1, 20, 100)
{
	my @settings = ('SET vhnsw.iterative_scan = off', "SET vhnsw.ef_search = $ef");
	is(check(\@settings, 1000, undef, sub { $_[1] <= $ef && $_[0] >= 1 }, "off, ef_search $ef"), '0', '  sorted');
}
is(check(\@off, 20, undef, $fills->(20), 'off, LIMIT ef_search'), '0', '  sorted');
my (undef, $rare_off) = split /\|/, sql(@off,
	'SELECT min(c), max(c) FROM (SELECT count(n.id) AS c FROM queries q LEFT JOIN LATERAL'
	  . ' (SELECT id FROM items WHERE rare ORDER BY v <-> q.v LIMIT 5) n ON true GROUP BY q.id) x');
cmp_ok($rare_off, '<', 5, 'off does not go on for a filter');

# The bounds: with tiny ones the search ends early, the scan does not, unless it is told to.
my $rests = counter('went_on_exactly');
foreach my $settings (
	[ @strict, 'SET vhnsw.max_scan_tuples = 1' ],
	[ @relaxed, 'SET vhnsw.max_scan_tuples = 1' ],
	[ @strict, 'SET vhnsw.max_scan_tuples = 2000000000', "SET work_mem = '64kB'" ])
{
	my $back = check($settings, 1_000_000, undef, $fills->($total), "all rows with @$settings[0, 2]");
	cmp_ok($back, '<=', 20, '  the rest in order') if $settings->[0] eq $strict[0];
	check($settings, 1_000_000, 'rare', $fills->($expected_rare), '  all rare rows');
}
cmp_ok(counter('went_on_exactly') - $rests, '>=', 60, 'such searches are counted');
push @strict, 'SET vhnsw.on_scan_limit = stop';
my $cut = counter('cut_short');
my ($bounded_min, $bounded_max) =
  scan_facts([ @strict, 'SET vhnsw.max_scan_tuples = 1' ], 1_000_000);
cmp_ok($bounded_max, '<', 3000, "max_scan_tuples = 1 ends a scan early: $bounded_min to $bounded_max rows");
cmp_ok($bounded_min, '>=', 20, '  not before its first batch');
my ($middle_min, $middle_max) =
  scan_facts([ @strict, @unbounded, 'SET vhnsw.max_scan_tuples = 4000' ], 1_000_000);
cmp_ok($middle_max, '<', 9000, "max_scan_tuples = 4000 ends it later: $middle_min to $middle_max rows");
cmp_ok($middle_min, '>', $bounded_max, '  than 1');
my ($memory_min, $memory_max) = scan_facts(
	[ @strict, 'SET vhnsw.max_scan_tuples = 2000000000', "SET work_mem = '64kB'", 'SET vhnsw.scan_mem_multiplier = 1' ],
	1_000_000);
cmp_ok($memory_max, '<', 9000, "64 kB of memory end a scan early: $memory_min to $memory_max rows");
my ($more_min) = scan_facts(
	[ @strict, 'SET vhnsw.max_scan_tuples = 2000000000', "SET work_mem = '64kB'", 'SET vhnsw.scan_mem_multiplier = 1000' ],
	1_000_000);
cmp_ok($more_min, '>', $memory_max, '  scan_mem_multiplier = 1000 lets it go on');
my $distances = counter('distances');
sql(@strict, 'SET vhnsw.max_scan_tuples = 1', 'SELECT count(*) FROM items i WHERE rare AND id IN'
	  . ' (SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT 1000000)');
cmp_ok(counter('distances') - $distances, '<', 5000, 'a bounded scan computes few distances');
cmp_ok(counter('cut_short') - $cut, '>=', 60, 'scans that were ended early are counted');
pop @strict;

# A NULL query: all indexed rows, in log order, with NULL distances.
is( sql('SELECT count(*), count(DISTINCT id), count(d) FROM (SELECT id, v <-> NULL::real[] AS d FROM items'
		  . ' ORDER BY v <-> (SELECT NULL::real[]) LIMIT 1000000) n'),
	"$total|$total|0", 'a NULL query returns every row');
is( sql('SELECT bool_and(place > before) FROM (SELECT place, lag(place) OVER () AS before FROM'
		  . ' (SELECT ctid AS place FROM items ORDER BY v <-> (SELECT NULL::real[]) LIMIT 1000000) s) o'),
	't', 'in log order, here the order of the table');

# Zero vectors have no cosine.
$node->safe_psql(
	'postgres', "CREATE TABLE angles (id int, v real[]);
	INSERT INTO angles SELECT id, v FROM items WHERE id < 3000;
	CREATE INDEX angles_v ON angles USING vhnsw (v real_cosine_ops);
	INSERT INTO angles SELECT -id, array_fill(0::real, ARRAY[${\DIMS}]) FROM generate_series(1, 5) id");
is( sql("SELECT count(*), count(DISTINCT id), bool_and(d = 'NaN'), min(id) FROM (SELECT id, v <=> z AS d FROM angles,"
		  . " (SELECT array_fill(0::real, ARRAY[${\DIMS}]) AS z OFFSET 0) z"
		  . " ORDER BY v <=> (SELECT array_fill(0::real, ARRAY[${\DIMS}])) LIMIT 1000000) n"),
	'3000|3000|t|0', 'a zero query returns every row but zero vectors, with NaN');

# Rescans: a nested loop gives what single queries give.
my $looped = sql(
	'SELECT q.id, n.id FROM queries q CROSS JOIN LATERAL'
	  . ' (SELECT id, v <-> q.v AS d FROM items ORDER BY v <-> q.v LIMIT 7) n ORDER BY q.id, n.d, n.id');
my $single = join "\n",
  map { sql("SELECT $_, id FROM (SELECT id, v <-> q AS d FROM items, (SELECT v AS q FROM queries WHERE id = $_ OFFSET 0) q"
			  . " ORDER BY v <-> (SELECT v FROM queries WHERE id = $_) LIMIT 7) n ORDER BY d, id") } 0 .. 19;
is($looped, $single, 'rescans of a nested loop');
is( sql('SELECT count(*), count(n.id) FROM (SELECT id, CASE WHEN id % 2 = 0 THEN v END AS v FROM queries) q'
		  . ' LEFT JOIN LATERAL (SELECT id FROM items ORDER BY v <-> q.v LIMIT 3) n ON true'),
	'60|60', 'rescans with NULL and other queries in turn');

# Generic plans.
my $direct = sql(@strict, 'SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 3) LIMIT 9) n');
my ($first, $second) = split /\n/, sql(
	@strict, 'SET plan_cache_mode = force_generic_plan',
	'PREPARE nearest(int) AS SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY v <->'
	  . ' (SELECT v FROM queries WHERE id = $1) LIMIT 9) n',
	'EXECUTE nearest(3)', 'EXECUTE nearest(4)');
is($first, $direct, 'a generic plan');
isnt($second, $first, '  and again with another query');

# Cursors: in pieces what one query gives at once; settings of the first fetch stay.
my $query = 'SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 5)';
my $at_once = sql(@strict, "$query LIMIT 500");
my $pieces = sql(@strict, 'BEGIN', "DECLARE c CURSOR FOR $query",
	'FETCH 1 FROM c', 'FETCH 99 FROM c', 'SET LOCAL vhnsw.ef_search = 1000', 'FETCH 400 FROM c', 'CLOSE c', 'COMMIT');
is($pieces, $at_once, 'a cursor in three fetches');
my $two = sql(
	@strict, 'BEGIN', "DECLARE a CURSOR FOR $query", "DECLARE b CURSOR FOR $query",
	'FETCH 10 FROM a', 'FETCH 10 FROM b', 'FETCH 10 FROM a', 'FETCH 10 FROM b', 'COMMIT');
my @rows = split /\n/, $at_once;
is( $two, join("\n", @rows[ 0 .. 9 ], @rows[ 0 .. 9 ], @rows[ 10 .. 19 ], @rows[ 10 .. 19 ]),
	'two cursors in turn');
is(sql(@strict, 'BEGIN', "DECLARE c CURSOR FOR $query", 'MOVE 100 FROM c', 'FETCH 5 FROM c', 'COMMIT'),
	join("\n", @rows[ 100 .. 104 ]), 'MOVE and FETCH');
is(sql(@strict, "$query OFFSET 100 LIMIT 5"), join("\n", @rows[ 100 .. 104 ]), 'OFFSET');
is(sql(@strict, 'BEGIN', "DECLARE c SCROLL CURSOR FOR $query LIMIT 20", 'MOVE 20 FROM c', 'FETCH BACKWARD 3 FROM c', 'COMMIT'),
	join("\n", reverse @rows[ 16 .. 18 ]), 'a scrollable cursor goes back');
is(sql(@strict, "DECLARE h CURSOR WITH HOLD FOR $query LIMIT 20", 'FETCH 2 FROM h'),
	join("\n", @rows[ 0 .. 1 ]), 'a held cursor');

# UNION ALL and partitions: one scan a child, merged by distance.
$node->safe_psql(
	'postgres', q(
	CREATE TABLE parts (id int, v real[]) PARTITION BY RANGE (id);
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (4000);
	CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (4000) TO (8000);
	CREATE TABLE parts_c PARTITION OF parts FOR VALUES FROM (8000) TO (100000);
	INSERT INTO parts SELECT id, v FROM items;
	CREATE INDEX parts_v ON parts USING vhnsw (v);
	ANALYZE parts));
my $search = 'SELECT id, v <-> (SELECT v FROM queries WHERE id = 2) AS d FROM %s ORDER BY v <-> (SELECT v FROM queries WHERE id = 2)';
my $merged = sql('EXPLAIN (COSTS OFF) ' . sprintf($search, 'parts') . ' LIMIT 10');
like($merged, qr/Merge Append.*(Index Scan.*){3}/s, 'partitions are merged by distance');
my @wide = ('SET vhnsw.ef_search = 10000', @unbounded);
my $truth = $node->safe_psql('postgres', 'SET enable_indexscan = off; ' . sprintf($search, 'items') . ' LIMIT 50');
is(sql(@wide, sprintf($search, 'parts') . ' LIMIT 50'), $truth, 'partitions give the right rows');
is( sql(@wide, 'SELECT * FROM (SELECT * FROM (' . sprintf($search, 'parts_a') . ' LIMIT 50) a UNION ALL'
		  . ' SELECT * FROM (' . sprintf($search, 'parts_b') . ' LIMIT 50) b UNION ALL'
		  . ' SELECT * FROM (' . sprintf($search, 'parts_c') . ' LIMIT 50) c) u ORDER BY d LIMIT 50'),
	$truth, 'UNION ALL of searches gives the right rows');

$node->stop;
done_testing();
