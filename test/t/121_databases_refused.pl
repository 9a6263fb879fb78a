# A database that nobody can connect to costs no builder and one line in the log, holds up nobody who waits for its
# indexes, and is served again when it is open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('node', conf => "vecckpt.checkpoint_timeout = 3600\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE victim');
setup_vectors($node);
setup_vectors($node, 'victim');
$node->safe_psql('victim', q(
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
));
sub insert { return $node->safe_psql('victim', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 1000) i'); }

insert();
ok(wait_sealed($node, 't_v', database => 'victim', ask => 1), 'sealed');
my $pid_query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vecckpt builder' AND datname = 'victim'";

# The insert leaves work behind, and no builder is there to do it.
foreach my $closed (
	[ 'datconnlimit = -2', 'datconnlimit = -1' ],
	[ 'datallowconn = false', 'datallowconn = true' ])
{
	my ($close, $open) = @$closed;
	$node->safe_psql('postgres', 'ALTER SYSTEM SET vecckpt.builder = off; SELECT pg_reload_conf()');
	ok( wait_until('the builder to leave', sub { $node->safe_psql('postgres', $pid_query) eq '' }), 'no builder');
	insert();
	my $key  = index_key($node, 't_v', 'victim');
	my $size = log_size($node);
	$node->safe_psql('postgres', "UPDATE pg_database SET $close WHERE datname = 'victim'");
	$node->safe_psql('postgres', 'ALTER SYSTEM SET vecckpt.builder = on; SELECT pg_reload_conf()');
	ok( wait_until('the line in the log', sub { log_since($node, $size) =~ /does not accept connections/ }), "$close: said");
	# Each of them answers after rounds of the launcher.
	foreach my $ask (1 .. 3)
	{
		my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300s'; SELECT vec_checkpoint()");
		like($err, qr/could not be checkpointed: its database does not accept connections/, 'who waits for it is told')
		  or last;
	}
	my $log   = log_since($node, $size);
	my @lines = $log =~ /LOG:  vecckpt: database \d+ does not accept connections/g;
	is(scalar(@lines), 1, 'once');
	unlike($log, qr/FATAL/, 'no builder was started in vain');
	ok(scalar(vec_files($node, $key)) > 0, 'its files stay');
	$node->safe_psql('postgres', "UPDATE pg_database SET $open WHERE datname = 'victim'");
	ok(wait_sealed($node, 't_v', database => 'victim', ask => 1), "$open: it is served again");
}
# A limit of connections does not concern background workers.
$node->safe_psql('victim', 'ALTER DATABASE victim CONNECTION LIMIT 0');
insert();
ok(wait_sealed($node, 't_v', database => 'victim', ask => 1), 'CONNECTION LIMIT 0 keeps no builder out');

$node->stop;
done_testing();
