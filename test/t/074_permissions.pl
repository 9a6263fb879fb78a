# Who may do what. Files are for the server's user alone, or for its group too where the cluster was made so, whoever makes
# them: CREATE INDEX, the builder, a checkpoint, and the folder itself when it was lost. Functions that cost or tell much are
# refused to ordinary users, who can use indexes of their own and look at the views.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

# "kind mode" of everything in vector-ckpt, without doubles.
sub modes
{
	my ($node) = @_;
	my %seen = ('folder ' . mode(vec_dir($node)) => 1);
	foreach my $name (vec_files($node))
	{
		my ($kind) = $name =~ /\.(\w+?)(?:\.tmp)?$/;
		my $mode = mode(vec_dir($node) . "/$name");
		$seen{"$kind $mode"} = 1 if defined $mode;    # it may have been swept
	}
	return join ', ', sort keys %seen;
}

sub mode
{
	my ($path) = @_;
	my @stat = stat($path) or return undef;
	return sprintf('%04o', $stat[2] & 07777);
}

foreach my $case ([ 'alone', [], '0600', '0700' ], [ 'group', ['--allow-group-access'], '0640', '0750' ])
{
	my ($name, $extra, $file_mode, $folder_mode) = @$case;
	# Neither time nor WAL makes anything durable here.
	my $node = new_node($name, init => [ extra => $extra ], conf => "fsync = off\nvecckpt.checkpoint_timeout = 1d\ncheckpoint_timeout = 1d");
	$node->start;
	setup_vectors($node);
	is(modes($node), "folder $folder_mode", "$name: the folder, from the start");
	is(mode(vec_dir($node) . '/owner'), $file_mode, "$name: and the mark of whose it is");
	$node->safe_psql('postgres', q(
CREATE TABLE t AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
));
	is(modes($node), "folder $folder_mode, gen $file_mode, seg $file_mode", "$name: files of CREATE INDEX");
	$node->safe_psql('postgres', 'INSERT INTO t SELECT i, random_vector(4) FROM generate_series(5001, 5400) i; CHECKPOINT');
	ok(wait_sealed($node, 't_v', ask => 1), "$name: the builder made some, and a checkpoint");
	# What a running job publishes next is a generation.
	my $all = qr/^ckpt $file_mode, folder $folder_mode, (gen $file_mode, )?seg $file_mode$/;
	like(modes($node), $all, "$name: files of builder and checkpoint");
	$node->restart;
	like(modes($node), $all, "$name: after a restart");
	remove_tree(vec_dir($node));
	ok(wait_until('the folder to be made anew', sub {
		$node->psql('postgres', "SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> '{0,0,0,0}' LIMIT 1) s; SELECT vec_checkpoint('t_v')");
		-d vec_dir($node) && grep { /\.ckpt$/ } vec_files($node); }), "$name: the folder is made anew");
	ok(wait_sealed($node, 't_v', ask => 1), "$name: so are its files");
	like(modes($node), $all, "$name: the same modes again");
	$node->stop;
}

# ---- Users
my $node = new_node('users', conf => 'fsync = off');
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', q(
CREATE ROLE plain LOGIN;
CREATE ROLE keeper LOGIN;
GRANT pg_checkpoint TO keeper;
CREATE ROLE watcher LOGIN;
GRANT pg_monitor TO watcher;
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE TABLE secret AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, 300) i;
CREATE INDEX secret_v ON secret USING vhnsw (v);
));

# "as <user>": what a statement answers, or its SQLSTATE.
sub answer
{
	my ($user, $statement) = @_;
	my ($code, $out, $error) =
	  $node->psql('postgres', "\\set VERBOSITY sqlstate\n$statement", on_error_stop => 1, extra_params => [ '-U', $user ]);
	return $code == 0 ? $out : $error =~ /ERROR:  (\w+)/ ? $1 : $error;
}

my ($checks, $denied) = ("SELECT count(*) FROM vec_index_check('%s', true)", '42501');
is(answer('plain', 'SELECT vec_checkpoint()'), $denied, 'an ordinary user cannot call vec_checkpoint()');
is(answer('plain', "SELECT vec_checkpoint('secret_v')"), $denied, 'nor that of one index');
is(answer('plain', sprintf($checks, 'secret_v')), $denied, 'nor vec_index_check');
is(answer('plain', "SELECT id FROM secret ORDER BY v <-> '{0,0,0,0}' LIMIT 1"), $denied, 'nor search what is not theirs');
foreach my $setting ('vecckpt.build_memory', 'vecckpt.checkpoint_timeout', 'vecckpt.max_indexes', 'vecckpt.builder')
{
	is(answer('plain', "SET $setting = 20000"), '55P02', "$setting cannot be set by a session");
	is(answer('plain', "ALTER SYSTEM SET $setting = 20000"), $denied, 'nor for the server');
}
is(answer('watcher', sprintf($checks, 'secret_v')), $denied, 'pg_monitor may not call vec_index_check');
is(answer('watcher', 'SELECT vec_checkpoint()'), $denied, 'nor vec_checkpoint()');
my $recall = "SELECT recall FROM vec_recall('%s', samples => 5)";
is(answer('plain', sprintf($recall, 'secret_v')), $denied, 'an ordinary user measures nothing of others');
is(answer('plain', "SELECT vec_suggest_ef('secret_v')"), $denied, 'by neither function');
is(answer('watcher', sprintf($recall, 'secret_v')), '1', 'pg_monitor does');
is(answer('plain', "SELECT segments FROM vec_prewarm('secret_v')"), $denied, 'an ordinary user prewarms nothing of others');
is(answer('watcher', "SELECT segments FROM vec_prewarm('secret_v')"), $denied, 'nor does pg_monitor, which cannot read it');
is(answer('watcher', 'SELECT vec_stat_reset()'), $denied, 'nor does it reset counters');
is(answer('keeper', 'SELECT vec_checkpoint()'), '1', 'pg_checkpoint may call vec_checkpoint()');
is(answer('keeper', "SELECT vec_checkpoint('secret_v')"), '', 'and that of one index');
is(answer('keeper', sprintf($checks, 'secret_v')), $denied, 'but not vec_index_check');

is( answer('plain', q(
CREATE TABLE own AS SELECT i AS id, ARRAY[i, i]::real[] AS v FROM generate_series(1, 5000) i;
CREATE INDEX own_v ON own USING vhnsw (v) WITH (m = 4, ef_construction = 8);
SET enable_seqscan = off;
SET vhnsw.ef_search = 100;
SELECT id FROM own ORDER BY v <-> '{7,7}' LIMIT 1)),
	'7', 'an ordinary user has indexes of their own');
is(answer('plain', 'SELECT count(*) FROM vec_indexes'), '2', 'and looks at the views');
is(answer('plain', 'SELECT count(*) > 1 FROM vec_segments'), 't', 'at that of segments');
is(answer('plain', 'SELECT count(*) FROM vec_stat'), '2', 'and that of counters');
is(answer('plain', 'SELECT count(*) >= 0 FROM vec_progress'), 't', 'and of jobs');
is(answer('plain', sprintf($recall, 'own_v') =~ s/recall/recall > 0/r), 't', 'measures their own indexes');
is(answer('plain', "SELECT segments FROM vec_prewarm('own_v')"), '1', 'and prewarms them');
is(answer('plain', "SELECT vec_stat_reset('own_v')"), $denied, 'but resets no counters');
is(answer('plain', sprintf($checks, 'own_v')), $denied, 'vec_index_check is refused for their own indexes too');
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION vec_index_check(regclass, boolean) TO plain');
is(answer('plain', sprintf($checks, 'own_v')), '0', 'unless they may');
is(answer('plain', sprintf($checks, 'secret_v')), '0', 'which is for all indexes then');
is(answer('plain', 'SELECT vec_checkpoint()'), $denied, 'and for nothing else');

$node->stop;
done_testing();
