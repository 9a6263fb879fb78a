# What the TAP tests share: a server with vecckpt preloaded, random vectors, comparing an index's answers with
# exact ones, waiting for conditions, killing by pid.
#
# "Exact" means the same ORDER BY with "+ 0" behind the operator: no index matches it, so one statement, and so
# one snapshot, compares both. "Exhaustive" means settings under which a scan visits every entry of a table
# below 10,000 rows.

package VecTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  $EXHAUSTIVE seed_random new_node setup_vectors
  exact_everywhere all_exact_everywhere rows_differ scan_differences all_differences probes_differ probes_ok plan_uses_index
  index_check_ok all_checks_ok ask
  wait_until vacuum_dead log_since log_size wait_log_since
  mappings mapped_and_open
  vec_dir vec_files vec_segments wait_sealed wait_settled wait_graph index_key
  server_pids kill_server kill_pid exited start_again wait_alive
  client stop_clients);

# Time limits are for what never comes. A server with many indexes to make durable is slow to stop on a busy disk.
$ENV{PGCTLTIMEOUT} ||= 600;
$PostgreSQL::Test::Utils::timeout_default = 600 if $PostgreSQL::Test::Utils::timeout_default < 600;

# Settings for exhaustive scans by the index; to be put before a query.
our $EXHAUSTIVE = <<'SQL';
SET enable_seqscan = off;
SET enable_sort = on;
SET vhnsw.ef_search = 10000;
SET vhnsw.max_scan_tuples = 2000000000;
SET vhnsw.scan_mem_multiplier = 1000;
SQL

# The result of a query. On a standby it is asked again where replay has cancelled it: VACUUM on the primary may.
sub ask
{
	my ($node, $database, $sql) = @_;
	foreach my $try (1 .. 100)
	{
		my ($code, $out, $err) = $node->psql($database, $sql);
		return $out if $code == 0;
		die "query failed: $err\n$sql" unless $err =~ /conflict with recovery/;
	}
	die "always cancelled by replay: $sql";
}

# Seeds perl's rand() from VECCKPT_SEED or the clock, and says so.
sub seed_random
{
	my $seed = $ENV{VECCKPT_SEED} || int(time() * 1000) % 1_000_000_000;
	srand($seed);
	note("VECCKPT_SEED=$seed");
	return $seed;
}

# A new server, not started yet; `conf` is appended to postgresql.conf, `init` goes to init().
sub new_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(@{ $params{init} || [] });
	$node->append_conf(
		'postgresql.conf', qq(
shared_preload_libraries = 'vecckpt'
max_worker_processes = 16
autovacuum = off
log_min_messages = info
log_statement = none
jit = off
));
	$node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	return $node;
}

# The extension and random_vector(dims), in one database.
sub setup_vectors
{
	my ($node, $database) = @_;
	$node->safe_psql(
		$database || 'postgres', q(
CREATE EXTENSION IF NOT EXISTS vecckpt;
CREATE OR REPLACE FUNCTION random_vector(dims int) RETURNS real[] LANGUAGE sql VOLATILE
    AS 'SELECT array_agg(random()::real) FROM generate_series(1, dims)';
));
	return;
}

# Whether an index of the table may hold more entries than ef_search can be, so that even the widest search of its graph
# is approximate. A scan that is read to its end is not, nor is its order but for late rows, which come last.
sub _is_large
{
	my ($node, $table, $database) = @_;
	my ($code, $entries) =
	  $node->psql($database || 'postgres', qq(SELECT max(entries) FROM vec_indexes WHERE "table" = '$table'::regclass));
	return $code == 0 && ($entries || 0) > 9000;
}

# The query of probes_differ and probes_ok. Where the table is large, each search of the index is read to its end and
# sorted again.
sub _probe_query
{
	my ($table, $probes, $limit, $operator, $large) = @_;
	my $side = sub {
		my ($plus) = @_;
		my $search = "SELECT id, v $operator p.v AS d FROM $table ORDER BY (v $operator p.v)$plus";
		$search = $large && !$plus ? "SELECT * FROM ($search OFFSET 0) whole ORDER BY d + 0 LIMIT $limit" : "$search LIMIT $limit";
		return "LATERAL (SELECT array_agg(d) AS ds, array_agg(id) AS ids FROM ($search) s)";
	};
	# Rows at the last distance may be any of those that tie there.
	my $nearer = sub {
		my ($row) = @_;
		return "ARRAY(SELECT u.id FROM unnest($row.ids, $row.ds) u(id, d)"
		  . " WHERE u.d < $row.ds[cardinality($row.ds)] ORDER BY u.id)";
	};
	return
	    "SELECT p.id FROM ($probes) p, "
	  . $side->('')
	  . " x, "
	  . $side->(' + 0')
	  . " y WHERE x.ds IS DISTINCT FROM y.ds"
	  . " OR (SELECT count(DISTINCT i) FROM unnest(x.ids) i) IS DISTINCT FROM coalesce(cardinality(x.ids), 0)"
	  . " OR "
	  . $nearer->('x')
	  . " IS DISTINCT FROM "
	  . $nearer->('y');
}

# How many probes get other rows from the index than from an exact scan: distances in the order of emission,
# ids, no id twice. `probes` is a query of (id, v); the table has columns id and v.
sub probes_differ
{
	my ($node, $table, %params) = @_;
	my $query = _probe_query(
		$table,
		$params{probes}   || 'SELECT id, v FROM probes',
		$params{limit}    || 10,
		$params{operator} || '<->',
		_is_large($node, $table, $params{database}));
	return ask($node, $params{database} || 'postgres', "$EXHAUSTIVE SELECT count(*) FROM ($query) q");
}

sub probes_ok
{
	my ($node, $table, $name, %params) = @_;
	return is(probes_differ($node, $table, %params), '0', $name);
}

# Whether a query's plan contains an Index Scan of the index.
sub plan_uses_index
{
	my ($node, $query, $index, $database) = @_;
	my $plan = ask($node, $database || 'postgres', "$EXHAUSTIVE EXPLAIN (COSTS OFF) $query");
	return $plan =~ /Index Scan using \Q$index\E/;
}

# The query of rows_differ.
sub _everywhere_query
{
	my ($table, %params) = @_;
	my $operator = $params{operator} || '<->';
	my $probe    = $params{probe}    || "SELECT v FROM $table ORDER BY id LIMIT 1";
	my $disorder = $params{large} ? 'false' : 'before > d';
	return qq(
SELECT format('%s missing, %s too many, %s twice, %s out of order',
              count(*) FILTER (WHERE x.id IS NULL), count(*) FILTER (WHERE h.id IS NULL),
              count(*) FILTER (WHERE x.times > 1), count(*) FILTER (WHERE x.disorder))
FROM (SELECT id, v $operator ($probe) AS d FROM $table) h
FULL JOIN (SELECT id, min(d) AS d, count(*) AS times, bool_or($disorder) AS disorder
           FROM (SELECT id, d, lag(d) OVER () AS before
                 FROM (SELECT id, v $operator ($probe) AS d FROM $table ORDER BY v $operator ($probe)) o) l
           GROUP BY id) x
ON x.id = h.id AND x.d = h.d;
);
}

my $exact = '0 missing, 0 too many, 0 twice, 0 out of order';

# Compares a scan of the whole table by the index, without LIMIT, with a scan of the heap: the same rows, each once, in
# the order of their distances. Counts the differences. With `large`, or where the index has more entries than ef_search can
# be: in relaxed order, and whatever the order is.
sub rows_differ
{
	my ($node, $table, %params) = @_;
	$params{large} ||= _is_large($node, $table, $params{database});
	my $order = $params{large} ? 'SET vhnsw.iterative_scan = relaxed_order;' : '';
	return ask($node, $params{database} || 'postgres', "$EXHAUSTIVE $order " . _everywhere_query($table, %params));
}

# The same in words where there is a difference, else ''.
sub scan_differences
{
	my ($node, $table, %params) = @_;
	my $result = rows_differ($node, $table, %params);
	return $result eq $exact ? '' : $result;
}

# The same of many tables in one session: a list of "table: differences".
sub all_differences
{
	my ($node, $tables, %params) = @_;
	my @results = split /\n/,
	  $node->safe_psql('postgres', $EXHAUSTIVE . join('', map { _everywhere_query($_, %params) } @$tables));
	die 'not every table was looked at' if @results != @$tables;
	return map { "$tables->[$_]: $results[$_]" } grep { $results[$_] ne $exact } 0 .. $#results;
}

# One test: rows_differ finds no difference.
sub exact_everywhere
{
	my ($node, $table, $name, %params) = @_;
	return is(rows_differ($node, $table, %params), $exact, $name);
}

# The same for many tables in one session and one test.
sub all_exact_everywhere
{
	my ($node, $tables, $name, %params) = @_;
	my $results =
	  $node->safe_psql('postgres', $EXHAUSTIVE . join('', map { _everywhere_query($_, %params) } @$tables));
	my @results = split /\n/, $results;
	my @wrong = map { "$tables->[$_]: $results[$_]" } grep { $results[$_] ne $exact } 0 .. $#results;
	return is(join("\n", scalar(@results) . ' tables', @wrong), scalar(@$tables) . ' tables', $name);
}

# One test: vec_index_check finds nothing wrong with an index, its log, its segments, its rows. Prints what it finds.
# `heapallindexed => 0` leaves the rows out.
sub index_check_ok
{
	my ($node, $index, $name, %params) = @_;
	my $rows = !exists $params{heapallindexed} || $params{heapallindexed} ? 'true' : 'false';
	return is(
		ask($node, $params{database} || 'postgres', "SELECT severity, place, message FROM vec_index_check('$index', $rows)"),
		'', $name);
}

# The same for all vhnsw indexes of a database.
sub all_checks_ok
{
	my ($node, $name, $database) = @_;
	return is(
		$node->safe_psql(
			$database || 'postgres', "SELECT i.index, c.* FROM vec_indexes i, vec_index_check(i.index, true) c"
			  . ' WHERE i.database = current_database()'),
		'', $name);
}

# Calls `condition` until it is true, at most `seconds`; says what was waited for in vain.
sub wait_until
{
	my ($what, $condition, $seconds) = @_;
	my $end = time() + ($seconds || 60);
	while (1)
	{
		return 1 if $condition->();
		last if time() > $end;
		usleep(20_000);
	}
	diag("waited in vain: $what");
	return 0;
}

# VACUUM until an entry lives for each row of a table: whoever has a snapshot for a moment, a worker too, keeps dead rows.
sub vacuum_dead
{
	my ($node, $table, $index) = @_;
	return wait_until(
		"the dead rows of $table to go",
		sub {
			$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table");
			$node->safe_psql('postgres',
				"SELECT live_entries = (SELECT count(*) FROM $table) FROM vec_indexes WHERE index = '$index'::regclass") eq 't';
		});
}

# The end of the server's log now, for log_since and wait_log_since.
sub log_size
{
	my ($node) = @_;
	return -s $node->logfile || 0;
}

sub log_since
{
	my ($node, $offset) = @_;
	return '' unless -e $node->logfile;
	return slurp_file($node->logfile, $offset || 0);
}

sub wait_log_since
{
	my ($node, $offset, $pattern, $seconds) = @_;
	return wait_until("log line $pattern", sub { log_since($node, $offset) =~ $pattern }, $seconds);
}

sub vec_dir { my ($node) = @_; return $node->data_dir . '/vector-ckpt'; }

# The names in vector-ckpt, sorted, but for the mark of whose folder it is; with a key, only its files.
sub vec_files
{
	my ($node, $key) = @_;
	return () unless -d vec_dir($node);
	my @names = sort grep { !/^(?:\.\.?|owner)$/ } slurp_dir(vec_dir($node));
	@names = grep { /^\Q$key\E\./ } @names if defined $key;
	return @names;
}

# The first part of the names of an index's files.
sub index_key
{
	my ($node, $index, $database) = @_;
	return $node->safe_psql(
		$database || 'postgres', qq(
SELECT d.oid || '_' || coalesce(nullif(c.reltablespace, 0), d.dattablespace) || '_' || c.relfilenode
FROM pg_class c, pg_database d WHERE c.oid = '$index'::regclass AND d.datname = current_database()));
}

# An index's segments as text: id, kind and range, a line each.
sub vec_segments
{
	my ($node, $index, $database) = @_;
	return $node->safe_psql($database || 'postgres',
		"SELECT segment, kind, first_position, end_position FROM vec_segments WHERE index = '$index'::regclass ORDER BY 3"
	);
}

# Waits until segments cover the whole log of an index that takes no writes now. Asks for it where `ask` is set, else
# only a tail of 256 entries or more gets sealed.
sub wait_sealed
{
	my ($node, $index, %params) = @_;
	my $database = $params{database} || 'postgres';
	my $query =
	  "SELECT tail_length = 0 AND (entries = 0 OR segments > 0) FROM vec_indexes WHERE index = '$index'::regclass";
	return wait_until(
		"index $index to be sealed",
		sub {
			$node->psql($database, "SELECT vec_checkpoint('$index')") if $params{ask};
			my ($code, $out) = $node->psql($database, $query);
			return $code == 0 && $out eq 't';
		},
		$params{seconds});
}

# Waits until the builder leaves an index that takes no writes now as it is: everything sealed, its segments the same
# for a second and nobody at work.
sub wait_settled
{
	my ($node, $index, %params) = @_;
	my $database = $params{database} || 'postgres';
	return 0 unless wait_sealed($node, $index, %params);
	my ($before, $since) = ('', time());
	return wait_until(
		"the builder to leave index $index",
		sub {
			my $now = $node->safe_psql($database, "SELECT state FROM vec_indexes WHERE index = '$index'::regclass")
			  . "\n" . vec_segments($node, $index, $database);
			($before, $since) = ($now, time()) if $now ne $before;
			return $now =~ /^idle\n/ && time() - $since > 1;
		},
		$params{seconds});
}

# Waits until a builder builds a graph for an index, or has built one: on a fast machine it may be too quick to be seen.
sub wait_graph
{
	my ($node, $index, $database) = @_;
	return wait_until(
		"a graph for index $index",
		sub {
			my $found = ask($node, $database || 'postgres', "SELECT state = 'building graph' OR EXISTS (SELECT FROM vec_segments s"
				  . " WHERE s.index = i.index AND s.kind = 'graph') FROM vec_indexes i WHERE i.index = '$index'::regclass");
			return $found eq 't';
		});
}

# Of each mapping that a process has of a file in vector-ckpt, the line of /proc that is about the file's first byte: advice on
# parts of a mapping splits it into several lines.
sub mappings
{
	my ($pid) = @_;
	return grep { m{^\S+ \S+ 0+ .*/vector-ckpt/} } split /\n/, slurp_file("/proc/$pid/maps");
}

# How many files of vector-ckpt a session, or the process of a pid, has mapped and how many it has open. (It has the mark
# of whose folder it is from the postmaster.)
sub mapped_and_open
{
	my ($process) = @_;
	my $pid = ref $process ? $process->query_safe('SELECT pg_backend_pid()') : $process;
	my @maps = mappings($pid);
	my @descriptors = grep { m{/vector-ckpt/(?!owner)} } map { readlink($_) || '' } glob "/proc/$pid/fd/*";
	return (scalar(@maps), scalar(@descriptors));
}

# The pids of the postmaster's children.
sub server_pids
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};
	my @pids;
	foreach my $stat (glob '/proc/[0-9]*/stat')
	{
		open(my $file, '<', $stat) or next;
		my $line = <$file>;
		close $file;
		push @pids, $1 if defined $line && $line =~ /^(\d+) \(.*\) \S (\d+)/ && $2 == $postmaster;
	}
	return @pids;
}

sub kill_pid { my ($pid) = @_; return kill(9, $pid); }

# Whether a process is gone; a zombie that nobody waits for counts as gone.
sub exited
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return 1;
	my $line = <$file>;
	return !defined $line || $line =~ /^\d+ \(.*\) Z/;
}

# Kills the postmaster with SIGKILL and, with `all`, its children before it (as losing power would, nobody gets to roll
# back); waits until no process of it is left. Returns whether they left by themselves in time.
sub kill_server
{
	my ($node, %params) = @_;
	kill('STOP', $node->{_pid}) if $params{all};
	my @pids = (server_pids($node), $node->{_pid});
	if ($params{all}) { kill(9, $_) foreach @pids; }
	$node->kill9;
	my $gone = wait_until('the killed server\'s processes to leave',
		sub { !grep { !exited($_) } @pids }, $params{seconds} || 30);
	if (!$gone) { kill(9, $_) foreach grep { !exited($_) } @pids; }
	# A zombie that nobody has reaped yet would keep a new postmaster from starting.
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	return $gone;
}

# Starts a server that was killed; its shared memory may take a moment to be given back.
sub start_again
{
	my ($node) = @_;
	foreach my $try (1 .. 20)
	{
		return 1 if $node->start(fail_ok => 1);
		$node->{_pid} = undef;
		usleep(200_000);
	}
	return $node->start;
}

# Waits until a server that restarts by itself answers again.
sub wait_alive
{
	my ($node, $seconds) = @_;
	return wait_until(
		'the server to answer',
		sub {
			my @psql = ('psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT 1');
			return IPC::Run::run(\@psql, '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
		},
		$seconds);
}

# A pgbench that runs a script in a loop until stopped or its server dies; for load in the background.
# Errors of its statements are expected: the server is being killed.
sub client
{
	my ($node, $script, %params) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
	append_to_file($file, $script);
	my ($in, $out) = ('', '');
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my $run = IPC::Run::start(
		[
			'pgbench', '-n', '-f', $file, '-c', $params{clients} || 1,
			($params{rate} ? ('-R', $params{rate}) : ()),
			'-T', $params{seconds} || 600, '--random-seed', int(rand(1_000_000_000)), $params{database} || 'postgres'
		],
		'<', \$in, '>', '/dev/null', '2>', '/dev/null');
	return $run;
}

# Stops clients that may have ended already.
sub stop_clients
{
	my (@clients) = @_;
	foreach my $run (@clients)
	{
		# Kills with TERM, then KILL; reaps.
		$run->kill_kill(grace => 2);
		eval { $run->finish; };
	}
	return;
}

1;
