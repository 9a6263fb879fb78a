# Losing power loses what was not synced. A trace of what the server does to the files of vector-ckpt tells what that is:
# after kill -9 of everything, files whose bytes were not synced are filled with zeros, as a whole or from some byte on, and
# names that the folder's sync has not seen go. What a checkpoint made durable is there all the same, and is believed; the
# index answers exactly. Liveness bitmaps are never synced: durable manifests list some that are lost or torn.
# And no segment is ahead of the log: WAL is flushed before a manifest is made durable.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecDamage;
use VecTest;
use FaultPoints;

require_fault_points();
seed_random();
my $rounds = $ENV{VECCKPT_POWER_ROUNDS} || 6;

# What the trace says about each file: whether its bytes are synced, and whether its name is.
sub files_after_power_loss
{
	my %files;
	foreach my $line (@_)
	{
		my ($point, $path, $to) = split / /, $line;
		if    ($point eq 'FileCreate') { $files{$path} = { bytes => 0, name => 0 }; }
		elsif ($point eq 'FileWrite')  { $files{$path}{bytes} = 0; }
		elsif ($point eq 'FileSynced') { $files{$path}{bytes} = 1; }
		elsif ($point eq 'FileRenamed')
		{
			$files{$to} = { bytes => $files{$path}{bytes}, name => 0 };
			delete $files{$path};
		}
		elsif ($point eq 'FileRemoved')  { delete $files{$path}; }
		elsif ($point eq 'FolderSynced') { $_->{name} = 1 foreach values %files; }
	}
	return \%files;
}

# Counts what is lost: names, bytes, and bitmaps that a durable manifest lists.
sub lose_power
{
	my ($node, $lost) = @_;
	kill_server($node, all => 1);
	my $files = files_after_power_loss(trace_lines($node));
	foreach my $path (sort keys %$files)
	{
		my $file = $node->data_dir . "/$path";
		my $size = -s $file;
		next unless defined $size;
		# A manifest that was renamed may have its new name at once.
		my $name = !$files->{$path}{name} && $path !~ /\.ckpt$/;
		next if !$name && $files->{$path}{bytes};
		$lost->{ $name ? 'names' : 'bytes' }++;
		$lost->{bitmaps}++ if grep { $path =~ /\Q$_\E$/ } durable_bitmaps($node);
		if ($name) { unlink $file or die "could not remove $file: $!"; next; }
		# What was not synced may be on disk all the same.
		my $from = rand() < 0.5 ? 0 : int(rand($size));
		write_bytes($file, $from, "\0" x ($size - $from));
	}
	return;
}

# The names of the bitmaps that the index's durable manifest lists.
my $key;
sub durable_bitmaps
{
	my ($node) = @_;
	my (undef, @names) = known_live(vec_dir($node), $key);
	return @names;
}

my $dims = 8;
my $node = fault_node(
	'power', conf => qq(
wal_level = replica
synchronous_commit = off
wal_writer_delay = 10s
vecckpt.checkpoint_timeout = 1
));
$node->safe_psql(
	'postgres', qq(
CREATE TABLE t (id bigserial PRIMARY KEY, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 20) i;
));
$key = index_key($node, 't_v');

# ---- At random moments under load, until some of everything was lost
my %lost = (names => 0, bytes => 0, bitmaps => 0);
my $segments = 0;
foreach my $round (1 .. 40)
{
	last if $round > $rounds && $segments > 0 && !grep { $_ == 0 } values %lost;
	start_trace($node);
	my $load = client($node, qq(
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 40);
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT greatest(0, (SELECT count(*) - 6000 FROM t)));
), rate => 100);
	my $checkpoints = client($node, "VACUUM (INDEX_CLEANUP ON) t;\nSELECT vec_checkpoint();\nSELECT pg_sleep(0.02);\n");
	wait_until('a checkpoint', sub { grep { /^CheckpointDone/ } trace_lines($node) });
	usleep(int(rand(500_000)));
	lose_power($node, \%lost);
	stop_clients($load, $checkpoints);
	my $offset = log_size($node);
	start_again($node);
	probes_ok($node, 't', "round $round: probes");
	exact_everywhere($node, 't', "round $round: every row once", large => 1);
	my $log = log_since($node, $offset);
	unlike($log, qr/setting aside/, "round $round: what was durable is believed");
	$segments += $1 if $log =~ /loaded \d+ indexes with (\d+) segments/;
}
cmp_ok($lost{names},   '>', 0, "$lost{names} files had lost their name");
cmp_ok($lost{bytes},   '>', 0, "$lost{bytes} files their bytes");
cmp_ok($lost{bitmaps}, '>', 0, "$lost{bitmaps} of them were bitmaps that a durable manifest lists");
cmp_ok($segments,      '>', 0, "$segments segments were loaded all the same");
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
ok( wait_until(
		'bitmaps to be right',
		sub {
			$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
			my ($known) = known_live(vec_dir($node), $key);
			$known == $node->safe_psql('postgres', "SELECT live_entries FROM vec_indexes WHERE index = 't_v'::regclass");
		},
		180),
	'bitmaps are made again');

# ---- In a checkpoint: from the rename on, all that it covers is there, and so is the log that it was read from, though
# nobody else had flushed that.
$node->append_conf('postgresql.conf', "vecckpt.checkpoint_timeout = 3600\n");
$node->reload;
my $covered = "SELECT coverage, tail_length FROM vec_indexes WHERE index = 't_v'::regclass";
foreach my $point ('CheckpointManifestSynced', 'CheckpointRenamed', 'CheckpointDone')
{
	$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
	start_trace($node);
	my $older = $node->safe_psql('postgres', $covered);
	$node->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 300)");
	set_fault($node, $point, 'wait');
	my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'SELECT vec_checkpoint()' ],
		'<', \'', '>', '/dev/null', '2>', '/dev/null');
	ok(wait_waiting($node, $point), "$point is reached");
	my $newer = $node->safe_psql('postgres', $covered);
	isnt($newer, $older, "$point: segments cover more than before");
	lose_power($node, \%lost);
	clear_faults($node);
	eval { $session->finish };
	my $offset = log_size($node);
	$node->append_conf('postgresql.conf', "vecckpt.builder = off\n");
	start_again($node);
	exact_everywhere($node, 't', "$point: every row once", large => 1);
	unlike(log_since($node, $offset), qr/setting aside/, "$point: what was durable is believed");
	is($node->safe_psql('postgres', $covered), $newer, "$point: that is all of it") unless $point =~ /Manifest/;
	$node->append_conf('postgresql.conf', "vecckpt.builder = on\n");
	$node->reload;
}

# ---- With fsync off the same checkpoint syncs nothing, as with PostgreSQL's own files
foreach my $setting ('on', 'off')
{
	$node->append_conf('postgresql.conf', "fsync = $setting\n");
	$node->restart;
	$node->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 300)");
	start_trace($node);
	$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
	my @lines = trace_lines($node);
	ok((grep { /^CheckpointDone/ } @lines), "fsync $setting: a checkpoint is made");
	is((grep { /Synced/ && !/^Checkpoint/ } @lines) > 0, $setting eq 'on', "fsync $setting: files are synced or not");
}

$node->stop;
done_testing();
