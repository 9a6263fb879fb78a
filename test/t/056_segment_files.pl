# Every byte class of segment files, flat and graph, is damaged while the server is stopped: each header field, each
# section and what lies within it, the padding, the length; and files are deleted, taken from another index or from another
# time. One index for each damage. After the start all answers are right before any builder could help, the log names each
# damaged file and no other, and the builder repairs all, so that vec_index_check finds nothing.

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
my $node = new_node('node', conf => "vecckpt.builder = off\nfsync = off\nvecckpt.build_threads = 1");
$node->start;
setup_vectors($node);

# Nine dimensions, the least for sq8. Under inner product a graph of so few links mostly has orphans, so
# that no section is empty; data that gives none is drawn again. One thread builds the same graph each time.
my %kinds = (
	graph => { rows => 4200, operator => '<#>', index => 'USING vhnsw (v real_ip_ops) WITH (m = 2, ef_construction = 4)' },
	flat  => { rows => 300,  operator => '<->', index => 'USING vhnsw (v)' });
sub draw
{
	my ($kind) = @_;
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS ${kind}_data; CREATE TABLE ${kind}_data AS SELECT i AS id, random_vector(9) AS v"
		  . " FROM generate_series(1, $kinds{$kind}{rows}) i");
	return 1 if $kind eq 'flat';
	$node->safe_psql('postgres', "CREATE INDEX drawn_v ON ${kind}_data $kinds{$kind}{index}");
	my $orphans = $node->safe_psql('postgres', "SELECT sum(orphans) FROM vec_segments WHERE index = 'drawn_v'::regclass");
	$node->safe_psql('postgres', 'DROP INDEX drawn_v');
	return $orphans > 0;
}
foreach my $kind (sort keys %kinds)
{
	my $tries = 1;
	$tries++ until draw($kind) || $tries == 100;
	note("$kind: drawn $tries times");
}

# What is done to a segment: [name, damage]. `path` is one of the kind, to learn its shape from.
sub damages
{
	my ($kind, $path) = @_;
	my @damages;
	my $flip = sub {
		my ($name, $offset, $size) = @_;
		push @damages, [ "$name flipped", sub { flip($_[0], $offset + int(rand($size))) } ];
	};
	$flip->("header, $_->[0]", $_->[1], $_->[2]) foreach segment_fields();
	my $end = 4096;
	foreach my $part (segment_parts($path))
	{
		my ($name, $offset, $size) = @$part;
		next if $name eq 'header';
		$flip->("padding before $name", $end, $offset - $end) if $offset > $end;
		$end = $offset + $size;
		$flip->("$name, first byte", $offset,     1);
		$flip->("$name, last byte",  $end - 1,    1);
		$flip->("$name, any byte",   $offset,     $size);
		push @damages, [ "cut within $name", sub { cut($_[0], $offset + int($size / 2)) } ];
	}
	my %at = map { $_->[0] => $_ } segment_parts($path);
	my $nodes = $kinds{$kind}{rows};
	$flip->('codec, exponent', $at{codec}[1], 4);
	$flip->('codec, mean', $at{codec}[1] + 4, 4 * 9);
	# A code of sq8: 9 levels, zeros, then six floats that end its 64 bytes.
	$flip->('codes, levels', $at{codes}[1] + 64 * 7, 9);
	$flip->('codes, padding', $at{codes}[1] + 64 * 7 + 9, 31);
	$flip->('codes, trailer', $at{codes}[1] + 64 * 7 + 40, 24);
	$flip->('entries, offsets', $at{entries}[1], 4 * ($nodes + 1));
	$flip->('entries, padding', $at{entries}[1] + 4 * ($nodes + 1), 4);
	$flip->('entries, ordinals', $at{entries}[1] + 4 * ($nodes + 2), 8 * $nodes);
	$flip->('extents, sequence', $at{extents}[1], 8);
	$flip->('extents, running hash', $at{extents}[1] + 8, 8);
	$flip->('extents, extent', $at{extents}[1] + 16, 4);
	$flip->('extents, reserved', $at{extents}[1] + 20, 4);
	if ($kind eq 'graph')
	{
		$flip->('links0, entry point', $at{links0}[1], 16);
		my ($ranks) = unpack('L<', read_bytes($path, $at{upper}[1], 4));
		$flip->('upper, node count', $at{upper}[1], 4);
		$flip->('upper, list count', $at{upper}[1] + 4, 4);
		$flip->('upper, nodes', $at{upper}[1] + 8, 4 * $ranks);
		$flip->('upper, offsets', $at{upper}[1] + 8 + 4 * $ranks, 4 * ($ranks + 1));
		$flip->('upper, links', $at{upper}[1] + 8 + 4 * (2 * $ranks + 1), 8);
	}
	foreach my $size (0, 1, 4095, 4096)
	{
		push @damages, [ "cut to $size", sub { cut($_[0], $size) } ];
	}
	push @damages,
	  [ 'a byte shorter', sub { cut($_[0], (-s $_[0]) - 1) } ],
	  [ 'a byte longer', sub { append_to_file($_[0], "\0") } ],
	  [ 'a page longer', sub { append_to_file($_[0], 'x' x 8192) } ],
	  [ 'zeros', sub { write_bytes($_[0], 0, "\0" x -s $_[0]) } ],
	  [ 'deleted', sub { unlink $_[0] or die $! } ];
	return @damages;
}

# The table, index and segment file number `i` of a kind.
my %tables = (graph => [], flat => []);
sub make_tables
{
	my ($kind, $count) = @_;
	my $load = '';
	foreach my $i (1 .. $count)
	{
		my $t = $kind . @{ $tables{$kind} };
		push @{ $tables{$kind} }, $t;
		$load .= "CREATE TABLE $t AS TABLE ${kind}_data; CREATE INDEX ${t}_v ON $t $kinds{$kind}{index};\n";
	}
	$node->safe_psql('postgres', $load);
	return;
}

# The files of all segments by table.
sub segment_files
{
	return map { split /\|/ } split /\n/, $node->safe_psql(
		'postgres', q(
SELECT i.indrelid::regclass, d.oid || '_' || coalesce(nullif(c.reltablespace, 0), d.dattablespace) || '_' || c.relfilenode || '.' || s.segment || '.seg'
FROM vec_segments s JOIN pg_index i ON i.indexrelid = s.index JOIN pg_class c ON c.oid = s.index
JOIN pg_database d ON d.datname = current_database()));
}

make_tables($_, 3) foreach sort keys %kinds;
my %file = segment_files();
my @cases;    # [table, name, damage]
foreach my $kind (sort keys %kinds)
{
	is($node->safe_psql('postgres', "SELECT DISTINCT kind FROM vec_segments WHERE index::text LIKE '${kind}%'"), $kind, "$kind segments");
	is($node->safe_psql('postgres', "SELECT bool_or(orphans > 0) FROM vec_segments WHERE index::text LIKE '${kind}%'"),
		$kind eq 'graph' ? 't' : 'f', $kind eq 'graph' ? 'with orphans' : 'without orphans');
	my @damages = damages($kind, vec_dir($node) . '/' . $file{ $tables{$kind}[0] });
	# The first three are: spared; given another's file; that other.
	my ($spared, $one, $other) = map { $file{$_} } @{ $tables{$kind} };
	my $first = 3;
	push @cases, [ $tables{$kind}[1], "$kind: another index's file", sub { copy(vec_dir($node) . "/$other", $_[0]) or die $! } ];
	make_tables($kind, scalar @damages);
	push @cases, map { [ $tables{$kind}[ $first++ ], "$kind: $_->[0]", $_->[1] ] } @damages;
}

# A file of the same index under the name of another of its files.
make_tables('flat', 1);
my $twofold = $tables{flat}[-1];
$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;
$node->safe_psql('postgres', "INSERT INTO $twofold SELECT id + 300, v FROM flat_data");
ok(wait_sealed($node, "${twofold}_v", ask => 1), 'an index with two segments');
$node->append_conf('postgresql.conf', 'vecckpt.builder = off');
$node->reload;
my ($first_file, $second_file) = split /\n/, $node->safe_psql('postgres',
	"SELECT '" . index_key($node, "${twofold}_v") . ".' || segment || '.seg' FROM vec_segments WHERE index = '${twofold}_v'::regclass ORDER BY first_position");
push @cases, [ $twofold, 'flat: another file of the index', sub { copy(vec_dir($node) . "/$first_file", $_[0]) or die $! } ];

all_checks_ok($node, 'no findings before');
%file = (segment_files(), $twofold => $second_file);
$node->stop;
my $bytes = 0;
foreach my $case (@cases)
{
	my ($table, $name, $damage) = @$case;
	my $path = vec_dir($node) . "/$file{$table}";
	my $before = slurp_file($path);
	$damage->($path);
	ok(!-e $path || slurp_file($path) ne $before, "$name: damaged");
	$bytes++ if -e $path && -s $path == length $before && $name =~ /flipped/;
}
my $offset = log_size($node);
$node->start;
foreach my $kind (sort keys %kinds)
{
	all_exact_everywhere($node, $tables{$kind}, "$kind: all rows are found at once, each once and in order", operator => $kinds{$kind}{operator});
}
my @aside;
ok( wait_until(
		'all damaged files to be set aside',
		sub { @aside = log_since($node, $offset) =~ /vecckpt: setting aside file "vector-ckpt\/([^"]+)"/g; @aside >= @cases }),
	'all are set aside');
my %aside = map { $_ => 1 } @aside;
ok($aside{ $file{ $_->[0] } }, "$_->[1]: the log names the file") foreach @cases;
is(scalar(@aside), scalar(@cases), 'and no other file');
all_checks_ok($node, 'no findings without the damaged files');
note(scalar(@cases) . " files damaged, $bytes of them by one byte");

$node->append_conf('postgresql.conf', 'vecckpt.builder = on');
$node->reload;
ok( wait_until(
		'everything to be built again',
		sub {
			$node->psql('postgres', 'SELECT vec_checkpoint()');
			my ($code, $out) = $node->psql('postgres',
				"SELECT bool_and(tail_length = 0 AND segments > 0 AND state = 'idle') FROM vec_indexes");
			return $code == 0 && $out eq 't';
		},
		120),
	'the builder repairs all');
foreach my $kind (sort keys %kinds)
{
	all_exact_everywhere($node, $tables{$kind}, "$kind: all rows are found in what was repaired", operator => $kinds{$kind}{operator});
}
all_checks_ok($node, 'and no findings are left');
unlike(log_since($node, $offset), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
