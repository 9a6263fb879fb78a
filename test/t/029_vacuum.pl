# VACUUM flags dead entries and frees wholly dead extents, which new rows take: the index stays bounded under cycles of
# insert, delete and VACUUM. A graph with more than a quarter dead is built again without them. Parallel and plain
# VACUUM of many indexes do the same; dead rows are never returned.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('node', conf => "min_parallel_index_scan_size = 0\nmax_parallel_maintenance_workers = 2\n");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', 'CREATE TABLE probes AS SELECT i AS id, random_vector(16) AS v FROM generate_series(1, 50) i');

sub info
{
	my ($column, $index) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM vec_indexes WHERE index = '$index'::regclass");
}

# VACUUM until it has removed what it should: a builder's short transaction may hold the horizon back for a moment.
sub vacuum
{
	my ($table, $index, $live, $options) = @_;
	$options = $options ? ", $options" : '';
	return ok(
		wait_until(
			"VACUUM of $table to leave $live live entries",
			sub {
				$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON$options) $table");
				info('live_entries', $index) == $live;
			},
			20),
		"VACUUM leaves $live live entries in $index");
}

# ---- Flags, in the tail and in segments
$node->safe_psql('postgres', q(
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, random_vector(16) FROM generate_series(1, 3000) i;
));
ok(wait_sealed($node, 't_v', ask => 1), 'there are segments');
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(16) FROM generate_series(3001, 3200) i');
is(info('live_entries', 't_v'), '3200', 'all entries live');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 10 = 3');
is(info('live_entries', 't_v'), '3200', 'DELETE flags nothing');
probes_ok($node, 't', 'deleted rows are not returned before VACUUM');
vacuum('t', 't_v', 2880);
is(info('entries', 't_v'), '3200', 'flagged entries are still in the log');
probes_ok($node, 't', 'nor after it');
exact_everywhere($node, 't', 'a scan of the whole table');
my $reltuples = $node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 't_v'");
is($reltuples, '2880', 'VACUUM tells the planner the live entries');

# Rows that take over the TIDs of dead ones are found in their place.
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(16) FROM generate_series(5001, 5320) i');
probes_ok($node, 't', 'reused TIDs answer exactly');
exact_everywhere($node, 't', 'as a whole too');
# HOT updates keep their entry; others get a new one.
$node->safe_psql('postgres', 'ALTER TABLE t ADD COLUMN note text; UPDATE t SET note = id WHERE id < 500; UPDATE t SET v = random_vector(16) WHERE id < 300');
vacuum('t', 't_v', 3200);
exact_everywhere($node, 't', 'after updates of both kinds');

# ---- Extents are freed and taken again
$node->safe_psql('postgres', q(
CREATE TABLE c (id int, v real[]);
CREATE INDEX c_v ON c USING vhnsw (v);
INSERT INTO c SELECT i, random_vector(16) FROM generate_series(1, 4000) i;
));
my $first = $node->safe_psql('postgres', "SELECT pg_relation_size('c_v')");
my $largest = 0;
foreach my $cycle (1 .. 8)
{
	$node->safe_psql('postgres', 'DELETE FROM c');
	vacuum('c', 'c_v', 0);
	$node->safe_psql('postgres', 'INSERT INTO c SELECT i, random_vector(16) FROM generate_series(1, 4000) i');
	my $size = $node->safe_psql('postgres', "SELECT pg_relation_size('c_v')");
	$largest = $size if $size > $largest;
	# Both with and without builders in between.
	wait_sealed($node, 'c_v', ask => 1) if $cycle % 2 == 0;
	probes_ok($node, 'c', "cycle $cycle: answers are exact");
}
note("size of the index: first $first, largest $largest");
cmp_ok($largest, '<', 1.5 * $first, 'the index stays bounded when all rows are replaced');
exact_everywhere($node, 'c', 'and holds every row');
# A sliding window: the oldest rows go, new ones come.
$node->safe_psql('postgres', 'TRUNCATE c; INSERT INTO c SELECT i, random_vector(16) FROM generate_series(1, 4000) i');
foreach my $cycle (1 .. 12)
{
	my ($from, $to) = (3000 + 1000 * $cycle, 4000 + 1000 * $cycle);
	$node->safe_psql('postgres', "DELETE FROM c WHERE id <= $cycle * 1000");
	vacuum('c', 'c_v', 3000);
	$node->safe_psql('postgres', "INSERT INTO c SELECT i, random_vector(16) FROM generate_series($to - 999, $to) i");
}
cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('c_v')"), '<', 2 * $first, 'and under a sliding window');
cmp_ok(info('entries', 'c_v'), '<', 8000, 'whose dead entries are gone');
probes_ok($node, 'c', 'with exact answers');
exact_everywhere($node, 'c', 'and every row');
ok(wait_sealed($node, 'c_v', ask => 1), 'once sealed');
exact_everywhere($node, 'c', 'as well');

# ---- More than a quarter dead: the graph is built again
$node->safe_psql('postgres', q(
CREATE TABLE g (id int, v real[]);
INSERT INTO g SELECT i, random_vector(128) FROM generate_series(1, 8000) i;
CREATE INDEX g_v ON g USING vhnsw (v);
));
sub graph { return $node->safe_psql('postgres', "SELECT segment, entries FROM vec_segments WHERE index = 'g_v'::regclass AND kind = 'graph'"); }
my $before = graph();
like($before, qr/^\w+\|8000$/, 'one graph over all rows');
$node->safe_psql('postgres', 'DELETE FROM g WHERE id % 5 = 0');
vacuum('g', 'g_v', 6400);
ok(wait_settled($node, 'g_v'), 'the builder has looked');
is(graph(), $before, 'a fifth dead: the graph stays');
$node->safe_psql('postgres', 'DELETE FROM g WHERE id % 5 = 1');
vacuum('g', 'g_v', 4800);
ok(wait_until('the graph to be built again', sub { graph() =~ /\|4800$/ }), 'two fifths dead: it is built again without them');
my $probes = 'SELECT id, v FROM g WHERE id % 200 = 3';
probes_ok($node, 'g', 'with exact answers', probes => $probes);
exact_everywhere($node, 'g', 'and every row');
is( $node->safe_psql(
		'postgres', "SET enable_seqscan = off; SELECT count(*) FROM ($probes) p,"
		  . " LATERAL (SELECT id FROM g ORDER BY v <-> p.v LIMIT 1) n WHERE n.id = p.id"),
	$node->safe_psql('postgres', "SELECT count(*) FROM ($probes) p"), 'found by their own vectors at the default ef_search');

# ---- Parallel VACUUM, many indexes
$node->safe_psql('postgres', q(
CREATE TABLE m (id int PRIMARY KEY, v real[]);
INSERT INTO m SELECT i, random_vector(8) FROM generate_series(1, 3000) i;
CREATE INDEX m_l2 ON m USING vhnsw (v);
CREATE INDEX m_ip ON m USING vhnsw (v real_ip_ops);
CREATE INDEX m_cosine ON m USING vhnsw (v real_cosine_ops);
CREATE INDEX m_l1 ON m USING vhnsw (v real_l1_ops);
CREATE INDEX m_half ON m USING vhnsw (v) WHERE id % 2 = 0;
CREATE INDEX m_other ON m USING vhnsw (v) WITH (m = 8, ef_construction = 32);
));
my %operators = (m_l2 => '<->', m_ip => '<#>', m_cosine => '<=>', m_l1 => '<+>', m_other => '<->');
my $live = 3000;
foreach my $options ('PARALLEL 2', 'PARALLEL 0', 'FREEZE, PARALLEL 2')
{
	my $cut = $live - 600;
	$node->safe_psql('postgres', "DELETE FROM m WHERE id > $cut");
	vacuum('m', 'm_l2', $cut, $options);
	$live = $cut;
	is($node->safe_psql('postgres', "SELECT string_agg(live_entries::text, ' ' ORDER BY index::text) FROM vec_indexes WHERE \"table\" = 'm'::regclass"),
		join(' ', $cut, $cut / 2, $cut, $cut, $cut, $cut), "$options: all indexes are vacuumed");
	foreach my $index (sort keys %operators)
	{
		exact_everywhere($node, 'm', "$options: $index", operator => $operators{$index},
			probe => "SELECT v FROM m ORDER BY id LIMIT 1");
	}
}
# VACUUM beside inserts, and with nothing to do.
my $client = client($node, "INSERT INTO m SELECT 1000000 * random() + 10000, random_vector(8) ON CONFLICT DO NOTHING;\n"
	  . "DELETE FROM m WHERE id = (SELECT max(id) FROM m) AND random() < 0.3;", clients => 2);
$node->safe_psql('postgres', 'VACUUM (PARALLEL 2) m') foreach 1 .. 5;
stop_clients($client);
$node->safe_psql('postgres', 'VACUUM m; VACUUM m; ANALYZE m; VACUUM ANALYZE m;');
exact_everywhere($node, 'm', "beside inserts: $_", operator => $operators{$_}, probe => 'SELECT v FROM m ORDER BY id LIMIT 1')
  foreach sort keys %operators;
$node->safe_psql('postgres', 'DELETE FROM m');
vacuum('m', 'm_l2', 0);
is($node->safe_psql('postgres', "$EXHAUSTIVE SELECT count(*) FROM (SELECT id FROM m ORDER BY v <-> '{1,1,1,1,1,1,1,1}') s"), '0',
	'an emptied table returns nothing');
unlike(log_since($node, 0), qr/PANIC|terminated by signal/, 'nothing crashed');

# ---- VACUUM tells how many pages are free, not only those that it has freed itself
$node->safe_psql('postgres', q(
CREATE TABLE freed (id int, v real[]);
CREATE INDEX freed_v ON freed USING vhnsw (v);
INSERT INTO freed SELECT i, random_vector(16) FROM generate_series(1, 5000) i;
DELETE FROM freed;
));
vacuum('freed', 'freed_v', 0);
sub reusable
{
	my (undef, undef, $said) = $node->psql('postgres', 'VACUUM (VERBOSE, INDEX_CLEANUP ON) freed');
	return $said =~ /index "freed_v": pages: (\d+) in total, \d+ newly deleted, \d+ currently deleted, (\d+) reusable/
	  ? ($1, $2)
	  : die "VACUUM said: $said";
}
my ($pages, $free) = reusable();
cmp_ok($free, '>', $pages / 2, "$free of $pages pages are free, though this VACUUM freed none");
$node->safe_psql('postgres', 'INSERT INTO freed SELECT i, random_vector(16) FROM generate_series(1, 2500) i');
my ($same, $less) = reusable();
cmp_ok($same, '<', 1.2 * $pages, 'new rows take free pages');
cmp_ok($less, '<', $free, "which leaves $less");
cmp_ok($less, '>', 0, '  and not none');

# ---- A log that is mostly dead is warned of
$node->safe_psql('postgres', q(
CREATE TABLE sparse (id int, v real[]);
INSERT INTO sparse SELECT i, random_vector(4) FROM generate_series(1, 12000) i;
CREATE INDEX sparse_v ON sparse USING vhnsw (v);
DELETE FROM sparse WHERE id % 3 = 0;
));
vacuum('sparse', 'sparse_v', 8000);
is(info('warning', 'sparse_v'), '', 'no warning of a third');
$node->safe_psql('postgres', 'DELETE FROM sparse WHERE id % 10 > 1');
vacuum('sparse', 'sparse_v', $node->safe_psql('postgres', 'SELECT count(*) FROM sparse'));
like(info('warning', 'sparse_v'), qr/^most entries of the log are dead: REINDEX/, 'a warning of more than three quarters');
$node->safe_psql('postgres', 'REINDEX INDEX sparse_v');
is(info('warning', 'sparse_v'), '', 'none behind REINDEX');

$node->stop;
done_testing();
