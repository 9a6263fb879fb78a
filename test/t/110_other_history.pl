# Files of a history that is lost are not believed, however large the index and however alike the histories: a data folder
# restored without the library preloaded, the old vector-ckpt folder left in place, WAL that has long overtaken what was
# lost. Extents of 64 slots let few rows fill more than 256 of them. No builder runs, so that nobody helps the first
# search.
#
# Twice: histories that took extents in another order, which have one of them in common; and histories that differ only in
# what was deleted. And a restart of the same history keeps its segments.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FaultPoints;
use VecTest;

require_fault_points();
seed_random();
my $slots = 64;

# Rows that fill sequences [first, end).
sub insert_sequences
{
	my ($server, $first, $end) = @_;
	return $server->safe_psql('postgres',
		sprintf 'INSERT INTO t SELECT i, random_vector(4) FROM generate_series(%d, %d) i', $first * $slots, $end * $slots - 1);
}

# Deletes the rows of whole sequences, until their extents are freed.
sub free_sequences
{
	my ($server, @sequences) = @_;
	$server->safe_psql('postgres', "DELETE FROM t WHERE id / $slots IN (" . join(', ', @sequences) . ')');
	return ok(
		wait_until(
			'extents to be freed',
			sub {
				$server->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
				$server->safe_psql('postgres',
					q(SELECT entries = (SELECT count(*) FROM t) FROM vec_indexes WHERE index = 't_v'::regclass)) eq 't';
			}),
		$server->name . ': extents are freed');
}

sub set_builder
{
	my ($server, $on) = @_;
	return $server->append_conf('postgresql.conf', "vecckpt.builder = $on\n");
}

# A data folder as of a backup, which goes on without the library by `change`, and then gets the files of `lost` back.
sub restored
{
	my ($name, $lost, $backup, $change) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$server->init_from_backup($lost, $backup);
	set_builder($server, 'off');
	$server->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$server->start;
	$change->($server);
	my $lsn = wal_end($lost);
	$server->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS filler (t text)');
	ok( wait_until(
			'WAL to overtake what was lost',
			sub {
				$server->safe_psql('postgres', 'INSERT INTO filler SELECT repeat(md5(i::text), 20) FROM generate_series(1, 5000) i');
				$server->safe_psql('postgres', "SELECT pg_current_wal_lsn() > '$lsn'") eq 't';
			}),
		"$name: WAL has overtaken what was lost");
	$server->stop;
	unlink glob(vec_dir($server) . '/*');
	foreach my $file (vec_files($lost))
	{
		PostgreSQL::Test::Utils::system_or_bail('cp', '-p', vec_dir($lost) . "/$file", vec_dir($server) . "/$file");
	}
	$server->append_conf('postgresql.conf', "shared_preload_libraries = 'vecckpt'");
	return $server;
}

# Where the WAL of a stopped server ends.
sub wal_end
{
	my ($server) = @_;
	my ($out) = run_command([ 'pg_controldata', $server->data_dir ]);
	$out =~ /Latest checkpoint location: +(\S+)/ or die 'no checkpoint location';
	return $1;
}

# The first search after a start is exact.
sub starts_exact
{
	my ($server, $what) = @_;
	my $offset = log_size($server);
	$server->start;
	exact_everywhere($server, 't', "$what: every row is found", large => 1);
	my $log = log_since($server, $offset);
	like($log, qr/loaded 1 indexes with [1-9]\d* segments/, "$what: the files were loaded");
	like($log, qr/setting aside file "vector-ckpt/, "$what: and set aside");
	return;
}

sub gets_new_ones
{
	my ($server, $what) = @_;
	set_builder($server, 'on');
	$server->reload;
	ok(wait_sealed($server, 't_v', ask => 1), "$what: new ones are built");
	exact_everywhere($server, 't', "$what: every row is found in them", large => 1);
	index_check_ok($server, 't_v', "$what: the index");
	return;
}

# ---- extents taken in another order
my $lost = fault_node('lost', conf => "vecckpt.builder = off\n");
$lost->safe_psql('postgres', 'CREATE TABLE t (id int, v real[]); CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4)');
insert_sequences($lost, 0, 10);
$lost->stop;
$lost->backup_fs_cold('before');
$lost->start;
free_sequences($lost, 0 .. 4, 7, 8);
insert_sequences($lost, 10, 310);
set_builder($lost, 'on');
$lost->reload;
ok(wait_sealed($lost, 't_v', ask => 1), 'the lost history is sealed');
$lost->stop;

my $other = restored(
	'other', $lost, 'before',
	sub {
		my ($server) = @_;
		# Nothing is free when extents are taken for the sequences that the lost history has in others.
		insert_sequences($server, 10, 320);
		# Of what the lost history knows only sequence 5 stays where it was; the one at its end goes.
		free_sequences($server, 6, 309);
	});
starts_exact($other, 'other extents');
like(log_since($other), qr/it does not match the index's log/, 'other extents: for that');
gets_new_ones($other, 'other extents');

# ---- other deletions
$other->stop;
$other->backup_fs_cold('sealed');
$other->start;
my $entries = q(SELECT sum(entries) FROM vec_segments WHERE index = 't_v'::regclass);
my $before  = $other->safe_psql('postgres', $entries);
$other->safe_psql('postgres', "DELETE FROM t WHERE id % 2 = 0 AND id / $slots <> 200");
ok(vacuum_dead($other, 't', 't_v'), 'half of the rows are deleted');
ok(wait_until('the dead to be left out', sub { $other->safe_psql('postgres', $entries) < $before }), 'and left out of segments');
$other->safe_psql('postgres', 'SELECT vec_checkpoint()');
$other->stop;

my $alive = restored('alive', $other, 'sealed', sub { });
starts_exact($alive, 'other deletions');
like(log_since($alive), qr/it lacks entries of the index's log/, 'other deletions: for that');
gets_new_ones($alive, 'other deletions');

# ---- the same history
ok(wait_settled($alive, 't_v'), 'the builder is done');
$alive->safe_psql('postgres', 'SELECT vec_checkpoint()');
my $segments = vec_segments($alive, 't_v');
set_builder($alive, 'off');
my $offset = log_size($alive);
$alive->restart;
exact_everywhere($alive, 't', 'a restart: every row is found', large => 1);
is(vec_segments($alive, 't_v'), $segments, 'a restart keeps the segments');
unlike(log_since($alive, $offset), qr/setting aside/, 'and sets none aside');
is( $alive->safe_psql('postgres', q(SELECT tail_scanned FROM vec_stat WHERE index = 't_v'::regclass)),
	'0', 'searches use them');
$alive->stop;

done_testing();
