# A base backup copies vector-ckpt while the builder works in it. A standby made from it uses the files that describe its
# log, after it has replayed that far, and sets the others aside: a manifest copied before its segments were replaced,
# segments copied before they were written out, files of an unlogged table. Its answers are exact in each case.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use ReplicaTest;
use VecTest;

my %size = (rows => 4500, dims => 16);

seed_random();
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => "vecckpt.checkpoint_timeout = 2\nwal_keep_size = 256MB\n");
$primary->start;
load_table($primary, %size);
# An index that nobody writes to meanwhile, and one that no standby can have.
load_table($primary, %size, table => 'quiet');
$primary->safe_psql('postgres', qq(
CREATE UNLOGGED TABLE u (id int, v real[]);
INSERT INTO u SELECT i, random_vector(16) FROM generate_series(1, 1000) i;
CREATE INDEX u_v ON u USING vhnsw (v);
));
ok(wait_settled($primary, 'quiet_v', ask => 1), 'the quiet index is built');
$primary->safe_psql('postgres', 'SELECT vec_checkpoint()');
my $quiet = vec_segments($primary, 'quiet_v');
my $u_key = index_key($primary, 'u_v');

sub quiet_is_used
{
	my ($node, $name) = @_;
	probes_ok($node, 'quiet', "$name: the quiet index answers exactly");
	exact_everywhere($node, 'quiet', "$name: with every row once");
	is(vec_segments($node, 'quiet_v'), $quiet, "$name: by the segments that were copied");
	is(ask($node, 'postgres', "SELECT seals + merges + graph_builds FROM vec_stat WHERE index = 'quiet_v'::regclass"),
		'0', "$name: nothing of it was built again");
	index_check_ok($node, 'quiet_v', "$name: the index");
	return;
}

# ---- pg_basebackup of the primary under load, and of a standby under replay
my @load = start_mixed_load($primary, %size);
$primary->backup('loaded');
command_ok([ 'pg_verifybackup', $primary->backup_dir . '/loaded' ], 'pg_verifybackup finds the copy as it was sent');
ok(scalar(grep { /_/ } slurp_dir($primary->backup_dir . '/loaded/vector-ckpt')), 'which holds files of the builder');
my $standby = new_standby($primary, 'loaded', 'standby', conf => "hot_standby_feedback = on\nvecckpt.checkpoint_timeout = 2\n");
like(log_since($standby), qr/vecckpt: loaded [1-9] indexes with [1-9]/, 'the standby finds manifests in it');
quiet_is_used($standby, 'standby');
stays_exact($standby, 'the standby answers exactly under load');
ok(wait_until('the sweep of the unlogged index', sub { !vec_files($standby, $u_key) }), 'files of the unlogged index are swept');

$standby->backup('of_standby');
my $below = new_standby($standby, 'of_standby', 'below', conf => "hot_standby_feedback = on\n");
like(log_since($below), qr/vecckpt: loaded [1-9] indexes with [1-9]/, 'a copy of the standby has manifests too');
quiet_is_used($below, 'below');
stays_exact($below, 'a standby from it answers exactly under load');
stop_clients(@load);
ok(caught_up($primary, $_), $_->name . ' catches up') foreach $standby, $below;
same_answers($primary, $_, $_->name) foreach $standby, $below;
$below->stop;

# ---- A copy whose manifests and segments are of different times. The folder is copied file by file, as a slow backup
# would, with something between: `early` picks the files copied before it, `late` those copied after it.
sub mixed_backup
{
	my ($name, %params) = @_;
	my $to      = $primary->backup_dir . "/$name";
	my $session = $primary->background_psql('postgres', on_error_stop => 1);
	$session->query_safe("SELECT pg_backup_start('$name', true)");
	mkdir "$to.early" or die "$to.early: $!";
	copy_files("$to.early", $params{early});
	$params{between}->();
	my $skip = qr{^(postmaster\.(pid|opts)|.*pg_internal\.init.*|(pg_wal|pg_replslot|vector-ckpt)/.+)$};
	PostgreSQL::Test::RecursiveCopy::copypath($primary->data_dir, $to, filterfn => sub { $_[0] !~ $skip });
	copy_files("$to/vector-ckpt", $params{late});
	copy($_, "$to/vector-ckpt/") or die "$_: $!" foreach glob "$to.early/*";
	my $label = $session->query_safe('SELECT labelfile FROM pg_backup_stop(false)');
	append_to_file("$to/backup_label", "$label\n");
	$session->quit;
	chmod 0600, glob("$to/vector-ckpt/*");
	return;
}

# Copies what `wanted` picks of the primary's files of t_v and all others.
my $t_key = index_key($primary, 't_v');
sub copy_files
{
	my ($to, $wanted) = @_;
	foreach my $file (vec_files($primary))
	{
		next if $file =~ /^\Q$t_key\E/ ? !$wanted->($file) : -e "$to/$file";
		copy(vec_dir($primary) . "/$file", "$to/$file") or die "$file: $!";
	}
	return;
}

# All segments of t are replaced and their files swept.
sub replace_segments
{
	my @before = map { (split /\|/)[0] } split /\n/, vec_segments($primary, 't_v');
	$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 > 0');
	vacuum_wholly($primary, 't');
	$primary->safe_psql('postgres', 'INSERT INTO t (v) SELECT random_vector(16) FROM generate_series(1, 4000)');
	ok( wait_until(
			'other segments',
			sub {
				$primary->safe_psql('postgres', "SELECT vec_checkpoint('t_v')");
				my $files = join ' ', vec_files($primary);
				!grep { $files =~ /\Q$_\E/ } @before;
			},
			120),
		'all segments of the loaded index are replaced and swept');
	return;
}

sub standby_of_mixed
{
	my ($name) = @_;
	my $node = new_standby($primary, $name, $name);
	exact_everywhere($node, 't', "$name: every row once");
	probes_ok($node, 't', "$name: exact answers");
	like(log_since($node), qr/vecckpt: setting aside file "vector-ckpt\/\Q$t_key\E/, "$name: the log says what is set aside");
	quiet_is_used($node, $name);
	ok(wait_sealed($node, 't_v', ask => 1), "$name: the builder replaces what was set aside");
	exact_everywhere($node, 't', "$name: every row once after it");
	index_check_ok($node, 't_v', "$name: the index");
	same_answers($primary, $node, $name);
	$node->stop;
	return;
}
ok(wait_settled($primary, 't_v', ask => 1), 'the loaded index is settled');
my $manifest = sub { $_[0] =~ /ckpt$/ };
my $segment  = sub { $_[0] !~ /ckpt$/ };
my $none     = sub { 0 };

# The manifest first: its segments are gone when the rest is copied.
mixed_backup('manifest_first', early => $manifest, between => \&replace_segments, late => $segment);
standby_of_mixed('manifest_first');

# The segments first: the manifest that is copied later refers to others.
mixed_backup('segments_first', early => $segment, between => \&replace_segments, late => $manifest);
standby_of_mixed('segments_first');

# A segment that was being written when it was copied: half of it.
mixed_backup('torn', early => $none, between => sub { }, late => sub { 1 });
my ($torn) = sort { -s $b <=> -s $a } grep { $segment->($_) } glob($primary->backup_dir . "/torn/vector-ckpt/$t_key.*");
truncate($torn, (-s $torn) / 2) or die "$torn: $!";
standby_of_mixed('torn');

# ---- After promotion the unlogged table is empty and takes rows
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT count(*) FROM u'), '0', 'the unlogged table is empty after promotion');
$standby->safe_psql('postgres', 'INSERT INTO u SELECT i, random_vector(16) FROM generate_series(1, 500) i');
exact_everywhere($standby, 'u', 'and takes rows');
ok(wait_sealed($standby, 'u_v', ask => 1), 'is sealed');
probes_ok($standby, 'u', 'and answers exactly');

$standby->stop;
$primary->stop;
done_testing();
