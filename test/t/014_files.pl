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
use VecTest;

my $kTables = 6;
my $kDims   = 128;

seed_random();
my $node = new_node('files', conf => "wal_level = minimal\nmax_wal_senders = 0\nvecckpt.checkpoint_timeout = 2");
$node->start;
setup_vectors($node);
my @tables = map { "t$_" } 1 .. $kTables;
my @indexes = map { "${_}_v" } @tables;
my $load = "CREATE TABLE probes AS SELECT id, random_vector($kDims) AS v FROM generate_series(1, 4) id;\n";
# One large enough for a graph of 2 MB, with a flat segment behind it; the others flat alone.
foreach my $t (@tables)
{
	my $rows = $t eq 't1' || $t eq 't2' ? 4200 : 600;
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

sub all_sealed
{
	my $sealed = 1;
	foreach my $index (@indexes) { $sealed &&= wait_sealed($node, $index, ask => 1); }
	return $sealed;
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
isnt(
	$node->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE kind = 'graph'"),
	'0', 'with graphs among the segments');
isnt(
	$node->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE kind = 'flat'"),
	'0', 'and flat ones');

# The names of an index's segment files of a kind.
sub segment_files
{
	my ($index, $kind) = @_;
	my $ids = $node->safe_psql('postgres',
		"SELECT segment FROM vec_segments WHERE index = '$index'::regclass AND kind = '$kind' ORDER BY bytes DESC");
	return map { "$key{$index}.$_.seg" } split /\n/, $ids;
}

sub read_bytes
{
	my ($path, $offset, $count) = @_;
	open(my $file, '<:raw', $path) or die "$path: $!";
	seek($file, $offset, 0);
	read($file, my $bytes, $count);
	close $file;
	return $bytes;
}

sub write_bytes
{
	my ($path, $offset, $bytes) = @_;
	open(my $file, '+<:raw', $path) or die "$path: $!";
	seek($file, $offset, 0);
	print $file $bytes;
	close $file or die "$path: $!";
	return;
}

sub flip
{
	my ($path, $offset, $bits) = @_;
	write_bytes($path, $offset, chr(ord(read_bytes($path, $offset, 1)) ^ ($bits || 1 << int(rand(8)))));
	return "byte $offset of " . (-s $path) . " flipped";
}

sub cut
{
	my ($path, $size) = @_;
	my $was = -s $path;
	truncate($path, $size) or die "$path: $!";
	return "cut from $was to $size";
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

# Segments: the two large tables have their graph damaged, the others a flat segment.
my $round = 0;
my (%damages, @graph, @flat);
my ($some_graph) = segment_files('t1_v', 'graph');
my ($some_flat)  = segment_files('t3_v', 'flat');
my @graph_damages = segment_damages("$dir/$some_graph");
my @flat_damages  = segment_damages("$dir/$some_flat");
while (@graph_damages || @flat_damages)
{
	$round++;
	my @files;
	foreach my $index (@indexes)
	{
		my $kind = $index =~ /^t[12]_/ ? 'graph' : 'flat';
		my ($name) = segment_files($index, $kind);
		next unless defined $name;
		my $damage = shift @{ $kind eq 'graph' ? \@graph_damages : \@flat_damages } or next;
		push @files, [ $name, $damage ];
	}
	last unless ok(scalar @files, "segments, round $round: files to damage");
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
my ($graph1)      = segment_files('t1_v', 'graph');
my ($graph2)      = segment_files('t2_v', 'graph');
my ($flat3)       = segment_files('t3_v', 'flat');
my ($flat4)       = segment_files('t4_v', 'flat');
my $swapped_with  = sub { my ($other) = @_; return sub { copy("$dir/$other", $_[0]); return "replaced by $other" } };
my $spare         = PostgreSQL::Test::Utils::tempdir();
copy("$dir/$_", "$spare/$_") foreach ($graph1, $flat3, "$key{t5_v}.ckpt");
my $from_spare = sub { my ($other) = @_; return sub { copy("$spare/$other", $_[0]); return "replaced by $other" } };
damaged_round(
	'another index\'s files',
	[ $graph1,            $swapped_with->($graph2) ],
	[ $graph2,            $from_spare->($graph1) ],
	[ $flat3,             $swapped_with->($flat4) ],
	[ $flat4,             $from_spare->($flat3) ],
	[ "$key{t5_v}.ckpt", $swapped_with->("$key{t6_v}.ckpt") ],
	[ "$key{t6_v}.ckpt", $from_spare->("$key{t5_v}.ckpt") ]);

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
	ok( wait_until(
			'durable manifests',
			sub {
				(grep { /\.ckpt$/ } vec_files($node)) == $kTables;
			}),
		"$what: durable again");
}

# Strange files: what is in the folder neither stops the start nor is touched, unless the name is one of ours.
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
my %before = map { $_ => vec_segments_of_files($_) } @indexes;

sub vec_segments_of_files
{
	my ($index) = @_;
	return join ' ', grep { /\.seg$/ && !/0123456789abcdef/i && !/\.0123\.seg/ } vec_files($node, $key{$index});
}

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
is(vec_segments_of_files($_), $before{$_}, "strange files: the segments of $_ are the same") foreach @indexes;
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
