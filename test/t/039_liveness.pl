# After VACUUM searches know which nodes are dead: a narrow search then finds as many live rows as it asks for without
# going on. What says so is a file of its own, which is advice only: garbage in its place, or nothing, costs no row, and
# it goes when its segment goes.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecData;
use VecTest;

seed_random();
my $node = new_node('liveness');
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
CREATE TABLE items (id int, v real[]);
INSERT INTO items SELECT i, random_vector(24) FROM generate_series(1, 6000) i;
CREATE INDEX items_v ON items USING vhnsw (v) WITH (m = 8, ef_construction = 40);
CREATE TABLE probe AS SELECT v FROM items WHERE id = 1;
));

# How many of 100 wanted rows one batch of a search returns; `off` does not go on.
sub found
{
	return $node->safe_psql(
		'postgres', q(
SET enable_seqscan = off; SET vhnsw.ef_search = 100; SET vhnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM probe) LIMIT 100) s));
}

sub bitmaps
{
	return grep { /\.live$/ } vec_files($node, index_key($node, 'items_v'));
}

is(found(), '100', 'all rows live');
is(scalar(bitmaps()), 0, 'there is no bitmap');

# The nearest thousand go: a quarter dead would make the builder leave them out of a new segment.
$node->safe_psql(
	'postgres', q(
SET enable_indexscan = off;
DELETE FROM items WHERE id IN (SELECT id FROM items ORDER BY v <-> (SELECT v FROM probe) LIMIT 1000);
));
cmp_ok(found(), '<', 100, 'before VACUUM a batch is made of dead rows');
ok(vacuum_dead($node, 'items', 'items_v'), 'VACUUM');
ok(wait_until('a bitmap', sub { scalar(bitmaps()) == 1 }), 'VACUUM brings a bitmap');
is(found(), '100', 'a batch is made of live rows');
exact_everywhere($node, 'items', 'every row is found, in order');

$node->safe_psql('postgres', "SELECT vec_checkpoint('items_v')");
$node->restart;
is(found(), '100', 'the bitmap is there after a restart');

# Advice: whatever it says, and however much of it there is, all rows are found. What cannot be used the builder makes
# again, under another name.
sub damage
{
	my ($name, $change) = @_;
	ok(wait_until('a bitmap', sub { scalar(bitmaps()) >= 1 }), 'there is a bitmap to damage');
	my @names = bitmaps();
	$node->stop;
	$change->(vec_dir($node) . "/$_") for @names;
	$node->start;
	return exact_everywhere($node, 'items', "every row is found with a bitmap that is $name", large => 1);
}

sub rewrite
{
	my ($file, $change) = @_;
	my $bytes = slurp_file($file);
	$change->($bytes);
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $bytes;
	close $out or die $!;
	return;
}

damage('all ones', sub { rewrite($_[0], sub { substr($_[0], 64) =~ s/./\xFF/gs }) });
damage('cut off', sub { rewrite($_[0], sub { $_[0] = substr($_[0], 0, 100) }) });
damage('garbage', sub { rewrite($_[0], sub { $_[0] =~ s/./\x5A/gs }) });
damage('not there', sub { unlink $_[0] or die $! });
unlike(slurp_file($node->logfile), qr/setting aside|PANIC|terminated by signal/, 'no segment was given up for it');

# More deaths: the segment is written anew, and the old bitmap goes with it.
my ($bitmap) = bitmaps();
$node->safe_psql('postgres', 'DELETE FROM items WHERE id % 3 = 0');
ok(vacuum_dead($node, 'items', 'items_v'), 'VACUUM again');
wait_until_built($node);
$node->safe_psql('postgres', "SELECT vec_checkpoint('items_v')");
ok( wait_until(
		'the sweep',
		sub {
			my @left = bitmaps();
			!grep { $_ eq ($bitmap // '') } @left;
		}),
	'an old bitmap is swept');
exact_everywhere($node, 'items', 'and every row is found');

$node->stop;
done_testing();
