# What the tests of replicas share: standbys, a mixed load on their primary, and comparing answers while it runs.

package ReplicaTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VecTest;

our @EXPORT = qw(
  new_standby load_table start_mixed_load load_progress
  stays_exact same_answers table_digest caught_up vacuum_wholly
  all_exact all_sealed);

# A running standby of `source` from its backup `backup`; `conf` is appended to its postgresql.conf.
sub new_standby
{
	my ($source, $backup, $name, %params) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);
	$standby->init_from_backup($source, $backup, has_streaming => 1);
	$standby->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	$standby->start unless $params{stopped};
	return $standby;
}

# Table t (id, v) with `rows` rows and its index t_v, and 200 probes.
sub load_table
{
	my ($node, %params) = @_;
	my ($rows, $dims, $table) = ($params{rows}, $params{dims}, $params{table} || 't');
	setup_vectors($node);
	$node->safe_psql(
		'postgres', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE $table (id bigserial PRIMARY KEY, v real[]);
INSERT INTO $table (v) SELECT random_vector($dims) FROM generate_series(1, $rows);
CREATE INDEX ${table}_v ON $table USING vhnsw (v) WITH (m = 8, ef_construction = 40);
CREATE TABLE IF NOT EXISTS probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 200) id;
));
	return;
}

# Clients that insert, roll back, update and delete in t, which keeps about `rows` rows, and VACUUM it again and again. The
# oldest rows go first, so that whole extents die and are taken again. `rate`: transactions a second of each client.
sub start_mixed_load
{
	my ($node, %params) = @_;
	my ($rows, $dims) = @params{qw(rows dims)};
	my $rate = $params{rate} || 15;
	my $insert = qq(
BEGIN;
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 8);
SAVEPOINT s;
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 2);
ROLLBACK TO s;
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 8);
COMMIT;
);
	my $change = qq(
UPDATE t SET v = random_vector($dims) WHERE id IN (SELECT id FROM t ORDER BY id DESC OFFSET 300 LIMIT 3);
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT (SELECT greatest(count(*) - $rows, 0) FROM t));
);
	# Without truncation, whose lock replay would have to wait for.
	my $vacuum = $params{vacuum} || "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;\n";
	return (
		client($node, $insert, clients => 2, rate => $rate),
		client($node, $change, clients => 1, rate => $rate),
		client($node, $vacuum, clients => 1, rate => 2));
}

# How far the load and the builder have got on a node: (ids given out, generation of t_v).
sub load_progress
{
	my ($node) = @_;
	return split /\|/, ask($node, 'postgres',
		"SELECT (SELECT last_value FROM t_id_seq), (SELECT generation FROM vec_indexes WHERE index = 't_v'::regclass)");
}

# VACUUM until every dead row is gone from the index: a builder's short transaction may hold the horizon back.
sub vacuum_wholly
{
	my ($node, $table) = @_;
	return wait_until(
		"VACUUM of $table",
		sub {
			$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table");
			return $node->safe_psql('postgres',
				"SELECT live_entries = (SELECT count(*) FROM $table) FROM vec_indexes WHERE index = '${table}_v'::regclass") eq 't';
		});
}

# One test: the node's answers are right while others change the table, for at least `rounds` rounds (8) and until rows
# and generations have moved on by `ids` (1,000) and `generations` (2).
sub stays_exact
{
	my ($node, $name, %params) = @_;
	my $rounds = $params{rounds} || 8;
	my ($first_id, $first_generation) = load_progress($node);
	my $end = time() + 180;
	my ($round, $id, $generation) = (0, 0, 0);
	while (1)
	{
		my $from   = int(rand(180)) + 1;
		my $wrong  = probes_differ($node, 't', probes => "SELECT id, v FROM probes WHERE id BETWEEN $from AND $from + 7");
		my $probe  = "SELECT v FROM probes WHERE id = $from";
		my $differ = $round % 3 == 0 ? rows_differ($node, 't', probe => $probe) : '';
		if ($wrong ne '0' || $differ =~ /[1-9]/)
		{
			diag("round $round: $wrong probes differ; $differ");
			return ok(0, $name);
		}
		$round++;
		($id, $generation) = load_progress($node);
		last
		  if $round >= $rounds
		  && $id - $first_id >= ($params{ids} // 1000)
		  && $generation - $first_generation >= ($params{generations} // 2);
		if (time() > $end)
		{
			diag("waited in vain: ids $first_id to $id, generations $first_generation to $generation");
			return ok(0, $name);
		}
	}
	note(sprintf '%s: %d rounds, %d ids, %d generations', $name, $round, $id - $first_id, $generation - $first_generation);
	return pass($name);
}

# All rows of a table in one hash.
sub table_digest
{
	my ($node, $table) = @_;
	return ask($node, 'postgres', "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY id)) FROM $table t");
}

# Waits until `standby` has replayed everything that `node` has written.
sub caught_up
{
	my ($node, $standby) = @_;
	my $query = 'SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END';
	my $lsn   = $node->safe_psql('postgres', $query);
	return wait_until($standby->name . " to replay $lsn",
		sub { ask($standby, 'postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") eq 't' }, 120);
}

# Tests that the nodes, the first of which writes, answer exactly in a database by index t_v.
sub all_exact
{
	my ($database, $name, $writer, @standbys) = @_;
	foreach my $node ($writer, @standbys)
	{
		my $what = "$name, " . $node->name;
		ok(caught_up($writer, $node), "$what: caught up") if $node ne $writer;
		ok(plan_uses_index($node, 'SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 5', 't_v', $database),
			"$what: the index is used");
		probes_ok($node, 't', "$what: exact answers", database => $database);
		exact_everywhere($node, 't', "$what: every row once", database => $database);
	}
	return;
}

# The same once it is sealed on all of them.
sub all_sealed
{
	my ($database, $name, @nodes) = @_;
	foreach my $node (@nodes)
	{
		ok(wait_sealed($node, 't_v', database => $database, ask => 1), "$name, " . $node->name . ': sealed');
		index_check_ok($node, 't_v', "$name, " . $node->name . ': the index', database => $database);
	}
	return all_exact($database, "$name, sealed", @nodes);
}

# Two tests: the nodes have the same rows, and the same answers by the index to 60 probes.
sub same_answers
{
	my ($node, $other, $name) = @_;
	is(table_digest($other, 't'), table_digest($node, 't'), "$name: the same rows");
	my $answers =
	    "$EXHAUSTIVE SELECT md5(string_agg(a::text, '' ORDER BY a.id)) FROM (SELECT p.id, array_agg((n.id, n.d) ORDER BY n.d, n.id)"
	  . " FROM (SELECT * FROM probes WHERE id <= 60) p, LATERAL (SELECT id, v <-> p.v AS d FROM t ORDER BY v <-> p.v LIMIT 10) n GROUP BY p.id) a";
	return is(ask($other, 'postgres', $answers), ask($node, 'postgres', $answers), "$name: the same answers");
}

1;
