# Thousands of scans across many generations leave neither files mapped nor descriptors open: not in a session that ends its
# scans in every way there is, not in one that only waits, not in the builder and the launcher.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant { ROUNDS => 40, SCANS => 160 };

seed_random();
my $node = new_node('node', conf => 'fsync = off');
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 300) i;
SELECT vec_checkpoint('t_v');
CREATE FUNCTION nearest(k int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    found int;
BEGIN
    -- A scan that is not read to its end, one that fails, and a subtransaction that is rolled back.
    FOR found IN SELECT id FROM t ORDER BY v <-> (SELECT random_vector(8)) LOOP
        EXIT WHEN found % 7 = 0;
    END LOOP;
    BEGIN
        PERFORM 1 / (id - id) FROM t ORDER BY v <-> (SELECT random_vector(8)) LIMIT k;
    EXCEPTION WHEN division_by_zero THEN
    END;
    SELECT count(*) INTO found FROM (SELECT id FROM t ORDER BY v <-> (SELECT random_vector(8)) LIMIT k) s;
    RETURN found;
END $$;
));

# Of a process: files of vector-ckpt mapped, those of them that are deleted, descriptors of such files and of thread pools.
sub held
{
	my ($pid) = @_;
	my @maps = mappings($pid);
	my @descriptors = grep { m{/vector-ckpt/(?!owner)|eventfd} } map { readlink($_) || '' } glob "/proc/$pid/fd/*";
	return (scalar(@maps), scalar(grep { /\(deleted\)/ } @maps), scalar(@descriptors));
}

sub pid_of
{
	my ($type) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'");
}

# A statement that may fail.
sub try_query
{
	my ($session, $query) = @_;
	$session->query($query);
	$session->{stderr} = '';
	return;
}

# Of those that do not search all the time: one whose cursor is open for some rounds, one that searches once a round.
my ($session, $other, $rare) = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
my %pid = map { $_ => $_->query_safe('SELECT pg_backend_pid()') } $session, $other, $rare;
$_->query_safe('SET enable_seqscan = off') foreach $session, $other, $rare;
my ($generations, $most) = (0, 0);
my $launcher = pid_of('vecckpt launcher');
my (undef, undef, $launcher_descriptors) = held($launcher);
foreach my $round (1 .. ROUNDS)
{
	$node->safe_psql('postgres', "INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1000 * $round, 1000 * $round + 40) i");
	$node->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
	$other->query_safe('BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> (SELECT random_vector(8)); FETCH 10 FROM c') if $round % 5 == 1;
	$session->query_safe('SELECT sum(nearest(20)) FROM generate_series(1, ' . SCANS / 4 . ')');
	$session->query_safe('BEGIN; SAVEPOINT a; SELECT nearest(5); ROLLBACK TO a; SELECT nearest(5); ROLLBACK');
	try_query($session, 'SELECT 1 / (id - id) FROM t ORDER BY v <-> (SELECT random_vector(8))');
	$session->query_safe("SET statement_timeout = 1");
	try_query($session, 'SELECT sum(nearest(100)) FROM generate_series(1, 1000)');
	$session->query_safe('RESET statement_timeout');
	$session->query_safe("SELECT count(*) FROM vec_index_check('t_v', true)") if $round % 10 == 0;
	$rare->query_safe('SELECT nearest(1)');
	if ($round % 5 == 0)
	{
		my ($maps) = held($pid{$other});
		cmp_ok($maps, '>', 0, "round $round: a cursor keeps the files of its generation");
		$other->query_safe('COMMIT');
	}
	my ($maps) = held($pid{$session});
	$most = $maps if $maps > $most;
}
$generations = $node->safe_psql('postgres', "SELECT generation FROM vec_indexes WHERE index = 't_v'::regclass");
my $segments = $node->safe_psql('postgres', "SELECT segments FROM vec_indexes WHERE index = 't_v'::regclass");
my $searches = $node->safe_psql('postgres', "SELECT searches FROM vec_stat WHERE index = 't_v'::regclass");
note("$searches scans, $generations generations, $segments segments now, at most $most files mapped");
cmp_ok($searches, '>', 3000, 'there were thousands of scans');
cmp_ok($generations, '>=', ROUNDS, 'of many generations');
cmp_ok($most, '<=', 24, 'the session never had more files mapped than two generations have');
foreach my $who ([ $session, 'the session' ], [ $other, 'the one with cursors' ], [ $rare, 'the one that rarely searches' ])
{
	my ($process, $name) = @$who;
	$process->query_safe('SELECT nearest(1)');
	$process->query_safe('SELECT 1');    # a transaction's end lets go of what was replaced
	my ($maps, $deleted, $descriptors) = held($pid{$process});
	is("$maps $deleted $descriptors", "$segments 0 0", "$name has the current segments mapped, and nothing open");
}
my ($maps, $deleted, $descriptors) = held($launcher);
is(pid_of('vecckpt launcher'), $launcher, 'the launcher is the same');
is("$maps $deleted $descriptors", "0 0 $launcher_descriptors", 'and holds nothing');

# The builder lives while there is work: it has worked for many generations by now.
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(8) FROM generate_series(900001, 900020) i');
$node->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
my $builder = pid_of('vecckpt builder');
SKIP:
{
	skip 'the builder has left', 1 if $builder eq '' || !-r "/proc/$builder/maps";
	($maps, $deleted, $descriptors) = held($builder);
	note("builder: $maps files mapped, $deleted of them deleted, $descriptors descriptors");
	cmp_ok($maps + $descriptors, '<=', 12 + 4, 'the builder holds no more than it works with');
}

# An index that is dropped lets go of everything.
$node->safe_psql('postgres', 'DROP TABLE t CASCADE');
foreach my $process ($session, $other, $rare)
{
	$process->query_safe('SELECT 1');
	$process->query_safe('SELECT 1');
}
ok( wait_until(
		'sessions to let go of a dropped index',
		sub {
			# The sweep forgets it; the next transaction's end sees that.
			$_->query_safe('SELECT 1') foreach $session, $other, $rare;
			!grep { (held($pid{$_}))[0] > 0 } $session, $other, $rare;
		}),
	'a dropped index stays mapped nowhere');
$_->quit foreach $session, $other, $rare;
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
