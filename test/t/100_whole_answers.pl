# No answer is cut silently: a scan that is read to its end returns every row that its snapshot sees, once, however far it
# has to go and by whatever way it is read; in order, but for late rows, which come last. A limit of the search only
# ends a scan that is told to (vhnsw.on_scan_limit, vhnsw.iterative_scan = off). A tail larger than the memory is no
# exception, nor is a segment that turns out to be damaged in the middle of a scan.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

my $node = new_node('whole', conf => "fsync = off\nvecckpt.builder = off");
$node->start;
setup_vectors($node);
my $query = "'{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8}'";
# More than the 20,000 entries that a search visits; 500 of them in the tail.
$node->safe_psql('postgres', q(
CREATE TABLE cu AS SELECT i AS id, repeat('wide row ', 100) AS body, random_vector(8) AS e FROM generate_series(1, 29500) i;
CREATE INDEX cu_e ON cu USING vhnsw (e);
INSERT INTO cu SELECT i, repeat('wide row ', 100), random_vector(8) FROM generate_series(29501, 30000) i;
ANALYZE cu));
is($node->safe_psql('postgres', 'SELECT kind FROM vec_segments'), 'graph', 'a graph');
my $force = "SET enable_seqscan = off; SET enable_sort = off;";
my $ordered = "SELECT id, body FROM cu ORDER BY e <-> $query";

sub sql { return $node->safe_psql('postgres', join(";\n", $force, @_)) }
sub counter { return $node->safe_psql('postgres', "SELECT $_[0] FROM vec_stat WHERE index = 'cu_e'::regclass") }

# ---- Every way to read a scan to its end
my ($plan) = sql("EXPLAIN (COSTS OFF) $ordered");
like($plan, qr/^Index Scan using cu_e/, 'the index is read');
foreach my $order ('strict_order', 'relaxed_order')
{
	my $settings = "SET vhnsw.iterative_scan = $order";
	my $rests = counter('went_on_exactly');
	my (undef, $out) = $node->psql('postgres', "$force $settings; \\set QUIET off\nBEGIN; DECLARE c CURSOR FOR $ordered; MOVE FORWARD ALL FROM c; COMMIT;");
	like($out, qr/^MOVE 30000$/m, "$order: a cursor");
	is(sql($settings, q(DO $$
DECLARE c CURSOR FOR SELECT id FROM cu ORDER BY e <-> '{1,0,1,0,1,0,1,0}'; n int := 0;
BEGIN FOR r IN c LOOP n := n + 1; END LOOP; PERFORM set_config('whole.n', n::text, false); END $$),
			"SELECT current_setting('whole.n')"), '30000', "$order: a cursor of PL/pgSQL");
	is(sql($settings, "CREATE TABLE copied AS $ordered", 'SELECT count(*), count(DISTINCT id) FROM copied', 'DROP TABLE copied'),
		'30000|30000', "$order: CREATE TABLE AS");
	is(sql($settings, "SELECT count(*), count(DISTINCT n) FROM (SELECT row_number() OVER (ORDER BY e <-> $query) AS n FROM cu) r"),
		'30000|30000', "$order: a window");
	is(sql($settings, "SELECT count(*), count(DISTINCT id) FROM ($ordered LIMIT 25000) n"), '25000|25000', "$order: a LIMIT");
	is(sql($settings, "SELECT count(*) FROM ($ordered OFFSET 29990) n"), '10', "$order: an OFFSET");
	cmp_ok(counter('went_on_exactly') - $rests, '>=', 6, '  each of them beyond its limit');
	# The farthest row of all: the last that a search would come to.
	is(sql($settings, "SELECT min(e <-> $query) = (SELECT max(e <-> $query) FROM cu) FROM cu WHERE id ="
			  . " (SELECT id FROM cu ORDER BY e <-> $query DESC LIMIT 1)"), 't', "$order: min() with a condition that few rows meet");
}
is(counter('cut_short'), '0', 'no scan was cut short');
is( sql("SELECT count(*) FROM (SELECT d, lag(d) OVER () AS before FROM"
		  . " (SELECT e <-> $query AS d FROM cu ORDER BY e <-> $query OFFSET 0) s) o WHERE d < before") <= 1, 1,
	'strict order but for one step back, to the late rows');

# ---- Where a scan is told to end
foreach my $case ([ 'SET vhnsw.on_scan_limit = stop', 29999 ], [ 'SET vhnsw.iterative_scan = off', 40 ])
{
	my ($settings, $most) = @$case;
	my $cut = counter('cut_short');
	cmp_ok(sql($settings, "SELECT count(*) FROM ($ordered OFFSET 0) n"), '<=', $most, "$settings ends it");
	is(counter('cut_short') - $cut, 1, '  and that is counted');
	is(sql($settings, "SELECT count(*) FROM ($ordered LIMIT 40) n"), '40', '  a LIMIT within the bound is filled');
	is(counter('cut_short') - $cut, 1, '  and not counted');
}

# What counts is what was set when the scan began.
is(sql('SET vhnsw.on_scan_limit = stop', 'BEGIN', "DECLARE c CURSOR FOR SELECT count(*) OVER (ROWS 0 PRECEDING) FROM cu ORDER BY e <-> $query",
		'FETCH 1 FROM c', 'SET vhnsw.on_scan_limit = exact', 'MOVE 29998 FROM c', 'FETCH 1 FROM c', 'COMMIT'), '1', 'settings stay');

# ---- A long tail and little memory
$node->safe_psql('postgres', 'CREATE TABLE tail (id int, e real[]); CREATE INDEX tail_e ON tail USING vhnsw (e);
INSERT INTO tail SELECT i, random_vector(4) FROM generate_series(1, 60000) i;
INSERT INTO tail SELECT 60000 + id, e FROM tail WHERE id <= 5000');
my $small = "SET work_mem = '64kB'";
my $nearest = "SELECT id, e <-> '{0.1,0.2,0.3,0.4}' AS d FROM tail ORDER BY e <-> '{0.1,0.2,0.3,0.4}'";
is(sql($small, "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE d < before) FROM"
		  . " (SELECT id, d, lag(d) OVER () AS before FROM ($nearest OFFSET 0) s) o"), '65000|65000|0', 'a tail beyond the memory');
is(sql($small, "$nearest LIMIT 4000"), sql("$nearest LIMIT 4000"), '  in the same order as one within it');

# The memory of a session before and after it fetches one row. What the server's own memory contexts take is in it.
sub private_kb
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : die 'no RssAnon';
}
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe("$force $small");
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe("SELECT id FROM tail WHERE id = 1 ORDER BY e <-> '{0,0,0,0}' LIMIT 1");
$session->query_safe("$nearest LIMIT 1");
my $before = private_kb($pid);
$session->query_safe('BEGIN');
$session->query_safe("DECLARE c CURSOR FOR $nearest");
is($session->query_safe('FETCH 1 FROM c'), sql("$nearest LIMIT 1"), 'the nearest row');
my $grown = private_kb($pid) - $before;
cmp_ok($grown, '<', 1000, "FETCH 1 beside a tail of 65,000 takes $grown kB");
# What others do meanwhile is not the cursor's concern.
$node->safe_psql('postgres', 'DELETE FROM tail WHERE id % 2 = 0');
$node->safe_psql('postgres', 'INSERT INTO tail SELECT -i, random_vector(4) FROM generate_series(1, 1000) i');
$node->safe_psql('postgres', 'VACUUM tail');
is(scalar(my @rest = split /\n/, $session->query_safe('FETCH ALL FROM c')), 64999,
	'a cursor sees what was there when it was opened');
$session->query_safe('COMMIT');
is(sql($small, "SELECT count(*), count(DISTINCT id) FROM ($nearest OFFSET 0) s"), '33500|33500', 'and a new scan what is there now');

# ---- Damage in the middle of a scan: ordinals that stand in a segment twice
$session->query_safe("SET vhnsw.iterative_scan = relaxed_order; BEGIN");
$session->query_safe("DECLARE c CURSOR FOR SELECT id FROM cu ORDER BY e <-> $query");
my @ids = split /\n/, $session->query_safe('FETCH 100 FROM c');
my ($file) = map { vec_dir($node) . "/$_" } grep { /\.seg$/ } vec_files($node);
my ($entries) = grep { $_->[0] eq 'entries' } segment_parts($file);
# The first and the second half of the ordinals are the same then.
my $half = 8 * 14_750;
my $end = $entries->[1] + $entries->[2];
write_bytes($file, $end - $half, read_bytes($file, $end - 2 * $half, $half));
push @ids, split /\n/, $session->query_safe('FETCH ALL FROM c');
$session->query_safe('COMMIT');
$session->quit;
is(scalar @ids, 30000, 'a scan that meets damage goes on without the segment');
my %different = map { $_ => 1 } @ids;
is(scalar keys %different, 30000, '  and returns no row twice');
like(slurp_file($node->logfile), qr/ordinal \d+ stands in it twice/, '  and says what was wrong');
is(sql("SELECT count(*), count(DISTINCT id) FROM ($ordered OFFSET 0) n"), '30000|30000', 'nor does the next one');

$node->stop;
done_testing();
