# Kill -9 of the builder in the middle of a build, 20 times under load: the postmaster restarts everything, no claim
# stays behind, what was half written is swept, and each time the index answers exactly as the heap does.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use VecTest;
use CrashLoad;

# The builder's pid, found without a query: the moment matters.
sub builder_pid
{
	my ($node) = @_;
	foreach my $pid (server_pids($node))
	{
		my $title = eval { slurp_file("/proc/$pid/cmdline") } || '';
		return $pid if $title =~ /vecckpt builder/;
	}
	return;
}

# Whether a segment is being written; with `graph`, beside one that has the 4,096 codes from which a graph is built.
sub building
{
	my ($node, $graph) = @_;
	my @files = vec_files($node);
	return 0 unless grep { /\.seg\.tmp$/ } @files;
	return !$graph || grep { /\.seg$/ && (-s vec_dir($node) . "/$_" || 0) > 4096 * 128 } @files;
}

seed_random();
my %load = (dims => 128, rows => 4500, batch => 40, rate => 40);
my $node = crash_node('builder', %load);
my $hits = 0;

foreach my $round (1 .. 20)
{
	my @clients = start_load($node, %load);
	my $offset  = log_size($node);

	# Every fourth round starts without segments and kills when they are sealed, in the building of the graph.
	my $graph = $round % 4 == 0;
	if ($graph) { unlink glob(vec_dir($node) . '/*.seg'); }

	my $pid;
	my $killed = wait_until(
		'a build to kill',
		sub {
			my $end = time() + 0.2;
			while (time() < $end)
			{
				if (!building($node, $graph)) { usleep(500); next; }
				$pid = builder_pid($node);
				return 1 if defined $pid && kill_pid($pid);
			}
			return 0;
		},
		60);
	$hits += $killed;
	last unless $killed;
	ok( wait_log_since($node, $offset, qr/\(PID $pid\) was terminated by signal 9/, 30),
		"round $round: the builder died");
	stop_clients(@clients);
	ok(wait_alive($node), "round $round: the server is back");
	still_exact($node, "round $round");
}
is($hits, 20, 'each round killed a builder in the middle of a build');
ok(wait_until('half-written files to be swept', sub { !grep { /\.tmp$/ } vec_files($node) }, 60),
	'no half-written file is left');
finally_exact($node);
$node->stop;
done_testing();
