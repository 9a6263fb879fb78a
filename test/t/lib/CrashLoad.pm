# The load under which the crash tests kill something: inserting, updating, deleting and rolling back clients,
# VACUUM, checkpoints of both kinds; and the comparisons after each recovery.

package CrashLoad;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

our @EXPORT = qw(crash_node start_load still_exact finally_exact);

# A running server with table t (id, v), its index t_v, `rows` rows and 1,000 probes.
sub crash_node
{
	my ($name, %params) = @_;
	my $node = new_node(
		$name, conf => qq(
max_wal_size = 256MB
restart_after_crash = on
vecckpt.checkpoint_timeout = 2
vecckpt.build_memory = 64MB
wal_level = minimal
max_wal_senders = 0
$params{conf}
));
	$node->start;
	setup_vectors($node);
	my ($dims, $rows) = @params{qw(dims rows)};
	$node->safe_psql(
		'postgres', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE t (id bigserial PRIMARY KEY, v real[]);
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, $rows);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 40);
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 1000) id;
CHECKPOINT;
));
	ok( plan_uses_index($node, "SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 5", 't_v'),
		'the index is used');
	return $node;
}

# Starts the clients; they end with their connections or by stop_clients. `batch`: rows an insert; `rate`: inserts
# a second. Rows beyond `rows` are deleted.
sub start_load
{
	my ($node, %params) = @_;
	my ($dims, $rows, $batch) = @params{qw(dims rows batch)};
	my $insert = qq(
\\set n random(1, $batch)
\\set keep random(1, 10)
BEGIN;
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, :n);
SAVEPOINT s;
INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 3);
ROLLBACK TO s;
\\if :keep > 1
COMMIT;
\\else
ROLLBACK;
\\endif
);
	my $change = qq(
\\set from random(1, $rows)
UPDATE t SET v = random_vector($dims) WHERE id IN (SELECT id FROM t ORDER BY id OFFSET :from LIMIT $batch);
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random()
                           LIMIT (SELECT greatest(count(*) - $rows, 0) FROM t));
);
	my $keep = q(
\set what random(1, 4)
\if :what = 1
CHECKPOINT;
\elif :what = 2
SELECT vec_checkpoint();
\else
VACUUM t;
\endif
SELECT pg_sleep(0.1);
);
	return (
		client($node, $insert, clients => 2, rate => $params{rate}),
		client($node, $change, clients => 1, rate => $params{rate} / 2),
		client($node, $keep,   clients => 1));
}

# After a recovery: a few probes, and every row once.
sub still_exact
{
	my ($node, $what) = @_;
	my $from = int(rand(970)) + 1;
	probes_ok($node, 't', "$what: probes", probes => "SELECT id, v FROM probes WHERE id BETWEEN $from AND $from + 15");
	exact_everywhere($node, 't', "$what: every row once", probe => "SELECT v FROM probes WHERE id = $from");
	return;
}

# At the end: 1,000 probes, before and after everything is sealed and the server restarted.
sub finally_exact
{
	my ($node) = @_;
	probes_ok($node, 't', '1,000 probes, as recovered');
	$node->safe_psql('postgres', 'VACUUM t; SELECT vec_checkpoint()');
	$node->restart;
	exact_everywhere($node, 't', 'every row once, all sealed');
	probes_ok($node, 't', '1,000 probes, all sealed');
	is($node->safe_psql('postgres', "SELECT last_error FROM vec_indexes WHERE index = 't_v'::regclass"),
		'', 'no error is left');
	unlike(log_since($node), qr/PANIC|TRAP:|segmentation fault|signal 11|signal 6|XX000|XX001/i,
		'the log holds no sign of a defect');
	return;
}

1;
