# pg_upgrade to another major version, by copy and by link: the logs come along, the files of vector-ckpt do not, and the builder
# makes them anew from the log. Answers are exact before that and after it, for logged and unlogged tables.
#
# Needs a second, newer installation that has the extension: VECCKPT_UPGRADE_PG_CONFIG names its pg_config.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my $pg_config = $ENV{VECCKPT_UPGRADE_PG_CONFIG};
plan skip_all => 'VECCKPT_UPGRADE_PG_CONFIG does not name the pg_config of a second installation'
  unless defined $pg_config && $pg_config ne '';
chomp(my $new_bin = `$pg_config --bindir`);
chomp(my $new_lib = `$pg_config --pkglibdir`);
plan skip_all => "$new_lib has no vecckpt" unless -e "$new_lib/vecckpt.so";
chomp(my $old_bin = `pg_config --bindir`);
my ($old_major) = `$old_bin/postgres --version` =~ / (\d+)/;
my ($new_major) = `$new_bin/postgres --version` =~ / (\d+)/;
plan skip_all => "version $new_major is not newer than $old_major" unless $new_major > $old_major;
note("from $old_major to $new_major");

my $dims = 16;
my $rows = 4500;

seed_random();
my $old = new_node('old', init => [ extra => [ '--locale=C', '--encoding=UTF8' ] ]);
$old->start;
load_table($old, rows => $rows, dims => $dims);
$old->safe_psql('postgres', 'CREATE DATABASE second');
setup_vectors($old, 'second');
$old->safe_psql('second', qq(
CREATE TABLE wide (id int, v real[]);
CREATE INDEX wide_v ON wide USING vhnsw (v real_cosine_ops) WITH (m = 12, quantization = 'none');
INSERT INTO wide SELECT i, random_vector(3000) FROM generate_series(1, 200) i;
));
$old->safe_psql('postgres', qq(
CREATE TABLE parted (id int, v real[]) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
CREATE INDEX parted_v ON parted USING vhnsw (v);
INSERT INTO parted SELECT i, random_vector($dims) FROM generate_series(1, 1999) i;
CREATE UNLOGGED TABLE u (id int, v real[]);
CREATE INDEX u_v ON u USING vhnsw (v);
INSERT INTO u SELECT i, random_vector($dims) FROM generate_series(1, 700) i;
CREATE TABLE empty (id int, v real[]);
CREATE INDEX empty_v ON empty USING vhnsw (v);
DELETE FROM t WHERE id % 4 = 0;
));
# Dead entries, freed extents, a tail.
vacuum_wholly($old, 't');
$old->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 900)");
ok(wait_sealed($old, 't_v', ask => 1), 'the old server has segments');
$old->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 100)");
my @digests   = map { table_digest($old, $_) } qw(t u parted);
my $indexes   = 'SELECT index, identity, metric, dims, m, quantization, entries, live_entries FROM vec_indexes ORDER BY index::text';
my $described = $old->safe_psql('postgres', $indexes);
$old->stop;
ok(scalar(grep { /ckpt$/ } vec_files($old)), 'and durable files');
$old->backup_fs_cold('stopped');

foreach my $mode ('--copy', '--link')
{
	my $from = PostgreSQL::Test::Cluster->new("from$mode");
	$from->init_from_backup($old, 'stopped');
	my $new = PostgreSQL::Test::Cluster->new("new$mode", install_path => $new_bin =~ s{/bin$}{}r);
	$new->init(extra => [ '--locale=C', '--encoding=UTF8', ($new_major >= 18 ? '--no-data-checksums' : ()) ]);
	# Preloaded in the new cluster while pg_upgrade runs its server, too.
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'vecckpt'\nmax_worker_processes = 16\nautovacuum = off\njit = off\n");
	command_ok(
		[
			"$new_bin/pg_upgrade", '--no-sync', $mode, '-d', $from->data_dir, '-D', $new->data_dir, '-b', $old_bin, '-B', $new_bin,
			'-s', $new->host, '-p', $from->port, '-P', $new->port
		],
		"pg_upgrade $mode");
	is(join(' ', vec_files($new)), '', "$mode: no file comes along, and no builder has worked meanwhile");

	$new->start;
	is(join("\n", map { table_digest($new, $_) } qw(t u parted)), join("\n", @digests), "$mode: the rows");
	ok(plan_uses_index($new, 'SELECT id FROM t ORDER BY v <-> (SELECT v FROM probes LIMIT 1) LIMIT 5', 't_v'), "$mode: the index is used");
	my %tables = (t => 'postgres', u => 'postgres', parted => 'postgres', empty => 'postgres', wide => 'second');
	my $exact = sub {
		my ($when) = @_;
		foreach my $table (sort keys %tables)
		{
			my $operator = $table eq 'wide' ? '<=>' : '<->';
			exact_everywhere($new, $table, "$mode, $when: every row of $table once", database => $tables{$table}, operator => $operator);
		}
		probes_ok($new, 't', "$mode, $when: exact answers", probes => 'SELECT id, v FROM probes WHERE id <= 30');
	};
	$exact->('at once');
	# Unasked: nobody has told the new server of its indexes.
	ok( wait_until(
			'unasked building',
			sub {
				$new->safe_psql('postgres', "SELECT min(segments) > 0 AND max(tail_length) < 256 FROM vec_indexes"
					  . " WHERE index IN ('t_v'::regclass, 'u_v'::regclass)") eq 't';
			},
			120),
		"$mode: the builder makes the segments anew, unasked");
	is($new->safe_psql('postgres', $indexes), $described, "$mode: the logs are the same");
	ok(wait_sealed($new, $_, ask => 1), "$mode: $_ is sealed") foreach qw(t_v u_v);
	ok(wait_sealed($new, 'wide_v', database => 'second', ask => 1), "$mode: wide_v is sealed");
	$exact->('sealed');
	$new->safe_psql('postgres', "INSERT INTO t (v) SELECT random_vector($dims) FROM generate_series(1, 500);"
		  . " INSERT INTO empty SELECT id, v FROM t LIMIT 300; DELETE FROM t WHERE id % 3 = 0");
	$new->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
	index_check_ok($new, $_, "$mode: index $_") foreach qw(t_v u_v empty_v);
	kill_server($new, all => 1);
	start_again($new);
	delete $tables{u};
	$exact->('changed and crashed');
	is($new->safe_psql('postgres', 'SELECT count(*) FROM u'), '0', "$mode: the unlogged table is empty after the crash");
	unlike(log_since($new), qr/PANIC|TRAP:/, "$mode: nothing panicked");
	$new->stop;
}
done_testing();
