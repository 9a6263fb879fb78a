# Statements that give the table, and so the index, another file: TRUNCATE, VACUUM FULL, CLUSTER, ALTER TABLE that rewrites. Also
# within subtransactions, rolled back, together with rows before and after, and several in one transaction. Each time the
# index answers exactly, on a standby too; sealed again, and after a crash.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my $dims = 16;
my $rows = 1500;

seed_random();
my $node = new_node('node', init => [ allows_streaming => 1 ], conf => "max_prepared_transactions = 5\nvecckpt.checkpoint_timeout = 2\n");
$node->start;
$node->backup('base');
my $standby = new_standby($node, 'base', 'standby', conf => "vecckpt.checkpoint_timeout = 2\n");
setup_vectors($node);
$node->safe_psql('postgres', qq(
SELECT setseed(@{[rand()]});
CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 15) id;
CREATE SEQUENCE ids;
CREATE FUNCTION more(rows int) RETURNS void LANGUAGE plpgsql AS
    'BEGIN INSERT INTO t (id, v) SELECT nextval(''ids''), random_vector($dims) FROM generate_series(1, rows); END';
CREATE FUNCTION doubled(v real[]) RETURNS real[] LANGUAGE sql AS 'SELECT array_agg(e * 2 + 1) FROM unnest(v) e';
));

# Statements, and how many rows there are afterwards.
my @cases = (
	[ 'TRUNCATE', 'TRUNCATE t', 0 ],
	[ 'TRUNCATE and rows', 'BEGIN; SELECT more(50); TRUNCATE t; SELECT more(700); COMMIT', 700 ],
	[ 'TRUNCATE rolled back', 'BEGIN; SELECT more(50); TRUNCATE t; SELECT more(700); ROLLBACK', $rows ],
	[   'TRUNCATE in a subtransaction that rolls back',
		'BEGIN; SELECT more(50); SAVEPOINT a; TRUNCATE t; SELECT more(700); ROLLBACK TO a; SELECT more(50); COMMIT',
		$rows + 100 ],
	[   'TRUNCATE in subtransactions, the outer one kept',
		'BEGIN; SAVEPOINT a; TRUNCATE t; SELECT more(400); SAVEPOINT b; TRUNCATE t; SELECT more(5); ROLLBACK TO b; SELECT more(300);'
		  . ' RELEASE a; COMMIT',
		700 ],
	[   'TRUNCATE twice, the second one rolled back',
		'BEGIN; TRUNCATE t; SELECT more(400); SAVEPOINT b; TRUNCATE t; SELECT more(500); ROLLBACK TO b; COMMIT', 400 ],
	[ 'TRUNCATE prepared', q(BEGIN; TRUNCATE t; SELECT more(300); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'), 300 ],
	[ 'TRUNCATE prepared and rolled back', q(BEGIN; TRUNCATE t; SELECT more(300); PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'), $rows ],
	[ 'VACUUM FULL', 'DELETE FROM t WHERE id % 3 = 0; VACUUM FULL t', undef ],
	[ 'CLUSTER', 'DELETE FROM t WHERE id % 3 = 1; CLUSTER t USING t_note', undef ],
	[ 'CLUSTER rolled back', 'BEGIN; CLUSTER t USING t_note; SELECT more(300); ROLLBACK', $rows ],
	[ 'ALTER TABLE that rewrites', 'ALTER TABLE t ADD COLUMN w float8 DEFAULT random()', $rows ],
	[ 'ALTER TYPE that rewrites', 'ALTER TABLE t ALTER COLUMN note TYPE int USING note::int', $rows ],
	[   'ALTER TYPE of the vectors',
		'ALTER TABLE t ALTER COLUMN v TYPE real[] USING doubled(v)', $rows ],
	[ 'ALTER TYPE without rewriting', 'ALTER TABLE t ALTER COLUMN note TYPE varchar(99)', $rows ],
	[   'several in one transaction',
		'BEGIN; ALTER TABLE t ADD COLUMN w float8 DEFAULT random(); SAVEPOINT a; TRUNCATE t; SELECT more(20); ROLLBACK TO a;'
		  . ' SELECT more(100); CLUSTER t USING t_note; SELECT more(100); REINDEX TABLE t; SELECT more(100); COMMIT',
		$rows + 300 ],
	[   'DROP INDEX and CREATE INDEX in a subtransaction that rolls back',
		'BEGIN; SAVEPOINT a; DROP INDEX t_v; CREATE INDEX t_v ON t USING vhnsw (v); SELECT more(99); ROLLBACK TO a; SELECT more(1); COMMIT',
		$rows + 1 ],
);

# A table whose index has segments and a tail, and dead rows in both.
sub fresh_table
{
	$node->safe_psql('postgres', qq(
DROP TABLE IF EXISTS t;
CREATE TABLE t (id int, v real[], note text DEFAULT (1000 * random())::int);
CREATE INDEX t_note ON t (note);
SELECT more($rows);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 8, ef_construction = 32);
SELECT more(200);
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 100);
DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id DESC LIMIT 100);
));
	return;
}

foreach my $case (@cases)
{
	my ($name, $sql, $left) = @$case;
	fresh_table();
	$node->safe_psql('postgres', $sql);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $left, "$name: the rows") if defined $left;
	all_exact('postgres', $name, $node, $standby);
	$node->safe_psql('postgres', 'SELECT more(300); DELETE FROM t WHERE id % 5 = 2;');
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
	all_sealed('postgres', "$name, more rows", $node);
	# Some of them after a crash, which is no matter of the statement alone.
	next unless $name =~ /subtransaction|one transaction|CLUSTER$|vectors/;
	kill_server($node, all => 1);
	start_again($node);
	all_exact('postgres', "$name, after a crash", $node);
}
all_exact('postgres', 'in the end', $node, $standby);
my $kept = index_key($node, 't_v');
ok(wait_until('the sweep', sub { !grep { !/^$kept\./ } vec_files($node), vec_files($standby) }, 90), 'no file of another index is left');
unlike(log_since($_), qr/PANIC|TRAP:/, 'nothing panicked on ' . $_->name) foreach $node, $standby;

$standby->stop;
$node->stop;
done_testing();
