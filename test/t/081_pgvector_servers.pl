# Indexes on pgvector's types through what happens to servers: kill -9, a standby, dump and restore, an update of the
# extension. Afterwards each has the rows it should have and answers as exact scans do.

use strict;
use warnings;

use File::Copy;
use File::Path 'make_path';
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use PgvectorTest;
use ReplicaTest;
use VecData;
use VecTest;

require_pgvector();

my $node = new_node('node', init => [ allows_streaming => 1 ]);
$node->start;
$node->backup('empty');
my $standby = new_standby($node, 'empty', 'standby');

my $vectors = sample_vectors('photosift5k.u8bin');
create_samples($node, [ @$vectors[ 0 .. 1499 ] ], sample_vectors('photosift.query50.u8bin'));

# Tests every index of a server.
sub answers_right
{
	my ($server, $name, $database) = @_;
	$database ||= 'postgres';
	foreach my $type (qw(vector halfvec))
	{
		foreach my $operator (sort keys %CLASS_OF)
		{
			my $index = class_index($type, $operator);
			my $query = "SELECT id FROM t_$type ORDER BY v $operator (SELECT v FROM probes_$type LIMIT 1) LIMIT 5";
			ok(plan_uses_index($server, $query, $index, $database), "$name: $index is used");
			exact_everywhere($server, "t_$type", "$name: $index, every row once", operator => $operator, database => $database);
			index_check_ok($server, $index, "$name: $index is whole", database => $database);
		}
		probes_ok($server, "t_$type", "$name: exact answers of $type", probes => "SELECT id, v FROM probes_$type WHERE id < 10",
			database => $database);
	}
	return;
}

sub rows_of
{
	my ($server, $database) = @_;
	return ask($server, $database || 'postgres',
		'SELECT (SELECT count(*) FROM t_vector), (SELECT count(*) FROM t_halfvec),'
		  . ' md5(string_agg(h.id || h.v::text || v.v::text, $$ $$ ORDER BY h.id)) FROM t_halfvec h JOIN t_vector v USING (id)');
}

# Killed with rows in the tail that no checkpoint has seen, some of them gone again.
insert_samples($node, [ @$vectors[ 1500 .. 2199 ] ], 1500);
$node->safe_psql('postgres', "DELETE FROM t_$_ WHERE id % 7 = 0; UPDATE t_$_ SET v = v WHERE id % 11 = 0") foreach qw(vector halfvec);
my $rows = rows_of($node);
ok(kill_server($node, all => 1), 'killed');
start_again($node);
is(rows_of($node), $rows, 'after kill -9: the rows');
answers_right($node, 'after kill -9');
$node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) t_$_") foreach qw(vector halfvec);
insert_samples($node, [ @$vectors[ 2200 .. 2499 ] ], 2200);

ok(caught_up($node, $standby), 'the standby catches up');
is(rows_of($standby), rows_of($node), 'standby: the rows');
answers_right($standby, 'standby');
foreach my $index (map { my $type = $_; map { class_index($type, $_) } sort keys %CLASS_OF } qw(vector halfvec))
{
	ok(wait_sealed($standby, $index, ask => 1, seconds => 180), "standby: $index is sealed");
}
answers_right($standby, 'sealed standby');

# Dump and restore.
my $folder = PostgreSQL::Test::Utils::tempdir();
my $indexes = "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%vhnsw%' ORDER BY 1";
$node->safe_psql('postgres',
	'CREATE INDEX ON t_vector USING vhnsw ((v::halfvec(128)) halfvec_l2_ops) WITH (m = 8, dims = 128) WHERE id > 100');
command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', $node->connstr('restored'), "$folder/dump" ], 'restored');
is($node->safe_psql('restored', $indexes), $node->safe_psql('postgres', $indexes), 'restored: the same indexes');
is(rows_of($node, 'restored'), rows_of($node), 'restored: the rows');
answers_right($node, 'restored', 'restored');

# A later version, whose update script lies in a folder of the test's own. Debian's servers up to 17 know a setting for
# that, all from 18 on know another.
my $setting = $node->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('extension_destdir', 'extension_control_path') ORDER BY 1 LIMIT 1");
SKIP:
{
	skip 'this server finds extensions in its own folders only', 3 unless $setting;
	my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
	make_path("$folder/later$sharedir/extension");
	copy($_, "$folder/later$sharedir/extension/") or die "could not copy $_: $!"
	  foreach glob "$sharedir/extension/vecckpt_pgvector*";
	append_to_file("$folder/later$sharedir/extension/vecckpt_pgvector--1.0--1.0.later.sql",
		"COMMENT ON OPERATOR CLASS vector_l2_ops USING vhnsw IS 'updated';\n");
	my $value = $setting eq 'extension_destdir' ? "$folder/later" : "$folder/later$sharedir:\$system";
	my ($code, $out, $err) =
	  $node->psql('postgres', "SET $setting = '$value'; ALTER EXTENSION vecckpt_pgvector UPDATE TO '1.0.later'");
	is($err, '', 'updated');
	is( $node->safe_psql(
			'postgres', q(
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vecckpt_pgvector'), obj_description(o.oid, 'pg_opclass')
FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod WHERE a.amname = 'vhnsw' AND o.opcname = 'vector_l2_ops')),
		'1.0.later|updated',
		'its script has run');
	probes_ok($node, 't_vector', 'exact answers after the update', probes => 'SELECT id, v FROM probes_vector WHERE id < 10');
}

$node->safe_psql('postgres', 'SET client_min_messages = warning; DROP EXTENSION vector CASCADE');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relam = (SELECT oid FROM pg_am WHERE amname = 'vhnsw')"),
	'0', 'DROP EXTENSION vector CASCADE takes the indexes along');
$standby->stop;
$node->stop;
done_testing();
