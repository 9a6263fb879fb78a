# Kill -9 of a backend in the middle of its inserts: the postmaster restarts everything, 20 times under load, and
# each time the index answers exactly as the heap does.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;
use CrashLoad;

seed_random();
my %load = (dims => 8, rows => 3000, batch => 60, rate => 40);
my $node = crash_node('backend', %load);
my $hits = 0;

foreach my $round (1 .. 20)
{
	my @clients = start_load($node, %load);
	usleep(int(100_000 + rand(500_000)));

	# One more backend, killed while it runs an endless insert.
	my ($in, $out) = ('', '');
	my $victim = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<',
		\q(SELECT pg_backend_pid();
           INSERT INTO t (v) SELECT random_vector(8) FROM generate_series(1, 1000000);),
		'>', \$out, '2>', '/dev/null');
	wait_until('the victim\'s pid', sub { $victim->pump_nb; $out =~ /^\d+$/m }, 30);
	my ($pid) = $out =~ /^(\d+)$/m;
	usleep(int(rand(100_000)));
	my $offset = log_size($node);
	$hits += kill_pid($pid);
	wait_log_since($node, $offset, qr/server process \(PID $pid\) was terminated by signal 9/, 30);
	eval { $victim->finish };
	stop_clients(@clients);
	ok(wait_alive($node), "round $round: the server is back");
	still_exact($node, "round $round");
}
is($hits, 20, 'each round killed a backend');
finally_exact($node);
$node->stop;
done_testing();
