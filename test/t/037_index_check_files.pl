# vec_index_check sees damage to the files of an index: in each part of flat and graph segments, in the manifest, files of
# other lengths, of other indexes, and files that describe another history of the log. Each finding names the file; the
# builder's repair leaves none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

use constant { GRAPH_ROWS => 4300, FLAT_ROWS => 600 };

seed_random();
my $node = new_node('node', conf => "vecckpt.builder = off\nfsync = off");
$node->start;
setup_vectors($node);

my %rows;
my @indexes;

# A table whose index has one segment, and 50 entries more in the tail.
sub make_index
{
	my ($kind, $options) = @_;
	my $t = 't' . @indexes;
	my $rows = $kind eq 'graph' ? GRAPH_ROWS : FLAT_ROWS;
	$node->safe_psql(
		'postgres', qq(
CREATE TABLE $t AS SELECT i AS id, random_vector(16) AS v FROM generate_series(1, $rows) i;
CREATE INDEX ${t}_v ON $t USING vhnsw (v) WITH (m = 8, ef_construction = 16, $options);
INSERT INTO $t SELECT i, random_vector(16) FROM generate_series($rows + 1, $rows + 50) i;
));
	push @indexes, "${t}_v";
	return "${t}_v";
}

sub segment_name
{
	my ($index) = @_;
	return $node->safe_psql('postgres',
		"SELECT '" . index_key($node, $index) . ".' || segment || '.seg' FROM vec_segments WHERE index = '$index'::regclass");
}

# Makes what is built durable, so that a restart finds it: CHECKPOINT waits for that.
sub restart_with
{
	my ($damage) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->stop;
	$damage->();
	$node->start;
	return;
}

sub findings
{
	my ($index) = @_;
	return $node->safe_psql('postgres', "SELECT * FROM vec_index_check('$index', true)");
}

# ---- Each part of each kind of segment, damaged while the server is stopped. [index, file, what, expected]
my @cases;
foreach my $kind ([ 'graph', 'quantization = sq8' ], [ 'graph', 'quantization = none' ], [ 'flat', 'quantization = sq4' ])
{
	my $sample = make_index(@$kind);
	my $path = vec_dir($node) . '/' . segment_name($sample);
	foreach my $part (segment_parts($path))
	{
		my ($name, $at, $size) = @$part;
		my $index = make_index(@$kind);
		my $file = segment_name($index);
		# Where the same part is in a file of other random contents: only its length may differ.
		my ($place) = grep { $_->[0] eq $name } segment_parts(vec_dir($node) . "/$file");
		next unless $place;
		my %what = (
			# A header's magic and version say that the file is another's.
			header => qr/header checksum mismatch|an unknown magic number|format version/,
			# The codec's parameters are read when the file is opened.
			codec => qr/codec section: checksum mismatch|codec parameters have/);
		push @cases, [ $index, $file, "@$kind, $name", sub { flip($_[0], $place->[1] + int(rand($place->[2]))) },
			$what{$name} || qr/$name section: checksum mismatch/ ];
	}
	foreach my $other ([ 'shorter', sub { cut($_[0], (-s $_[0]) - 1) } ], [ 'longer', sub { append_to_file($_[0], "\0") } ],
		[ 'empty', sub { cut($_[0], 0) } ])
	{
		my $index = make_index(@$kind);
		push @cases, [ $index, segment_name($index), "@$kind, $other->[0]", $other->[1], qr/is corrupt: its? .*bytes/ ];
	}
}
# A sound segment of another index.
{
	my ($index, $other) = map { make_index('flat', 'quantization = sq8') } 1, 2;
	my $from = vec_dir($node) . '/' . segment_name($other);
	push @cases, [ $index, segment_name($index), 'of another index', sub { copy($from, $_[0]) or die $! }, qr/is not the one its manifest lists/ ];
}
foreach my $index (@indexes) { is(findings($index), '', "$index: no finding before"); }

restart_with(sub { $_->[3]->(vec_dir($node) . "/$_->[1]") foreach @cases; });
foreach my $case (@cases)
{
	my ($index, $file, $what, undef, $expected) = @$case;
	my $found = findings($index);
	like($found, qr/^error\|file "vector-ckpt\/\Q$file\E"\|/, "$what: a finding names the file");
	like($found, $expected, "$what: and what is wrong with it");
	unlike($found, qr/block|row/, "$what: nothing else is found");
}
my %damaged = map { $_->[0] => 1 } @cases;
foreach my $index (grep { !$damaged{$_} } @indexes) { is(findings($index), '', "$index: no finding, not damaged"); }

# ---- The same while it runs, in files that are in use. Deleted, as the documentation says, they are set aside.
my $offset = log_size($node);
my @named;
foreach my $kind ('graph', 'flat')
{
	my $index = make_index($kind, 'quantization = sq8');
	my $file = segment_name($index);
	my ($codes) = grep { $_->[0] eq 'codes' } segment_parts(vec_dir($node) . "/$file");
	is(findings($index), '', "running, $kind: no finding before");
	$node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT id FROM ' . ($index =~ s/_v//r) . " ORDER BY v <-> random_vector(16) LIMIT 1");
	flip(vec_dir($node) . "/$file", $codes->[1] + 5);
	is(findings($index), "error|file \"vector-ckpt/$file\"|is corrupt: codes section: checksum mismatch",
		"running, $kind: the finding");
	push @named, [ $index, $file ];
}
{
	my $index = make_index('flat', 'quantization = sq8');
	$node->safe_psql('postgres', 'CHECKPOINT');
	my ($file) = grep { /\.(ckpt|gen)$/ } vec_files($node, index_key($node, $index));
	flip(vec_dir($node) . "/$file", 100);
	like(findings($index), qr/^error\|generation \d+\|manifest "vector-ckpt\/\Q$file\E" is corrupt: checksum mismatch$/,
		'running, manifest: the finding');
	push @named, [ $index, $file ];
}
unlink(map { vec_dir($node) . "/$_->[1]" } @named) == @named or die $!;
# The launcher may be faster than this check.
foreach my $case (@named)
{
	my ($index, $file) = @$case;
	my $found = findings($index);
	ok($found =~ /^error\|(file|generation).*(No such file|is missing)/ || log_since($node, $offset) =~ /setting aside /,
		"running, $file deleted: a finding, unless it is set aside by then") or diag($found);
}
# It looks through the folder every 20 seconds, and when something has become durable.
make_index('flat', 'quantization = sq8');
$node->safe_psql('postgres', 'CHECKPOINT');
foreach my $case (@named)
{
	my ($index, $file) = @$case;
	ok(wait_until("$index to have no segment", sub { vec_segments($node, $index) eq '' }), "running, $file deleted: it is set aside");
	index_check_ok($node, $index, "running, $file deleted: no finding any more");
}

# ---- The builder repairs all of them
$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;
foreach my $index (@indexes) { ok(wait_sealed($node, $index, ask => 1), "$index: repaired"); }
foreach my $index (@indexes) { index_check_ok($node, $index, "$index: no finding any more"); }
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');
$node->stop;

# ---- Files of another history: a data folder as it was before a DELETE, with the files from after it (see t/017)
my $later = new_node('later', conf => 'fsync = off');
$later->start;
setup_vectors($later);
$later->safe_psql('postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(8) AS v FROM generate_series(1, 6000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 16);
SELECT vec_checkpoint();
));
$later->stop;
$later->backup_fs_cold('before');
$later->start;
$later->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0');
ok( wait_until(
		'the dead to be left out',
		sub {
			$later->safe_psql('postgres', 'VACUUM t');
			$later->safe_psql('postgres', 'SELECT sum(entries) = 3000 FROM vec_segments') eq 't';
		}),
	'segments without the deleted entries');
index_check_ok($later, 't_v', 'which fit the log of later');
$later->safe_psql('postgres', 'SELECT vec_checkpoint()');
$later->stop;
foreach my $filler (0, 1)
{
	my $older = PostgreSQL::Test::Cluster->new("older_$filler");
	$older->init_from_backup($later, 'before');
	if ($filler)
	{
		# WAL that has overtaken what the files were built from.
		$older->append_conf('postgresql.conf', "shared_preload_libraries = ''");
		$older->start;
		$older->safe_psql('postgres', 'CREATE TABLE filler (t text)');
		$older->safe_psql('postgres', 'INSERT INTO filler SELECT repeat(md5(i::text), 20) FROM generate_series(1, 20000) i');
		$older->stop;
	}
	$older->append_conf('postgresql.conf', "shared_preload_libraries = 'vecckpt'\nvecckpt.builder = off");
	unlink glob(vec_dir($older) . '/*');
	copy(vec_dir($later) . "/$_", vec_dir($older) . "/$_") or die $! foreach vec_files($later);
	chmod 0600, glob(vec_dir($older) . '/*');
	$older->start;
	my $found = $older->safe_psql('postgres', "SELECT * FROM vec_index_check('t_v', true)");
	like($found,
		$filler
		? qr/^warning\|file "[^|]*"\|lacks live entries of the log: 3000, the first at position 1$/
		: qr/^warning\|generation \d+\|does not match the log, its first use will set it aside$/,
		$filler ? 'another history: what its segments lack' : 'another history: its coverage');
	exact_everywhere($older, 't', 'another history: every row is found, by its first use');
	index_check_ok($older, 't_v', 'another history: set aside, it is no finding any more');
	$older->stop;
}

done_testing();
