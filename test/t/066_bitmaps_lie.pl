# A liveness bitmap is advice, whatever it says. Those of another segment or index, those that call live rows dead, count
# what is not so or belong to another history, and what is no file at all: no row goes missing in any search, and the builder
# puts right what it can see to be wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

seed_random();
my $node = new_node('lies');
$node->start;
setup_vectors($node);
# t: a graph and a flat segment; other: a graph with as many nodes.
$node->safe_psql(
	'postgres', q(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, random_vector(16) FROM generate_series(1, 5000) i;
CREATE TABLE other (LIKE t);
INSERT INTO other SELECT * FROM t;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 40);
CREATE INDEX other_v ON other USING vhnsw (v) WITH (m = 8, ef_construction = 40);
));

# Until nobody builds any more.
sub hold_builder
{
	$node->safe_psql('postgres', 'ALTER SYSTEM SET vecckpt.builder = off; SELECT pg_reload_conf()');
	return wait_until('the builder to leave',
		sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder'") eq '0' });
}

sub let_build { return $node->safe_psql('postgres', 'ALTER SYSTEM RESET vecckpt.builder; SELECT pg_reload_conf()'); }

# In one piece, which the builder would not wait for.
hold_builder();
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(16) FROM generate_series(5001, 5300) i');
let_build();
ok(wait_settled($node, 't_v', ask => 1), 'all is sealed');
is($node->safe_psql('postgres', "SELECT segments FROM vec_indexes WHERE index = 't_v'::regclass"), '2', 'in two segments');
my %keys = map { $_ => index_key($node, $_) } qw(t_v other_v);

sub live_entries
{
	my ($index) = @_;
	return $node->safe_psql('postgres', "SELECT live_entries FROM vec_indexes WHERE index = '$index'::regclass");
}

# Waits until the durable generation has bitmaps, and they count what lives. Returns their names.
sub right_bitmaps
{
	my ($index) = @_;
	my @names;
	wait_until(
		"right bitmaps of $index",
		sub {
			$node->safe_psql('postgres', "SELECT vec_checkpoint('$index')");
			(my $known, @names) = known_live(vec_dir($node), $keys{$index});
			return @names && $known == live_entries($index);
		},
		180) or return;
	return @names;
}

# By searches of sessions that have not seen the bitmaps before: all rows, in order; each of some rows nearest to itself, and
# as many rows as asked for, with and without going on.
sub nothing_missing
{
	my ($name) = @_;
	exact_everywhere($node, 't', "$name: every row once", large => 1);
	foreach my $iterative ('off', 'strict_order')
	{
		my $found = $node->safe_psql(
			'postgres', qq(
SET enable_seqscan = off; SET enable_sort = off; SET vhnsw.ef_search = 40; SET vhnsw.iterative_scan = $iterative;
SELECT count(*), count(*) FILTER (WHERE n[1] = p.id), min(cardinality(n))
FROM (SELECT id, v FROM t ORDER BY id LIMIT 40) p,
     LATERAL (SELECT array_agg(id) AS n FROM (SELECT id FROM t ORDER BY v <-> p.v LIMIT 10) s) f));
		is($found, '40|40|10', "$name: 40 rows are found by their vectors, $iterative");
	}
	return;
}

# Some rows of each segment die.
sub kill_rows
{
	my ($table, $first) = @_;
	$node->safe_psql('postgres', "DELETE FROM $table WHERE id BETWEEN $first AND $first + 199 OR id BETWEEN 5001 AND 5030");
	return vacuum_dead($node, $table, "${table}_v");
}
$node->stop;
my $before = $node->basedir . '/before';
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $before);
$node->start;
ok(kill_rows('t', 1) && kill_rows('other', 201), 'rows of both tables die');
my @bitmaps = right_bitmaps('t_v');
is(scalar(@bitmaps), 2, 'both segments have a bitmap');
my ($foreign) = right_bitmaps('other_v');
ok(defined $foreign, 'the other index has one');
nothing_missing('as written');

# ---- Lies. The builder is held, so that they stay.
sub file { my ($name) = @_; return vec_dir($node) . "/$name"; }

sub put
{
	my ($name, $bytes) = @_;
	append_to_file(file("$name.new"), '');
	open(my $out, '>:raw', file("$name.new")) or die "$name: $!";
	print $out $bytes;
	close $out or die "$name: $!";
	rename(file("$name.new"), file($name)) or die "$name: $!";
	return;
}
my %truth = map { $_ => read_bytes(file($_), 0, -s file($_)) } @bitmaps;
my $other = slurp_file(file($foreign));

# The header as it is, but for the count; the bits by `bit`, which is 0, 1 or a function.
sub lie
{
	my ($live, $byte) = @_;
	return sub {
		my ($bytes) = @_;
		my $words = length($bytes) - 64;
		substr($bytes, 24, 8) = pack('Q<', $live) if defined $live;
		substr($bytes, 64) = join '', map { ref $byte ? $byte->() : chr($byte) } 1 .. $words if defined $byte;
		return $bytes;
	};
}
my @lies = (
	[ 'another index\'s' => sub { $other } ],
	[ 'another segment\'s' => sub { $truth{ $bitmaps[ $_[0] eq $truth{ $bitmaps[0] } ? 1 : 0 ] } } ],
	[ 'another index\'s under the right id' => sub { substr($other, 0, 16) . substr($_[0], 16, 8) . substr($other, 24) } ],
	[ 'all dead'                    => lie(0,     0xFF) ],
	[ 'all dead, but counted'       => lie(undef, 0xFF) ],
	[ 'all live, but not counted'   => lie(0,     0) ],
	[ 'one live'                    => lie(1,     0xFF) ],
	[ 'more live than there are'    => lie(~0,    0) ],
	[ 'half of the sum of a word'   => lie(1 << 63, 0xFF) ],
	[ 'random'                      => lie(undef, sub { chr(int(rand(256))) }) ]);
ok(hold_builder(), 'the builder is held');
foreach my $lie (@lies)
{
	my ($name, $change) = @$lie;
	put($_, $change->($truth{$_})) foreach @bitmaps;
	nothing_missing("bitmaps that are $name");
}
foreach my $thing ([ folder => sub { mkdir $_[0] } ], [ pipe => sub { !system('mkfifo', $_[0]) } ], [ 'link to itself' => sub { symlink $_[0], $_[0] } ])
{
	my ($name, $make) = @$thing;
	foreach my $bitmap (@bitmaps)
	{
		unlink file($bitmap) or die "$bitmap: $!";
		$make->(file($bitmap)) or die "$bitmap: $!";
	}
	nothing_missing("a $name in the place of bitmaps");
	foreach my $bitmap (@bitmaps) { -d file($bitmap) ? rmdir file($bitmap) : unlink file($bitmap); put($bitmap, $truth{$bitmap}); }
}

# Wrong counts are what the builder can see; then it makes both anew, under other names.
put($_, lie(0, 0xFF)->($truth{$_})) foreach @bitmaps;
let_build();
$node->restart;
my @new = right_bitmaps('t_v');
is(scalar(@new), 2, 'the builder writes them again');
my %old = map { $_ => 1 } @bitmaps;
is(scalar(grep { $old{$_} } @new), 0, 'under other names');
nothing_missing('written again');

# ---- Another history: the data folder goes back to before the rows died, but for vector-ckpt, whose bitmaps call rows dead
# that live again. Its segments are the same, and believed. A loss of power takes WAL and what was not synced: one bitmap is
# all zeros, where there is nothing to say now.
$node->stop;
put($new[1], "\0" x length($truth{ $bitmaps[1] }));
PostgreSQL::Test::RecursiveCopy::copypath(vec_dir($node), $node->basedir . '/later');
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $node->data_dir);
PostgreSQL::Test::RecursiveCopy::copypath($before, $node->data_dir);
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', vec_dir($node));
PostgreSQL::Test::RecursiveCopy::copypath($node->basedir . '/later', vec_dir($node));
chmod(0700, $node->data_dir, vec_dir($node)) == 2 or die "could not set permissions: $!";
$node->append_conf('postgresql.conf', "vecckpt.builder = off\n");
my $offset = log_size($node);
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '5300', 'all rows live again');
nothing_missing('bitmaps of another history');
unlike(log_since($node, $offset), qr/setting aside/, 'the segments are believed');
is($node->safe_psql('postgres', "SELECT segments FROM vec_indexes WHERE index = 't_v'::regclass"), '2', 'both of them');
my ($known) = known_live(vec_dir($node), $keys{t_v});
cmp_ok($known, '<', live_entries('t_v'), 'the bitmaps are wrong');
$node->append_conf('postgresql.conf', "vecckpt.builder = on\n");
$node->reload;
is(scalar(right_bitmaps('t_v')), 2, 'and are made right');
nothing_missing('made right');

unlike(log_since($node), qr/PANIC|TRAP:|signal \d+|XX000|XX001/, 'nothing worse in the log');
$node->stop;
done_testing();
