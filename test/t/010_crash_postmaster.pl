# Kill -9 of the postmaster loses and invents nothing: 20 times under load, every other time with all of its
# children (as losing power would), and each time the index answers exactly as the heap does.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;
use CrashLoad;

seed_random();
my %load = (dims => 128, rows => 4500, batch => 30, rate => 40);
my $node = crash_node('postmaster', %load);

foreach my $round (1 .. 20)
{
	my @clients = start_load($node, %load);
	usleep(int(200_000 + rand(500_000)));
	my $gone = kill_server($node, all => $round % 2);
	ok($gone, "round $round: backends and workers leave when the postmaster is gone") unless $round % 2;
	stop_clients(@clients);
	start_again($node);
	still_exact($node, "round $round");
}
finally_exact($node);
$node->stop;
done_testing();
