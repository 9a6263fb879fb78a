# Segments of an index on a temporary table whose bytes change while a session has them mapped: it says so in a WARNING, answers
# without them, and builds them again later.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(usleep);
use VecTest;

seed_random();
my $node = new_node('private');
$node->start;
setup_vectors($node);
my $folder = vec_dir($node);
my $kept   = PostgreSQL::Test::Utils::tempdir_short();
my $tries  = 10 * $PostgreSQL::Test::Utils::timeout_default;

# Files lose their names as soon as they are mapped. A process of this test gives each another name before that.
sub keep_names
{
	my $test = $$;
	my $pid  = fork();
	return $pid if $pid != 0;
	$SIG{TERM} = 'DEFAULT';
	while (getppid() == $test)
	{
		foreach my $path (glob("$folder/*.seg $folder/*.seg.tmp"))
		{
			my ($name) = $path =~ m{([^/]+\.seg)(?:\.tmp)?$};
			link($path, "$kept/$name") unless -e "$kept/$name";
		}
		usleep(500);
	}
	POSIX::_exit(0);
}

# Overwrites everything behind the header of the kept files; a program for the shell of psql.
my $spoil = "$kept/spoil.pl";
append_to_file(
	$spoil, <<'EOP');
foreach my $path (glob("$ARGV[0]/*.seg"))
{
	open(my $file, '+<:raw', $path) or die;
	read($file, my $begin, 16) == 16 or die;
	my $header = unpack('x12 L', $begin);
	seek($file, $header, 0) or die;
	print $file "\x7f" x ((-s $path) - $header);
	close($file) or die;
}
EOP

my $keeper = keep_names();
my ($out, $err, $found);
foreach my $attempt (1 .. 20)
{
	unlink(glob("$kept/*.seg"));
	(my $code, $out, $err) = $node->psql(
		'postgres', qq(
$EXHAUSTIVE
CREATE TEMP TABLE t AS SELECT i AS id, random_vector(64) AS v FROM generate_series(1, 8000) i;
CREATE TEMP TABLE query AS SELECT random_vector(64) AS v;
CREATE FUNCTION pg_temp.mapped() RETURNS text LANGUAGE sql AS
    \$\$SELECT string_agg(DISTINCT m[1], ' ') FROM regexp_matches(pg_read_file('/proc/self/maps'), ' (\\d+) +\\S*vector-ckpt/\\S+ \\(deleted\\)', 'g') m\$\$;
CREATE FUNCTION pg_temp.right() RETURNS boolean LANGUAGE sql AS
    \$\$SELECT ARRAY(SELECT id FROM t ORDER BY v <-> (SELECT v FROM query) LIMIT 10) =
              ARRAY(SELECT id FROM t ORDER BY (v <-> (SELECT v FROM query)) + 0 LIMIT 10)\$\$;
CREATE INDEX t_v ON t USING vhnsw (v);
SELECT 'built', pg_temp.mapped(), pg_temp.right();
\\! $^X $spoil $kept
SELECT 'spoilt', pg_temp.right(), pg_temp.mapped();
DO \$\$
BEGIN
  FOR i IN 1 .. $tries LOOP
    PERFORM id FROM t ORDER BY v <-> (SELECT v FROM query) LIMIT 1;
    EXIT WHEN pg_temp.mapped() IS NOT NULL;
    PERFORM pg_sleep(0.1);
  END LOOP;
END \$\$;
SELECT 'again', pg_temp.right(), pg_temp.mapped() IS NOT NULL;
SELECT 'check', count(*) FROM vec_index_check('t_v', true);
));
	is($code, 0, 'the session lives') or diag($err);
	# Was its file among those that got another name?
	my ($inode) = $out =~ /^built\|(\d+)\|t$/m;
	$found = grep { (stat($_))[1] == $inode } glob("$kept/*.seg");
	last if $found;
}
ok($found, 'the mapped file has been overwritten');
like($out, qr/^spoilt\|t\|$/m, 'answers are right without it');
like($err, qr/WARNING:  segments of index "t_v" cannot be used: /, 'a warning says so');
like($out, qr/^again\|t\|t\ncheck\|0$/m, 'it is built again');
kill('TERM', $keeper);
waitpid($keeper, 0);

done_testing();
