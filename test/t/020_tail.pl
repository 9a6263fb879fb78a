# The tail is exact: with builders held, rows just inserted are found at distance 0 by their own transaction at once,
# by others after the commit and never before, and on a streaming standby after replay. ef_search is 1, so that nothing
# but the exact scan of the tail can find them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 16;

my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "vecckpt.builder = off\n");
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

setup_vectors($primary);
# 3,000 rows are in a segment, 3,000 in the tail; dead, updated and rolled back ones among these.
$primary->safe_psql('postgres', qq(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, 3000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(3001, 6000) i;
UPDATE t SET v = random_vector($dims) WHERE id % 50 = 0;
DELETE FROM t WHERE id % 70 = 0;
BEGIN;
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(6001, 6500) i;
ROLLBACK;
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 100) i;
));
is($primary->safe_psql('postgres', "SELECT segments, tail_length FROM vec_indexes WHERE index = 't_v'::regclass"),
	'1|3620', 'the builder is held: what was inserted after CREATE INDEX is tail');
is($primary->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder'"),
	'0', 'no builder runs');

# How many rows of the given ids are not found as the nearest one of their own vector, at distance 0, by the index.
my $not_found = sub {
	my ($ids) = @_;
	return "SELECT count(*) FROM t p WHERE id $ids AND NOT EXISTS (SELECT FROM"
	  . " (SELECT id, v <-> p.v AS d FROM t ORDER BY v <-> p.v LIMIT 1) n WHERE n.id = p.id AND n.d = 0)";
};
my $narrow = "SET enable_seqscan = off; SET vhnsw.ef_search = 1;";
ok(plan_uses_index($primary, "SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 1", 't_v'),
	'the search uses the index');

is($primary->safe_psql('postgres', "$narrow " . $not_found->('> 3000')), '0', 'every row of the tail is found');
probes_ok($primary, 't', 'exhaustive searches equal exact ones');
exact_everywhere($primary, 't', 'a scan of the whole table equals an exact one');

# A transaction's own rows, statement by statement; another session does not see them.
my $writer = $primary->background_psql('postgres', on_error_stop => 1);
my $reader = $primary->background_psql('postgres', on_error_stop => 1);
$_->query_safe($narrow) foreach $writer, $reader;
$writer->query_safe('BEGIN');
my $own = 0;
foreach my $i (1 .. 40)
{
	my $id = 10000 + $i;
	$writer->query_safe("SAVEPOINT s") if $i % 4 == 0;
	$writer->query_safe("INSERT INTO t VALUES ($id, random_vector($dims))");
	$own++ if $writer->query_safe($not_found->("= $id")) eq '0'
	  && $writer->query_safe("SELECT count(*) FROM t WHERE id = $id") eq '1';
	$writer->query_safe("ROLLBACK TO s") if $i % 8 == 0;
}
is($own, 40, 'each row is found by its own transaction at once');
is($writer->query_safe($not_found->('> 10000')), '0', 'all of them are found at the end');
is($writer->query_safe('SELECT count(*) FROM t WHERE id > 10000'), '35', 'without those rolled back to a savepoint');

# Their vectors, for looking from outside before the commit.
my $vectors = $writer->query_safe(
	"SELECT string_agg(format('(%s, %L::real[])', id, v), ', ' ORDER BY id) FROM t WHERE id > 10000");
my $seen_outside = "SELECT count(*) FROM (VALUES $vectors) p(id, v),"
  . " LATERAL (SELECT t.id, t.v <-> p.v AS d FROM t ORDER BY t.v <-> p.v LIMIT 1) n WHERE n.d = 0 OR n.id = p.id";
is($reader->query_safe($seen_outside), '0', 'none is seen by another session before the commit');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
$writer->query_safe('COMMIT');
is($reader->query_safe($seen_outside), '0', 'nor after it by an older snapshot');
$reader->query_safe('COMMIT');
is($reader->query_safe($seen_outside), '35', 'all are seen after the commit');

# The same on the standby; no files are needed there.
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT pg_is_in_recovery()"), 't', 'the standby is one');
is($standby->safe_psql('postgres', "$narrow $seen_outside"), '35', 'the standby finds them after replay');
is($standby->safe_psql('postgres', "$narrow " . $not_found->('> 0')), '0', 'and every other row: all is tail there');
probes_ok($standby, 't', 'exhaustive searches on the standby equal exact ones');
my $found = 0;
foreach my $i (1 .. 10)
{
	my $id     = 20000 + $i;
	my $vector = $primary->safe_psql('postgres', "INSERT INTO t VALUES ($id, random_vector($dims)) RETURNING v");
	$vector =~ s/\n.*//s;
	$primary->wait_for_catchup($standby);
	$found++
	  if $standby->safe_psql('postgres',
		"$narrow SELECT id, v <-> '$vector' FROM t ORDER BY v <-> '$vector' LIMIT 1") eq "$id|0";
}
is($found, 10, 'each new row is found on the standby as soon as it is replayed');

$writer->quit;
$reader->quit;

# With the setting on again, the builder takes the tail.
my ($code, $out, $err) = $primary->psql('postgres', "\\set VERBOSITY verbose\nSELECT vec_checkpoint()");
like($err, qr/ERROR:  55000: .*\n.*HINT:  .*vecckpt\.builder/, 'vec_checkpoint() says that builders are held');
$primary->safe_psql('postgres', "ALTER SYSTEM SET vecckpt.builder = on; SELECT pg_reload_conf();");
ok(wait_until('the tail to get shorter',
		sub { $primary->safe_psql('postgres', "SELECT tail_length < 256 FROM vec_indexes WHERE index = 't_v'::regclass") eq 't' }),
	'let go, the builder seals it');
is($primary->safe_psql('postgres', "$narrow " . $not_found->('> 10000')), '0', 'the rows are found as before');
probes_ok($primary, 't', 'and exhaustive searches equal exact ones');

$standby->stop;
$primary->stop;
done_testing();
