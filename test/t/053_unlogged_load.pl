# Unlogged indexes stopped in the middle of a load, with a builder at work: after a clean stop every row is there and found, with
# the segments that the shutdown made durable; after an immediate stop, or a backend's crash, the table is empty and its index
# starts anew with the options it was made with. Set to logged under load, it reaches a standby whole.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 3000, dims => 16);

seed_random();
my $node = new_node('node', init => [ allows_streaming => 1 ], conf => "restart_after_crash = on\nvecckpt.checkpoint_timeout = 1\n");
$node->start;
$node->backup('base');
my $standby = new_standby($node, 'base', 'standby');
my $place = q(SET allow_in_place_tablespaces = on; CREATE TABLESPACE other LOCATION '');
$node->safe_psql('postgres', $place);
setup_vectors($node);
$node->safe_psql('postgres', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE probes AS SELECT id, random_vector($size{dims}) AS v FROM generate_series(1, 200) id;
CREATE UNLOGGED TABLE t (id bigserial PRIMARY KEY, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 40, quantization = 'sq4', dims = $size{dims});
CREATE INDEX t_cosine ON t USING vhnsw (v real_cosine_ops) WITH (m = 10) TABLESPACE other;
));
sub options
{
	return $node->safe_psql('postgres',
		'SELECT index, metric, dims, m, ef_construction, quantization FROM vec_indexes ORDER BY index::text');
}
my $options;

# Fills the table up to its rows, then loads it until the builder has published.
sub loaded
{
	$node->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, $size{rows})");
	$options //= options();
	my @load = start_mixed_load($node, %size);
	stays_exact($node, 'unlogged, under load', rounds => 4, ids => 300, generations => 1);
	return @load;
}

sub both_exact
{
	my ($name) = @_;
	exact_everywhere($node, 't', "$name: every row once", probe => 'SELECT v FROM probes WHERE id = 1');
	exact_everywhere($node, 't', "$name: every row once by cosine", probe => 'SELECT v FROM probes WHERE id = 2', operator => '<=>');
	probes_ok($node, 't', "$name: exact answers", probes => 'SELECT id, v FROM probes WHERE id <= 20');
	index_check_ok($node, $_, "$name: index $_") foreach qw(t_v t_cosine);
	return;
}

# ---- A clean stop, twice
foreach my $round (1, 2)
{
	my @load = loaded();
	$node->stop('fast');
	stop_clients(@load);
	my $offset = log_size($node);
	$node->start;
	like(log_since($node, $offset), qr/vecckpt: loaded [1-9] indexes with [1-9]/, "clean stop $round: segments are loaded");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '>=', $size{rows} / 2, "clean stop $round: the rows are there");
	both_exact("clean stop $round");
	unlike(log_since($node, $offset), qr/setting aside/, "clean stop $round: the segments are believed");
}

# ---- An immediate stop, a crash of everything, and of a backend
foreach my $way ('immediate stop', 'crash', 'crash of a backend')
{
	my @load = loaded();
	$node->safe_psql('postgres', 'CHECKPOINT') if $way ne 'crash';
	if ($way eq 'immediate stop')
	{
		$node->stop('immediate');
		$node->start;
	}
	elsif ($way eq 'crash')
	{
		kill_server($node, all => 1);
		start_again($node);
	}
	else
	{
		my $offset = log_size($node);
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1");
		kill_pid($pid);
		wait_log_since($node, $offset, qr/all server processes terminated/, 60);
		ok(wait_log_since($node, $offset, qr/ready to accept connections/, 60), 'the server restarts by itself');
	}
	stop_clients(@load);
	ok(wait_alive($node), "$way: the server is back");
	# Clients that were still there may have inserted again.
	$node->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($size{dims}) FROM generate_series(1, 300)");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '<', 2000, "$way: the table was emptied");
	both_exact($way);
	is(options(), $options, "$way: the indexes have their options");
	ok(wait_sealed($node, 't_v', ask => 1), "$way: sealed anew");
	both_exact("$way, sealed");
}

# ---- Logged, under load
my @load = loaded();
$node->safe_psql('postgres', 'ALTER TABLE t SET LOGGED');
stays_exact($node, 'logged now', rounds => 3, ids => 100, generations => 0);
stop_clients(@load);
ok(caught_up($node, $standby), 'the standby has it');
same_answers($node, $standby, 'set to logged');
kill_server($node, all => 1);
start_again($node);
both_exact('set to logged, after a crash');
same_answers($node, $standby, 'after a crash') if ok(caught_up($node, $standby), 'the standby follows');
unlike(log_since($_), qr/PANIC|TRAP:/, 'nothing panicked on ' . $_->name) foreach $node, $standby;

$standby->stop;
$node->stop;
done_testing();
