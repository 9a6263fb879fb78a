# Measuring and prewarming are reading: they work on a standby and say there what they say on the primary about its own
# segments. Unlogged indexes have no contents there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $primary = new_node('primary', init => [ allows_streaming => 1 ]);
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\n");
$standby->start;

setup_vectors($primary);
$primary->safe_psql('postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(9) AS v FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
CREATE UNLOGGED TABLE u AS SELECT i AS id, random_vector(9) AS v FROM generate_series(1, 300) i;
CREATE INDEX u_v ON u USING vhnsw (v);
));
$primary->wait_for_catchup($standby);
ok(wait_until('a graph', sub { vec_segments($standby, 't_v') =~ /^\w+\|graph\|0\|5000$/ }), 'the standby has a graph of its own');

# The true answers of a sample are the same; its graph is another, and wide searches find all in both.
my $recall = "SELECT round(recall::numeric, 6), queries, entries FROM vec_recall('t_v', 10, 200, 5000, 1)";
is(ask($standby, 'postgres', $recall), $primary->safe_psql('postgres', $recall), 'vec_recall with wide searches, as on the primary');
my $narrow = ask($standby, 'postgres', "SELECT recall < 1 FROM vec_recall('t_v', 10, 200, 10, 1)");
is($narrow, 't', 'with narrow ones something is missed');
my $ef = ask($standby, 'postgres', "SELECT vec_suggest_ef('t_v', 10, 0.9, 200, 1)");
is(ask($standby, 'postgres', "SELECT recall >= 0.9 FROM vec_recall('t_v', 10, 200, $ef, 1)"), 't', 'vec_suggest_ef');
is(ask($standby, 'postgres', "SELECT segments, segment_bytes = (SELECT file_bytes FROM vec_indexes WHERE index = 't_v'::regclass),"
	  . " log_pages = pg_relation_size('t_v') / 8192 FROM vec_prewarm('t_v', 'buffer')"), '1|t|t', 'vec_prewarm');
is(ask($standby, 'postgres', 'SELECT count(*) >= 0 FROM vec_progress'), 't', 'vec_progress');
ask($standby, 'postgres', "SELECT vec_stat_reset('t_v')");
is(ask($standby, 'postgres', "SELECT searches FROM vec_stat WHERE index = 't_v'::regclass"), '0', 'vec_stat_reset');
foreach my $function ("vec_recall('u_v')", "vec_suggest_ef('u_v')", "vec_prewarm('u_v')", "vec_checkpoint('u_v')")
{
	my ($code, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $function");
	like($err, qr/ERROR:  0A000: unlogged index "u_v" has no contents during recovery\n.*HINT/, "$function is refused");
}

$standby->stop;
$primary->stop;
done_testing();
