# Damaging files byte by byte: what the pages of a log, segments and manifests look like inside (pg/log_format.hpp,
# segment/segment_format.hpp, segment/manifest.cpp), on a little-endian machine.

package VecDamage;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  read_bytes write_bytes flip cut
  log_file page_at put16 put32 put64 get32 get64
  segment_parts segment_fields manifest_fields manifest_segments known_live
  turn_off_checksums
);

sub read_bytes
{
	my ($path, $offset, $count) = @_;
	open(my $file, '<:raw', $path) or die "$path: $!";
	seek($file, $offset, 0);
	read($file, my $bytes, $count) == $count or die "$path has no $count bytes at $offset";
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

# Flips a bit of a byte, a random one unless given.
sub flip
{
	my ($path, $offset, $bits) = @_;
	write_bytes($path, $offset, chr(ord(read_bytes($path, $offset, 1)) ^ ($bits || 1 << int(rand(8)))));
	return "byte $offset of " . (-s $path) . ' flipped';
}

sub cut
{
	my ($path, $size) = @_;
	my $was = -s $path;
	truncate($path, $size) or die "$path: $!";
	return "cut from $was to $size";
}

# ---- The log: offsets of fields within a page's contents

# The first file of an index's main fork.
sub log_file
{
	my ($node, $index) = @_;
	return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$index')");
}

# Where a field of a page lies in the file: behind the page header of 24 bytes.
sub page_at
{
	my ($block, $field) = @_;
	return $block * 8192 + 24 + $field;
}

sub put16 { my ($path, $offset, $value) = @_; return write_bytes($path, $offset, pack('S<', $value)); }
sub put32 { my ($path, $offset, $value) = @_; return write_bytes($path, $offset, pack('L<', $value)); }
sub put64 { my ($path, $offset, $value) = @_; return write_bytes($path, $offset, pack('Q<', $value)); }
sub get32 { my ($path, $offset) = @_; return unpack('L<', read_bytes($path, $offset, 4)); }
sub get64 { my ($path, $offset) = @_; return unpack('Q<', read_bytes($path, $offset, 8)); }

# ---- Segments and manifests: [name, offset, size] of each part

# The header page and the sections that are not empty.
sub segment_parts
{
	my ($path) = @_;
	my @words = unpack('(Q<3)7', read_bytes($path, 144, 7 * 24));
	my @parts = ([ 'header', 0, 4096 ]);
	foreach my $name (qw(codec codes links0 upper entries orphans extents))
	{
		my ($offset, $size) = splice(@words, 0, 3);
		push @parts, [ $name, $offset, $size ] if $size;
	}
	return @parts;
}

# The fields of a segment's header page, and the rest of the page.
sub segment_fields
{
	my @fields = (
		[ magic => 8 ], [ version => 4 ], [ header_size => 4 ], [ checksum => 8 ], [ identity => 8 ],
		[ segment_id => 8 ], [ file_size => 8 ], [ range_begin => 8 ], [ range_end => 8 ], [ end_hash => 8 ],
		[ max_lsn => 8 ], [ entry_count => 8 ], [ kind => 4 ], [ dims => 4 ], [ m => 4 ],
		[ ef_construction => 4 ], [ slots_per_extent => 4 ], [ node_count => 4 ], [ stride => 4 ],
		[ entry_node => 4 ], [ entry_rank => 4 ], [ max_level => 4 ], [ metric => 1 ], [ element_type => 1 ],
		[ code_kind => 1 ], [ reserved => 5 ], [ repaired => 4 ], [ reserved2 => 4 ]);
	foreach my $section (qw(codec codes links0 upper entries orphans extents))
	{
		push @fields, [ "$section offset", 8 ], [ "$section size", 8 ], [ "$section checksum", 8 ];
	}
	return _placed(0, 4096, @fields);
}

# The fields of a manifest with its segments and its checksum.
sub manifest_fields
{
	my ($path) = @_;
	my @fields = (
		[ magic => 8 ], [ version => 4 ], [ header_size => 4 ], [ database => 4 ], [ tablespace => 4 ],
		[ relation => 4 ], [ index_oid => 4 ], [ identity => 8 ], [ manifest_id => 8 ], [ generation => 8 ],
		[ dims => 4 ], [ m => 4 ], [ ef_construction => 4 ], [ slots_per_extent => 4 ], [ metric => 1 ],
		[ element_type => 1 ], [ code_kind => 1 ], [ persistence => 1 ], [ segment_count => 4 ]);
	foreach my $i (1 .. unpack('L<', read_bytes($path, 76, 4)))
	{
		push @fields,
		  map { [ "segment $i $_->[0]", $_->[1] ] }
		  [ id => 8 ], [ range_begin => 8 ], [ range_end => 8 ], [ file_size => 8 ], [ header_checksum => 8 ],
		  [ entry_count => 8 ], [ max_lsn => 8 ], [ end_hash => 8 ], [ node_count => 4 ], [ kind => 4 ],
		  [ orphan_count => 4 ], [ repaired => 4 ], [ stride => 4 ], [ reserved => 4 ], [ liveness_id => 8 ];
	}
	return _placed(0, -s $path, @fields, [ checksum => 8 ]);
}

# The segments that a manifest lists: { id, entries, bitmap }; bitmap is '' where there is none.
sub manifest_segments
{
	my ($path) = @_;
	my $bytes  = slurp_file($path);
	my $hex    = sub { my ($at) = @_; return sprintf('%016x', unpack('Q<', substr($bytes, $at, 8))); };
	my @segments;
	foreach my $i (0 .. unpack('L<', substr($bytes, 76, 4)) - 1)
	{
		my $at     = 80 + 96 * $i;
		my $bitmap = $hex->($at + 88);
		push @segments,
		  { id => $hex->($at), entries => unpack('Q<', substr($bytes, $at + 40, 8)), bitmap => $bitmap =~ /^0+$/ ? '' : $bitmap };
	}
	return @segments;
}

# What searches know of a durable manifest's segments: how many entries live, as their liveness bitmaps say, and the names
# of the bitmaps.
sub known_live
{
	my ($folder, $key) = @_;
	my ($live, @names) = (0);
	foreach my $segment (-e "$folder/$key.ckpt" ? manifest_segments("$folder/$key.ckpt") : ())
	{
		my $name = "$key.$segment->{bitmap}.live";
		push @names, $name if $segment->{bitmap} ne '';
		$live += $segment->{bitmap} ne '' && -e "$folder/$name" ? get64("$folder/$name", 24) : $segment->{entries};
	}
	return ($live, @names);
}

# [name, size] one behind the other as [name, offset, size]; what is left up to `end` is padding.
sub _placed
{
	my ($offset, $end, @fields) = @_;
	my @placed;
	foreach my $field (@fields)
	{
		my ($name, $size) = @$field;
		push @placed, [ $name, $offset, $size ];
		$offset += $size;
	}
	die 'fields are longer than what they are fields of' if $offset > $end;
	push @placed, [ 'padding', $offset, $end - $offset ] if $offset < $end;
	return @placed;
}

# A stopped server without data checksums, whatever initdb's default is.
sub turn_off_checksums
{
	my ($node) = @_;
	my $control = PostgreSQL::Test::Utils::run_log([ 'pg_checksums', '--check', '-D', $node->data_dir ]);
	PostgreSQL::Test::Utils::system_or_bail('pg_checksums', '--disable', '-D', $node->data_dir) if $control;
	return;
}

1;
