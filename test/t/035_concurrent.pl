# Writers, VACUUM, the builder and searches at the same time, for some seconds: 8 clients that insert, update, delete
# and roll back, 2 that search, one that vacuums and checkpoints. No search fails, returns a row twice or out of order,
# or a row that the same statement's snapshot does not hold. In the end the index returns exactly the rows of the table.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use VecData;
use VecTest;

use constant { SECONDS => 20, WRITERS => 8, SEARCHERS => 2, FIRST_ROWS => 4000, MOST_ROWS => 8000, DIMS => 64 };

my $seed = seed_random();
my $node = new_node('concurrent', conf => "max_wal_size = 4GB\nlog_min_messages = warning");
$node->start;
setup_vectors($node);

# Small numbers of few values: many equal distances, and equal vectors.
$node->safe_psql(
	'postgres', qq(
CREATE FUNCTION coarse_vector() RETURNS real[] LANGUAGE sql VOLATILE
    AS 'SELECT CASE WHEN random() < 0.1 THEN array_fill(floor(random() * 20)::real, ARRAY[${\DIMS}])
               ELSE (SELECT array_agg(floor(random() * 16)::real) FROM generate_series(1, ${\DIMS})) END';
CREATE SEQUENCE ids;
CREATE TABLE items (id bigint PRIMARY KEY DEFAULT nextval('ids'), v real[], note text);
INSERT INTO items (v) SELECT coarse_vector() FROM generate_series(1, ${\FIRST_ROWS});
CREATE INDEX items_v ON items USING vhnsw (v);
CREATE TABLE verdicts (what text, detail text);

-- What is wrong with one search: NULL if nothing. One snapshot, so the table itself is the judge.
CREATE FUNCTION search_verdict(q real[], k int) RETURNS text LANGUAGE sql STABLE AS \$\$
    SELECT CASE WHEN count(*) <> count(DISTINCT n.id) THEN 'a row twice'
                WHEN bool_or(n.d < n.before) THEN 'out of order'
                WHEN bool_or(i.id IS NULL) THEN 'a row that is not there'
                WHEN count(*) < k THEN 'too few rows: ' || count(*) END
    FROM (SELECT id, d, lag(d) OVER () AS before FROM
             (SELECT id, v <-> q AS d FROM items ORDER BY v <-> q LIMIT k) s) n
    LEFT JOIN items i ON i.id = n.id AND i.v <-> q = n.d
\$\$ SET enable_seqscan = off SET enable_sort = off;
));

# A search inside that function uses the index, or this shows nothing.
my $searches = $node->safe_psql('postgres', "SELECT searches FROM vec_stat");
is($node->safe_psql('postgres', 'SELECT search_verdict(coarse_vector(), 20)'), '', 'a first search');
cmp_ok($node->safe_psql('postgres', "SELECT searches FROM vec_stat"), '>', $searches, 'it was made by the index');

my $writes = <<'SQL';
\set action random(1, 10)
\set id random(1, :most)
\if :action <= 4
INSERT INTO items (v) SELECT coarse_vector() FROM generate_series(1, 10) WHERE (SELECT count(*) FROM items) < :rows;
\elif :action <= 6
UPDATE items SET v = coarse_vector() WHERE id BETWEEN :id AND :id + 3;
\elif :action = 7
UPDATE items SET note = 'unindexed column' WHERE id = :id;
\elif :action = 8
BEGIN;
INSERT INTO items (v) SELECT coarse_vector() FROM generate_series(1, 5);
SAVEPOINT s;
UPDATE items SET v = v WHERE id = :id;
ROLLBACK TO s;
DELETE FROM items WHERE id = :id;
ROLLBACK;
\else
DELETE FROM items WHERE id BETWEEN :id AND :id + 4;
\endif
SQL
my $reads = <<'SQL';
\set k random(1, 100)
INSERT INTO verdicts SELECT 'search', w FROM search_verdict(coarse_vector(), :k) w WHERE w IS NOT NULL;
INSERT INTO verdicts SELECT 'own', w FROM (SELECT v FROM items ORDER BY random() LIMIT 1) i, search_verdict(i.v, :k) w WHERE w IS NOT NULL;
SQL

# pgbench ends with an error at a client's first failed statement; two writers that meet in one row wait, they do not
# fail, and a deadlock (several rows in one statement) is tried again.
sub load
{
	my ($name, $script, $clients, @options) = @_;
	my $path = $node->basedir . "/$name.sql";
	append_to_file($path, $script);
	my $log = $node->basedir . "/$name.log";
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my $run = IPC::Run::start(
		[
			'pgbench', '-n', '-f', $path, '-c', $clients, '-j', 1, '-T', SECONDS, '--max-tries', 100,
			'--random-seed', $seed, @options, 'postgres'
		],
		'<', \undef, '>', $log, '2>', $log);
	return { name => $name, run => $run, log => $log };
}

my @loads = (
	load('writers', $writes, WRITERS, '-D', 'most=' . 2 * MOST_ROWS, '-D', 'rows=' . MOST_ROWS),
	load('searchers', $reads, SEARCHERS));
my $end = time + SECONDS;
my ($vacuums, $failures) = (0, 0);
while (time < $end - 1)
{
	my ($code, undef, $error) = $node->psql('postgres', 'VACUUM items');
	$vacuums++;
	($code, undef, $error) = $node->psql('postgres', "SELECT vec_checkpoint('items_v')") if $code == 0 && $vacuums % 4 == 0;
	next if $code == 0;
	$failures++;
	diag($error);
	last if $failures > 5;
}
foreach my $load (@loads)
{
	my $fine = $load->{run}->finish;
	my $log = slurp_file($load->{log});
	$fine &&= $log !~ /aborted|number of failed transactions: [1-9]/;
	ok($fine, "the $load->{name} met no error") or diag($log);
	note("$load->{name}: $1 transactions") if $log =~ /number of transactions actually processed: (\d+)/;
}
cmp_ok($vacuums, '>', 3, "there were $vacuums vacuums");
is($failures, 0, 'none failed, nor did a checkpoint');
is($node->safe_psql('postgres', 'SELECT what, detail, count(*) FROM verdicts GROUP BY 1, 2'), '', 'every search was right');
is($node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE last_error IS NOT NULL"), '0', 'the builder met no error');

# In the end: with what the builder has made of it so far, with what it makes of it in peace, then vacuumed and sealed.
# Entries of rows that are gone, which VACUUM could not flag yet, may be too many for one exhaustive batch. strict_order
# then may drop rows, relaxed_order may not.
sub compare
{
	my ($when) = @_;
	note("$when: "
		  . $node->safe_psql('postgres', "SELECT format('%s entries, %s alive, tail %s', entries, live_entries, tail_length) FROM vec_indexes")
		  . ', '
		  . segment_summary($node, 'items_v'));
	my $q = '(SELECT v FROM items ORDER BY id LIMIT 1)';
	is( $node->safe_psql(
			'postgres', qq(
			$EXHAUSTIVE
			SET enable_sort = off;
			SET vhnsw.iterative_scan = relaxed_order;
			CREATE TEMP TABLE got AS SELECT id, v <-> $q AS d FROM items ORDER BY v <-> $q;
			SELECT (SELECT count(*) - (SELECT count(*) FROM items) FROM got),
			       (SELECT count(*) FROM (SELECT id, v <-> $q FROM items EXCEPT TABLE got) m))),
		'0|0',
		"$when: exactly the rows of the table");
	return;
}
compare('at the end');
wait_until_built($node);
compare('built');
$node->safe_psql('postgres', 'VACUUM items');
$node->safe_psql('postgres', "SELECT vec_checkpoint('items_v')");
wait_until_built($node);
compare('vacuumed and sealed');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM items'), '<', 10_000, 'now a search can be exhaustive');
exact_everywhere($node, 'items', 'and is exactly right in strict order');
probes_ok($node, 'items', 'as are others', probes => 'SELECT id, v FROM items ORDER BY id DESC LIMIT 100', limit => 50);
is( $node->safe_psql('postgres', 'SELECT live_entries - (SELECT count(*) FROM items) FROM vec_indexes'),
	'0', 'after VACUUM an entry lives for each row');
is($node->safe_psql('postgres', 'SELECT seals > 0, graph_builds > 0 FROM vec_stat'), 't|t', 'the builder was at work');
unlike(slurp_file($node->logfile), qr/PANIC|FATAL|TRAP|ERROR|setting aside|terminated by signal/, 'nothing bad in the log');

$node->stop;
done_testing();
