# Functions that take an index beside a REINDEX of it. The name is looked up first, so what they get may be the old index:
# while REINDEX CONCURRENTLY waits to drop it, it is not valid and has another name, which nobody gave. They take the one that
# has its name now, and say so. vec_checkpoint waits, and is answered for the index that there is in the end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FaultPoints;
use VecTest;

require_fault_points();
seed_random();
my $node = fault_node('node');
$node->safe_psql(
	'postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, 300) i;
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT vec_checkpoint();
));

sub oid_of { my ($name) = @_; return $node->safe_psql('postgres', "SELECT '$name'::regclass::oid"); }

# Leaves REINDEX CONCURRENTLY waiting for a reader of the table, with the old index still there.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query('BEGIN; LOCK t IN ACCESS SHARE MODE');
my $old     = oid_of('t_v');
my $reindex = $node->background_psql('postgres', on_error_stop => 0);
$reindex->query_until(qr/begun/, "\\echo begun\nREINDEX INDEX CONCURRENTLY t_v;\n");
ok( wait_until(
		'REINDEX to wait',
		sub {
			$node->safe_psql('postgres', 'SELECT phase FROM pg_stat_progress_create_index') eq 'waiting for readers before marking dead';
		}),
	'a new index has the name');
isnt(oid_of('t_v'),    $old, 'the old index');
is(oid_of('t_v_ccold'), $old, 'has another one');

# Each with what it returns.
my %calls = (
	"SELECT count(*) FROM vec_index_check($old, true)"         => '0',
	"SELECT vec_checkpoint($old)"                              => '',
	"SELECT segments FROM vec_prewarm($old)"                   => '1',
	"SELECT entries FROM vec_recall($old)"                     => '300',
	"SELECT vec_suggest_ef($old, k => 1, target_recall => 0.01)" => '1',
	"SELECT vec_stat_reset($old)"                              => '');
foreach my $sql (sort keys %calls)
{
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	is("$code: $out", "0: $calls{$sql}", $sql);
	like($err, qr/NOTICE:  index "t_v_ccold" has been replaced by "t_v", which is taken instead/, "$sql: says of which");
}
$reader->query('COMMIT');
$reindex->query('SELECT 1');
foreach my $sql (sort keys %calls)
{
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	like($err, qr/ERROR:  relation with OID $old does not exist\nHINT:  It was dropped, or replaced by REINDEX CONCURRENTLY/,
		"$sql: the old index is gone");
}

# An index that is not valid for another reason is named as it is.
set_fault($node, 'CreateIndexLoad', 'error');
$node->psql('postgres', 'CREATE INDEX CONCURRENTLY broken_ccold ON t USING vhnsw (v)');
like(($node->psql('postgres', q(SELECT * FROM vec_index_check('broken_ccold'))))[2],
	qr/ERROR:  index "broken_ccold" is not valid and cannot be checked/, 'an index that nothing has replaced');
$node->safe_psql('postgres', 'DROP INDEX broken_ccold');

# A request that is open when the index gets another file. (REINDEX CONCURRENTLY waits for whoever has asked.)
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(4) FROM generate_series(301, 310) i');
set_fault($node, 'JobSeal', 'wait');
my ($out, $err) = ('', '');
my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q(SELECT vec_checkpoint('t_v')) ],
	'<', '/dev/null', '>', \$out, '2>', \$err);
ok(wait_waiting($node, 'JobSeal'), 'a request is being worked on');
$node->safe_psql('postgres', 'REINDEX INDEX t_v');
let_go($node, 'JobSeal');
$run->finish;
is($err, '', 'vec_checkpoint is answered');
is( $node->safe_psql('postgres',
		q(SELECT tail_length = 0 AND durable_generation = generation FROM vec_indexes WHERE index = 't_v'::regclass)),
	't', 'the index is durable');
exact_everywhere($node, 't', 'every row is found');
index_check_ok($node, 't_v', 'the index');

$node->stop;
done_testing();
