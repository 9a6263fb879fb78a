# Files of segments that cannot be read cost time, not the server and not rows: files cut short below a search, a cursor
# and a builder's job, which the kernel answers with SIGBUS as it does a bad sector; read errors while a loaded file is
# verified; a file that whoever verifies it dies of. And what a session keeps mapped is bounded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;
use FaultPoints;

require_fault_points();

my $node = fault_node('unreadable', conf => "vecckpt.checkpoint_timeout = 3600\ncheckpoint_timeout = 1h");
$node->safe_psql('postgres', q(
CREATE TABLE t (id int PRIMARY KEY, v real[]);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT vec_checkpoint('t_v')));
my $key = index_key($node, 't_v');
my $offset = log_size($node);

sub segment_paths { return map { vec_dir($node) . "/$key.$_.seg" } map { (split /\|/)[0] } split /\n/, vec_segments($node, 't_v') }
sub cut_all { cut($_, 4096) foreach segment_paths(); return }

# ---- Below searches
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe('SET enable_seqscan = off; SET enable_sort = off; SET vhnsw.iterative_scan = relaxed_order');
my $nearest = "SELECT id FROM t ORDER BY v <-> '{0,0,0,0,0,0,0,0}'";
my $five = $session->query_safe("$nearest LIMIT 5");
$session->query_safe('BEGIN');
$session->query_safe("DECLARE c CURSOR FOR $nearest");
my @ids = split /\n/, $session->query_safe('FETCH 30 FROM c');
is(scalar(my @paths = segment_paths()), 1, 'one file');
cut_all();
push @ids, split /\n/, $session->query_safe('FETCH ALL FROM c');
my %different = map { $_ => 1 } @ids;
is(scalar(@ids) . ' ' . scalar(keys %different), '5000 5000', 'a cursor whose file is cut short returns every row once');
$session->query_safe('COMMIT');
is($session->query_safe("$nearest LIMIT 5"), $five, 'the next search is right');
like(log_since($node, $offset), qr/a page of it cannot be read/, 'the log says what was wrong');
ok(wait_settled($node, 't_v', ask => 1), 'the segment is built again');
cut_all();
is($session->query_safe("$nearest LIMIT 5"), $five, 'a search whose file was cut short before it is right');
ok(wait_settled($node, 't_v', ask => 1), 'and again');
exact_everywhere($node, 't', 'all rows are found');

# ---- Below a job
set_fault($node, 'JobGraph', 'wait');
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(5001, 10000) i');
ok(wait_waiting($node, 'JobGraph'), 'a graph is to be built');
cut_all();
let_go($node, 'JobGraph');
ok(wait_settled($node, 't_v', ask => 1), 'it is, from what the log has');
exact_everywhere($node, 't', 'all rows are found');

# ---- An ordinal flipped in a file that a job reads
set_fault($node, 'JobGraph', 'wait');
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(10001, 15000) i');
ok(wait_waiting($node, 'JobGraph'), 'another graph is to be built');
my $looked = log_size($node);
foreach my $path (segment_paths())
{
	my ($entries) = grep { $_->[0] eq 'entries' } segment_parts($path);
	flip($path, $entries->[1] + $entries->[2] - 8, 1);
}
let_go($node, 'JobGraph');
ok(wait_log_since($node, $looked, qr/setting aside .*entries section: checksum mismatch/), 'the damaged input is set aside');
ok(wait_settled($node, 't_v', ask => 1), 'and built again');
exact_everywhere($node, 't', 'no row twice, none missing');

# ---- Read errors while loaded files are verified
$looked = log_size($node);
set_fault($node, 'FileRead', 'error', '.seg');
$node->restart;
ok(wait_fired($node, 'FileRead'), 'a segment cannot be read');
ok(wait_log_since($node, $looked, qr/setting aside .*fault point FileRead/), 'it is set aside');
ok(wait_settled($node, 't_v', ask => 1), 'and built again');
exact_everywhere($node, 't', 'all rows are found');
unlike(log_since($node, $offset), qr/terminated by signal|PANIC/, 'nobody died so far');

# ---- A file that kills who verifies it, in the background as it has more than 256 sequences
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(15001, 17000) i');
ok(wait_settled($node, 't_v', ask => 1), 'more rows');
$looked = log_size($node);
# The builder comes to it when it is let; its death ends the server here.
$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
$node->stop('fast');
foreach my $death (1 .. 3)
{
	$death == 1 ? $node->start : start_again($node);
	set_fault($node, 'JobVerify', 'crash');
	$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
	$node->reload;
	ok(wait_fired($node, 'JobVerify'), "death $death");
	wait_until('the server to end', sub { exited($node->{_pid}) });
	$node->{_pid} = undef;
	is(scalar(grep { /\.tries$/ } vec_files($node)), 1, '  is known of');
	$node->append_conf('postgresql.conf', 'vecckpt.builder = off') if $death < 3;
}
start_again($node);
ok(wait_log_since($node, $looked, qr/setting aside .*processes died in 3 tries/), 'then the file is given up');
ok(wait_settled($node, 't_v', ask => 1), 'and built again');
exact_everywhere($node, 't', 'all rows are found');
ok(wait_until('the sweep', sub { !grep { /\.tries$/ } vec_files($node) }), 'nothing of it is left');

# ---- The cache of mappings, of 16 indexes in this build
$node->safe_psql('postgres', join '', map { "CREATE TABLE c$_ (id int, v real[]); INSERT INTO c$_ SELECT i, random_vector(8)"
	  . " FROM generate_series(1, 300) i; CREATE INDEX c${_}_v ON c$_ USING vhnsw (v);" } 1 .. 40);
my $reader = $node->background_psql('postgres', on_error_stop => 1);
$reader->query_safe('SET enable_seqscan = off');
my $all = join ';', map { "SELECT count(*) FROM (SELECT id FROM c$_ ORDER BY v <-> '{0,0,0,0,0,0,0,0}' LIMIT 5) n" } 1 .. 40;
is($reader->query_safe($all), join("\n", (5) x 40), 'a session searches 40 indexes');
my ($maps) = mapped_and_open($reader);
cmp_ok($maps, '<=', 32, "and keeps $maps files mapped");
cmp_ok($maps, '>=', 16, 'those of the last ones');
$reader->quit;

$node->stop;
done_testing();
