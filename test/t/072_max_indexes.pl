# More indexes than vecckpt.max_indexes: building one over rows is a clear error, everything else works, exactly, without
# segments. Room that a dropped index leaves is taken by another. A restart with less room than there are indexes says so in
# the log, and answers stay right; with more room all get their segments.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant ROOM => 3;

seed_random();
my $node = new_node('node', conf => 'vecckpt.max_indexes = ' . ROOM);
$node->start;
setup_vectors($node);

my @tables;

sub make_table
{
	my ($t, $index) = @_;
	push @tables, $t;
	$node->safe_psql('postgres', "CREATE TABLE $t AS SELECT i AS id, random_vector(8) AS v FROM generate_series(1, 400) i");
	$node->safe_psql('postgres', "CREATE INDEX ${t}_v ON $t USING vhnsw (v)") if $index;
	return;
}

sub all_right
{
	my ($what) = @_;
	all_exact_everywhere($node, \@tables, "$what: all rows are found");
	all_checks_ok($node, "$what: no findings");
	return;
}

# How many indexes have a place in shared memory.
sub known { return $node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE state <> 'not in shared memory'"); }

sub is_refused
{
	my ($statement, $message, $hint) = @_;
	my ($code, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement", on_error_stop => 1);
	isnt($code, 0, "$statement is refused");
	like($error, qr/ERROR:  $message\n.*HINT:  $hint/s, 'with a hint');
	return;
}

make_table("t$_", 1) foreach 1 .. ROOM;
is(known(), ROOM, 'there is no more room');

# Building over rows needs segments, at once; an index that is filled later does not.
make_table('t4', 0);
my $hint = 'Increase vecckpt.max_indexes, now ' . ROOM . ', and restart the server';
is_refused('CREATE INDEX t4_v ON t4 USING vhnsw (v)', '53400: too many vhnsw indexes', $hint);
is_refused('REINDEX INDEX t1_v', '53400: too many vhnsw indexes', $hint);    # the old one has its place until the end
push @tables, 't5';
$node->safe_psql('postgres', q(
CREATE TABLE t5 (id int, v real[]);
CREATE INDEX t5_v ON t5 USING vhnsw (v);
INSERT INTO t5 SELECT i, random_vector(8) FROM generate_series(1, 400) i;
));
all_right('no more room');
is(known(), ROOM, 'and none was made');
is_refused("SELECT vec_checkpoint('t5_v')", '55000: index "t5_v" has no place in shared memory or was dropped', 'Increase vecckpt.max_indexes');
is($node->safe_psql('postgres', 'SELECT vec_checkpoint()'), ROOM, 'vec_checkpoint() is about the others');
$node->safe_psql('postgres', 'DELETE FROM t5 WHERE id % 2 = 0; UPDATE t5 SET v = random_vector(8) WHERE id % 3 = 0');
$node->safe_psql('postgres', 'VACUUM t5');
all_right('no more room, after DELETE, UPDATE and VACUUM');
ok(plan_uses_index($node, "SELECT id FROM t5 ORDER BY v <-> '{0,0,0,0,0,0,0,0}' LIMIT 1", 't5_v'), 'searches use the index');

# Room that becomes free.
$node->safe_psql('postgres', 'DROP TABLE t1');
@tables = grep { $_ ne 't1' } @tables;
ok(wait_sealed($node, 't5_v', ask => 1), 'a dropped index leaves its room');
is(known(), ROOM, 'all of it is taken again');
all_right('room taken');

# Less room than indexes at the start.
is($node->safe_psql('postgres', 'SELECT vec_checkpoint()'), ROOM, 'all are durable');
$node->append_conf('postgresql.conf', 'vecckpt.max_indexes = 1');
my $offset = log_size($node);
$node->restart;
my $log = log_since($node, $offset);
my @no_room = $log =~ /vecckpt: no room for manifest "vector-ckpt\/[^"]+\.ckpt", vecckpt\.max_indexes is too low/g;
is(scalar(@no_room), ROOM - 1, 'less room at the start: the log names each manifest');
all_right('less room');
is(known(), '1', 'less room: as much as was asked for');
$node->safe_psql('postgres', "INSERT INTO $_ SELECT i, random_vector(8) FROM generate_series(1001, 1100) i") foreach @tables;
all_right('less room, more rows');

# More room.
$node->append_conf('postgresql.conf', 'vecckpt.max_indexes = 10');
$node->restart;
all_right('more room');
$node->safe_psql('postgres', 'CREATE INDEX t4_v ON t4 USING vhnsw (v)');
$node->safe_psql('postgres', 'REINDEX INDEX t2_v');
foreach my $t (@tables) { ok(wait_sealed($node, "${t}_v", ask => 1), "more room: $t is sealed"); }
all_right('more room, sealed');
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
