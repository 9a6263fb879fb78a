# Streaming standbys answer exactly while their primary inserts, updates, deletes and vacuums, and have the same rows and
# answers when it pauses: a standby and one below it, across a restart, a crash, promotion, and the change of timeline.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 5000, dims => 16);
my $feedback = "hot_standby_feedback = on\nwal_receiver_status_interval = 1s\nvecckpt.checkpoint_timeout = 3\n";

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "vecckpt.checkpoint_timeout = 3\nwal_keep_size = 256MB\n");
$primary->start;
load_table($primary, %size);
$primary->backup('base');
my $standby = new_standby($primary, 'base', 'standby', conf => $feedback);
$standby->backup('base');
my $below = new_standby($standby, 'base', 'below', conf => $feedback);
ok(plan_uses_index($_, 'SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 5', 't_v'),
	$_->name . ' uses the index')
  foreach $standby, $below;

# All three agree once nothing changes any more.
sub all_agree
{
	my ($writer, $name, @standbys) = @_;
	probes_ok($writer, 't', "$name: the writer answers exactly", probes => 'SELECT id, v FROM probes WHERE id <= 50');
	foreach my $node (@standbys)
	{
		ok(caught_up($writer, $node), $node->name . ' catches up');
		same_answers($writer, $node, "$name: " . $node->name);
		exact_everywhere($node, 't', "$name: every row once on " . $node->name, probe => 'SELECT v FROM probes WHERE id = 7');
		index_check_ok($node, 't_v', "$name: the index of " . $node->name);
	}
	return;
}

# ---- Load, with a restart of the one and a crash of the other in it
my @load = start_mixed_load($primary, %size);
stays_exact($standby, 'the standby answers exactly under load');
stays_exact($below,   'so does the one below it');
$standby->restart;
stays_exact($standby, 'the standby after a restart under load');
kill_server($below);
start_again($below);
stays_exact($below, 'the one below it after a crash under load');
stop_clients(@load);
all_agree($primary, 'after the load', $standby, $below);

# ---- Promotion, with load up to the primary's end and from the new primary's beginning
@load = start_mixed_load($primary, %size);
stays_exact($standby, 'under load before the promotion', rounds => 2, ids => 300, generations => 0);
kill_server($primary, all => 1);
stop_clients(@load);
$standby->promote;
probes_ok($standby, 't', 'the promoted standby answers exactly', probes => 'SELECT id, v FROM probes WHERE id <= 50');
exact_everywhere($standby, 't', 'with every row once', probe => 'SELECT v FROM probes WHERE id = 3');
@load = start_mixed_load($standby, %size);
stays_exact($standby, 'the new primary answers exactly under load');
stays_exact($below,   'the standby below it, on the new timeline, too');
is($below->safe_psql('postgres', 'SELECT received_tli FROM pg_stat_wal_receiver'), '2', 'which it follows');
stop_clients(@load);
all_agree($standby, 'on the new timeline', $below);
foreach my $node ($standby, $below)
{
	unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal (?!9)/, 'no sign of a defect in the log of ' . $node->name);
	is($node->safe_psql('postgres', "SELECT last_error FROM vec_indexes WHERE index = 't_v'::regclass"), '', 'nor an error in its view');
}

$below->stop;
$standby->stop;
done_testing();
