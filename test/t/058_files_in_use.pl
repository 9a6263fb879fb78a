# Files that are in use are deleted, replaced by another index's, or made longer, while the server runs: segments, flat and
# graph, and manifests, durable or not. A cursor that has them mapped reads on, sessions that have them mapped and new ones
# answer right, the log names the file, the builder repairs it, and vec_index_check finds nothing then.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecDamage;
use VecTest;

seed_random();
my $node = new_node('node', conf => "fsync = off\nvecckpt.checkpoint_timeout = 1d\ncheckpoint_timeout = 1d");
$node->start;
setup_vectors($node);
my $spare = PostgreSQL::Test::Utils::tempdir();

sub make_table
{
	my ($t, $rows) = @_;
	$node->safe_psql(
		'postgres', qq(
CREATE TABLE $t AS SELECT i AS id, random_vector(16) AS v FROM generate_series(1, $rows) i;
CREATE INDEX ${t}_v ON $t USING vhnsw (v) WITH (m = 8, ef_construction = 16);
));
	return;
}

# The file of a kind that an index uses now.
sub file_of
{
	my ($t, $kind) = @_;
	my ($ending) = $kind =~ /segment/ ? 'seg' : $kind =~ /durable/ ? 'ckpt' : 'gen';
	my @files = grep { /\.\Q$ending\E$/ } vec_files($node, index_key($node, "${t}_v"));
	is(scalar(@files), 1, "$kind: there is one");
	return $files[0];
}

my $number = 0;
foreach my $kind ('flat segment', 'graph segment', 'durable manifest', 'manifest of a generation')
{
	foreach my $action ('deleted', 'replaced', 'longer')
	{
		my $what = "$kind, $action";
		my ($t, $other) = ("t$number", "other$number");
		$number++;
		my $rows = $kind =~ /graph/ ? 4200 : 500;
		make_table($t, $rows);
		make_table($other, $rows);
		$node->safe_psql('postgres', 'CHECKPOINT') if $kind =~ /durable/;
		my ($file, $others) = (file_of($t, $kind), file_of($other, $kind));
		my $path = vec_dir($node) . "/$file";

		my $query = "SELECT id FROM $t ORDER BY v <-> (SELECT v FROM $t WHERE id = 2)";
		my $exact = $node->safe_psql('postgres', "SELECT id FROM $t ORDER BY (v <-> (SELECT v FROM $t WHERE id = 2)) + 0");
		my $cursor = $node->background_psql('postgres');
		$cursor->query_safe("$EXHAUSTIVE BEGIN; DECLARE c CURSOR FOR $query");
		my $rest = $cursor->query_safe('FETCH 100 FROM c');
		my $old = $node->background_psql('postgres');
		is($old->query_safe("$EXHAUSTIVE $query"), $exact, "$what: a session before");

		my $offset = log_size($node);
		if ($action eq 'deleted') { unlink $path or die "$path: $!"; }
		elsif ($action eq 'replaced')
		{
			# By renaming: writing into a mapped file is something else.
			copy(vec_dir($node) . "/$others", "$spare/file") or die $!;
			move("$spare/file", $path) or die $!;
		}
		else { append_to_file($path, 'x' x 1000); }
		is($node->safe_psql('postgres', "$EXHAUSTIVE $query"), $exact, "$what: a new session answers right");
		is($old->query_safe($query), $exact, "$what: one that has it mapped too");
		$rest .= "\n" . $cursor->query_safe('FETCH ALL FROM c');
		is($rest, $exact, "$what: a cursor reads on");
		$cursor->query_safe('COMMIT');
		ok(wait_log_since($node, $offset, qr/vecckpt: setting aside (?:file|the segments of index) .*"vector-ckpt\/\Q$file\E"/),
			"$what: the log names the file");
		ok(wait_sealed($node, "${t}_v", ask => 1), "$what: repaired");
		is($_->query_safe($query), $exact, "$what: both sessions go on") foreach $cursor, $old;
		$_->quit foreach $cursor, $old;
		index_check_ok($node, "${t}_v", "$what: no findings");
		index_check_ok($node, "${other}_v", "$what: nor of the other index");
	}
}
note("$number files");
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
