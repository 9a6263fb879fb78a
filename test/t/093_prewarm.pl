# vec_prewarm brings every page of an index's segments into memory and, if asked, the log into shared buffers; what it says
# it loaded is what there is. The session that calls it has every page of the files resident afterwards.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('prewarm', conf => "fsync = off\nshared_buffers = 128MB\nvecckpt.builder = off");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(96) AS v FROM generate_series(1, 12000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 8);
CREATE EXTENSION pg_buffercache;
));

# Bytes of vector-ckpt's files that a session has mapped, and those of them resident, in kB.
sub resident
{
	my ($session) = @_;
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my ($size, $resident, $ours) = (0, 0, 0);
	foreach my $line (split /\n/, slurp_file("/proc/$pid/smaps"))
	{
		$ours = $line =~ m{/vector-ckpt/} if $line =~ /^[0-9a-f]+-[0-9a-f]+ /;
		$size += $1 if $ours && $line =~ /^Size: +(\d+) kB/;
		$resident += $1 if $ours && $line =~ /^Rss: +(\d+) kB/;
	}
	return ($size, $resident);
}

my $buffers = "SELECT count(*) FROM pg_buffercache WHERE relfilenode = pg_relation_filenode('t_v')"
  . " AND reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";
my $pages = $node->safe_psql('postgres', "SELECT pg_relation_size('t_v') / 8192");
my $bytes = $node->safe_psql('postgres', "SELECT file_bytes FROM vec_indexes WHERE index = 't_v'::regclass");
$node->restart;

my $search = $node->background_psql('postgres');
$search->query_safe('SET enable_seqscan = off');
$search->query_safe('SELECT id FROM t ORDER BY v <-> (SELECT v FROM t LIMIT 1) LIMIT 1');
my ($size, $resident) = resident($search);
cmp_ok($size * 1024, '>=', $bytes, 'a search maps the files');
my $before = $node->safe_psql('postgres', $buffers);
cmp_ok($before, '<', $pages, 'and leaves most of the log on disk');

my $warm = $node->background_psql('postgres');
is($warm->query_safe("SELECT * FROM vec_prewarm('t_v')"), "1|$bytes|0", 'vec_prewarm says what it loaded');
($size, $resident) = resident($warm);
cmp_ok($size, '>', 0, 'the files are mapped');
is($resident, $size, 'and wholly resident');
cmp_ok($node->safe_psql('postgres', $buffers), '<', $pages, 'the log is not, unless wanted');

is($warm->query_safe("SELECT * FROM vec_prewarm('t_v', 'prefetch')"), "1|$bytes|$pages", 'prefetch: all pages of the log');
is($warm->query_safe("SELECT * FROM vec_prewarm('t_v', 'buffer')"), "1|$bytes|$pages", 'buffer: the same');
is($node->safe_psql('postgres', $buffers), $pages, 'which are in shared buffers now');

# Of another generation while the session has this one mapped.
$node->safe_psql('postgres', 'REINDEX INDEX t_v');
$bytes = $node->safe_psql('postgres', "SELECT file_bytes FROM vec_indexes WHERE index = 't_v'::regclass");
is($warm->query_safe("SELECT * FROM vec_prewarm('t_v')"), "1|$bytes|0", 'it loads what is current');
$_->quit foreach $search, $warm;

$node->stop;
done_testing();
