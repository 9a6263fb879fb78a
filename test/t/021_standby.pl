# A streaming standby has segments of its own: its builder makes them there, views, vec_checkpoint() and vec_segments
# work, its restart reloads them without building anything, a crash of it leaves no file ahead of its log, and replay of
# DROP INDEX is not held up while it builds. Primary and standby answer alike. After promotion it inserts, searches, seals
# and builds on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VecTest;

my $dims = 128;  # 4,096 entries of it are enough for a graph

my $primary = new_node('primary', init => [ allows_streaming => 1 ]);
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\n");
$standby->start;

setup_vectors($primary);
$primary->safe_psql('postgres', qq(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE UNLOGGED TABLE u (id int PRIMARY KEY, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v);
INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 300) i;
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 30) i;
));
$primary->wait_for_catchup($standby);

# ---- Segments of its own
# A database that had no index yet is visited once a minute.
ok(wait_sealed($standby, 't_v', seconds => 180), 'the standby seals the index without being asked');
ok(wait_until('a graph', sub { vec_segments($standby, 't_v') =~ /graph/ }), 'and builds a graph');
my $key = index_key($standby, 't_v');
ok(scalar(vec_files($standby, $key)) > 0, 'in files of the standby');
my %names = map { $_ => 1 } vec_files($primary, $key);
is(scalar(grep { $names{$_} && !/\.ckpt$/ } vec_files($standby, $key)), 0, 'which are not those of the primary');
probes_ok($standby, 't', 'its answers are exact');
exact_everywhere($standby, 't', 'so is a scan of the whole table');

# ---- Rows that come by replay later are sealed unasked too
$primary->safe_psql('postgres', "INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(20001, 20400) i");
$primary->wait_for_catchup($standby);
ok(wait_sealed($standby, 't_v'), 'rows replayed later are sealed unasked');

# ---- More rows, dead rows; both answer alike
$primary->safe_psql('postgres', qq(
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(5001, 7000) i;
DELETE FROM t WHERE id % 10 = 0;
UPDATE t SET v = random_vector($dims) WHERE id % 10 = 1;
VACUUM t;
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(7001, 7400) i;
));
$primary->wait_for_catchup($standby);
is( $standby->safe_psql('postgres', 'SELECT vec_checkpoint() >= 1'),
	't', 'vec_checkpoint() works on the standby');
# The builder may go on afterwards, to merge what was sealed.
ok( wait_until(
		'a checkpoint',
		sub {
			$standby->safe_psql('postgres', 'SELECT vec_checkpoint()');
			$standby->safe_psql('postgres',
				"SELECT tail_length, generation = durable_generation FROM vec_indexes WHERE index = 't_v'::regclass") eq '0|t';
		}),
	'it seals everything and makes it durable');
is($standby->safe_psql('postgres', "SELECT vec_checkpoint('t_v')"), '', 'vec_checkpoint(regclass) works there too');
probes_ok($primary, 't', 'the primary answers exactly');
probes_ok($standby, 't', 'the standby answers exactly');
my $answers =
  "$EXHAUSTIVE SELECT p.id, array_agg(n.id ORDER BY n.d, n.id) FROM probes p,"
  . " LATERAL (SELECT id, v <-> p.v AS d FROM t ORDER BY v <-> p.v LIMIT 20) n GROUP BY p.id ORDER BY p.id";
is($standby->safe_psql('postgres', $answers), $primary->safe_psql('postgres', $answers), 'both answer alike');
is( $standby->safe_psql('postgres', "SELECT entries, live_entries, dims FROM vec_indexes WHERE index = 't_v'::regclass"),
	$primary->safe_psql('postgres', "SELECT entries, live_entries, dims FROM vec_indexes WHERE index = 't_v'::regclass"),
	'vec_indexes counts the same entries on both');
is($standby->safe_psql('postgres', "SELECT count(*) > 0 FROM vec_stat WHERE index = 't_v'::regclass AND seals > 0"),
	't', 'vec_stat counts the seals on the standby');
is( $standby->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE index = 'u_v'::regclass"),
	'0', 'nothing is built for an unlogged index on the standby');

# ---- A restart reloads
ok(wait_settled($standby, 't_v'), 'the builder comes to an end');
$standby->safe_psql('postgres', 'SELECT vec_checkpoint()');
my $before = vec_segments($standby, 't_v');
my $offset = log_size($standby);
$standby->restart;
like(log_since($standby, $offset), qr/vecckpt: loaded [1-9]\d* indexes with [1-9]\d* segments/, 'the restart loads segments');
probes_ok($standby, 't', 'answers are exact after it');
is(vec_segments($standby, 't_v'), $before, 'the segments are the same');
is( $standby->safe_psql('postgres', "SELECT seals + merges + graph_builds FROM vec_stat WHERE index = 't_v'::regclass"),
	'0', 'nothing was built again');

# ---- So does a crash under replay: no file is ahead of the log that the standby comes back with
my $feed = client($primary, "INSERT INTO t VALUES (100000 + 1000000 * random(), random_vector($dims)) ON CONFLICT DO NOTHING;");
foreach my $round (1 .. 2)
{
	$offset = log_size($standby);
	sleep 1;
	$standby->psql('postgres', 'SELECT vec_checkpoint()');
	kill_server($standby);
	start_again($standby);
	unlike(log_since($standby, $offset), qr/does not match/, "crash $round of the standby: its files are believed");
}
stop_clients($feed);
$primary->wait_for_catchup($standby);
probes_ok($standby, 't', 'answers are exact afterwards');
exact_everywhere($standby, 't', 'and as a whole', large => 1);

# ---- DROP INDEX is replayed while the standby's builder works on it
$primary->safe_psql('postgres', qq(
CREATE TABLE big (id int, v real[]);
INSERT INTO big SELECT i, random_vector(64) FROM generate_series(1, 12000) i;
CREATE INDEX big_v ON big USING vhnsw (v) WITH (ef_construction = 400);
));
$primary->wait_for_catchup($standby);
my $big_key = index_key($standby, 'big_v');
ok(wait_graph($standby, 'big_v'), 'the standby builds a graph');
$primary->safe_psql('postgres', 'DROP INDEX big_v');
$primary->wait_for_catchup($standby);
pass('DROP INDEX is replayed while it does');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'big_v'"), '0', 'the index is gone');
# Empty relation files go at the next restartpoint only; the sweep knows them by their size.
ok(wait_until('the sweep on the standby', sub { !vec_files($standby, $big_key) }, 60), 'its files are swept');
probes_ok($standby, 't', 'the other index answers exactly');

# ---- Promotion
$standby->promote;
$standby->safe_psql('postgres', qq(
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(10001, 11000) i;
INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 1000) i;
));
probes_ok($standby, 't', 'after promotion, with new rows in the tail');
ok(wait_sealed($standby, 't_v', ask => 1), 'its builder seals the new rows');
$standby->safe_psql('postgres', "DELETE FROM t WHERE id % 3 = 0; VACUUM t;");
probes_ok($standby, 't', 'sealed and vacuumed');
exact_everywhere($standby, 't', 'a scan of the whole table', large => 1);
ok(wait_sealed($standby, 'u_v', ask => 1), 'the unlogged index, empty on the standby, is filled and sealed');
probes_ok($standby, 'u', 'and answers exactly');
$standby->safe_psql('postgres', 'REINDEX INDEX t_v');
probes_ok($standby, 't', 'REINDEX');
$standby->restart;
probes_ok($standby, 't', 'a restart of the new primary');

$standby->stop;
$primary->stop;
done_testing();
