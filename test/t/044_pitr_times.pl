# Point-in-time recovery to before, between and after checkpoints of the index: the rows and the answers are those of that
# time, while recovery pauses there, after promotion, and in the history that begins then. The files come from a base
# backup taken while the builder worked, so that they may be older or newer than the target's last checkpoint.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 4500, dims => 16);

seed_random();
my $node = new_node('node', init => [ has_archiving => 1, allows_streaming => 1 ], conf => "vecckpt.checkpoint_timeout = 86400\n");
$node->start;
load_table($node, %size);

# What the table was at each target.
my %digest;
my @targets;
sub target
{
	my ($name) = @_;
	push @targets, $name;
	$digest{$name} = table_digest($node, 't');
	$node->safe_psql('postgres', "SELECT pg_create_restore_point('$name')");
	return;
}

# Rows come, change and go; the builder may seal and leave dead rows out meanwhile.
sub change
{
	my ($from) = @_;
	my $to = $from + 999;
	$node->safe_psql('postgres', qq(
INSERT INTO t (id, v) SELECT i, random_vector($size{dims}) FROM generate_series($from, $to) i;
UPDATE t SET v = random_vector($size{dims}) WHERE id % 50 = 3;
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 900);
));
	vacuum_wholly($node, 't');
	return;
}

change(10001);
ok(wait_sealed($node, 't_v', ask => 1), 'there are durable segments');
# The copied files hold a checkpoint of the index, and rows behind it.
change(20001);
$node->backup('base');
target('before');
ok(wait_settled($node, 't_v', ask => 1), 'a checkpoint after the first target');
target('at_checkpoint');
change(30001);
target('between');
$node->safe_psql('postgres', "DELETE FROM t WHERE id % 2 = 0");
vacuum_wholly($node, 't');
ok(wait_settled($node, 't_v', ask => 1), 'another one');
change(40001);
target('after');
change(50001);
$node->safe_psql('postgres', 'SELECT vec_checkpoint(); SELECT pg_switch_wal()');
$node->stop;

foreach my $target (@targets)
{
	my $restored = PostgreSQL::Test::Cluster->new($target);
	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf',
		"archive_mode = off\nrecovery_target_name = '$target'\nrecovery_target_action = pause\nvecckpt.checkpoint_timeout = 1\n");
	$restored->start;
	ok( wait_until('the target', sub { ask($restored, 'postgres', 'SELECT pg_get_wal_replay_pause_state()') eq 'paused' }),
		"$target: recovery pauses there");
	like(log_since($restored), qr/vecckpt: loaded 1 indexes with [1-9]/, "$target: with segments of the backup");
	is(table_digest($restored, 't'), $digest{$target}, "$target, paused: the rows of that time");
	exact_everywhere($restored, 't', "$target, paused: each is found once");
	ok(wait_sealed($restored, 't_v', ask => 1), "$target, paused: sealed");
	exact_everywhere($restored, 't', "$target, paused: exact when sealed");
	# Restarted where it pauses, with the files it has made there.
	$restored->restart;
	ok( wait_until('the target', sub { ask($restored, 'postgres', 'SELECT pg_get_wal_replay_pause_state()') eq 'paused' }),
		"$target: a restart comes back to it");
	exact_everywhere($restored, 't', "$target, paused again: exact");
	is(ask($restored, 'postgres', "SELECT tail_length FROM vec_indexes WHERE index = 't_v'::regclass"),
		'0', "$target, paused again: by the segments made there");

	$restored->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	ok($restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), "$target: promoted");
	is(table_digest($restored, 't'), $digest{$target}, "$target, promoted: the rows of that time");
	exact_everywhere($restored, 't', "$target, promoted: each is found once");
	index_check_ok($restored, 't_v', "$target, promoted: the index");
	$restored->safe_psql('postgres',
		"INSERT INTO t (id, v) SELECT i, random_vector($size{dims}) FROM generate_series(60001, 61000) i; DELETE FROM t WHERE id % 3 = 0;");
	vacuum_wholly($restored, 't');
	probes_ok($restored, 't', "$target: exact answers in the new history", probes => 'SELECT id, v FROM probes WHERE id <= 40');
	ok(wait_sealed($restored, 't_v', ask => 1), "$target: sealed in the new history");
	$restored->restart;
	exact_everywhere($restored, 't', "$target: exact after a restart");
	unlike(log_since($restored), qr/PANIC|TRAP:/, "$target: nothing panicked");
	$restored->stop;
}
done_testing();
