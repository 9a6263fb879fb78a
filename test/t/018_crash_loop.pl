# Random processes are killed in the middle of a mixed load, again and again: the postmaster, alone or with all of its
# children, a backend, the builder, the launcher; under inserts, updates, deletes, rollbacks, VACUUM, REINDEX (plain and
# concurrently), CREATE and DROP INDEX, CHECKPOINT and vec_checkpoint. After each round every acknowledged row is
# there, no other is, and the indexes answer exactly as the heap does.
#
# VECCKPT_CRASH_ROUNDS: how many (100 for a thorough run). VECCKPT_SEED: the random choices. VECCKPT_CRASH_SMALL=1: with the
# small extents and map pages of the library with fault points.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;
use FaultPoints;
use AckedLoad;

my $rounds = $ENV{VECCKPT_CRASH_ROUNDS} || 12;
seed_random();
my $conf = qq(
restart_after_crash = on
wal_level = replica
max_wal_size = 256MB
vecckpt.checkpoint_timeout = 1
vecckpt.build_memory = 64MB
maintenance_work_mem = 64MB
);
my $node;
if ($ENV{VECCKPT_CRASH_SMALL}) { $node = fault_node('loop', conf => $conf); }
else
{
	$node = new_node('loop', conf => $conf);
	$node->start;
	setup_vectors($node);
}
my %tables = (t => { dims => 8, rows => 5000 }, u => { dims => 96, rows => 1500 });
foreach my $table (sort keys %tables)
{
	$node->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v real[], n int)");
}
my $create = "CREATE INDEX IF NOT EXISTS t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 16);\n"
  . "CREATE INDEX IF NOT EXISTS u_v ON u USING vhnsw (v real_cosine_ops) WITH (m = 4, ef_construction = 16);\n";
$node->safe_psql('postgres', $create);
my %operators = (t => '<->', u => '<=>');
my $load = AckedLoad->new($node, tables => \%tables, clients => 3);

# What has no rows: one client changes the indexes, one vacuums and checkpoints.
my $index_work = q(
\set what random(1, 6)
\if :what = 1
REINDEX INDEX t_v;
\elif :what = 2
REINDEX INDEX CONCURRENTLY t_v;
\elif :what = 3
DROP INDEX IF EXISTS u_v;
\elif :what = 4
CREATE INDEX IF NOT EXISTS u_v ON u USING vhnsw (v real_cosine_ops) WITH (m = 4, ef_construction = 16);
\elif :what = 5
REINDEX TABLE u;
\else
CREATE INDEX CONCURRENTLY IF NOT EXISTS u_v ON u USING vhnsw (v real_cosine_ops) WITH (m = 4, ef_construction = 16);
\endif
SELECT pg_sleep(0.05);
);
my $keeping = q(
\set what random(1, 5)
\if :what = 1
CHECKPOINT;
\elif :what = 2
SELECT vec_checkpoint();
\elif :what = 3
VACUUM (INDEX_CLEANUP ON) u;
\else
VACUUM (INDEX_CLEANUP ON) t;
\endif
SELECT pg_sleep(0.05);
);

# A process by its title, found without a query.
sub process
{
	my ($title) = @_;
	foreach my $pid (sort { rand() <=> 0.5 } server_pids($node))
	{
		my $command = eval { slurp_file("/proc/$pid/cmdline") } || '';
		return $pid if $command =~ $title;
	}
	return;
}

my %titles = (
	backend  => qr/^postgres: .*\[local\]/,
	builder  => qr/^postgres: .*vecckpt builder/,
	launcher => qr/^postgres: .*vecckpt launcher/);
my %killed;
my @checker;

sub one_round
{
	my ($round) = @_;
	my $offset  = log_size($node);
	my @victims = ('postmaster', 'whole server', 'backend', 'builder', 'launcher');
	my $victim  = $victims[ int(rand(@victims)) ];
	$load->start(250);
	my @clients = (client($node, $index_work), client($node, $keeping));
	usleep(100_000 + int(rand(600_000)));

	if ($victim eq 'postmaster' || $victim eq 'whole server')
	{
		kill_server($node, all => $victim eq 'whole server');
		$load->finish;
		stop_clients(@clients);
		start_again($node);
	}
	else
	{
		my $pid;
		# The builder may just not be there: it comes back when there is work.
		wait_until("the $victim", sub { $pid = process($titles{$victim}); defined $pid && kill_pid($pid) }, 30);
		ok(wait_log_since($node, $offset, qr/terminated by signal 9/, 30), "round $round: the $victim is killed");
		$load->finish;
		stop_clients(@clients);
		wait_alive($node) or BAIL_OUT('the server does not come back');
	}
	$killed{$victim}++;

	# What a killed REINDEX CONCURRENTLY or CREATE INDEX CONCURRENTLY leaves is invalid, as PostgreSQL documents.
	$node->safe_psql('postgres', "DROP INDEX $_")
	  foreach split /\n/, $node->safe_psql('postgres', 'SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid');
	$node->safe_psql('postgres', "SET client_min_messages = error; $create");

	my @problems = grep { $_ ne '' } $load->problems;
	foreach my $table (sort keys %tables)
	{
		my %with = (operator => $operators{$table});
		my $differences = scan_differences($node, $table, large => 1, %with);
		push @problems, "$table: $differences" if $differences ne '';
		my $probes = probes_differ($node, $table, %with, probes => "SELECT id, v FROM $table ORDER BY random() LIMIT 5");
		push @problems, "$table: $probes of 5 probes differ" if $probes ne '0';
	}
	@checker = ($node->safe_psql('postgres', "SELECT to_regprocedure('vec_index_check(regclass)')")) unless @checker;
	if ($checker[0] ne '')
	{
		my $found = $node->safe_psql('postgres',
			"SELECT i, c FROM unnest('{t_v,u_v}'::regclass[]) i, LATERAL (SELECT vec_index_check(i) AS c) f");
		push @problems, "vec_index_check: $found" if $found ne '';
	}
	return is(join("\n", @problems), '', "round $round: the $victim was killed; all rows, exact answers");
}

foreach my $round (1 .. $rounds)
{
	last unless one_round($round);
}
note("killed: $_ $killed{$_} times") foreach sort keys %killed;
note("$load->{acked} steps acknowledged, $load->{doubts} done whose end nobody saw");
cmp_ok($load->{acked}, '>', $rounds, 'the clients got something done');

# In the end, with everything vacuumed, sealed and read from disk again.
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t; VACUUM (INDEX_CLEANUP ON) u; SELECT vec_checkpoint()');
$node->restart;
foreach my $table (sort keys %tables)
{
	exact_everywhere($node, $table, "$table: every row once, all sealed", large => 1, operator => $operators{$table});
	is( $node->safe_psql(
			'postgres', "SELECT live_entries - (SELECT count(*) FROM $table) FROM vec_indexes WHERE index = '${table}_v'::regclass"),
		'0', "$table: an entry lives for each row");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM vec_indexes WHERE last_error IS NOT NULL'), '0', 'no error is left');
unlike(log_since($node), qr/PANIC|TRAP:|segmentation fault|signal 11|signal 6|XX000|XX001|XX002/i,
	'the log holds no sign of a defect');
$node->stop;
done_testing();
