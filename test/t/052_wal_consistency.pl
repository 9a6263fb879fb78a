# wal_consistency_checking: every page that a generic WAL record of the index changes comes along as a whole, and redo compares
# it with what it made of its own page, on a standby and in crash recovery. A difference is FATAL there. Under every kind of
# write: short and long vectors, extents taken, freed and taken again, dead flags, roll-backs, unlogged tables, builds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 2000, dims => 16);

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ],
	conf => "wal_consistency_checking = 'generic'\nwal_keep_size = 1GB\nmax_wal_size = 1GB\nvecckpt.checkpoint_timeout = 2\n");
$primary->start;
$primary->backup('base');
my $standby = new_standby($primary, 'base', 'standby', conf => "hot_standby_feedback = on\nvecckpt.checkpoint_timeout = 2\n");
load_table($primary, %size);
# 29 vectors an extent, five pages each: more than one record holds.
$primary->safe_psql('postgres', qq(
CREATE TABLE long (id bigserial, v real[]);
CREATE INDEX long_v ON long USING vhnsw (v) WITH (m = 4, ef_construction = 16);
INSERT INTO long (v) SELECT random_vector(9000) FROM generate_series(1, 40);
CREATE UNLOGGED TABLE u (id bigserial, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v);
));

my @load = (
	start_mixed_load($primary, %size, rate => 10),
	client($primary, q(
BEGIN;
INSERT INTO long (v) SELECT random_vector(9000) FROM generate_series(1, 4);
SAVEPOINT s;
INSERT INTO long (v) SELECT random_vector(9000) FROM generate_series(1, 2);
ROLLBACK TO s;
COMMIT;
DELETE FROM long WHERE id IN (SELECT id FROM long ORDER BY id LIMIT (SELECT greatest(count(*) - 40, 0) FROM long));
VACUUM (INDEX_CLEANUP ON) long;
), rate => 8),
	client($primary, q(
INSERT INTO u (v) SELECT random_vector(16) FROM generate_series(1, 3);
CHECKPOINT;
), rate => 1),
	client($primary, q(
CREATE INDEX CONCURRENTLY other_v ON t USING vhnsw (v real_cosine_ops) WITH (m = 4, ef_construction = 16);
DROP INDEX other_v;
), rate => 1));

# Where redo finds a difference, the server ends.
sub consistent
{
	my ($node, $name) = @_;
	return unlike(log_since($node), qr/inconsistent page found|startup process .* exited|PANIC/, $name);
}
stays_exact($standby, 'the standby answers exactly under load');
ok( wait_until(
		'extents of the long vectors to be taken again',
		sub {
			$primary->safe_psql('postgres', "SELECT (coverage + tail_length) * 36000 > 2 * pg_relation_size('long_v')"
				  . " FROM vec_indexes WHERE index = 'long_v'::regclass") eq 't';
		},
		120),
	'extents were freed and taken again: the log had twice the entries that its pages can hold');
stop_clients(@load);
ok(caught_up($primary, $standby), 'the standby has replayed it all');
consistent($standby, 'no page differs on the standby');
same_answers($primary, $standby, 'standby');
exact_everywhere($standby, 'long', 'every long vector once');

# Redo after a crash compares as well.
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->safe_psql('postgres', q(
INSERT INTO t (v) SELECT random_vector(16) FROM generate_series(1, 900);
INSERT INTO long (v) SELECT random_vector(9000) FROM generate_series(1, 40);
DELETE FROM t WHERE id % 2 = 0;
DELETE FROM long WHERE id % 2 = 0;
));
$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t, long');
kill_server($primary, all => 1);
start_again($primary);
like(log_since($primary), qr/redo done/, 'crash recovery has redone it');
consistent($primary, 'and found no difference');
exact_everywhere($primary, $_, "$_ after it: every row once", probe => "SELECT v FROM $_ ORDER BY id LIMIT 1") foreach qw(t long u);
index_check_ok($primary, "${_}_v", "index ${_}_v after it") foreach qw(t long u);

$standby->stop;
$primary->stop;
done_testing();
