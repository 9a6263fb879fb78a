# vec_recall measures what a computation in SQL measures, with every entry as a query: vectors in a graph of poor quality,
# copies of each other, a tail, and dead entries. Its intervals hold that recall as often as they should, a seed repeats a
# sample, and the memory it may take changes nothing. vec_suggest_ef finds the smallest vhnsw.ef_search that reaches a
# recall. Both work while rows come and go, and can be cancelled.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

# The index stays as CREATE INDEX leaves it.
my $node = new_node('recall', conf => "fsync = off\nvecckpt.builder = off");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(9) AS v FROM generate_series(1, 4200) i;
INSERT INTO t SELECT 4200 + i, v FROM t, generate_series(1, 20) i WHERE id = 7;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 3, ef_construction = 6);
INSERT INTO t SELECT 5000 + i, random_vector(9) FROM generate_series(1, 100) i;
DELETE FROM t WHERE id % 50 = 0;
VACUUM t;
));
is($node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes WHERE index = 't_v'::regclass"), '100',
	'there is a tail');
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM t');

# The k-th true distance of each row's neighbours, which the row itself is none of.
$node->safe_psql('postgres', q(
CREATE TABLE truth AS SELECT p.id, p.v, x.ds[1] AS kth1, x.ds[10] AS kth10
FROM t p, LATERAL (SELECT array_agg(d ORDER BY d) AS ds FROM (SELECT v <-> p.v AS d FROM t WHERE id <> p.id ORDER BY (v <-> p.v) + 0 LIMIT 10) s) x;
));

sub sql_recall
{
	my ($k, $ef) = @_;
	return $node->safe_psql('postgres', qq(
SET enable_seqscan = off;
SET vhnsw.ef_search = $ef;
SELECT round(avg(found / $k.0), 9) FROM (
  SELECT (SELECT count(*) FROM (SELECT v <-> p.v AS d FROM t WHERE id <> p.id ORDER BY v <-> p.v LIMIT $k) s WHERE d <= p.kth$k) AS found
  FROM truth p) q));
}

sub measured
{
	my ($arguments, $settings) = @_;
	return $node->safe_psql('postgres',
		($settings || '') . " SELECT round(recall::numeric, 9), queries, entries FROM vec_recall('t_v', $arguments)");
}

foreach my $case ([ 10, 4 ], [ 10, 40 ], [ 1, 10 ])
{
	my ($k, $ef) = @$case;
	my $sql = sql_recall($k, $ef);
	note("k $k, ef_search $ef: recall $sql");
	cmp_ok($sql, '<', 1, "k $k, ef_search $ef: something is missed");
	is(measured("$k, 100000, $ef"), "$sql|$rows|$rows", 'and vec_recall says as much as SQL');
}
is(measured('10, 100000', 'SET vhnsw.ef_search = 4;'), measured('10, 100000, 4'), 'without ef_search the setting counts');
is( measured('10, 100000, 4', 'SET vhnsw.iterative_scan = off;'),
	$node->safe_psql('postgres', 'SET vhnsw.iterative_scan = off; SET vhnsw.ef_search = 4;'
	  . " SELECT round(recall::numeric, 9), queries, entries FROM vec_recall('t_v', 10, 100000)"),
	'other settings are the session\'s too');
cmp_ok((split /\|/, measured('10, 100000, 4', 'SET vhnsw.iterative_scan = off;'))[0],
	'<=', 0.4, 'rows that a scan does not return are missed');

# ---- Samples
my $sample = "SELECT recall, low, high, queries FROM vec_recall('t_v', 10, 100, 10, %d)";
my $first = $node->safe_psql('postgres', sprintf($sample, 42));
is($node->safe_psql('postgres', sprintf($sample, 42)), $first, 'a seed repeats the sample');
my $seeds = $node->safe_psql('postgres', "SELECT count(DISTINCT recall) FROM generate_series(1, 10) s, vec_recall('t_v', 10, 100, 10, s)");
cmp_ok($seeds, '>', 1, 'other seeds draw others');
$seeds = $node->safe_psql('postgres', "SELECT count(DISTINCT recall) FROM generate_series(1, 10) s, vec_recall('t_v', 10, 100, 10 + 0 * s)");
cmp_ok($seeds, '>', 1, 'and no seed draws a new one each time');
my ($truth) = split /\|/, measured('10, 100000, 10');
my $held = $node->safe_psql('postgres', qq(
SELECT count(*) FILTER (WHERE low <= $truth AND $truth <= high), bool_and(0 <= low AND low <= recall AND recall <= high AND high <= 1)
FROM generate_series(1, 60) s, vec_recall('t_v', 10, 50, 10, s)));
note("intervals that hold the recall, of 60, and whether all are intervals: $held");
# With 90 of 100 that would be less than one in ten million.
cmp_ok((split /\|/, $held)[0], '>=', 38, 'most intervals hold the recall of all');
like($held, qr/\|t$/, 'and are intervals within 0 and 1');
is( measured('1000, 1000, 40, 5', "SET maintenance_work_mem = '1MB';"),
	measured('1000, 1000, 40, 5', "SET maintenance_work_mem = '1GB';"),
	'with little memory the log is read more often, with the same result');

# ---- vec_suggest_ef
foreach my $target (0.5, 0.8, 0.95, 1)
{
	my $ef = $node->safe_psql('postgres', "SELECT vec_suggest_ef('t_v', 10, $target, 300, 3)");
	my $at = sub { $node->safe_psql('postgres', "SELECT recall >= $target FROM vec_recall('t_v', 10, 300, $_[0], 3)") };
	note("recall $target: ef_search $ef");
	is($at->($ef), 't', "$target: the suggested ef_search reaches it");
	is($ef > 1 ? $at->($ef - 1) : 'f', 'f', 'and the next smaller one does not');
}
$node->safe_psql('postgres', q(
CREATE TABLE many AS SELECT i AS id, random_vector(2) AS v FROM generate_series(1, 12000) i;
CREATE INDEX many_v ON many USING vhnsw (v) WITH (m = 4, ef_construction = 8);
));
my ($code, $out, $error) = $node->psql('postgres', "SET vhnsw.iterative_scan = off; SELECT vec_suggest_ef('many_v', 10000, 1, 3) IS NULL");
is($out, 't', 'where none reaches it NULL is suggested');
like($error, qr/NOTICE:  index "many_v" has recall 0\.99\d+ at vhnsw.ef_search = 10000, below 1/, 'and a notice says how far it gets');

# ---- Cancel, and rows that come and go
($code, $out, $error) = $node->psql('postgres', "SET statement_timeout = '200ms'; SELECT * FROM vec_recall('many_v', 10, 100000)");
like($error, qr/canceling statement due to statement timeout/, 'vec_recall can be cancelled');
is($node->safe_psql('postgres', 'SHOW vhnsw.ef_search'), '40', 'nothing is left of it');
$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;
my $load = client($node, "INSERT INTO many SELECT 20000 + random() * 10000, random_vector(2) FROM generate_series(1, 20);\n"
	  . "DELETE FROM many WHERE id % 97 = (SELECT (random() * 97)::int);\nVACUUM many;\n");
my @odd;
foreach my $round (1 .. 15)
{
	my $row = $node->safe_psql('postgres',
		"SELECT recall BETWEEN 0.5 AND 1 AND queries BETWEEN 1 AND 50, recall, low, high, queries, entries FROM vec_recall('many_v', 10, 50, 100)");
	push @odd, $row unless $row =~ /^t/;
}
stop_clients($load);
is(join("\n", @odd), '', 'vec_recall beside inserts, deletes, VACUUM and the builder');

$node->stop;
done_testing();
