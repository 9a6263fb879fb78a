# The log is transaction-agnostic: after CREATE INDEX CONCURRENTLY and REINDEX [CONCURRENTLY] beside inserts, on partitioned
# tables, with partial and expression indexes, after rollback, savepoints and two-phase commit, with builders sealing
# meanwhile, an index returns exactly the rows of an exact scan.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 16;

my $node = new_node('node', conf => "max_prepared_transactions = 10\n");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', qq(
CREATE TABLE probes AS SELECT i AS id, random_vector($dims) AS v FROM generate_series(1, 40) i;
CREATE SEQUENCE ids START 100001;
));
my $probe = 'SELECT v FROM probes ORDER BY id LIMIT 1';

# The answers of an index in the tail and sealed; `index` must be what answers.
sub check
{
	my ($table, $name, %params) = @_;
	my $operator = $params{operator} || '<->';
	if ($params{index})
	{
		ok(plan_uses_index($node, "SELECT id FROM $table ORDER BY v $operator ($probe) LIMIT 10", $params{index}),
			"$name: the index is used");
	}
	probes_ok($node, $table, "$name: the nearest rows", operator => $operator);
	exact_everywhere($node, $table, "$name: all rows", operator => $operator, probe => $probe);
	return;
}

sub check_sealed
{
	my ($table, $name, %params) = @_;
	ok(wait_sealed($node, $params{index}, ask => 1), "$name: sealed");
	check($table, "$name, sealed", %params);
	return;
}

sub fresh_table
{
	my ($name, $rows) = @_;
	$node->safe_psql('postgres', qq(
CREATE TABLE $name (id int PRIMARY KEY, category int, v real[]);
INSERT INTO $name SELECT i, i % 5, random_vector($dims) FROM generate_series(1, $rows) i;
));
	return;
}

# Inserts, updates and deletes; some of them roll back.
my $load = qq(
BEGIN;
INSERT INTO t SELECT nextval('ids'), 1, random_vector($dims) FROM generate_series(1, 3);
SAVEPOINT s;
INSERT INTO t SELECT nextval('ids'), 2, random_vector($dims) FROM generate_series(1, 2);
ROLLBACK TO s;
UPDATE t SET v = random_vector($dims) WHERE id = (SELECT id FROM t ORDER BY random() LIMIT 1);
COMMIT;
BEGIN;
INSERT INTO t VALUES (nextval('ids'), 3, random_vector($dims));
ROLLBACK;
DELETE FROM t WHERE id = (SELECT min(id) FROM t WHERE id > 100000);
);

# ---- CREATE INDEX, with and without CONCURRENTLY, and REINDEX beside a load
fresh_table('t', 2000);
foreach my $step (
	'CREATE INDEX CONCURRENTLY t_v ON t USING vhnsw (v)',
	'REINDEX INDEX CONCURRENTLY t_v',
	'REINDEX INDEX t_v',
	'VACUUM t',
	'REINDEX TABLE CONCURRENTLY t',
	'VACUUM FULL t')
{
	my $client = client($node, $load, clients => 2);
	my $before = $node->safe_psql('postgres', 'SELECT max(id) FROM t');
	ok(wait_until('the load to begin', sub { $node->safe_psql('postgres', 'SELECT max(id) FROM t') > $before }),
		"rows come in before $step");
	$node->safe_psql('postgres', $step);
	$before = $node->safe_psql('postgres', 'SELECT max(id) FROM t');
	wait_until('the load to go on', sub { $node->safe_psql('postgres', 'SELECT max(id) FROM t') > $before });
	stop_clients($client);
	check('t', $step, index => 't_v');
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), '0', 'every index is valid');
check_sealed('t', 'after all of it', index => 't_v');

# A unique violation and a cancelled build leave a table that goes on.
my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = 1; CREATE INDEX CONCURRENTLY failed_v ON t USING vhnsw (v real_l1_ops)");
isnt($code, 0, 'a concurrent build that failed');
$node->safe_psql('postgres', "INSERT INTO t SELECT nextval('ids'), 1, random_vector($dims) FROM generate_series(1, 300)");
check('t', 'beside an invalid index', index => 't_v');
$node->safe_psql('postgres', 'DROP INDEX IF EXISTS failed_v; CREATE INDEX l1_v ON t USING vhnsw (v real_l1_ops)');
check('t', 'two indexes: L1', index => 'l1_v', operator => '<+>');
check('t', 'two indexes: L2', index => 't_v');

# ---- Rollback and savepoints
fresh_table('r', 1000);
$node->safe_psql('postgres', 'CREATE INDEX r_v ON r USING vhnsw (v)');
$node->safe_psql('postgres', qq(
BEGIN;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(2001, 2600) i;
DELETE FROM r WHERE id < 100;
ROLLBACK;
BEGIN;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(3001, 3300) i;
SAVEPOINT a;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(4001, 4300) i;
SAVEPOINT b;
DELETE FROM r WHERE id BETWEEN 3001 AND 3100;
ROLLBACK TO b;
UPDATE r SET v = random_vector($dims) WHERE id BETWEEN 3001 AND 3100;
RELEASE b;
ROLLBACK TO a;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(5001, 5300) i;
RELEASE a;
COMMIT;
));
is($node->safe_psql('postgres', 'SELECT count(*) FROM r'), '1600', 'rollbacks did what they should');
check('r', 'rollback and savepoints', index => 'r_v');
check_sealed('r', 'rollback and savepoints', index => 'r_v');
$node->safe_psql('postgres', 'VACUUM r');
check('r', 'rollback and savepoints, vacuumed', index => 'r_v');
$node->safe_psql('postgres', 'BEGIN; DROP INDEX r_v; ROLLBACK; BEGIN; REINDEX INDEX r_v; ROLLBACK; BEGIN; TRUNCATE r; ROLLBACK;');
check('r', 'DROP INDEX, REINDEX and TRUNCATE rolled back', index => 'r_v');
$node->safe_psql('postgres', "BEGIN; TRUNCATE r; INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(1, 400) i; COMMIT;");
check('r', 'TRUNCATE and rows in one transaction', index => 'r_v');
check_sealed('r', 'TRUNCATE and rows in one transaction', index => 'r_v');

# ---- Two-phase commit
$node->safe_psql('postgres', qq(
BEGIN;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(6001, 6500) i;
DELETE FROM r WHERE id % 10 = 0;
PREPARE TRANSACTION 'commits';
BEGIN;
INSERT INTO r SELECT i, 0, random_vector($dims) FROM generate_series(7001, 7500) i;
PREPARE TRANSACTION 'rolls back';
));
check('r', 'prepared', index => 'r_v');
check_sealed('r', 'prepared', index => 'r_v');
kill_server($node);
start_again($node);
check('r', 'prepared, after a crash', index => 'r_v');
$node->safe_psql('postgres', "COMMIT PREPARED 'commits'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'rolls back'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM r WHERE id > 6000'), '450', 'COMMIT PREPARED and ROLLBACK PREPARED');
check('r', 'COMMIT PREPARED and ROLLBACK PREPARED', index => 'r_v');
$node->safe_psql('postgres', "VACUUM r; BEGIN; CREATE INDEX r_second ON r USING vhnsw (v real_cosine_ops); PREPARE TRANSACTION 'index'");
$node->safe_psql('postgres', "COMMIT PREPARED 'index'");
check('r', 'an index of a prepared transaction', index => 'r_second', operator => '<=>');
check_sealed('r', 'an index of a prepared transaction', index => 'r_second', operator => '<=>');

# ---- Partial index
fresh_table('p', 3000);
$node->safe_psql('postgres', qq(
CREATE INDEX p_v ON p USING vhnsw (v) WHERE category = 3;
CREATE VIEW p3 AS SELECT id, v FROM p WHERE category = 3;
INSERT INTO p SELECT i, i % 5, random_vector($dims) FROM generate_series(3001, 4000) i;
UPDATE p SET category = 3 WHERE id % 50 = 1;
UPDATE p SET category = 1 WHERE id % 50 = 3;
INSERT INTO p VALUES (10000, 1, '{1,2,3}');
));
is($node->safe_psql('postgres', "SELECT live_entries < 1200 FROM vec_indexes WHERE index = 'p_v'::regclass"), 't',
	'a partial index holds only its rows');
check('p3', 'a partial index', index => 'p_v');
check_sealed('p3', 'a partial index', index => 'p_v');
$node->safe_psql('postgres', 'VACUUM p');
check('p3', 'a partial index, vacuumed', index => 'p_v');

# ---- Expression index
$node->safe_psql('postgres', qq(
CREATE TABLE e (id int, x real, y real, z real);
INSERT INTO e SELECT i, random(), random(), random() FROM generate_series(1, 2000) i;
CREATE INDEX e_v ON e USING vhnsw ((ARRAY[x, y, z]));
CREATE VIEW ev AS SELECT id, ARRAY[x, y, z] AS v FROM e;
INSERT INTO e SELECT i, random(), random(), random() FROM generate_series(2001, 2500) i;
UPDATE e SET x = x + 1 WHERE id % 9 = 0;
CREATE TABLE three AS SELECT i AS id, random_vector(3) AS v FROM generate_series(1, 40) i;
));
my $three = 'SELECT id, v FROM three';
ok(plan_uses_index($node, "SELECT id FROM ev ORDER BY v <-> (SELECT v FROM three LIMIT 1) LIMIT 10", 'e_v'),
	'an expression index is used');
probes_ok($node, 'ev', 'an expression index', probes => $three);
ok(wait_sealed($node, 'e_v', ask => 1), 'is sealed');
probes_ok($node, 'ev', 'and answers exactly', probes => $three);
exact_everywhere($node, 'ev', 'as a whole too');
# A vector of double precision by a cast in the expression; NULLs are left out.
$node->safe_psql('postgres', qq(
CREATE TABLE d (id int, w double precision[]);
INSERT INTO d SELECT i, random_vector($dims)::double precision[] FROM generate_series(1, 1000) i;
INSERT INTO d VALUES (2000, NULL);
CREATE INDEX d_v ON d USING vhnsw ((w::real[]));
CREATE VIEW dv AS SELECT id, w::real[] AS v FROM d WHERE w IS NOT NULL;
));
check('dv', 'an index on a cast', index => 'd_v');

# ---- Partitioned table
$node->safe_psql('postgres', qq(
CREATE TABLE parted (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
INSERT INTO parted SELECT i, random_vector($dims) FROM generate_series(1, 1999) i;
CREATE INDEX parted_v ON parted USING vhnsw (v);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (2000) TO (4000);
INSERT INTO parted SELECT i, random_vector($dims) FROM generate_series(2000, 2999) i;
CREATE TABLE parted_4 (id int, v real[]);
INSERT INTO parted_4 SELECT i, random_vector($dims) FROM generate_series(4000, 4500) i;
ALTER TABLE parted ATTACH PARTITION parted_4 FOR VALUES FROM (4000) TO (5000);
UPDATE parted SET id = id + 2000 WHERE id BETWEEN 1001 AND 1100;
DELETE FROM parted WHERE id % 7 = 0;
));
sub check_parted
{
	my ($name) = @_;
	my $plan = $node->safe_psql('postgres', "$EXHAUSTIVE EXPLAIN (COSTS OFF) SELECT id FROM parted ORDER BY v <-> ($probe) LIMIT 5");
	is(scalar(() = $plan =~ /Index Scan using parted_\d+_v_idx/g), $node->safe_psql('postgres',
			"SELECT count(*) FROM pg_inherits WHERE inhparent = 'parted'::regclass"), "$name: every partition's index is used");
	probes_ok($node, 'parted', "$name: the nearest rows");
	return;
}
check_parted('a partitioned table');
ok(wait_sealed($node, "parted_${_}_v_idx", ask => 1), "partition $_ is sealed") foreach 1 .. 4;
check_parted('a partitioned table, sealed');
$node->safe_psql('postgres', 'VACUUM parted');
$node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY parted');
check_parted('a partitioned table, vacuumed and reindexed');
$node->safe_psql('postgres', 'ALTER TABLE parted DETACH PARTITION parted_2');
check_parted('a partition detached');
probes_ok($node, 'parted_2', 'the detached partition by itself');
unlike(log_since($node, 0), qr/PANIC|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
