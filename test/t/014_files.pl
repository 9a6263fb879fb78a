# Whatever happens to the files in vector-ckpt, answers stay right, the log names the file, and the builder repairs:
# deleted (between runs and while running), truncated, grown, one byte flipped in any part, replaced by
# another index's file. Files of strange names do not stop the start and are left alone.
#
# Several tables share each restart: every round damages one file of each of them in its own way.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(mkfifo);
use File::Copy qw(copy move);
use File::Path qw(remove_tree);
use VecDamage;
use VecTest;

my $kTables = 8;
my $kGraphs = 5;    # of them, with a graph segment
my $kDims   = 128;

seed_random();
my $node = new_node('files', conf => "wal_level = minimal\nmax_wal_senders = 0\nvecckpt.checkpoint_timeout = 2");
$node->start;
setup_vectors($node);
my @tables = map { "t$_" } 1 .. $kTables;
my @indexes = map { "${_}_v" } @tables;
my $load = "CREATE TABLE probes AS SELECT id, random_vector($kDims) AS v FROM generate_series(1, 4) id;\n";
# The first have enough entries for a graph (4,096), with a flat segment behind it; the others have flat ones only.
foreach my $t (@tables)
{
	my $rows = substr($t, 1) <= $kGraphs ? 4200 : 600;
	$load .= qq(
CREATE TABLE $t (id serial, v real[]);
INSERT INTO $t (v) SELECT random_vector($kDims) FROM generate_series(1, $rows);
CREATE INDEX ${t}_v ON $t USING vhnsw (v) WITH (m = 8, ef_construction = 20);
INSERT INTO $t (v) SELECT random_vector($kDims) FROM generate_series(1, 300);
SELECT vec_checkpoint('${t}_v');
);
}
$node->safe_psql('postgres', $load);
my %key = map { $_ => index_key($node, $_) } @indexes;
my $dir = vec_dir($node);

# Sealed and durable.
sub all_sealed
{
	foreach my $index (@indexes)
	{
		return 0 unless wait_sealed($node, $index, ask => 1);
	}
	return 1;
}

# The large tables have a graph again, everything is durable, and nothing is in flight.
sub all_quiet
{
	return wait_until(
		'graphs and durable generations',
		sub {
			$node->safe_psql(
				'postgres', q(
SELECT count(DISTINCT s.index), bool_and(i.state = 'idle' AND i.generation = i.durable_generation)
FROM vec_indexes i LEFT JOIN vec_segments s ON s.index = i.index AND s.kind = 'graph')) eq "$kGraphs|t";
		});
}

# The large tables have a graph again and no job is running: the files that are listed now are those of the next start.
sub all_settled
{
	return wait_until(
		'graphs and idle builders',
		sub {
			$node->safe_psql(
				'postgres', q(
SELECT count(DISTINCT s.index), bool_and(i.state = 'idle')
FROM vec_indexes i LEFT JOIN vec_segments s ON s.index = i.index AND s.kind = 'graph')) eq "$kGraphs|t";
		});
}

sub all_exact
{
	my ($what) = @_;
	foreach my $t (@tables)
	{
		exact_everywhere($node, $t, "$what: every row of $t once", probe => 'SELECT v FROM probes WHERE id = 1');
	}
	return;
}

ok(all_sealed(), 'everything is sealed');
ok(all_quiet(), 'with graphs');
isnt(
	$node->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE kind = 'flat'"),
	'0', 'and flat ones');

# The name of an index's largest segment file.
sub segment_file
{
	my ($index) = @_;
	return $node->safe_psql('postgres',
		"SELECT '$key{$index}.' || segment || '.seg' FROM vec_segments WHERE index = '$index'::regclass
		 ORDER BY bytes DESC LIMIT 1");
}

# Where the bytes of a segment that mean something are: [offset, size] of the header and of each section.
sub parts
{
	my ($path) = @_;
	my @words = unpack('(Q<3)7', read_bytes($path, 144, 7 * 24));
	my @parts = ([ 0, 4096 ]);
	while (my ($offset, $size) = splice(@words, 0, 3)) { push @parts, [ $offset, $size ] if $size; }
	return @parts;
}

# The damages to a segment file and to a manifest: each takes a path and says what it did.
sub segment_damages
{
	my ($path) = @_;
	my @damages;
	foreach my $part (parts($path))
	{
		my ($offset, $size) = @$part;
		foreach my $at ($offset, $offset + $size - 1, $offset + int(rand($size)))
		{
			push @damages, sub { flip($_[0], $at) };
		}
	}
	# A code far away from where it was: the exponent's highest bits.
	my ($offset, $size) = unpack('Q<2', read_bytes($path, 144 + 24, 16));
	my $code = int(rand($size / 4));
	push @damages, sub { flip($_[0], $offset + 4 * $code + 3, 0x40) };
	foreach my $size (0, 1, 4095, 4096, int(rand(-s $path)), (-s $path) - 1)
	{
		push @damages, sub { cut($_[0], $size) };
	}
	push @damages, sub { append_to_file($_[0], 'x' x 100); return 'grown' };
	push @damages, sub { unlink $_[0]; return 'deleted' };
	return @damages;
}

sub manifest_damages
{
	my ($path) = @_;
	my $size = -s $path;
	my @damages;
	foreach my $at (0, 8, 16, 40, $size - 1, int(rand($size)), int(rand($size)))
	{
		push @damages, sub { flip($_[0], $at) };
	}
	foreach my $cut (0, 7, int(rand($size)), $size - 1)
	{
		push @damages, sub { cut($_[0], $cut) };
	}
	push @damages, sub { append_to_file($_[0], "\0" x 5000); return 'grown' };
	return @damages;
}

# Damages with the server stopped; after the start, at once and before any builder could help, answers are right;
# the builder then finds every damage that matters, names the file and repairs.
sub damaged_round
{
	my ($what, @files) = @_;    # [name, damage]
	$node->stop;
	foreach my $file (@files)
	{
		my ($name, $damage) = @$file;
		note("$what: $name: " . $damage->("$dir/$name"));
	}
	my $offset = log_size($node);
	$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
	$node->start;
	all_exact("$what, builder off");
	$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
	$node->reload;
	foreach my $file (@files)
	{
		my ($name) = @$file;
		ok(wait_log_since($node, $offset, qr/vecckpt: setting aside file "vector-ckpt\/\Q$name\E"/),
			"$what: the log names $name");
	}
	ok(all_sealed(), "$what: repaired");
	all_exact("$what, repaired");
	return;
}

# Segments: of the tables with graphs it is these that get damaged.
my $round = 0;
my @graph_damages = segment_damages("$dir/" . segment_file('t1_v'));
my @flat_damages  = segment_damages("$dir/" . segment_file("t${kTables}_v"));
cmp_ok(scalar(@graph_damages), '>', scalar(@flat_damages), 'a graph segment has more parts than a flat one');
while (@graph_damages || @flat_damages)
{
	$round++;
	ok(all_settled(), "segments, round $round: graphs are there");
	my @files;
	foreach my $i (1 .. $kTables)
	{
		my $damage = shift @{ $i <= $kGraphs ? \@graph_damages : \@flat_damages } or next;
		push @files, [ segment_file("t${i}_v"), $damage ];
	}
	damaged_round("segments, round $round", @files);
}

# Durable manifests.
my @manifest_damages = manifest_damages("$dir/$key{t1_v}.ckpt");
$round = 0;
while (@manifest_damages)
{
	$round++;
	my @files;
	foreach my $index (@indexes)
	{
		my $damage = shift @manifest_damages or last;
		push @files, [ "$key{$index}.ckpt", $damage ];
	}
	damaged_round("manifests, round $round", @files);
}

# Files of other indexes under an index's names.
my $spare = PostgreSQL::Test::Utils::tempdir();
my %swap;
foreach my $pair ([ 1, 2 ], [ $kTables - 1, $kTables ])
{
	my ($one, $other) = map { segment_file("t${_}_v") } @$pair;
	@swap{ $one, $other } = ($other, $one);
}
@swap{ "$key{t3_v}.ckpt", "$key{t4_v}.ckpt" } = ("$key{t4_v}.ckpt", "$key{t3_v}.ckpt");
copy("$dir/$_", "$spare/$_") or die "$_: $!" foreach keys %swap;
damaged_round(
	'another index\'s files',
	map {
		my $other = $swap{$_};
		[ $_, sub { copy("$spare/$other", $_[0]) or die $!; return "replaced by $other" } ]
	} sort keys %swap);

# All files gone, then the folder too.
$node->stop;
unlink glob("$dir/*");
$node->start;
all_exact('files deleted between runs');
ok(all_sealed(), 'files deleted between runs: repaired');
$node->stop;
remove_tree($dir);
$node->start;
all_exact('folder deleted between runs');
ok(all_sealed(), 'folder deleted between runs: repaired');
ok((grep { /\.ckpt$/ } vec_files($node)) == $kTables, 'and durable');

# The same while running: with a session that has the files mapped, one that has not, and a cursor left open.
foreach my $folder (0, 1)
{
	my $what    = $folder ? 'folder deleted while running' : 'files deleted while running';
	my $query   = "SELECT id FROM t1 ORDER BY v <-> (SELECT v FROM probes WHERE id = 2)";
	my $exact   = $node->safe_psql('postgres', "SELECT array_agg(id) FROM ($query) s");
	my $session = $node->background_psql('postgres');
	$session->query_safe("$EXHAUSTIVE BEGIN; DECLARE c CURSOR FOR $query");
	my $first  = $session->query_safe('FETCH 100 FROM c');
	my $offset = log_size($node);
	if   ($folder) { remove_tree($dir); }
	else           { unlink glob("$dir/*"); }
	all_exact($what);
	my $rest = $session->query_safe('FETCH ALL FROM c');
	is('{' . join(',', split /\n/, "$first\n$rest") . '}', $exact, "$what: a cursor reads on");
	$session->query_safe('COMMIT');
	$node->safe_psql('postgres', "INSERT INTO $_ (v) SELECT random_vector($kDims) FROM generate_series(1, 3)")
	  foreach @tables;
	like(log_since($node, $offset), qr/vecckpt: setting aside .*vector-ckpt\//, "$what: the log names a file");
	ok(all_sealed(), "$what: repaired");
	all_exact("$what, repaired");
	is($session->query_safe("SELECT count(*) FROM ($query LIMIT 5000) s"),
		$node->safe_psql('postgres', 'SELECT least(count(*), 5000) FROM t1'), "$what: the old session goes on");
	$session->quit;
	is(scalar(grep { /\.ckpt$/ } vec_files($node)), $kTables, "$what: durable again");
}

# Strange files: what is in the folder neither stops the start nor is touched, unless the name is one of ours.
ok(all_quiet(), 'graphs are built again');
my %before = map { $_ => vec_segments($node, $_) } @indexes;
$node->stop;
my $k = $key{t1_v};
my @strange = (
	'x.seg', 'README', '.hidden', "$k.ckpt~", ".#$k.ckpt", "$k.ckpt.swp", "#$k.ckpt#", "$k.0123.seg", "0$k.ckpt",
	"$k.0123456789ABCDEF.seg", '99999999999_1_1.ckpt', '-1_2_3.ckpt', 'a' x 255, "line\nbreak", "%s%n", "\xff\xfe.seg");
append_to_file("$dir/$_", 'strange') foreach @strange;
mkdir "$dir/folder" or die $!;
append_to_file("$dir/folder/inside", 'strange');
my %kept = map { $_ => 1 } @strange, 'folder';

# Of names like ours, but not what they should be.
mkdir "$dir/1_2_3.ckpt"                    or die $!;
mkdir "$dir/1_2_3.0123456789abcdef.seg"    or die $!;
append_to_file("$dir/1_2_3.0123456789abcdef.seg/inside", 'strange');
mkfifo("$dir/1_2_4.ckpt", 0600)            or die $!;
symlink('/dev/zero', "$dir/1_2_5.ckpt")    or die $!;
symlink('nowhere',   "$dir/1_2_6.ckpt")    or die $!;
append_to_file("$dir/1_2_7.ckpt", 'unreadable');
chmod 0, "$dir/1_2_7.ckpt";
append_to_file("$dir/1_2_8.0123456789abcdef.seg.tmp", 'left by a crash');
append_to_file("$dir/$k.0123456789abcdef.seg",        'of nobody');
append_to_file("$dir/$k.0123456789abcdef.gen",        'of nobody');

my $offset = log_size($node);
$node->start;
like(log_since($node, $offset), qr/vecckpt: loaded $kTables indexes/, 'strange files: the others are loaded');
all_exact('strange files');
ok( wait_until(
		'leftovers to be swept',
		sub { !grep { /^\Q$k\E\.0123456789abcdef\.(seg|gen)$|^1_2_8\./ } vec_files($node) }),
	'strange files: what nobody refers to is swept, past what cannot be removed');
my %now = map { $_ => 1 } vec_files($node);
is_deeply([ grep { !$now{$_} } sort keys %kept ], [], 'strange files: left alone');
ok(-e "$dir/folder/inside", 'strange files: sub-folders too');
is(vec_segments($node, $_), $before{$_}, "strange files: the segments of $_ are the same") foreach @indexes;
$node->safe_psql('postgres',
	"INSERT INTO t1 (v) SELECT random_vector($kDims) FROM generate_series(1, 300); SELECT vec_checkpoint()");
ok(all_sealed(), 'strange files: checkpoints go on');

# A folder that cannot be written, and a file in its place: answers stay right, and it heals.
$node->stop;
chmod 0500, $dir;
$node->start;
$node->safe_psql('postgres', "INSERT INTO $_ (v) SELECT random_vector($kDims) FROM generate_series(1, 300)") foreach @tables;
all_exact('read-only folder');
$node->stop;
chmod 0700, $dir;
$node->start;
ok(all_sealed(), 'read-only folder: healed');
$node->stop;
move($dir, "$spare/vector-ckpt");
append_to_file($dir, 'not a folder');
$node->start;
all_exact('a file in place of the folder');
$node->stop;
unlink $dir;
move("$spare/vector-ckpt", $dir);
$node->start;
all_exact('the folder is back');
ok(all_sealed(), 'the folder is back: sealed');

unlike(log_since($node), qr/PANIC|TRAP:|was terminated by signal/, 'the log holds no sign of a defect');
$node->stop;
done_testing();
