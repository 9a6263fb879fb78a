# DDL that a standby replays while its builder works on the index: REINDEX, DROP INDEX, TRUNCATE, DROP TABLE, DROP DATABASE,
# and a database that comes again under its old OID. Replay is not held up, answers stay exact, what belonged to the old
# index is swept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my $dims = 64;

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "wal_keep_size = 512MB\n");
$primary->start;
setup_vectors($primary);
# A database that has an index already is visited again soon while replay moves on.
$primary->safe_psql('postgres', qq(
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 50) id;
CREATE INDEX probes_v ON probes USING vhnsw (v);
SELECT vec_checkpoint();
));
$primary->backup('base');
# Replay never cancels anybody: a builder that kept what replay needs would stop it for good.
my $standby = new_standby($primary, 'base', 'standby',
	conf => "hot_standby_feedback = on\nmax_standby_streaming_delay = -1\nvecckpt.checkpoint_timeout = 2\n");

# A table whose index the standby's builder works on for seconds.
sub busy_table
{
	my ($name) = @_;
	$primary->safe_psql('postgres', qq(
CREATE TABLE $name (id int, v real[]);
INSERT INTO $name SELECT i, random_vector($dims) FROM generate_series(1, 5000) i;
CREATE INDEX ${name}_v ON $name USING vhnsw (v) WITH (ef_construction = 200);
));
	ok(caught_up($primary, $standby), "$name is there");
	wait_busy($name);
	return;
}

sub wait_busy
{
	my ($name) = @_;
	return ok(wait_graph($standby, "${name}_v"), "the standby builds a graph for $name");
}

# One test: the standby replays a statement of the primary.
sub replayed
{
	my ($sql, $database) = @_;
	$primary->safe_psql($database || 'postgres', $sql);
	return ok(caught_up($primary, $standby), "$sql: replayed while the builder works");
}

# ---- REINDEX, twice, so that the second comes while the first one's index is being built
busy_table('r');
foreach my $round (1, 2)
{
	my $key = index_key($standby, 'r_v');
	replayed('REINDEX INDEX r_v');
	isnt(index_key($standby, 'r_v'), $key, 'another file');
	probes_ok($standby, 'r', 'exact answers after it');
	wait_busy('r');
	ok(wait_until('the sweep', sub { !vec_files($standby, $key) }, 60), 'the files of the old index are swept');
}
replayed('REINDEX INDEX CONCURRENTLY r_v');
exact_everywhere($standby, 'r', 'every row once after it');
my $key = index_key($standby, 'r_v');
replayed("TRUNCATE r; INSERT INTO r SELECT i, random_vector($dims) FROM generate_series(1, 5000) i");
exact_everywhere($standby, 'r', 'the new rows, each once, after TRUNCATE');
index_check_ok($standby, 'r_v', 'the index after TRUNCATE');
wait_busy('r');
replayed('DROP TABLE r');
ok(wait_until('the sweep', sub { !vec_files($standby, $key) }, 60), 'the files of the truncated index are swept');
is($standby->safe_psql('postgres', 'SELECT index FROM vec_indexes'), 'probes_v', 'nor is it listed');

# ---- DROP DATABASE, and the same OID again. A copy of a database has the log of its template, identity and all: segments of
# the database that had its name and number before must not be taken for its own.
$primary->safe_psql('postgres', 'CREATE DATABASE source');
setup_vectors($primary, 'source');
$primary->safe_psql('source', qq(
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, 300) i;
CREATE INDEX t_v ON t USING vhnsw (v);
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 50) id;
));
my @create = ('CREATE DATABASE again TEMPLATE source OID 99999', 'CREATE DATABASE again TEMPLATE source OID 99999 STRATEGY file_copy');
foreach my $create (@create)
{
	$primary->safe_psql('postgres', $create);
	# The same number of other rows than in the one that comes later.
	$primary->safe_psql('again', "INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(301, 1000) i");
	ok(caught_up($primary, $standby), 'the copy is replayed');
	ok(wait_sealed($standby, 't_v', database => 'again', ask => 1), 'and sealed');
	my $segments = vec_segments($standby, 't_v', 'again');
	probes_ok($standby, 't', 'exact answers in the first copy', database => 'again');
	$primary->safe_psql('postgres', 'DROP DATABASE again');
	$primary->safe_psql('postgres', $create);
	$primary->safe_psql('again', "INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(301, 1000) i");
	ok(caught_up($primary, $standby), 'another copy is replayed');
	exact_everywhere($standby, 't', 'every row once in the second copy', database => 'again');
	probes_ok($standby, 't', 'exact answers in the second copy', database => 'again');
	ok(wait_sealed($standby, 't_v', database => 'again', ask => 1), 'it is sealed');
	exact_everywhere($standby, 't', 'and exact then', database => 'again');
	isnt(vec_segments($standby, 't_v', 'again'), $segments, 'by segments of its own');
	index_check_ok($standby, 't_v', 'the index of the second copy', database => 'again');
	exact_everywhere($primary, 't', 'on the primary too', database => 'again');
	$primary->safe_psql('postgres', 'DROP DATABASE again');
}

# ---- DROP DATABASE while the standby's builder is at work in it
$primary->safe_psql('postgres', 'CREATE DATABASE busy');
setup_vectors($primary, 'busy');
$primary->safe_psql('busy', qq(
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (ef_construction = 200);
));
ok(caught_up($primary, $standby), 'the busy database is there');
# A search tells the builder of a database that it has not seen yet.
ask($standby, 'busy', "$EXHAUSTIVE SELECT id FROM t ORDER BY v <-> (SELECT v FROM t LIMIT 1) LIMIT 1");
ok(wait_graph($standby, 't_v', 'busy'), 'the standby builds a graph in it');
(my $database = index_key($standby, 't_v', 'busy')) =~ s/_.*//;
my $offset = log_size($standby);
replayed('DROP DATABASE busy');
ok(wait_until('the sweep', sub { !grep { /^\Q$database\E_/ } vec_files($standby) }, 60), 'its files are swept');
is($standby->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE database = 'busy'"), '0', 'and no index of it is listed');
my @refused = log_since($standby, $offset) =~ /FATAL:  database \S+ does not exist/g;
cmp_ok(scalar(@refused), '<', 5, 'builders are not started for it again and again');
unlike(log_since($standby), qr/PANIC|TRAP:/, 'nothing panicked');

$standby->stop;
$primary->stop;
done_testing();
