# Cursors keep their rows whatever happens to the index below them: two cursors of one session over different
# generations, the older one read on after the newer one dropped its segments; a cursor over VACUUM, extents taken by other
# rows and REINDEX CONCURRENTLY. Dead rows whose extent others have taken are not returned, not even to be found invisible. A repeatable-read cursor sees no later row and loses no earlier one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 8;
my $rows = 6000;

my $node = new_node('node');
$node->start;
setup_vectors($node);

# One vector is the query of every cursor here.
my $query = '{0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5}';
sub fresh_table
{
	$node->safe_psql('postgres', qq(
DROP TABLE IF EXISTS t;
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(1, $rows) i;
CREATE INDEX t_v ON t USING vhnsw (v);
));
	return;
}

# All ids in exact order, as an older snapshot must see them for ever.
sub exact_order
{
	return $node->safe_psql('postgres', "SET enable_indexscan = off; SELECT id FROM t ORDER BY v <-> '$query', id");
}

sub declare
{
	my ($name) = @_;
	return "DECLARE $name CURSOR FOR SELECT id FROM t ORDER BY v <-> '$query'";
}

# Reads a cursor in steps to its end.
sub read_on
{
	my ($session, $name, $step) = @_;
	my $all = '';
	while (1)
	{
		my $got = $session->query_safe("FETCH $step FROM $name");
		last if $got eq '';
		$all .= "$got\n";
	}
	chomp $all;
	return $all;
}

sub same_rows
{
	my ($got, $expected, $name) = @_;
	my @got      = split /\n/, $got;
	my @expected = split /\n/, $expected;
	return ok($got eq $expected, $name) || do
	{
		my %seen;
		$seen{$_}++ foreach @got;
		my %wanted = map { $_ => 1 } @expected;
		diag(sprintf '%d rows, expected %d; missing %d, too many %d, twice %d',
			scalar @got, scalar @expected,
			scalar(grep { !$seen{$_} } @expected), scalar(grep { !$wanted{$_} } keys %seen),
			scalar(grep { $seen{$_} > 1 } keys %seen));
		0;
	};
}

sub generation
{
	return $node->safe_psql('postgres', "SELECT generation FROM vec_indexes WHERE index = 't_v'::regclass");
}

# ---- Two cursors over two generations
fresh_table();
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe($EXHAUSTIVE);
ok(plan_uses_index($node, "SELECT id FROM t ORDER BY v <-> '$query'", 't_v'), 'the cursors use the index');
my $first_rows = exact_order();
my $first_generation = generation();
$session->query_safe('BEGIN; ' . declare('a'));
my $a = $session->query_safe('FETCH 10 FROM a');
my $old_segments = vec_segments($node, 't_v');

# Others give it more rows, dead rows, other segments, and files of the old ones are swept.
$node->safe_psql('postgres', qq(
INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(10001, 13000) i;
DELETE FROM t WHERE id % 3 = 0;
));
ok(wait_sealed($node, 't_v', ask => 1), 'there is a newer generation');
my $second_rows = exact_order();
isnt(generation(), $first_generation, 'it has another number');
$session->query_safe(declare('b'));
my $b = $session->query_safe('FETCH 10 FROM b');
$node->safe_psql('postgres', "INSERT INTO t SELECT i, random_vector($dims) FROM generate_series(20001, 24000) i");
ok(wait_sealed($node, 't_v', ask => 1), 'and one more');
$session->query_safe(declare('c'));
my $c = $session->query_safe('FETCH 10 FROM c');
my $third_rows = exact_order();

# The newest one goes first, with what it has mapped; the sweep has taken the old segments' files.
$c .= "\n" . read_on($session, 'c', 1000);
same_rows($c, $third_rows, 'the newest cursor returns its rows');
$session->query_safe('CLOSE c');
my %now = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT segment FROM vec_segments');
my @gone = grep { !$now{$_} } map { (split /\|/)[0] } split /\n/, $old_segments;
ok(@gone > 0, 'segments that the oldest cursor reads belong to no generation any more');
$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
ok( wait_until('the sweep of the old segments', sub { my $files = join ' ', vec_files($node); !grep { $files =~ /\Q$_\E/ } @gone }),
	'their files are swept');
$b .= "\n" . read_on($session, 'b', 777);
same_rows($b, $second_rows, 'the middle cursor returns its rows');
$session->query_safe('CLOSE b');
$a .= "\n" . read_on($session, 'a', 500);
same_rows($a, $first_rows, 'the oldest cursor returns its rows after the newer ones have gone');
$session->query_safe('COMMIT');

# ---- A repeatable-read cursor over deletion of everything, VACUUM and other rows in the same place
fresh_table();
$first_rows = exact_order();
my $other = $node->background_psql('postgres', on_error_stop => 1);
$other->query_safe($EXHAUSTIVE);
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; ' . declare('a'));
$a = $session->query_safe('FETCH 10 FROM a');
$node->safe_psql('postgres', 'DELETE FROM t');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) t');
$node->safe_psql('postgres', "INSERT INTO t SELECT i + 100000, random_vector($dims) FROM generate_series(1, $rows) i");
ok(wait_sealed($node, 't_v', ask => 1), 'other rows are sealed');
$second_rows = exact_order();
same_rows($other->query_safe("SELECT id FROM t ORDER BY v <-> '$query'"), $second_rows, 'another session sees the new rows');
$session->query_safe(declare('late'));
my $late = $session->query_safe('FETCH 5 FROM late');
is($late, join("\n", (split /\n/, $first_rows)[ 0 .. 4 ]), 'a second cursor of the old snapshot begins like the first');
$a .= "\n" . read_on($session, 'a', 1234);
same_rows($a, $first_rows, 'the repeatable-read cursor returns its rows, none later and none less');
$late .= "\n" . read_on($session, 'late', 1000);
same_rows($late, $first_rows, 'so does the second one');
$session->query_safe('COMMIT');

# ---- With that snapshot gone, VACUUM frees the extents of the deleted rows, and others take them below a newer cursor
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; ' . declare('a'));
$a = $session->query_safe('FETCH 10 FROM a');
my $size = $node->safe_psql('postgres', "SELECT pg_relation_size('t_v')");
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');    # frees the extents of the rows deleted before
$node->safe_psql('postgres', "INSERT INTO t SELECT i + 200000, random_vector($dims) FROM generate_series(1, $rows - 500) i");
cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('t_v')"),
	'<=', $size * 1.2, 'the new rows took the extents of the dead ones');
ok(wait_sealed($node, 't_v', ask => 1), 'and were sealed');
$a .= "\n" . read_on($session, 'a', 1500);
same_rows($a, $second_rows, 'the cursor returns its rows, none of those in the extents taken');
$session->query_safe('COMMIT');
exact_everywhere($node, 't', 'a new scan returns all rows');

# ---- REINDEX CONCURRENTLY below an open cursor. It waits for the cursor's transaction, so it runs beside.
$first_rows = exact_order();
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; ' . declare('a'));
$a = $session->query_safe('FETCH 10 FROM a');
$other->query_until(qr/go/, "\\echo go\nREINDEX INDEX CONCURRENTLY t_v;\n\\echo rebuilt\n");
ok( wait_until(
		'REINDEX CONCURRENTLY to wait for the cursor',
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for%'");
		}),
	'REINDEX CONCURRENTLY has come to where it waits for the cursor');
$node->safe_psql('postgres', "DELETE FROM t WHERE id % 2 = 0;"
	  . " INSERT INTO t SELECT i + 300000, random_vector($dims) FROM generate_series(1, 500) i");
$a .= "\n" . read_on($session, 'a', 1500);
same_rows($a, $first_rows, 'the cursor returns its rows beside it');
$session->query_safe('COMMIT');
$other->query_until(qr/rebuilt/, "\n");
is($other->{stderr}, '', 'REINDEX CONCURRENTLY succeeds');
exact_everywhere($node, 't', 'and the new index holds every row');

# ---- Back to the start: a scroll cursor, and one that is scanned again for each row of an outer query
fresh_table();
$first_rows = exact_order();
$session->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE s SCROLL CURSOR FOR SELECT id FROM t ORDER BY v <-> '$query'");
$a = $session->query_safe('FETCH 100 FROM s');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0; VACUUM t;');
$node->safe_psql('postgres', "INSERT INTO t SELECT i + 100000, random_vector($dims) FROM generate_series(1, 3000) i");
ok(wait_sealed($node, 't_v', ask => 1), 'a newer generation');
$session->query_safe('MOVE BACKWARD ALL FROM s');
same_rows(read_on($session, 's', 2500), $first_rows, 'a scroll cursor read again from its start returns the same rows');
$session->query_safe('MOVE BACKWARD ALL FROM s');
is($session->query_safe('FETCH 100 FROM s'), $a, 'and once more');
is( $session->query_safe(
		"SELECT count(*) FROM generate_series(1, 20) g,"
		  . " LATERAL (SELECT id FROM t WHERE g > 0 ORDER BY v <-> '$query' LIMIT 1) n WHERE n.id = " . (split /\n/, $a)[0]),
	'20', 'a scan started again and again finds the same nearest row of its snapshot');
$session->query_safe('COMMIT');

# A plain REINDEX by the cursor's own session is refused by PostgreSQL; a held cursor survives one.
fresh_table();
$first_rows = exact_order();
$session->query_safe("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY v <-> '$query'; COMMIT");
$node->safe_psql('postgres', 'REINDEX INDEX t_v; DELETE FROM t; VACUUM t;');
same_rows(read_on($session, 'h', 3000), $first_rows, 'a held cursor returns its rows after REINDEX');

# ---- Dead rows below a cursor whose extent was freed, and taken by others. What a scan has not looked at yet it finds
# gone, and hands nothing of it to the executor: the counters tell. Of what it has looked at, which is the tail from the
# start, it keeps the TIDs, under which the executor finds nothing that the snapshot sees. 4,000 dimensions make extents
# of 65 entries.
for my $place ('tail', 'segment')
{
	my ($before, $after) = ('', 'CREATE INDEX r_v ON r USING vhnsw (v)');
	($before, $after) = ($after, $before) if $place eq 'tail';
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS r; CREATE TABLE r (id int, v real[]); $before");
	# Three extents, full. Ids 1 to 65 are the first, and but for 150 they are the nearest.
	$node->safe_psql('postgres', "INSERT INTO r SELECT i, array_fill(CASE i WHEN 150 THEN 1 ELSE 10 + i END::real, '{4000}')"
		  . " FROM generate_series(1, 195) i ORDER BY i; $after");
	$node->safe_psql('postgres', 'DELETE FROM r WHERE id <= 65');
	$session->query_safe($EXHAUSTIVE);
	$session->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE d CURSOR FOR SELECT id FROM r"
		  . " ORDER BY v <-> array_fill(0::real, '{4000}')");
	is($session->query_safe('FETCH 1 FROM d'), '150', "$place: the nearest row that lives comes first");
	my $r_size = $node->safe_psql('postgres', "SELECT pg_relation_size('r_v')");
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) r');
	$node->safe_psql('postgres', "INSERT INTO r SELECT i, array_fill((10 + i)::real, '{4000}') FROM generate_series(201, 260) i");
	is($node->safe_psql('postgres', "SELECT pg_relation_size('r_v')"), $r_size, "$place: others took the dead rows' extent");
	is(read_on($session, 'd', 1000), join("\n", 66 .. 149, 151 .. 195), "$place: the cursor returns the rows that live");
	$session->query_safe('COMMIT');
	is($node->safe_psql('postgres', "SELECT emitted FROM vec_stat WHERE index = 'r_v'::regclass"),
		'130', "$place: and nothing else was handed out") if $place eq 'segment';
}

$session->quit;
$other->quit;
$node->stop;
done_testing();
