# An installation in folders of its own, which extension_control_path and dynamic_library_path name (PostgreSQL 18): the
# extension is created from there, and every process has that library and no other.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('node');
plan skip_all => 'this version has no extension_control_path' if $node->pg_version < 18;

my $place = abs_path(PostgreSQL::Test::Utils::tempdir());
chomp(my $lib   = `pg_config --pkglibdir`);
chomp(my $share = `pg_config --sharedir`);
mkdir "$place/$_" or die "could not create $place/$_: $!" foreach qw(share share/extension lib);
copy($_, "$place/share/extension/") or die "could not copy $_: $!" foreach glob "$share/extension/vecckpt--*.sql";
my $control = slurp_file("$share/extension/vecckpt.control");
$control =~ s/^comment = .*/comment = 'from another place'/m or die 'no comment';
append_to_file("$place/share/extension/vecckpt.control", $control);
copy("$lib/vecckpt.so", "$place/lib/") or die "could not copy vecckpt.so: $!";
$node->append_conf('postgresql.conf', "extension_control_path = '$place/share:\$system'\ndynamic_library_path = '$place/lib:\$libdir'\n");

seed_random();
$node->start;
setup_vectors($node);
is( $node->safe_psql('postgres', q(SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'vecckpt')),
	'from another place', 'the extension was created from there');
$node->safe_psql('postgres', q(
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, 1000) i;
CREATE INDEX t_v ON t USING vhnsw (v);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1001, 2000) i;
));
ok(wait_sealed($node, 't_v', ask => 1), 'an index is built');
exact_everywhere($node, 't', 'and searched');

# The launcher, the builder that has just been at work, and a session that calls functions.
my $session = $node->background_psql('postgres');
$session->query_safe(q(SELECT l2_distance('{1}', '{2}')));
my @pids = split /\n/, $node->safe_psql('postgres', q(
SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'vecckpt %'));
cmp_ok(scalar(@pids), '>', 0, 'there are background processes');
foreach my $pid (@pids, $session->query_safe('SELECT pg_backend_pid()'))
{
	my %libraries = map { $_ => 1 } grep { m{/vecckpt\.so$} } map { (split / +/)[5] // '' } split /\n/, slurp_file("/proc/$pid/maps");
	is(join(' ', sort keys %libraries), "$place/lib/vecckpt.so", 'the library of a process');
}
$session->quit;
$node->stop;
done_testing();
