# A log turns over for ever unless an old row keeps its oldest extent: then positions run out. The user is warned at three
# quarters, told by the error at the end, and REINDEX begins anew. In the build with fault points the span is 512 extents of 64 entries.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;
use FaultPoints;

require_fault_points();

my $node = fault_node('positions', conf => 'vecckpt.builder = off');
$node->safe_psql('postgres', 'CREATE TABLE t (id int, v real[]); CREATE INDEX t_v ON t USING vhnsw (v)');

# Inserts so many rows; what the server says.
my $ids = 0;
sub insert
{
	my ($count) = @_;
	my ($from, $to) = ($ids + 1, $ids + $count);
	my (undef, undef, $said) = $node->psql('postgres', "INSERT INTO t SELECT i, ARRAY[i]::real[] FROM generate_series($from, $to) i");
	$ids = $to unless $said =~ /ERROR/;
	return $said;
}
is(insert(380 * 64), '', 'no warning below three quarters of the positions');
like(insert(20 * 64), qr/^psql:<stdin>:1: WARNING:  index "t_v" has used 7[567] % of its positions\nDETAIL: .*\nHINT:  REINDEX it/, 'a warning there');
like(insert(150 * 64), qr/ERROR:  index "t_v" has used up its positions\nHINT:  Please REINDEX it\./, 'an error at the end');
exact_everywhere($node, 't', 'every committed row is found');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id > 100');
$node->safe_psql('postgres', 'REINDEX INDEX t_v');
is(insert(64), '', 'REINDEX makes room');
exact_everywhere($node, 't', 'every row is found');

# Without an old row the log turns over.
$node->safe_psql('postgres', 'CREATE TABLE u (id int, v real[]); CREATE INDEX u_v ON u USING vhnsw (v)');
foreach my $round (1 .. 4)
{
	my (undef, undef, $said) = $node->psql('postgres', "DELETE FROM u; VACUUM u; INSERT INTO u SELECT i, ARRAY[i]::real[] FROM generate_series(1, 12800) i");
	is($said, '', "turnover $round: neither warning nor error");
}
exact_everywhere($node, 'u', 'every row is found');

$node->stop;
done_testing();
