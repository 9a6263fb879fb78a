# Nothing is left behind: DROP INDEX, DROP TABLE, DROP DATABASE, TRUNCATE, REINDEX, failed, cancelled, killed and rolled back
# CREATE INDEX, a rolled back CREATE TABLE leave no file of the old key after a sweep, and no entry in
# shared memory.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;

seed_random();
my $node = new_node('sweep', conf => "vecckpt.max_indexes = 8\nmax_prepared_transactions = 4\nrestart_after_crash = on");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres',
	'CREATE TABLE data AS SELECT i AS id, random_vector(16) AS v FROM generate_series(1, 3000) i');

# A table `name` with 2,500 rows and a checkpointed index of two segments; the key of its files.
sub filled
{
	my ($name, $database) = @_;
	$database ||= 'postgres';
	$node->safe_psql(
		$database, qq(
CREATE TABLE $name (id int, v real[]);
INSERT INTO $name SELECT i, random_vector(16) FROM generate_series(1, 2200) i;
CREATE INDEX ${name}_v ON $name USING vhnsw (v) WITH (m = 4, ef_construction = 8);
INSERT INTO $name SELECT i, random_vector(16) FROM generate_series(2201, 2500) i;
SELECT vec_checkpoint('${name}_v');
));
	my $key = index_key($node, "${name}_v", $database);
	cmp_ok(scalar(grep { /\.(seg|ckpt)$/ } vec_files($node, $key)), '>=', 2, "$name has files");
	return $key;
}

# A PostgreSQL checkpoint makes a dropped relation's file go; then making an index durable brings a sweep, which
# would come by itself within 20 seconds.
sub bring_sweep
{
	$node->safe_psql('postgres',
		"CHECKPOINT; INSERT INTO keep SELECT (SELECT count(*) + 1 FROM keep), random_vector(16); SELECT vec_checkpoint('keep_v')");
	return;
}

sub swept
{
	my ($what, @keys) = @_;
	bring_sweep();
	return ok(
		wait_until(
			"$what: " . join(' ', map { vec_files($node, $_) } @keys),
			sub {
				!grep { vec_files($node, $_) } @keys;
			}),
		"$what leaves no file");
}

# The same where the key is not known: soon everything in the folder belongs to the given keys.
sub only_files_of
{
	my ($what, @keys) = @_;
	bring_sweep();
	my $kept = join '|', map { quotemeta } @keys;
	my @others;
	ok( wait_until(
			"$what: other files to go",
			sub {
				@others = grep { !/^(?:$kept)\./ } vec_files($node);
				return !@others;
			}),
		"$what: no other file") or diag("left: @others");
	return;
}

my $keep = filled('keep');

my $key = filled('dropped');
$node->safe_psql('postgres', 'DROP INDEX dropped_v; CHECKPOINT');
ok(wait_until('the sweep that comes by itself', sub { !vec_files($node, $key) }), 'DROP INDEX leaves no file');

$key = filled('gone');
$node->safe_psql('postgres', 'DROP TABLE gone');
swept('DROP TABLE', $key);

$key = filled('truncated');
$node->safe_psql('postgres', 'TRUNCATE truncated');
isnt(index_key($node, 'truncated_v'), $key, 'TRUNCATE gives a new file');
swept('TRUNCATE', $key);
$node->safe_psql('postgres', "INSERT INTO truncated SELECT * FROM data; SELECT vec_checkpoint('truncated_v')");
exact_everywhere($node, 'truncated', 'the truncated table is filled again');

$key = index_key($node, 'truncated_v');
$node->safe_psql('postgres', 'REINDEX INDEX truncated_v');
swept('REINDEX', $key);
$key = index_key($node, 'truncated_v');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY truncated_v');
swept('REINDEX CONCURRENTLY', $key);
exact_everywhere($node, 'truncated', 'after REINDEX');

$key = index_key($node, 'truncated_v');
$node->safe_psql('postgres', 'VACUUM FULL truncated');
swept('VACUUM FULL', $key);
$key = index_key($node, 'truncated_v');
$node->safe_psql('postgres', 'BEGIN; TRUNCATE truncated; INSERT INTO truncated SELECT * FROM data; ROLLBACK');
only_files_of('a rolled back TRUNCATE', $keep, $key);
is(index_key($node, 'truncated_v'), $key, 'a rolled back TRUNCATE keeps the file');
$node->safe_psql('postgres', 'DROP TABLE truncated');
swept('and DROP', $key);

# A DROP while segments are being built and published.
$node->safe_psql(
	'postgres', q(
CREATE TABLE busy (id int, v real[]);
CREATE INDEX busy_v ON busy USING vhnsw (v) WITH (m = 32, ef_construction = 400);
INSERT INTO busy SELECT i, random_vector(256) FROM generate_series(1, 9000) i;
));
$key = index_key($node, 'busy_v');
ok(wait_until('a build', sub { grep { /\.tmp$/ } vec_files($node, $key) }), 'a build is running');
$node->safe_psql('postgres', 'DROP TABLE busy');
swept('DROP TABLE in the middle of a build', $key);

# CREATE INDEX that fails: the wrong row comes last; a duplicate name; a failing expression.
my ($code, $out, $error) = $node->psql('postgres',
	"CREATE TABLE bad AS SELECT * FROM data; INSERT INTO bad VALUES (0, '{1,2}'); CREATE INDEX bad_v ON bad USING vhnsw (v)");
like($error, qr/expected 16 dimensions, not 2/, 'CREATE INDEX fails at the last row');
only_files_of('failed CREATE INDEX', $keep);

($code, $out, $error) = $node->psql('postgres', 'BEGIN; CREATE INDEX data_v ON data USING vhnsw (v); SELECT 1/0; COMMIT');
like($error, qr/division by zero/, 'an error follows CREATE INDEX');
only_files_of('CREATE INDEX in a failed transaction', $keep);

$node->safe_psql('postgres', 'BEGIN; CREATE INDEX data_v ON data USING vhnsw (v); ROLLBACK');
only_files_of('rolled back CREATE INDEX', $keep);

$node->safe_psql('postgres',
	'BEGIN; SAVEPOINT s; CREATE INDEX data_v ON data USING vhnsw (v); ROLLBACK TO s; CREATE TABLE n (i int); COMMIT');
only_files_of('CREATE INDEX in a rolled back savepoint', $keep);

$node->safe_psql('postgres',
	"BEGIN; CREATE INDEX data_v ON data USING vhnsw (v); PREPARE TRANSACTION 'p'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'p'");
only_files_of('CREATE INDEX in a rolled back prepared transaction', $keep);

# CREATE INDEX cancelled, and its backend terminated, in the middle of the build.
$node->safe_psql('postgres',
	'CREATE TABLE slow AS SELECT i AS id, random_vector(64) AS v FROM generate_series(1, 40000) i');
my $build = 'CREATE INDEX slow_v ON slow USING vhnsw (v) WITH (m = 64, ef_construction = 1000)';
($code, $out, $error) = $node->psql('postgres', "SET statement_timeout = 1000; $build");
like($error, qr/canceling statement due to statement timeout/, 'CREATE INDEX is cancelled');
only_files_of('cancelled CREATE INDEX', $keep);

foreach my $way (qw(pg_terminate_backend pg_cancel_backend))
{
	my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', $build ],
		'<', \'', '>', '/dev/null', '2>', '/dev/null');
	ok( wait_until('the build to write', sub { grep { /\.tmp$/ && !/^\Q$keep\E\./ } vec_files($node) }),
		"$way: the build writes files");
	$node->safe_psql('postgres', "SELECT $way(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX slow_v%'");
	eval { $session->finish };
	only_files_of($way, $keep);
}

# The backend killed in the middle of CREATE INDEX: a crash restart, and the leftovers go.
my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', $build ],
	'<', \'', '>', '/dev/null', '2>', '/dev/null');
ok( wait_until('the build to write', sub { grep { /\.tmp$/ && !/^\Q$keep\E\./ } vec_files($node) }),
	'kill -9: the build writes files');
kill_pid($node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX slow_v%'"));
eval { $session->finish };
ok(wait_alive($node), 'kill -9: the server is back');
only_files_of('killed CREATE INDEX', $keep);

# Databases.
$node->safe_psql('postgres', 'CREATE DATABASE other');
setup_vectors($node, 'other');
my @keys = map { filled("t$_", 'other') } 1 .. 3;
$node->safe_psql('postgres', 'DROP DATABASE other');
swept('DROP DATABASE', @keys);
only_files_of('DROP DATABASE', $keep);

# A key that is gone leaves room in shared memory: by now more have come and gone than have a place.
@keys = map { filled("r$_") } 1 .. 5;
is( $node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE durable_generation > 0 AND index::text LIKE 'r%'"),
	'5', 'new indexes find a place in shared memory');
$node->safe_psql('postgres', join ';', map { "DROP TABLE r$_" } 1 .. 5);
swept('the last tables', @keys);

# What is kept was never touched.
exact_everywhere($node, 'keep', 'the kept index is whole');
is(vec_segments($node, 'keep_v') ne '', 1, 'and has its segments');
is($node->safe_psql('postgres', "SELECT tail_length FROM vec_indexes WHERE index = 'keep_v'::regclass"),
	'0', 'which cover it');

# Leftovers of a crash at the moment of dropping: files of a key nobody knows are swept at the next start.
$node->stop;
append_to_file(vec_dir($node) . '/5_1663_4000000000.00000000000000ff.seg',     'left');
append_to_file(vec_dir($node) . '/5_1663_4000000000.00000000000000fe.gen',     'left');
append_to_file(vec_dir($node) . '/5_1663_4000000000.00000000000000fd.seg.tmp', 'left');
append_to_file(vec_dir($node) . '/5_1663_4000000000.ckpt.tmp',                 'left');
$node->start;
only_files_of('start', $keep);
unlike(log_since($node), qr/PANIC|TRAP:|could not sweep/, 'no error of a sweep');
$node->stop;
done_testing();
