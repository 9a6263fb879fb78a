# With old_snapshot_threshold VACUUM may take rows away that an old snapshot still sees. So a search with such a snapshot
# fails with "snapshot too old" where it meets pages, or segments made from pages, that have changed since; as a scan of
# the table does. It never returns less.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('node', conf => "old_snapshot_threshold = 0\n");
plan skip_all => 'this version has no old_snapshot_threshold' if $node->pg_version >= 17;
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 2000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
));
my %searches = (
	'in distance order' => q(SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> '{0,0,0,0,0,0,0,0}') s),
	'in log order'      => q(SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::real[])) s));

my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query("$EXHAUSTIVE SET enable_sort = off;");
sub too_old
{
	my ($sql) = @_;
	$session->{stderr} = '';
	$session->query("SAVEPOINT s;\n$sql;");
	my $error = $session->{stderr};
	$session->query('ROLLBACK TO s');
	return $error =~ /snapshot too old/;
}

# The snapshot; then changes: to the tail, then by VACUUM and the builder to all.
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
foreach my $name (sort keys %searches)
{
	is($session->query($searches{$name}), '2000', "$name: the snapshot's rows");
}
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0');
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(2001, 2010) i');
ok( wait_until(
		'a scan of the table to fail',
		sub {
			$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
			too_old('SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SELECT count(*) FROM t');
		}),
	'the snapshot is too old for a scan of the table');
foreach my $name (sort keys %searches)
{
	ok(too_old($searches{$name}), "$name: and too old for a search");
}
$node->safe_psql('postgres', q(SELECT vec_checkpoint('t_v')));
foreach my $name (sort keys %searches)
{
	ok(too_old($searches{$name}), "$name: still when all is sealed");
}
$session->query('COMMIT');
foreach my $name (sort keys %searches)
{
	is($session->query($searches{$name}), '1010', "$name: a new snapshot is served");
}
$session->quit;
$node->stop;
done_testing();
