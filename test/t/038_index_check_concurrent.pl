# vec_index_check finds nothing while the log and the segments change under it: pgbench inserts, updates and deletes so that
# extents are freed and taken again, VACUUM, vec_checkpoint() and CHECKPOINT run, the builder seals, merges and builds graphs,
# a standby replays all of it and builds too. It runs on both, with and without the comparison with the table. A check that
# is cancelled or whose session is ended leaves the server as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use VecDamage;
use VecTest;

use constant { CHECKS => 20, FIRST_ROWS => 6000, KEEP => 20000 };

my $seed = seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "max_wal_size = 4GB\nwal_keep_size = 8GB\nfsync = off");
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
# Replay waits for a check, and does not cancel it. It must hold no table's lock meanwhile, as it does from where VACUUM cuts
# a table short to VACUUM's commit: a function like this one locks its table when the statement's snapshot is taken already,
# and replay that waits for that snapshot and holds that lock waits for ever. So no table is cut short here.
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = -1');
$standby->start;
setup_vectors($primary);

# Four dimensions: 676 slots in an extent of 3 pages. Of the queue's 1,000: 262 slots in one of 130 pages, which are freed
# and taken again all the time.
$primary->safe_psql(
	'postgres', qq(
CREATE SEQUENCE ids;
CREATE TABLE items (id bigint PRIMARY KEY DEFAULT nextval('ids'), v real[], note int DEFAULT 0) WITH (fillfactor = 80, vacuum_truncate = off);
INSERT INTO items (v) SELECT random_vector(4) FROM generate_series(1, ${\FIRST_ROWS});
CREATE INDEX items_v ON items USING vhnsw (v) WITH (m = 4, ef_construction = 8);
CREATE INDEX items_half ON items USING vhnsw ((v[1:2])) WITH (m = 4, ef_construction = 8) WHERE note < 5;
CREATE SEQUENCE places;
CREATE TABLE queue (id bigint PRIMARY KEY DEFAULT nextval('places'), v real[]) WITH (vacuum_truncate = off);
ALTER TABLE queue ALTER v SET STORAGE plain;
CREATE INDEX queue_v ON queue USING vhnsw (v) WITH (m = 4, ef_construction = 8);
INSERT INTO queue (v) SELECT array_fill(random()::real, ARRAY[1000]) FROM generate_series(1, 1000);
CREATE FUNCTION checked(index regclass, heapallindexed boolean) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
    found text;
BEGIN
    SELECT string_agg(severity || '|' || place || '|' || message, E'\\n') INTO found FROM vec_index_check(index, heapallindexed);
    IF found IS NOT NULL THEN RAISE EXCEPTION 'findings: %', found; END IF;
END \$\$;
));
$primary->wait_for_catchup($standby);

my %scripts = (
	writers => <<"SQL",
\\set action random(1, 10)
\\if :action <= 5
INSERT INTO items (v) SELECT random_vector(4) FROM generate_series(1, 150);
\\elif :action <= 7
UPDATE items SET v = random_vector(4), note = note + 1 WHERE id IN (SELECT min(id) + 1000 + (random() * 1000)::int FROM items);
\\elif :action = 8
UPDATE items SET note = note + 1 WHERE id IN (SELECT max(id) - (random() * 1000)::int FROM items);
\\elif :action = 9
BEGIN;
INSERT INTO items (v) SELECT random_vector(4) FROM generate_series(1, 20);
ROLLBACK;
\\else
DELETE FROM items WHERE id < (SELECT last_value - ${\KEEP} FROM ids);
\\endif
SQL
	queue => <<"SQL",
INSERT INTO queue (v) SELECT array_fill(random()::real, ARRAY[1000]) FROM generate_series(1, 100);
DELETE FROM queue WHERE id < (SELECT last_value - 600 FROM places);
VACUUM queue;
SQL
	upkeep => "VACUUM items;\n\\sleep 100 ms\nSELECT vec_checkpoint('items_v');\n\\sleep 200 ms\nCHECKPOINT;\n",
	# A snapshot that stays sees what its transaction began with.
	checks => <<"SQL");
\\set action random(1, 10)
\\if :action <= 5
SELECT checked('queue_v', true);
\\elif :action <= 7
SELECT checked('items_v', true);
\\elif :action = 8
SELECT checked('items_v', false);
\\elif :action = 9
SELECT checked('items_half', true);
\\else
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM items;
SELECT checked('items_v', true);
SELECT checked('queue_v', true);
COMMIT;
\\endif
SQL

# Starts a pgbench. Without -t among the options it runs until it is killed.
sub load
{
	my ($node, $name, $clients, @options) = @_;
	my $path = $node->basedir . "/$name.sql";
	append_to_file($path, $scripts{$name});
	my $log = $node->basedir . "/$name.log";
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	push @options, '-T', 3600 unless grep { $_ eq '-t' } @options;
	my $run = IPC::Run::start([ 'pgbench', '-n', '-f', $path, '-c', $clients, '-j', 1, '--random-seed', $seed, @options, 'postgres' ],
		'<', \undef, '>', $log, '2>', $log);
	return { name => $node->name . ", $name", run => $run, log => $log };
}

# Two that delete the same rows in other orders meet in a deadlock, which is tried again. Slowly enough that the others get on.
my $durable = "SELECT durable_generation %s FROM vec_indexes WHERE index = 'items_v'::regclass";
my $before  = $primary->safe_psql('postgres', sprintf $durable, '');
my @endless = (
	load($primary, 'writers', 2, '-R', 10, '--max-tries', 1000), load($primary, 'queue', 1, '-R', 6), load($primary, 'upkeep', 1));
my @counted = (load($primary, 'checks', 3, '-t', CHECKS), load($standby, 'checks', 2, '-t', CHECKS));
foreach my $load (@counted)
{
	my $fine = $load->{run}->finish;
	my $log  = slurp_file($load->{log});
	ok($fine && $log !~ /aborted|number of failed transactions: [1-9]/, "$load->{name}: no findings, no errors") or diag($log);
}
# Waits, while checks go on, for what the load brings sooner or later.
sub wait_checking
{
	my ($node, $name, $query) = @_;
	return ok(
		wait_until(
			$name,
			sub {
				index_check_ok($node, $_, $node->name . ", $_: no findings") foreach 'queue_v', 'items_v';
				$node->safe_psql('postgres', $query) eq 't';
			},
			180),
		$node->name . ": $name");
}
foreach my $node ($primary, $standby)
{
	wait_checking($node, 'segments are made', "SELECT seals > 0 FROM vec_stat WHERE index = 'items_v'::regclass");
}
# Of the sequences that the queue's log has given out, only the last few still have extents.
wait_checking(
	$primary,
	'extents are freed and taken again', q(
SELECT coverage + tail_length > entries AND pg_relation_size('queue_v') / 8192 / 130 < (coverage + tail_length) / 262
FROM vec_indexes WHERE index = 'queue_v'::regclass));
wait_checking($primary, 'a generation is made durable', sprintf($durable, "> $before"));
wait_checking($primary, 'graphs are built', "SELECT graph_builds > 0 FROM vec_stat WHERE index = 'items_v'::regclass");
stop_clients(map { $_->{run} } @endless);
unlike(slurp_file($_->{log}), qr/error|aborted/, "$_->{name}: no errors") foreach @endless;
ok( wait_until('the clients\' statements to end',
		sub { $primary->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") eq '0' },
		180),
	'the load is gone');
$primary->safe_psql('postgres', 'VACUUM items');
ok(wait_sealed($primary, $_, ask => 1), "$_: sealed") foreach 'items_v', 'items_half', 'queue_v';
$primary->wait_for_catchup($standby);
foreach my $node ($primary, $standby)
{
	index_check_ok($node, $_, $node->name . ", $_: no findings in peace") foreach 'items_v', 'items_half', 'queue_v';
}

# ---- Cancelled and ended, at whatever moment
my $cancelled = 0;
my %errors;
foreach my $milliseconds (1 .. 40)
{
	my ($code, $out, $error) =
	  $primary->psql('postgres', "SET statement_timeout = '${milliseconds}ms'; SELECT * FROM vec_index_check('items_v', true)");
	if ($error =~ /^[^\n]*canceling statement due to statement timeout$/) { $cancelled++; }
	elsif ($error ne '') { $errors{$error}++; }
}
cmp_ok($cancelled, '>', 0, 'checks were cancelled');
is(join("\n", %errors), '', 'without another error');
foreach my $milliseconds (map { 4 * $_ } 0 .. 9)
{
	my $session = $primary->background_psql('postgres', on_error_stop => 0);
	my $pid     = $session->query_safe('SELECT pg_backend_pid()');
	my $count   = sub { return $primary->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND $_[0]"); };
	$session->{stdin} .=
	  "SELECT count(*) FROM generate_series(1, 10000) i, LATERAL vec_index_check('items_v', i > 0);\n";
	ok(wait_until('the check to run', sub { $session->{run}->pump_nb; $count->("state = 'active'") eq '1' }), 'a check runs');
	usleep(1000 * $milliseconds);
	$primary->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok(wait_until('the session to end', sub { $count->('true') eq '0' }), "its session ended after $milliseconds ms");
	eval { $session->{run}->kill_kill; };
}
index_check_ok($primary, 'items_v', 'a check after them');
foreach my $node ($primary, $standby)
{
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal|setting aside/, $node->name . ': nothing bad in the log');
}

# ---- An unlogged index has nothing to check on the standby; damage to the standby's copy is found there
$primary->safe_psql('postgres', 'CREATE UNLOGGED TABLE u (v real[]); CREATE INDEX u_v ON u USING vhnsw (v); INSERT INTO u VALUES (\'{1,2}\')');
index_check_ok($primary, 'u_v', 'primary, unlogged: no findings');
$primary->wait_for_catchup($standby);
my ($code, $out, $error) = $standby->psql('postgres', "SELECT * FROM vec_index_check('u_v', true)");
is($out, '', 'standby, unlogged: no findings');
like($error, qr/NOTICE:  unlogged index "u_v" has no contents during recovery, nothing was checked/, 'but a notice');

my $file = log_file($standby, 'items_v');
# Replay, from its last checkpoint, would mend what was written before that.
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'CHECKPOINT');
$standby->stop;
turn_off_checksums($standby);
put16($file, 2 * 8192 + 8184, 1);
$standby->start;
like($standby->safe_psql('postgres', "SELECT * FROM vec_index_check('items_v', true)"),
	qr/^error\|block 2 \(directory page of extent 0\)\|is not a directory page$/m, 'standby: its damage is found');
index_check_ok($primary, 'items_v', 'primary: no findings');

$standby->stop;
$primary->stop;
done_testing();
