# Full disks. Where vector-ckpt is on one: inserts, searches, VACUUM, CHECKPOINT, restarts and crashes go on, what needs
# segments fails with a proper error and leaves nothing, the builder tries again less and less often, and goes on by
# itself when there is room. Where the data folder is on one: what PostgreSQL cannot write fails, acknowledged rows
# stay, answers are exact. Nothing is ever lost, and the server lives.
#
# VECCKPT_SMALL_DISKS: a folder with two small file systems, "files" (4 MB) and "data" (64 MB), which are filled here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

plan skip_all => 'no small file systems: they are mounted where root runs the tests and may mount'
  unless $ENV{VECCKPT_SMALL_DISKS};
my $disks = $ENV{VECCKPT_SMALL_DISKS};
my $dims  = 64;

# Fills a file system with one more file, and gives back that many bytes of it.
sub fill
{
	my ($folder, $leave) = @_;
	open(my $file, '>>:unix', "$folder/ballast") or die "could not open $folder/ballast: $!";
	foreach my $size (1 << 20, 1 << 12)
	{
		while (my $written = syswrite($file, "\0" x $size)) { last if $written < $size; }
	}
	my $size = -s $file;
	truncate($file, $size > $leave ? $size - $leave : 0) or die "could not shorten $folder/ballast: $!";
	close $file;
	return;
}

sub make_room { my ($folder) = @_; unlink "$folder/ballast" or die "no ballast in $folder: $!"; return; }

# Inserts rows with ids from `first`. Returns the server's complaint.
sub insert
{
	my ($node, $first, $count) = @_;
	my (undef, undef, $error) = $node->psql('postgres',
		"INSERT INTO t SELECT i, random_vector($dims) FROM generate_series($first, $first + $count - 1) i",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $error;
}

sub ids { my ($node) = @_; return $node->safe_psql('postgres', 'SELECT count(*), min(id), max(id) FROM t'); }

sub last_error
{
	my ($node) = @_;
	return $node->safe_psql('postgres', "SELECT last_error FROM vec_indexes WHERE index = 't_v'::regclass");
}

sub setup
{
	my ($node) = @_;
	$node->start;
	setup_vectors($node);
	$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v real[])');
	insert($node, 1, 1000);
	$node->safe_psql('postgres', 'CREATE INDEX t_v ON t USING vhnsw (v); SELECT vec_checkpoint()');
	return;
}

# ---- vector-ckpt on a full disk
my $node = new_node('files', conf => "vecckpt.checkpoint_timeout = 1\n");
symlink "$disks/files", vec_dir($node) or die "could not link: $!";
setup($node);
my @files = vec_files($node);
cmp_ok(scalar(@files), '>', 0, 'there are segments on the small file system');

fill("$disks/files", 0);
my $offset = log_size($node);
is(insert($node, 1001, 1000), '', 'disk full: inserts go on');
ok(wait_until('the error', sub { last_error($node) =~ /No space left on device/ }), 'vec_indexes says why nothing is sealed');
exact_everywhere($node, 't', 'disk full: answers are exact');

# The times between its attempts grow: no sooner than 2, 4 and 8 seconds after the last one.
my @times;
ok( wait_until(
		'four failures',
		sub {
			@times = map { $_->[0] * 3600 + $_->[1] * 60 + $_->[2] }
			  map { /^\S+ (\d+):(\d+):([\d.]+) .*builder failed on index/ ? [ $1, $2, $3 ] : () } split /\n/, log_since($node, $offset);
			@times >= 4;
		},
		90),
	'the builder tries again');
my @gaps = map { ($times[ $_ + 1 ] - $times[$_]) % 86400 } 0 .. $#times - 1;
ok(!(grep { $gaps[$_] + 1 < 2**($_ + 1) } 0 .. $#gaps), "less and less often: @gaps");

my (undef, undef, $error) = $node->psql('postgres', q(SELECT vec_checkpoint('t_v')), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($error, qr/ERROR:  53100: could not checkpoint index "t_v": .*No space left on device/, 'vec_checkpoint(regclass) fails');
(my $code, my $out, $error) = $node->psql('postgres', 'SELECT vec_checkpoint()');
is($code, 0, 'vec_checkpoint() does not');
like($error, qr/WARNING:  index t_v could not be checkpointed: .*No space left on device/, 'but warns');
foreach my $statement ('CREATE INDEX t_w ON t USING vhnsw (v)', 'REINDEX INDEX t_v', 'REINDEX INDEX CONCURRENTLY t_v')
{
	(undef, undef, $error) = $node->psql('postgres', $statement, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($error, qr/ERROR:  53100: could not .*No space left on device/, "$statement fails");
}
$node->safe_psql('postgres', 'DROP INDEX t_v_ccnew');
is_deeply([ grep { !/ballast/ } vec_files($node) ], \@files, 'and leaves no file');
is(insert($node, 2001, 300), '', 'inserts go on after that');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id <= 100; VACUUM (INDEX_CLEANUP ON) t; CHECKPOINT');
exact_everywhere($node, 't', 'so do DELETE, VACUUM and CHECKPOINT');
$node->restart;
exact_everywhere($node, 't', 'a restart');
kill_server($node);
start_again($node);
exact_everywhere($node, 't', 'a crash');
unlink(vec_dir($node) . "/$_") foreach grep { /\.seg$/ } @files;
fill("$disks/files", 0);
exact_everywhere($node, 't', 'lost segments, which cannot be built again');
is(ids($node), '2200|101|2300', 'no row is lost');

make_room("$disks/files");
ok(wait_sealed($node, 't_v'), 'there is room: the builder goes on by itself');
ok(wait_until('no error', sub { last_error($node) eq '' }), 'and forgets the error');
is($node->safe_psql('postgres', q(SELECT vec_checkpoint('t_v'))), '', 'vec_checkpoint() succeeds');
exact_everywhere($node, 't', 'answers are exact');
$node->safe_psql('postgres', 'REINDEX INDEX t_v');
exact_everywhere($node, 't', 'REINDEX');

# ---- No room for a liveness bitmap: it is asked for by VACUUM, and written when there is room, without another one
# Nothing is left to be swept, which would make room.
my $key = index_key($node, 't_v');
ok(wait_settled($node, 't_v'), 'the builder has nothing to do');
ok( wait_until(
		'only the durable files to be there',
		sub {
			$node->safe_psql('postgres', 'CHECKPOINT; SELECT vec_checkpoint()');
			my $segments = $node->safe_psql('postgres', "SELECT segments FROM vec_indexes WHERE index = 't_v'::regclass");
			return vec_files($node) == 1 + $segments && -e vec_dir($node) . "/$key.ckpt";
		},
		180),
	'nor the launcher');
fill("$disks/files", 0);
$node->safe_psql('postgres', 'DELETE FROM t WHERE id <= 150');
ok(vacuum_dead($node, 't', 't_v'), 'no room for a bitmap: VACUUM');
ok(wait_until('the error', sub { last_error($node) =~ /\.(?:live|gen)\.tmp": No space left on device/ }), 'no room for a bitmap: the builder says so');
exact_everywhere($node, 't', 'no room for a bitmap: answers are exact');
make_room("$disks/files");
ok( wait_until(
		'a bitmap',
		sub {
			$node->psql('postgres', 'SELECT vec_checkpoint()');
			my ($known, @bitmaps) = known_live(vec_dir($node), $key);
			return @bitmaps && $known == $node->safe_psql('postgres', "SELECT live_entries FROM vec_indexes WHERE index = 't_v'::regclass");
		},
		180),
	'it is written when there is');
ok(wait_until('no error', sub { last_error($node) eq '' }), 'and the error forgotten');
exact_everywhere($node, 't', 'answers are exact with it');

# ---- No room for one more file, though there are bytes
my $empty = 0;
while (open(my $file, '>', "$disks/files/empty$empty")) { $empty++; close $file; }
cmp_ok($empty, '<', 10_000, "$empty files fill the file system");
is(insert($node, 3001, 300), '', 'no more files: inserts go on');
ok(wait_until('the error', sub { last_error($node) =~ /could not create .*No space left on device/ }), 'the builder says so');
exact_everywhere($node, 't', 'answers are exact');
unlink "$disks/files/empty$_" foreach 0 .. $empty - 1;
ok(wait_sealed($node, 't_v', seconds => 120), 'and goes on when there are');
exact_everywhere($node, 't', 'exact again');
unlike(log_since($node), qr/PANIC|TRAP:|signal \d+|XX000|XX001/, 'nothing worse in the log');
$node->stop;

# ---- The data folder on a full disk, but for WAL, whose failing writes are PostgreSQL's own PANIC
$node = PostgreSQL::Test::Cluster->new('data');
symlink "$disks/data", $node->data_dir or die "could not link: $!";
$node->init(extra => [ '-X', $node->basedir . '/wal', '--wal-segsize=1' ]);
$node->append_conf(
	'postgresql.conf', q(
shared_preload_libraries = 'vecckpt'
autovacuum = off
jit = off
log_min_messages = info
shared_buffers = 8MB
vecckpt.checkpoint_timeout = 1
));
setup($node);
fill("$disks/data", 400_000);
my ($acked, $next, $failed) = (1000, 1001, 0);
foreach my $try (1 .. 200)
{
	$error = insert($node, $next, 20);
	if ($error eq '') { $acked += 20; }
	else
	{
		$failed++;
		like($error, qr/ERROR:  53100: could not /, "insert $try fails")
		  if $failed <= 5;
	}
	$next += 20;
	last if $failed >= 10;
}
is($failed, 10, 'data folder full: inserts fail');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $acked, 'those acknowledged are there, no others');
exact_everywhere($node, 't', 'answers are exact');
probes_ok($node, 't', 'probes', probes => 'SELECT id, v FROM t ORDER BY id DESC LIMIT 20');
(undef, undef, $error) = $node->psql('postgres', 'REINDEX INDEX t_v', extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($error, qr/ERROR:  53100: could not /, 'REINDEX fails');
exact_everywhere($node, 't', 'and leaves the index as it was');

make_room("$disks/data");
is(insert($node, $next, 1000), '', 'there is room: inserts go on');
ok(wait_sealed($node, 't_v', ask => 1), 'everything is sealed');
exact_everywhere($node, 't', 'answers are exact');
ok(vacuum_dead($node, 't', 't_v'), 'after VACUUM an entry lives for each row');
kill_server($node);
start_again($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $acked + 1000, 'after a crash: no row is lost');
exact_everywhere($node, 't', 'after a crash: answers are exact');
unlike(log_since($node), qr/PANIC|TRAP:|signal \d+|XX000|XX001/, 'nothing worse in the log');
$node->stop;
done_testing();
