# Work in progress can be watched: the builder's jobs in vec_progress, with phases, counts that grow up to their total and
# an estimated end, from other databases too; CREATE INDEX in pg_stat_progress_create_index, with blocks while the table is
# read and entries in every phase that has them. When all is done nothing is shown.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;

my $node = new_node('progress', conf => "fsync = off\nshared_buffers = 256MB\nvecckpt.builder = off
vecckpt.build_threads = 2");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION vecckpt');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vec_progress'), '0', 'no builder, no job');

# ---- A builder's graph. The more it takes the better.
my $rows = 14000;
$node->safe_psql('postgres', qq(
CREATE TABLE t (id int, v real[]);
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 32, ef_construction = 1000);
INSERT INTO t SELECT i, random_vector(64) FROM generate_series(1, $rows) i;
));
my $watcher = $node->background_psql('postgres');
my $elsewhere = $node->background_psql('other');
my $columns = 'pid, database, index, job, phase, done, total, unit, rate > 0, started <= phase_started, phase_started <= now(), estimated_end >= phase_started, started';
$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;

my (@seen, %done, @elsewhere);
ok( wait_until(
		'nodes to be inserted while we look',
		sub {
			foreach my $line (split /\n/, $watcher->query("SELECT $columns FROM vec_progress"))
			{
				push @seen, [ split /\|/, $line, -1 ];
				my ($phase, $done) = @{ $seen[-1] }[ 4, 5 ];
				next unless $phase eq 'inserting nodes';
				my $counts = $done{ $seen[-1][12] } ||= [];
				push @$counts, $done if !@$counts || $done != $counts->[-1];
				push @elsewhere, split /\n/, $elsewhere->query("SELECT $columns FROM vec_progress WHERE phase = 'inserting nodes'")
				  unless @elsewhere;
			}
			return @elsewhere && grep { @$_ >= 3 && $_->[-1] > $_->[0] } values %done;
		},
		120),
	'a builder\'s job is seen to go on, its count grows');
note(join ' ', map { $_->[3] . ':' . $_->[4] } @seen[ 0 .. ($#seen > 9 ? 9 : $#seen) ]);
my ($graph) = grep { $_->[4] eq 'inserting nodes' } reverse @seen;
is($graph->[1], 'postgres', 'it is of this database');
is($graph->[2], 't_v',      'and of the index');
like($graph->[3], qr/^(graph|absorb)$/, 'it makes a graph');
is($graph->[7], 'nodes', 'it counts nodes');
cmp_ok($graph->[5], '>', 0, 'some are done');
is(join(',', @$graph[ 8 .. 11 ]), 't,t,t,t', 'rate, times and the estimated end make sense');
is($node->safe_psql('postgres', "SELECT backend_type FROM pg_stat_activity WHERE pid = $graph->[0]"), 'vecckpt builder',
	'the process is the builder');
my @over = grep { $_->[5] ne '' && $_->[5] > $_->[6] } @seen;
is(scalar(@over), 0, 'no count exceeds its total');
my %allowed = (
	seal => 'preparing|encoding vectors|writing file',
	merge => 'preparing|copying codes|writing file',
	graph => 'preparing|copying codes|inserting nodes|making nodes findable|writing file',
	absorb => 'preparing|copying codes|inserting nodes|making nodes findable|writing file');
my @odd = grep { !exists $allowed{ $_->[3] } || $_->[4] !~ /^($allowed{$_->[3]})$/ } @seen;
is(join("\n", map { "$_->[3] $_->[4]" } @odd), '', 'every job is in a phase of its own');
my @other = split /\|/, $elsewhere[0], -1;
is($other[1] . '|' . $other[2], 'postgres|', 'another database sees the job, without the index');
$_->quit foreach $watcher, $elsewhere;

ok(wait_settled($node, 't_v', ask => 1, seconds => 180), 'the builder comes to an end');
ok(wait_until('nothing to be shown', sub { $node->safe_psql('postgres', 'SELECT count(*) FROM vec_progress') eq '0' }),
	'and nothing is shown any more');

# ---- CREATE INDEX, held in the middle of the table by a lock
$node->safe_psql('postgres', q(
DROP INDEX t_v;
CREATE FUNCTION gate(id int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF id = 9000 THEN PERFORM pg_advisory_xact_lock(1); END IF;
    RETURN true;
END $$;
));
my $gate = $node->background_psql('postgres');
$gate->query('SELECT pg_advisory_lock(1)');
my $build = $node->background_psql('postgres');
my $pid = $build->query('SELECT pg_backend_pid()');
$build->query_until(qr/go/, "\\echo go\nCREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 32, ef_construction = 400) WHERE gate(id);\n\\echo over\n");
my $progress = "SELECT phase, tuples_done, tuples_total, blocks_done > 0 AND blocks_done < blocks_total, blocks_total"
  . " FROM pg_stat_progress_create_index WHERE pid = $pid";
ok( wait_until('the build to wait', sub {
			$node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $pid AND NOT granted") eq '1' }),
	'CREATE INDEX waits in the middle of the table');
my $blocks = $node->safe_psql('postgres', "SELECT pg_relation_size('t') / 8192");
is($node->safe_psql('postgres', $progress), "building index: writing log|8999|0|t|$blocks",
	'entries and blocks read so far are shown');
$gate->query('SELECT pg_advisory_unlock(1)');
my (%phases, @inserted);
ok( wait_until(
		'the graph',
		sub {
			my ($phase, $tuples, $total) = split /\|/, $node->safe_psql('postgres', $progress), -1;
			return @inserted > 3 unless defined $phase;
			$phases{$phase} = $total;
			push @inserted, $tuples if $phase eq 'building index: building graph' && (!@inserted || $tuples != $inserted[-1]);
			return 0;
		},
		120),
	'nodes are counted while the graph is built');
is($phases{'building index: building graph'}, $rows, 'up to the number of entries');
is(scalar(grep { $inserted[$_] < $inserted[ $_ - 1 ] || $inserted[$_] > $rows } 1 .. $#inserted), 0, 'the count only grows');
is(join(',', grep { !/^(building index: (writing log|writing WAL|encoding vectors|building graph|making nodes findable|writing segment))?$/ } keys %phases),
	'', 'every phase has a name');
note(join ', ', sort keys %phases);
$build->query_until(qr/over/, "\n");
$_->quit foreach $build, $gate;

# A build in several parts counts on.
$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
$node->reload;
$build = $node->background_psql('postgres');
$pid = $build->query('SELECT pg_backend_pid()');
$build->query_until(qr/go/,
	"\\echo go\nSET maintenance_work_mem = '4MB';\nSET client_min_messages = warning;\nCREATE INDEX t_parts ON t USING vhnsw (v) WITH (m = 16, ef_construction = 1000);\n\\echo over\n");
my $most = 0;
$progress =~ s/pid = \d+/pid = $pid/;
ok( wait_until(
		'the second graph',
		sub {
			my ($phase, $tuples) = split /\|/, $node->safe_psql('postgres', $progress), -1;
			$most = $tuples if defined $phase && $phase eq 'building index: building graph' && $tuples > $most;
			return !defined $phase && $node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 't_parts'") eq '1';
		},
		120),
	'a build of several segments');
my $parts = $node->safe_psql('postgres', "SELECT count(*) || '|' || max(first_position) FROM vec_segments WHERE index = 't_parts'::regclass AND kind = 'graph'");
my ($segments, $last) = split /\|/, $parts;
cmp_ok($segments, '>', 1, "it made more than one ($segments)");
cmp_ok($most, '>', $last, 'its count goes on into the last one');
$build->query_until(qr/over/, "\n");
$build->quit;

$node->stop;
done_testing();
