# A partitioned table of 2,000 partitions: its index is filled, sealed and made durable by one call, loaded at the
# next start; one query searches the indexes of all partitions, exactly, and leaves no file open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant { PARTITIONS => 2000 };

seed_random();
my $node = new_node('node',
	conf => "fsync = off\nvecckpt.max_indexes = 3000\nmax_locks_per_transaction = 1000\nlog_min_messages = warning\n");
$node->start;
setup_vectors($node);

my $load = "CREATE TABLE p (id int, v real[]) PARTITION BY LIST (id);\n";
foreach my $n (1 .. PARTITIONS) { $load .= "CREATE TABLE p$n PARTITION OF p FOR VALUES IN ($n);\n"; }
my $insert = 'INSERT INTO p SELECT 1 + i % ' . PARTITIONS . ', random_vector(4) FROM generate_series(1, 10 * ' . PARTITIONS . ') i;';
$node->safe_psql('postgres', "$load CREATE INDEX p_v ON p USING vhnsw (v); $insert");
is($node->safe_psql('postgres', 'SELECT vec_checkpoint()'), PARTITIONS, 'one call seals all and makes them durable');
is( $node->safe_psql(
		'postgres', 'SELECT count(*) FROM vec_indexes WHERE segments = 1 AND tail_length = 0 AND generation = durable_generation AND last_error IS NULL'),
	PARTITIONS, 'and did so');

my $distance = q(v <-> '{0.1,0.2,0.3,0.4}');
my $nearest = 'SELECT array_agg(d) FROM (SELECT %s AS d FROM p ORDER BY %s LIMIT 100) s';
my $search = sprintf($nearest, $distance, $distance);
my $exact = $node->safe_psql('postgres', sprintf($nearest, $distance, "($distance) + 0"));
sub search_ok
{
	my ($what) = @_;
	my $session = $node->background_psql('postgres');
	$session->query_safe('SET enable_seqscan = off; SET enable_sort = off');
	is(scalar(() = $session->query_safe("EXPLAIN (COSTS OFF) $search") =~ /Index Scan using p\d+_v_idx/g),
		PARTITIONS, "$what: one query scans all indexes");
	is($session->query_safe($search), $exact, "$what: its answer is exact, time $_") foreach 1, 2;
	my ($maps, $descriptors) = mapped_and_open($session);
	note("$maps files mapped");
	cmp_ok($maps, '<=', 2 * PARTITIONS, "$what: then the session has no more files mapped than the partitions have");
	is($descriptors, 0, "$what: none open");
	$session->quit;
	return;
}
search_ok('sealed');
my $offset = log_size($node);
$node->append_conf('postgresql.conf', 'log_min_messages = info');
$node->restart;
like(log_since($node, $offset), qr/vecckpt: loaded ${\PARTITIONS} indexes/, 'all are loaded');
search_ok('loaded');
all_checks_ok($node, 'no findings');
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal|setting aside|vecckpt: could not/, 'nothing bad in the log');

$node->stop;
done_testing();
