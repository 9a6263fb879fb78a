# wal_level = minimal: what a transaction writes to a table or index that it made itself is not WAL-logged but written out
# at its commit, or logged then where it is small. After a crash every committed row is found by the index, and nothing of
# what was not committed stays behind, whatever the builder had made durable of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $dims = 16;
my $rows = 4500;

seed_random();
my $node = new_node('node', conf => qq(
wal_level = minimal
max_wal_senders = 0
max_prepared_transactions = 5
vecckpt.checkpoint_timeout = 1
));
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', "CREATE TABLE probes AS SELECT id, random_vector($dims) AS v FROM generate_series(1, 100) id");
my $copy = PostgreSQL::Test::Utils::tempdir() . '/rows.copy';
$node->safe_psql('postgres', "\\copy (SELECT i, random_vector($dims) FROM generate_series(1, $rows) i) to '$copy'");
my $place = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$place'");

# Transactions that end with a table of their name (id, v) and its index; before: what was committed earlier. `rows`: of the
# table in the end.
my %create = (
	copy_then_index => { sql => qq(
CREATE TABLE %t (id int, v real[]);
\\copy %t from '$copy'
CREATE INDEX %t_v ON %t USING vhnsw (v)), rows => $rows },
	index_then_copy => { sql => qq(
CREATE TABLE %t (id int, v real[]);
CREATE INDEX %t_v ON %t USING vhnsw (v);
\\copy %t from '$copy'), rows => $rows },
	few_rows => { sql => qq(
CREATE TABLE %t (id int, v real[]);
CREATE INDEX %t_v ON %t USING vhnsw (v);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(1, 20) i), rows => 20 },
	long_vectors => { sql => qq(
CREATE TABLE %t (id int, v real[]);
CREATE INDEX %t_v ON %t USING vhnsw (v);
INSERT INTO %t SELECT i, random_vector(9000) FROM generate_series(1, 20) i), rows => 20, dims => 9000 },
	truncated => { before => qq(
CREATE TABLE %t (id int, v real[]);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(1, 1000) i;
CREATE INDEX %t_v ON %t USING vhnsw (v);), sql => qq(
TRUNCATE %t;
\\copy %t from '$copy'), rows => $rows },
	truncated_twice => { sql => qq(
CREATE TABLE %t (id int, v real[]);
CREATE INDEX %t_v ON %t USING vhnsw (v);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(10001, 10500) i;
TRUNCATE %t;
\\copy %t from '$copy'), rows => $rows },
	subtransactions => { sql => qq(
CREATE TABLE %t (id int, v real[]);
SAVEPOINT a;
CREATE INDEX %t_v ON %t USING vhnsw (v);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(10001, 10500) i;
ROLLBACK TO a;
SAVEPOINT b;
CREATE INDEX %t_v ON %t USING vhnsw (v);
\\copy %t from '$copy'
RELEASE b;
SAVEPOINT c;
TRUNCATE %t;
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(20001, 20500) i;
ROLLBACK TO c), rows => $rows },
	reindexed => { before => qq(
CREATE TABLE %t (id int, v real[]);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(1, $rows) i;
CREATE INDEX %t_v ON %t USING vhnsw (v);), sql => qq(
REINDEX INDEX %t_v;
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(5001, 5500) i;
DELETE FROM %t WHERE id <= 500), rows => $rows },
	moved => { before => qq(
CREATE TABLE %t (id int, v real[]);
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(1, $rows) i;
CREATE INDEX %t_v ON %t USING vhnsw (v);), sql => qq(
ALTER INDEX %t_v SET TABLESPACE other;
ALTER TABLE %t SET TABLESPACE other;
INSERT INTO %t SELECT i, random_vector($dims) FROM generate_series(5001, 5500) i), rows => $rows + 500 },
);

sub statements
{
	my ($sql, $table) = @_;
	$sql =~ s/%t/$table/g;
	return $sql;
}

sub holds_its_rows
{
	my ($case, $table, $name) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), $case->{rows}, "$name: the rows");
	exact_everywhere($node, $table, "$name: each is found once");
	probes_ok($node, $table, "$name: exact answers", probes => 'SELECT id, v FROM probes WHERE id <= 20') unless $case->{dims};
	index_check_ok($node, "${table}_v", "$name: the index");
	return;
}

# Written out at commit, and logged at commit.
foreach my $threshold (qw(0 1GB))
{
	my $kind = $threshold eq '0' ? 'written' : 'logged';
	$node->safe_psql('postgres', "ALTER SYSTEM SET wal_skip_threshold = '$threshold'");
	$node->reload;
	foreach my $name (sort keys %create)
	{
		my $case = $create{$name};
		$node->safe_psql('postgres', statements($case->{before}, "${name}_$kind")) if $case->{before};
	}
	# So that redo begins here.
	$node->safe_psql('postgres', 'CHECKPOINT');
	foreach my $name (sort keys %create)
	{
		my $case = $create{$name};
		# One after the other in one session of its own each.
		$node->safe_psql('postgres', 'BEGIN;' . statements($case->{sql}, "${name}_$kind") . ";\nCOMMIT;");
	}
	kill_server($node, all => 1);
	start_again($node);
	holds_its_rows($create{$_}, "${_}_$kind", "$_, $kind at commit, after a crash") foreach sort keys %create;
	# Ordinary changes of such pages, whose first record after a checkpoint is a full image and later ones are not.
	foreach my $name (sort keys %create)
	{
		my ($table, $width) = ("${name}_$kind", $create{$name}{dims} || $dims);
		$node->safe_psql('postgres', qq(
INSERT INTO $table SELECT i, random_vector($width) FROM generate_series(30001, 30010) i;
DELETE FROM $table WHERE id % 2 = 0;
VACUUM (INDEX_CLEANUP ON) $table;
INSERT INTO $table SELECT i, random_vector($width) FROM generate_series(40001, 40010) i;));
	}
	kill_server($node, all => 1);
	start_again($node);
	exact_everywhere($node, "${_}_$kind", "$_, $kind at commit: exact after another crash") foreach sort keys %create;
}

# ---- A crash before the commit. A checkpoint has written the relation's file and made the segments durable, so both are
# there after it, and belong to nothing: PostgreSQL leaves such a file behind.
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe(qq(BEGIN;
CREATE TABLE lost (id int, v real[]);
INSERT INTO lost SELECT i, random_vector($dims) FROM generate_series(1, $rows) i;
CREATE INDEX lost_v ON lost USING vhnsw (v);));
my $lost = $session->query_safe("SELECT d.oid || '_' || d.dattablespace || '_' || c.relfilenode FROM pg_class c, pg_database d"
	  . " WHERE c.relname = 'lost_v' AND d.datname = current_database()");
$node->safe_psql('postgres', 'CHECKPOINT');
ok(scalar(grep { /ckpt$/ } vec_files($node, $lost)), 'segments of an uncommitted index are durable');
kill_server($node, all => 1);
eval { $session->quit; };
start_again($node);
is($node->safe_psql('postgres', "SELECT to_regclass('lost') IS NULL"), 't', 'a crash before the commit: the table is gone');
ok( wait_until(
		'builders to leave',
		sub {
			$node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt builder'") eq '0';
		},
		40),
	'no builder goes on looking for its index');
is($node->safe_psql('postgres', "SELECT count(*) FROM vec_indexes WHERE state <> 'idle'"), '0', 'nor does any work go on');
ok(wait_until('its files to be swept', sub { !vec_files($node, $lost) }, 60), 'its files are swept');
unlike(log_since($node), qr/PANIC|TRAP:/, 'nothing panicked');

$node->stop;
done_testing();
