# Two servers meet in one vector-ckpt through a symbolic link, as a data folder does that was copied with its link: the one
# that was there first keeps it, until its postmaster ends in whatever way; the other says so, keeps its hands off, and
# answers exactly. A copy of the folder is the copying server's own, whatever its mark says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(rmtree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

seed_random();
my $first = new_node('first', conf => "fsync = off\nrestart_after_crash = on\nvecckpt.checkpoint_timeout = 1d");
$first->start;
setup_vectors($first);
$first->safe_psql(
	'postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(8) AS v FROM generate_series(1, 1000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
SELECT vec_checkpoint();
));
$first->stop;
$first->backup_fs_cold('cold');
$first->start;

sub copy_of_first
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($first, 'cold');
	return $node;
}
my $second = copy_of_first('second');
rmtree(vec_dir($second));
symlink(vec_dir($first), vec_dir($second)) or die "could not link: $!";

# Each file of the folder with what tells whether somebody has touched it.
sub folder
{
	return join "\n", map { join ' ', $_, (stat(vec_dir($first) . "/$_"))[ 1, 7, 9 ] } vec_files($first), 'owner';
}
my $taken = qr/vecckpt: folder "vector-ckpt" is in use by another server, of data directory "\Q@{[$first->data_dir]}\E"/;
my $loaded = qr/vecckpt: loaded [1-9] indexes with [1-9]/;
my $warning = "SELECT segments, warning LIKE '%in use by another server%' FROM vec_indexes WHERE index = 't_v'::regclass";

# CHECKPOINT waits for the launcher to be through with what came before, a round with a sweep when it has just started.
sub rounds { my ($node) = @_; $node->safe_psql('postgres', 'CHECKPOINT') foreach 1 .. 3; return }

sub keeps_its_hands_off
{
	my ($node, $offset, $name) = @_;
	like(log_since($node, $offset), $taken, "$name: it says whose folder it is");
	unlike(log_since($node, $offset), qr/vecckpt: loaded/, "$name: nothing is loaded");
	is($node->safe_psql('postgres', $warning), '0|t', "$name: vec_indexes says so");
	my ($code, $out, $err) = $node->psql('postgres', 'SELECT vec_checkpoint()');
	like($err, qr/the folder of segments is in use by another server\n.*HINT: /s, "$name: and vec_checkpoint");
	exact_everywhere($node, 't', "$name: answers are exact");
	return;
}

my $before = folder();
$second->start;
keeps_its_hands_off($second, 0, 'second');
my ($code, $out, $err) = $second->psql(
	'postgres', q(
SELECT vec_checkpoint('t_v');
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1001, 2000) i;
DELETE FROM t WHERE id <= 100;
VACUUM t;
CREATE TABLE u AS SELECT * FROM t;
CREATE INDEX u_v ON u USING vhnsw (v);
CREATE TEMPORARY TABLE p AS SELECT * FROM t;
CREATE INDEX p_v ON p USING vhnsw (v);
SELECT count(*) FROM (SELECT 1 FROM p ORDER BY v <-> array_fill(0.5::real, '{8}') LIMIT 3) s;
REINDEX INDEX t_v;
DROP TABLE u;
SELECT count(*) FROM vec_index_check('t_v', true);
), on_error_stop => 0);
is((() = $err =~ /WARNING:  index "\w_v" gets no segments, their folder is in use by another server/g), 3, 'who builds an index is warned')
  or diag($err);
is((() = $err =~ /ERROR: /g), 1, 'nothing but vec_checkpoint fails');
is($out, "3\n0", 'a search of a temporary table, vec_index_check');
rounds($second);
keeps_its_hands_off($second, 0, 'after changes');
my $offset = log_size($second);
kill_pid($second->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt launcher'"));
ok(wait_log_since($second, $offset, qr/database system is ready/), 'a process of the second is killed');
ok(wait_alive($second), 'it answers again');
rounds($second);
keeps_its_hands_off($second, $offset, 'after a crash restart');
$offset = log_size($second);
$second->restart;
keeps_its_hands_off($second, $offset, 'after a restart');
rounds($second);
$second->stop;
is(folder(), $before, 'the second has touched nothing');
$second->start;

# A mark that somebody has deleted is made again, and locked before anything is written to it.
unlink(vec_dir($first) . "/owner") or die "could not delete: $!";
$first->safe_psql('postgres', "INSERT INTO t VALUES (1001, random_vector(8)); SELECT vec_checkpoint('t_v')");    # brings a sweep
ok(wait_until('another mark', sub { -s vec_dir($first) . '/owner' }), 'the mark, deleted, is made again');
$offset = log_size($second);
$second->restart;
like(log_since($second, $offset), $taken, 'and keeps the second away');

# The owner stays that, however it ends.
$offset = log_size($first);
kill_pid($first->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt launcher'"));
ok(wait_log_since($first, $offset, $loaded), 'a process of the owner is killed: it loads its files again');
ok(wait_alive($first), 'it answers again');
$offset = log_size($first);
ok(kill_server($first), 'the owner is killed');
is($second->safe_psql('postgres', $warning), '0|t', 'the second leaves the folder alone until it starts anew');
start_again($first);
like(log_since($first, $offset), $loaded, 'the owner, started again, loads its files');
unlike(log_since($first), qr/in use by another|setting aside/, 'nothing has come in its way');
exact_everywhere($first, 't', 'and answers exactly');

# Who starts first has it.
$first->stop;
$offset = log_size($second);
$second->restart;
unlike(log_since($second, $offset), qr/in use by another/, 'without an owner, the second has it when it starts');
is($second->safe_psql('postgres', "SELECT vec_checkpoint(); SELECT segments > 0, warning FROM vec_indexes WHERE index = 't_v'::regclass"),
	"1\nt|", 'and builds');
exact_everywhere($second, 't', 'the second answers exactly');
$first->start;
($code, $out, $err) = $first->psql('postgres', 'SELECT vec_checkpoint()');
like($err, qr/in use by another server/, 'the first keeps its hands off then');
exact_everywhere($first, 't', 'the first answers exactly');
$second->stop;
$first->restart;
is($first->safe_psql('postgres', 'SELECT vec_checkpoint()'), '1', 'and has it again when it starts after the other has stopped');
exact_everywhere($first, 't', 'with exact answers');

# A copy of the folder, with a mark that names the first server, which runs.
my $third = copy_of_first('third');
ok(-s vec_dir($third) . '/owner', 'a copy has the mark');
$third->start;
like(log_since($third), $loaded, 'and is its server\'s own');
$third->stop;
$first->stop;
done_testing();
