# Files from the log's future that left deleted entries out are not believed: a data folder as it was before a DELETE,
# beside the vector-ckpt folder from after it. The running hash cannot tell the two histories apart, because the
# same entries were written in both.
#
# Twice: with WAL that ends before what the files were built from, and with WAL that has long overtaken it, so that
# only the comparison of every entry shows it.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

seed_random();
my $rows = 6000;

my $node = new_node('later');
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', qq(
SELECT setseed(0.7);
CREATE TABLE t (id int, v real[]);
INSERT INTO t SELECT i, random_vector(8) FROM generate_series(1, $rows) i;
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT vec_checkpoint();
));
$node->stop;
$node->backup_fs_cold('before');
$node->start;
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0');
$node->safe_psql('postgres', 'VACUUM t');
ok( wait_until(
		'the dead to be left out',
		sub {
			$node->safe_psql('postgres', "SELECT sum(entries) < $rows FROM vec_segments WHERE index = 't_v'::regclass") eq 't';
		},
		60),
	'the builder leaves deleted entries out');
$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
$node->stop;

# The older data folder with the newer files.
sub older_folder
{
	my ($name) = @_;
	my $older = PostgreSQL::Test::Cluster->new($name);
	$older->init_from_backup($node, 'before');
	return $older;
}

sub take_newer_files
{
	my ($older) = @_;
	my $files = vec_dir($older);
	unlink glob("$files/*");
	foreach my $name (vec_files($node))
	{
		PostgreSQL::Test::Utils::system_or_bail('cp', '-p', vec_dir($node) . "/$name", "$files/$name");
	}
}

sub all_rows_are_found
{
	my ($older, $what, $offset) = @_;
	exact_everywhere($older, 't', "$what: every row is found");
	like(log_since($older, $offset), qr/setting aside file "vector-ckpt/, "$what: the files are set aside");
	ok(wait_sealed($older, 't_v'), "$what: the builder builds new ones");
	exact_everywhere($older, 't', "$what: every row is found in them");
}

my $short = older_folder('short_wal');
take_newer_files($short);
my $offset = log_size($short);
$short->start;
all_rows_are_found($short, 'short WAL', $offset);
$short->stop;

my $long = older_folder('long_wal');
$long->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$long->start;
# In two transactions: what is written to a table of the same one is not WAL-logged under wal_level = minimal.
$long->safe_psql('postgres', 'CREATE TABLE filler (t text)');
$long->safe_psql('postgres', 'INSERT INTO filler SELECT repeat(md5(i::text), 20) FROM generate_series(1, 100000) i');
$long->stop;
take_newer_files($long);
$long->append_conf('postgresql.conf', "shared_preload_libraries = 'vecckpt'");
$offset = log_size($long);
$long->start;
all_rows_are_found($long, 'long WAL', $offset);
like(log_since($long, $offset), qr/lacks entries of the index's log/, 'long WAL: for what they lack');
$long->stop;

done_testing();
