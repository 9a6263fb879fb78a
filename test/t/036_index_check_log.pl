# vec_index_check sees damage to the pages of a log: one index for each kind of damage, written into its file while the
# server is stopped, without data checksums. Each gives a finding that names the place, none crashes the server, with
# and without the comparison with the table; and the same indexes have no finding before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

# 16 dimensions: 676 slots in an extent, 7 pages. 3,000 rows are sequences 0 to 4 in extents 0 to 4; then sequences 1
# and 2 are freed, the free list is 2, 1.
use constant { SLOTS => 676, PAGES => 7, ROWS => 3000 };

# Blocks and fields (log_format.hpp).
sub directory { my ($extent) = @_; return 2 + PAGES * $extent; }
sub vectors { my ($extent, $page) = @_; return directory($extent) + 1 + $page; }
my %meta = (
	magic => 0, version => 4, identity => 8, dims => 16, slots_per_extent => 20, pages_per_extent => 24, slot_size => 32,
	m => 36, metric => 44, element_type => 45, reserved => 47, first_sequence => 48, next_sequence => 56,
	tail_extent => 64, extent_count => 68, free_head => 72, map_extent => 76, map_extent_used => 80, map_blocks => 88);
my %dir = (sequence => 0, running_hash => 8, extent => 16, state => 20, used => 24, live => 28, next_free => 32, slots => 40);
my %slot = (block => 0, offset => 4, flags => 6, hash => 8);
sub in_meta { my ($field) = @_; return page_at(0, $meta{$field}); }
sub in_map { my ($sequence) = @_; return page_at(1, 4 * $sequence); }
sub in_dir { my ($extent, $field) = @_; return page_at(directory($extent), $dir{$field}); }
sub in_slot { my ($extent, $n, $field) = @_; return page_at(directory($extent), $dir{slots} + 12 * $n + $slot{$field}); }
use constant { PD_LOWER => 12, PD_UPPER => 14, KIND => 8184 };
my $none = 0xFFFFFFFF;

# [name, damage, what a finding says: "severity|place|message"]
my @damages = (
	# The meta page
	[ 'meta: magic', sub { flip($_[0], in_meta('magic')) }, qr/^error\|block 0 \(meta page\)\|is not a meta page/m ],
	[ 'meta: version', sub { put32($_[0], in_meta('version'), 9) }, qr/^error\|block 0 .*\|has format version 9/m ],
	[ 'meta: kind', sub { put16($_[0], KIND, 4) }, qr/^error\|block 0 .*\|is not a meta page/m ],
	[ 'meta: zeros', sub { write_bytes($_[0], 0, "\0" x 8192) }, qr/^error\|block 0 .*\|is empty/m ],
	[ 'meta: length', sub { put16($_[0], PD_LOWER, 4000) }, qr/^error\|block 0 .*\|has a wrong length/m ],
	[ 'meta: page header', sub { put16($_[0], PD_UPPER, 9000) }, qr/^error\|block 0\|cannot be read: invalid page/m ],
	[ 'meta: identity', sub { put64($_[0], in_meta('identity'), 0) }, qr/^error\|block 0 .*\|has no identity/m ],
	[ 'meta: dims', sub { put32($_[0], in_meta('dims'), 17) }, qr/^error\|block 0 .*\|has a geometry/m ],
	[ 'meta: many dims', sub { put32($_[0], in_meta('dims'), 70000) }, qr/^error\|block 0 .*\|has a metric, .* dimensions/m ],
	[ 'meta: slots', sub { put32($_[0], in_meta('slots_per_extent'), 675) }, qr/^error\|block 0 .*\|has a geometry/m ],
	[ 'meta: pages', sub { put32($_[0], in_meta('pages_per_extent'), 0) }, qr/^error\|block 0 .*\|has a geometry/m ],
	[ 'meta: slot size', sub { put32($_[0], in_meta('slot_size'), 16) }, qr/^error\|block 0 .*\|has a metric, .*slot size/m ],
	[ 'meta: m', sub { put32($_[0], in_meta('m'), 1000) }, qr/^error\|block 0 .*\|has m or ef_construction/m ],
	[ 'meta: metric', sub { write_bytes($_[0], in_meta('metric'), "\3") }, qr/^error\|block 0 .*\|has a metric .*operator class/m ],
	[ 'meta: element type', sub { write_bytes($_[0], in_meta('element_type'), "\2") }, qr/^error\|block 0 .*\|has a metric or element type/m ],
	[ 'meta: reserved', sub { write_bytes($_[0], in_meta('reserved'), "\1") }, qr/^error\|block 0 .*\|has values in reserved/m ],
	[ 'meta: first sequence', sub { put64($_[0], in_meta('first_sequence'), 5) }, qr/^error\|block 0 .*\|has sequences 5 to 5/m ],
	[ 'meta: first sequence late', sub { put64($_[0], in_meta('first_sequence'), 1) }, qr/^error\|block 1 \(map page\)\|gives extent 0 to sequence 0, which is before/m ],
	[ 'meta: next sequence', sub { put64($_[0], in_meta('next_sequence'), 1 << 40) }, qr/^error\|block 0 .*\|has sequences 0 to/m ],
	[ 'meta: next sequence early', sub { put64($_[0], in_meta('next_sequence'), 4) }, qr/^error\|block 1 .*\|gives extent 4 to sequence 4, which is not in use yet/m ],
	[ 'meta: no sequence', sub { put64($_[0], in_meta('next_sequence'), 0) }, qr/^error\|block 0 .*\|has extents, but no sequence/m ],
	[ 'meta: tail', sub { put32($_[0], in_meta('tail_extent'), 3) }, qr/^error\|block 0 .*\|has extent 3 as its tail/m ],
	[ 'meta: extents', sub { put32($_[0], in_meta('extent_count'), 1 << 31) }, qr/^error\|block 0 .*\|has 2147483648 extents, the file has room for 5/m ],
	[ 'meta: fewer extents', sub { put32($_[0], in_meta('extent_count'), 4) }, qr/^error\|block 1 .*\|gives sequence 4 extent 4, which there is not/m ],
	[ 'meta: map block', sub { put32($_[0], in_meta('map_blocks'), 2) }, qr/^error\|block 0 .*\|has block 2 for map page 0/m ],
	[ 'meta: other map block', sub { put32($_[0], in_meta('map_blocks') + 4 * 7, vectors(2, 3)) }, qr/^error\|block 20 \(map page\)\|is not a map page/m ],
	[ 'meta: map extent', sub { put32($_[0], in_meta('map_extent'), 99) }, qr/^error\|block 0 .*\|puts the next map page/m ],
	# The map
	[ 'map: kind', sub { put16($_[0], 8192 + KIND, 3) }, qr/^error\|block 1 \(map page\)\|is not a map page/m ],
	[ 'map: zeros', sub { write_bytes($_[0], 8192, "\0" x 8192) }, qr/^error\|block 1 .*\|is empty/m ],
	[ 'map: length', sub { put16($_[0], 8192 + PD_LOWER, 100) }, qr/^error\|block 1 .*\|has a wrong length/m ],
	[ 'map: no such extent', sub { put32($_[0], in_map(3), 77) }, qr/^error\|block 1 .*\|gives sequence 3 extent 77, which there is not/m ],
	[ 'map: an extent twice', sub { put32($_[0], in_map(3), 0) }, qr/^error\|block 1 .*\|gives sequence 3 extent 0, which holds sequence 0/m ],
	[ 'map: a free extent', sub { put32($_[0], in_map(1), 1) }, qr/^error\|block 1 .*\|gives sequence 1 extent 1, which is free/m ],
	[ 'map: an extent lost', sub { put32($_[0], in_map(3), $none) }, qr/^error\|block 23 \(directory page of extent 3\)\|holds sequence 3, which the map does not give/m ],
	[ 'map: an entry too many', sub { put32($_[0], in_map(1000), 1) }, qr/^error\|block 1 .*\|gives extent 1 to sequence 1000/m ],
	# Directory pages
	[ 'directory: kind', sub { put16($_[0], directory(3) * 8192 + KIND, 4) }, qr/^error\|block 23 .*\|is not a directory page/m ],
	[ 'directory: zeros', sub { write_bytes($_[0], directory(3) * 8192, "\0" x 8192) }, qr/^error\|block 23 .*\|is empty/m ],
	[ 'directory: page header', sub { put16($_[0], directory(3) * 8192 + PD_UPPER, 9000) }, qr/^error\|block 23\|cannot be read: invalid page/m ],
	[ 'directory: sequence', sub { put64($_[0], in_dir(3, 'sequence'), 11) }, qr/^error\|block 1 .*\|gives sequence 3 extent 3, which holds sequence 11/m ],
	[ 'directory: extent', sub { put32($_[0], in_dir(3, 'extent'), 2) }, qr/^error\|block 23 .*\|says that it is extent 2/m ],
	[ 'directory: free', sub { put32($_[0], in_dir(3, 'state'), 2) }, qr/^error\|block 1 .*\|gives sequence 3 extent 3, which is free/m ],
	[ 'directory: state', sub { put32($_[0], in_dir(3, 'state'), 7) }, qr/^error\|block 23 .*\|has the unknown state 7/m ],
	[ 'directory: used', sub { put32($_[0], in_dir(3, 'used'), 677) }, qr/^error\|block 23 .*\|has 677 slots used, of 676/m ],
	[ 'directory: fewer used', sub { put32($_[0], in_dir(3, 'used'), 675) }, qr/^error\|block 23 .*\|has 675 slots used, of 676, and is not the tail/m ],
	[ 'directory: live', sub { put32($_[0], in_dir(3, 'live'), 675) }, qr/^error\|block 23 .*\|counts 675 live entries, its flags 676/m ],
	[ 'directory: running hash', sub { flip($_[0], in_dir(4, 'running_hash') + 3) }, qr/^error\|block 30 .*\|has a running hash other/m ],
	[ 'directory: first running hash', sub { flip($_[0], in_dir(0, 'running_hash')) }, qr/^error\|block 2 .*\|has a running hash other/m ],
	[ 'directory: length', sub { put16($_[0], directory(3) * 8192 + PD_LOWER, 100) }, qr/^error\|block 23 .*\|has a length that does not fit/m ],
	[ 'directory: dead flag', sub { put16($_[0], in_slot(3, 5, 'flags'), 1) }, qr/^error\|block 23 .*\|counts 676 live entries, its flags 675/m ],
	[ 'directory: flags', sub { put16($_[0], in_slot(3, 5, 'flags'), 6) }, qr/^error\|block 23 .*\|has unknown flags 6 at slot 5/m ],
	[ 'directory: TID', sub { flip($_[0], in_slot(3, 5, 'block')) }, qr/^error\|slot 5 of extent 3\|TID .* do not fit the hash in block 23/m ],
	[ 'directory: no TID', sub { put16($_[0], in_slot(3, 5, 'offset'), 0) }, qr/^error\|block 23 .*\|has no valid TID at slot 5/m ],
	[ 'directory: hash', sub { flip($_[0], in_slot(4, 200, 'hash')) }, qr/^error\|slot 200 of extent 4\|/m ],
	# An entry that is dead by mistake: the log alone looks as it should, the table shows it.
	[ 'directory: a live entry dead', sub { put16($_[0], in_slot(3, 5, 'flags'), 1); put32($_[0], in_dir(3, 'live'), 675); }, qr/^error\|row \(\d+,\d+\) of table "t\d+"\|has no live entry/m ],
	# The free list
	[ 'free list: no such extent', sub { put32($_[0], in_meta('free_head'), 50) }, qr/^error\|block 0 .*\|leads the free list to extent 50, which there is not/m ],
	[ 'free list: a live extent', sub { put32($_[0], in_dir(2, 'next_free'), 3) }, qr/^error\|block 16 .*\|leads the free list to extent 3, which is not free/m ],
	[ 'free list: a ring', sub { put32($_[0], in_dir(1, 'next_free'), 2) }, qr/^error\|block 9 .*\|leads the free list to extent 2, which is on it already/m ],
	[ 'free list: onto itself', sub { put32($_[0], in_dir(1, 'next_free'), 1) }, qr/^error\|block 9 .*\|leads the free list to extent 1, which is on it already/m ],
	[ 'free list: cut short', sub { put32($_[0], in_dir(2, 'next_free'), $none) }, qr/^warning\|block 9 .*\|is free, but not on the free list/m ],
	[ 'free list: gone', sub { put32($_[0], in_meta('free_head'), $none) }, qr/^warning\|block 16 .*\|is free, but not on the free list/m ],
	[ 'free list: live entries', sub { put32($_[0], in_dir(1, 'live'), 3) }, qr/^error\|block 9 .*\|is free and counts 3 live/m ],
	[ 'free list: not full', sub { put32($_[0], in_dir(1, 'used'), 3) }, qr/^error\|block 9 .*\|is free and has 3 slots used/m ],
	[ 'free list: a vector page', sub { put16($_[0], vectors(1, 2) * 8192 + KIND, 2) }, qr/^error\|block 12 \(vector page 2 of extent 1\)\|is not a vector page/m ],
	# Vector pages
	[ 'vectors: kind', sub { put16($_[0], vectors(3, 1) * 8192 + KIND, 3) }, qr/^error\|block 25 \(vector page 1 of extent 3\)\|is not a vector page/m ],
	[ 'vectors: zeros', sub { write_bytes($_[0], vectors(3, 1) * 8192, "\0" x 8192) }, qr/^error\|block 25 .*\|is empty/m ],
	[ 'vectors: page header', sub { put16($_[0], vectors(3, 1) * 8192 + PD_UPPER, 9000) }, qr/^error\|block 25\|cannot be read: invalid page/m ],
	[ 'vectors: length', sub { put16($_[0], vectors(3, 1) * 8192 + PD_LOWER, 500) }, qr/^error\|block 25 .*\|has a wrong length/m ],
	[ 'vectors: a value', sub { flip($_[0], page_at(vectors(3, 0), 64 * 10 + 3)) }, qr/^error\|slot 10 of extent 3\|TID .* vector in block 24 do not fit/m ],
	# Slot 127 begins on vector page 0 and ends on page 1.
	[ 'vectors: a value across pages', sub { flip($_[0], page_at(vectors(3, 1), 1)) }, qr/^error\|slot 127 of extent 3\|TID .* vector in blocks 24 and 25 do not fit/m ],
	[ 'vectors: two exchanged', sub {
			my ($a, $b) = map { page_at(vectors(4, 0), 64 * $_) } 3, 4;
			my ($x, $y) = map { read_bytes($_[0], $_, 64) } $a, $b;
			write_bytes($_[0], $a, $y); write_bytes($_[0], $b, $x); }, qr/^error\|slot 3 of extent 4\|.*\nerror\|slot 4 of extent 4\|/m ],
	[ 'vectors: of a dead entry', sub { flip($_[0], page_at(vectors(0, 0), 64 * 9)) }, qr/^error\|slot 9 of extent 0\|/m ],
	# The file
	[ 'file: cut within an extent', sub { truncate($_[0], 8192 * vectors(4, 1)) or die $!; }, qr/^error\|block 32 \(vector page 1 of extent 4\)\|is beyond the end of the file/m ],
	[ 'file: cut before an extent', sub { truncate($_[0], 8192 * directory(4)) or die $!; }, qr/^error\|block 1 .*\|gives sequence 4 extent 4, which lies beyond the end of the file/m ],
	[ 'file: empty', sub { truncate($_[0], 0) or die $!; }, qr/^error\|file\|is empty/m ],
	[ 'file: longer', sub { write_bytes($_[0], 8192 * directory(5), read_bytes($_[0], 8192 * directory(4), 8192)); }, qr/^error\|block 37\|is not in use, but not empty/m ],
);

my $node = new_node('node', conf => "vecckpt.builder = off\nfsync = off");
turn_off_checksums($node);
$node->start;
setup_vectors($node);

# Equal tables and indexes, one for each damage and one to be spared.
my @names = map { "t$_" } 0 .. @damages;
$node->safe_psql('postgres', 'CREATE TABLE data AS SELECT i AS id, random_vector(16) AS v FROM generate_series(1, ' . ROWS . ') i');
my ($from, $to) = (SLOTS + 1, 3 * SLOTS);
my $load = '';
foreach my $t (@names)
{
	$load .= "CREATE TABLE $t AS TABLE data ORDER BY id; CREATE INDEX ${t}_v ON $t USING vhnsw (v);"
	  . " DELETE FROM $t WHERE id = 10 OR id BETWEEN $from AND $to;\n";
}
$node->safe_psql('postgres', $load);
ok( wait_until(
		'VACUUM to free two extents of each',
		sub {
			$node->safe_psql('postgres', "VACUUM $_") foreach @names;
			$node->safe_psql('postgres', 'SELECT bool_and(entries = 1648 AND live_entries = 1647) FROM vec_indexes') eq 't';
		}),
	'two extents of each index are freed');
my %file = map { $_ => log_file($node, "${_}_v") } @names;

# The findings of an index as "severity|place|message" lines.
sub findings
{
	my ($name, $rows) = @_;
	my ($code, $out, $error) = $node->psql('postgres', "SELECT * FROM vec_index_check('${name}_v', $rows)");
	is($code, 0, "$name: vec_index_check returns") or diag($error);
	return $out;
}

is( $node->safe_psql('postgres',
		"SELECT count(*) FROM vec_indexes i, vec_index_check(i.index, true) c"),
	'0', 'no findings before');

$node->stop;
foreach my $i (1 .. @damages)
{
	my ($what, $damage) = @{ $damages[ $i - 1 ] };
	my $path = $file{"t$i"};
	my $before = slurp_file($path);
	$damage->($path);
	isnt(slurp_file($path), $before, "t$i, $what: damaged");
}
my $offset = log_size($node);
$node->start;
my $visible = 0;
foreach my $i (1 .. @damages)
{
	my ($what, undef, $expected) = @{ $damages[ $i - 1 ] };
	my $all = findings("t$i", 'true');
	like($all, $expected, "t$i, $what: the finding");
	my $log = findings("t$i", 'false');
	# Nothing is found by looking at the log alone that the whole check does not find.
	my %seen = map { $_ => 1 } split /\n/, $all;
	is_deeply([ grep { !$seen{$_} } split /\n/, $log ], [], "t$i, $what: of the log");
	$visible++ if $log ne '';
}
is($visible, @damages - 1, 'all but one show in the log alone');
index_check_ok($node, 't0_v', 'the spared index has none');
unlike(log_since($node, $offset), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

# The view goes on over those that cannot be read, and says why.
my %shown = map { my ($name, @rest) = split /\|/, $_, -1; ($name => \@rest) } split /\n/,
  $node->safe_psql('postgres', q(SELECT replace(index::text, '_v', ''), entries, last_error FROM vec_indexes));
is(scalar(keys %shown), scalar(@names), 'vec_indexes has them all');
is_deeply($shown{t0}, [ 1648, '' ], 'the spared one as ever');
my %number = map { $damages[$_][0] => $_ + 1 } 0 .. $#damages;
foreach my $case (
	[ 'meta: magic', qr/^index "t\d+_v" has an unexpected page at block 0$/ ],
	[ 'meta: version', qr/^index "t\d+_v" has format version 9, this library knows version 1$/ ],
	[ 'meta: page header', qr/^invalid page in block 0 of relation / ],
	[ 'map: kind', qr/^index "t\d+_v" has an unexpected page at block 1$/ ],
	[ 'directory: used', qr/^index "t\d+_v" has an unexpected page at block 23$/ ])
{
	my ($what, $expected) = @$case;
	my ($entries, $error) = @{ $shown{"t$number{$what}"} };
	is($entries, '', "$what: vec_indexes cannot count");
	like($error, $expected, "$what: and says why");
}

# REINDEX, as the messages of other functions advise, mends each.
$node->safe_psql('postgres', "REINDEX INDEX t${_}_v") foreach 1 .. @damages;
is( $node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes i, vec_index_check(i.index, true) c"),
	'0', 'and none after REINDEX');

# ---- A log of so many sequences that it has a second map page. Equal vectors make it quick to build; a vector of one
# dimension makes extents of 2 pages.
$node->safe_psql('postgres', q(
CREATE TABLE large (v real[]);
INSERT INTO large SELECT ARRAY[i % 3] FROM generate_series(1, 2040 * 676 + 700) i;
SET client_min_messages = warning;
CREATE INDEX large_v ON large USING vhnsw (v);
));
index_check_ok($node, 'large_v', 'a large log has no findings');
my $large = log_file($node, 'large_v');
my $map_block = 2 + 2 * 2040;    # the first of an extent of its own, the second is not used yet
my $after = $map_block + 2;      # sequence 2040
foreach my $case (
	[ 'its place in the meta page', in_meta('map_blocks') + 4, pack('L<', $map_block + 1),
	  qr/^error\|block ${\($map_block + 1)} \(map page\)\|is empty/m ],
	[ 'no place in the meta page', in_meta('map_blocks') + 4, pack('L<', 0), qr/^error\|block 0 .*\|has block 0 for map page 1/m ],
	[ 'the first map page twice', in_meta('map_blocks') + 4, pack('L<', 1), qr/^error\|block 0 .*\|has block 1 for map page 1/m ],
	[ 'another one twice', in_meta('map_blocks') + 8, pack('L<', $map_block), qr/^error\|block 0 .*\|names block $map_block as two map pages/m ],
	[ 'beyond all extents', in_meta('map_blocks') + 4, pack('L<', 5000), qr/^error\|block 0 .*\|has block 5000 for map page 1/m ],
	[ 'an entry', page_at($map_block, 4), pack('L<', 2040), qr/^error\|block $map_block \(map page\)\|gives sequence 2041 extent 2040, which is taken for map pages/m ],
	[ 'an entry too many', page_at($map_block, 4 * 2), pack('L<', 7), qr/^error\|block $map_block .*\|gives extent 7 to sequence 2042/m ],
	[ 'kind', $map_block * 8192 + KIND, pack('S<', 3), qr/^error\|block $map_block .*\|is not a map page/m ],
	[ 'a page beside it', ($map_block + 1) * 8192, read_bytes($large, $after * 8192, 8192), qr/^error\|block ${\($map_block + 1)}\|is not in use, but not empty/m ])
{
	my ($what, $at, $bytes, $expected) = @$case;
	$node->stop;
	my $good = read_bytes($large, $at, length $bytes);
	isnt($bytes, $good, "second map page, $what: damaged");
	write_bytes($large, $at, $bytes);
	$node->start;
	like($node->safe_psql('postgres', "SELECT * FROM vec_index_check('large_v')"), $expected, "second map page, $what: the finding");
	$node->stop;
	write_bytes($large, $at, $good);
	$node->start;
}
index_check_ok($node, 'large_v', 'undone, it has none');

# ---- An earlier version's meta page ends behind the map pages' blocks. The fields that follow are read as zeros, and stay so.
$node->stop;
put16($file{t0}, PD_LOWER, page_at(0, 88 + 4 * 1980));
write_bytes($file{t0}, page_at(0, 88 + 4 * 1980), "\0" x 16);
$node->start;
index_check_ok($node, 't0_v', 'a meta page of an earlier version has no findings');
$node->safe_psql('postgres', 'INSERT INTO t0 SELECT id + 10000, v FROM data');
exact_everywhere($node, 't0', 'every row is found, with extents taken since');
index_check_ok($node, 't0_v', 'and still it has none');

$node->stop;
done_testing();
