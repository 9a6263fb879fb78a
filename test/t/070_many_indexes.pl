# A thousand indexes: they are built, filled, sealed and made durable by one call, loaded at the next start, searched by one
# session, checked and dropped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant { TABLES => 1000, ROWS => 20 };

seed_random();
my $node = new_node('node', conf => "fsync = off\nmax_locks_per_transaction = 1000\nlog_min_messages = warning\n");
$node->start;
setup_vectors($node);
my @numbers = 1 .. TABLES;

sub count_indexes
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE $condition");
}

my $load = '';
foreach my $n (@numbers)
{
	$load .= "CREATE TABLE t$n AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, ${\ROWS}) i;"
	  . " CREATE INDEX t${n}_v ON t$n USING vhnsw (v);\n";
}
$node->safe_psql('postgres', $load);
is(count_indexes('segments = 1 AND tail_length = 0'), TABLES, 'all are sealed');
$node->safe_psql('postgres',
	join ';', map { "INSERT INTO t$_ SELECT i + ${\ROWS}, random_vector(4) FROM generate_series(1, ${\ROWS}) i" } @numbers);
is($node->safe_psql('postgres', 'SELECT vec_checkpoint()'), TABLES, 'one call seals all and makes them durable');
is(count_indexes('tail_length = 0 AND entries = 2 * ' . ROWS . ' AND generation = durable_generation AND last_error IS NULL'),
	TABLES, 'and did so');
my $offset = log_size($node);
$node->append_conf('postgresql.conf', 'log_min_messages = info');
$node->restart;
like(log_since($node, $offset), qr/vecckpt: loaded ${\TABLES} indexes with \d+ segments in \d+/, 'all are loaded');

# One session searches all of them, three times.
my $session = $node->background_psql('postgres');
$session->query_safe('SET enable_seqscan = off');
my $searches = join ';', map { "SELECT count(*) FROM (SELECT id FROM t$_ ORDER BY v <-> '{0,0,0,0}' LIMIT 100) s" } @numbers;
foreach my $round (1 .. 3)
{
	my %counts;
	$counts{$_}++ foreach split /\n/, $session->query_safe($searches);
	is_deeply(\%counts, { 2 * ROWS, TABLES }, "round $round: one session searches all");
}
my ($maps, $descriptors) = mapped_and_open($session);
note("$maps files mapped");
cmp_ok($maps, '<=', 2 * TABLES, 'it has no more files mapped than the indexes have');
cmp_ok($maps, '>', 0, 'but some');
is($descriptors, 0, 'none open');
$session->quit;

all_exact_everywhere($node, [ map { "t$_" } @numbers ], 'all rows of all tables are found');
all_checks_ok($node, 'no findings');
my @drops = map { "DROP TABLE t$_" } @numbers;
$node->safe_psql('postgres', join ';', @drops);
is(count_indexes('index IS NOT NULL'), '0', 'all can be dropped in one transaction');
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal|setting aside|vecckpt: could not/, 'nothing bad in the log');

$node->stop;
done_testing();
