# pg_rewind of a primary that diverged: in one table both sides took the same number of rows, with the same ids, at the same
# positions of the log, and deleted others; in another one only the old primary deleted rows, and wrote no other entries.
# Both made durable what they built. The rewound server answers like the other side, whose files it has got, and does not
# believe its own, should they come back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 4500, dims => 16);
my $conf = "wal_log_hints = on\nwal_keep_size = 512MB\nvecckpt.checkpoint_timeout = 2\n";

seed_random();
my $old = new_node('old', init => [ allows_streaming => 1 ], conf => $conf);
$old->start;
load_table($old, %size);
load_table($old, %size, table => 'd');
$old->safe_psql('postgres', 'SELECT vec_checkpoint()');
$old->backup('base');
my $new = new_standby($old, 'base', 'new', conf => $conf);
ok(caught_up($old, $new), 'the standby catches up');
$new->promote;

# The same statements on both sides, with other vectors: what they build differs in the running hash alone. Then rows are
# deleted that the other side keeps, and left out of the segments.
sub diverge
{
	my ($node, $remainder) = @_;
	$node->safe_psql('postgres', qq(
SELECT setseed(@{[rand()]});
INSERT INTO t (id, v) SELECT i, random_vector($size{dims}) FROM generate_series(10001, 12000) i;
));
	ok(wait_sealed($node, 't_v', ask => 1), $node->name . ': the rows of its own history are sealed');
	leave_out($node, 't', "id <= $size{rows} AND id % 5 <> $remainder");
	$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
	exact_everywhere($node, 't', $node->name . ': exact after the divergence');
	return;
}

# Deletes rows, until segments hold them no more.
sub leave_out
{
	my ($node, $table, $condition) = @_;
	my $entries = "SELECT sum(entries) FROM vec_segments WHERE index = '${table}_v'::regclass";
	my $before  = $node->safe_psql('postgres', $entries);
	$node->safe_psql('postgres', "DELETE FROM $table WHERE $condition");
	ok(vacuum_wholly($node, $table), $node->name . ": VACUUM flags what is deleted from $table");
	ok(wait_until('dead rows to be left out', sub { $node->safe_psql('postgres', $entries) < $before }),
		$node->name . ": segments of $table leave it out");
	return;
}

# The old primary's files are built from WAL positions that the new one reaches late.
my $filler = 'INSERT INTO filler SELECT repeat(md5(i::text), 20) FROM generate_series(1, 60000) i';
$old->safe_psql('postgres', 'CREATE TABLE filler (f text)');
$old->safe_psql('postgres', $filler);
leave_out($old, 'd', 'id % 3 <> 0');
diverge($old, 1);
diverge($new, 2);
is( $old->safe_psql('postgres', "SELECT entries, identity FROM vec_indexes WHERE index = 't_v'::regclass"),
	$new->safe_psql('postgres', "SELECT entries, identity FROM vec_indexes WHERE index = 't_v'::regclass"),
	'both logs have the same identity and end');
isnt(table_digest($old, 't'), table_digest($new, 't'), 'and other rows');
my @own = map { (split /\|/)[0] } map { split /\n/, vec_segments($old, $_) } 't_v', 'd_v';
$old->stop;
$old->backup_fs_cold('diverged');

# A rewound copy of the old primary; `options` say where from. Its configuration comes along.
sub rewound
{
	my ($name, @options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($old, 'diverged');
	copy($node->data_dir . '/postgresql.conf', $node->basedir . '/own.conf');
	command_ok([ 'pg_rewind', '--no-sync', '-D', $node->data_dir, @options ], "$name: pg_rewind");
	copy($node->basedir . '/own.conf', $node->data_dir . '/postgresql.conf');
	$node->enable_streaming($new);
	$node->set_standby_mode;
	return $node;
}

sub own_segments
{
	my ($node) = @_;
	my $list = join ',', map { "'$_'" } @own;
	return $node->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE segment IN ($list)");
}

sub answers_like_the_new_one
{
	my ($node, $name) = @_;
	ok(caught_up($new, $node), "$name: catches up");
	exact_everywhere($node, 't', "$name: every row once");
	probes_ok($node, 't', "$name: exact answers", probes => 'SELECT id, v FROM probes WHERE id <= 50');
	same_answers($new, $node, $name);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM d'), $size{rows}, "$name: rows are back that it had deleted");
	exact_everywhere($node, 'd', "$name: and found");
	return;
}

# Everything is sealed, by segments of the new history.
sub sealed_anew
{
	my ($node, $name) = @_;
	foreach my $table ('t', 'd')
	{
		ok(wait_sealed($node, "${table}_v", ask => 1), "$name: $table is sealed");
		exact_everywhere($node, $table, "$name: $table holds every row");
		index_check_ok($node, "${table}_v", "$name: the index of $table");
	}
	is(own_segments($node), 0, "$name: no segment of its own history is used");
	return;
}

# ---- From the running server, whose builder works meanwhile: what its folder held need not fit together
my @load = start_mixed_load($new, %size);
my $remote = rewound('remote', '--source-server', $new->connstr('postgres'));
$remote->start;
ok(wait_until('the rewound server to accept connections', sub { ($remote->psql('postgres', 'SELECT 1'))[0] == 0 }),
	'remote: the rewound server comes up');
stays_exact($remote, 'remote: it answers exactly under load', ids => 300, generations => 1);
stop_clients(@load);
answers_like_the_new_one($remote, 'remote');
sealed_anew($remote, 'remote');
$remote->stop;

# ---- From the folder of the stopped server: its files are used, those of the own history are gone
ok(wait_settled($new, 't_v', ask => 1), 'the new primary is settled');
$new->safe_psql('postgres', 'SELECT vec_checkpoint()');
$new->stop;
my @source = vec_files($new);
my $local = rewound('local', '--source-pgdata', $new->data_dir);
is(join(' ', vec_files($local)), join(' ', @source), 'local: vector-ckpt is the one of the new primary');

# The same, but with the files of its own history again, beside the rewound log.
my $mixed = rewound('mixed', '--source-pgdata', $new->data_dir);
unlink glob(vec_dir($mixed) . '/*');
my $kept = $old->backup_dir . '/diverged/vector-ckpt';
copy("$kept/$_", vec_dir($mixed) . "/$_") or die "$_: $!" foreach grep { /_/ } slurp_dir($kept);
chmod 0600, glob(vec_dir($mixed) . '/*');

$new->start;
$_->start foreach $local, $mixed;
answers_like_the_new_one($local, 'local');
sealed_anew($local, 'local');
# Its builder may have merged the segments by now.
like(log_since($local), qr/vecckpt: loaded 2 indexes with [1-9]/, 'local: the files of the new primary are loaded');
unlike(log_since($local), qr/vecckpt: setting aside/, 'local: and believed');

# What is built from WAL that has not been replayed is not looked at, and nobody waits for it.
answers_like_the_new_one($mixed, 'mixed, ahead of replay');
unlike(log_since($mixed), qr/vecckpt: setting aside/, 'mixed, ahead of replay: nothing is decided yet');
like(($mixed->psql('postgres', "SELECT vec_checkpoint('t_v')"))[2], qr/its segments are ahead of replay/,
	'mixed, ahead of replay: vec_checkpoint(regclass) says so');
like(($mixed->psql('postgres', 'SELECT vec_checkpoint()'))[2], qr/WARNING:  index d_v was not checkpointed, its segments are ahead/,
	'mixed, ahead of replay: vec_checkpoint() says so');
# As soon as replay has got there, they are compared with the log.
$new->safe_psql('postgres', 'CREATE TABLE filler (f text)');
$new->safe_psql('postgres', $filler) foreach 1, 2;
answers_like_the_new_one($mixed, 'mixed');
sealed_anew($mixed, 'mixed');
like(log_since($mixed), qr/vecckpt: setting aside file [^:]*: it does not match the index's log/, 'mixed: other entries show');
like(log_since($mixed), qr/vecckpt: setting aside file [^:]*: it lacks entries of the index's log/, 'mixed: deleted ones too');

# ---- The rewound server takes over in its turn
$new->stop;
$local->promote;
$local->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, 1000)");
exact_everywhere($local, 't', 'local: exact after its promotion');
ok(wait_sealed($local, 't_v', ask => 1), 'local: seals what it takes');
exact_everywhere($local, 't', 'local: exact after it');

$local->stop;
$mixed->stop;
done_testing();
