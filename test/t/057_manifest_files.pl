# Every byte class of manifests is damaged: each field of the header and of each segment's record, the checksum at the end,
# the length; and files are deleted or taken from another index. Durable manifests while the server is stopped, those of
# generations that are not durable yet while it runs. One index for each damage. All answers are right at once, the log
# names each damaged file and no other, the builder repairs all, and vec_index_check finds nothing then. Generation
# manifests that a crash leaves behind do no harm, damaged or not.

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

use constant ROWS => 100;

seed_random();
# Nothing becomes durable unasked.
my $node = new_node('node', conf => "fsync = off\nvecckpt.checkpoint_timeout = 1d\ncheckpoint_timeout = 1d\nmax_wal_size = 4GB");
$node->start;
setup_vectors($node);
$node->safe_psql('postgres', 'CREATE TABLE data AS SELECT i AS id, random_vector(4) AS v FROM generate_series(1, ' . ROWS . ') i');

sub builder
{
	my ($on) = @_;
	$node->append_conf('postgresql.conf', "vecckpt.builder = $on");
	$node->reload;
	return;
}

# What is done to a manifest: [name, damage]. `path` is one, to learn its shape from.
sub damages
{
	my ($path) = @_;
	my @damages;
	my @fields = manifest_fields($path);
	foreach my $field (@fields)
	{
		my ($name, $offset, $size) = @$field;
		push @damages, [ "$name flipped", sub { flip($_[0], $offset + int(rand($size))) } ];
	}
	my $size = -s $path;
	foreach my $length (0, 1, 79, 80, 87, int(rand($size)), $size - 1)
	{
		push @damages, [ "cut to $length of $size bytes", sub { cut($_[0], $length) } ];
	}
	push @damages,
	  [ 'a byte longer', sub { append_to_file($_[0], "\0") } ],
	  [ 'a segment longer', sub { append_to_file($_[0], "\0" x 88) } ],
	  [ 'much longer', sub { append_to_file($_[0], 'x' x 20_000_000) } ],
	  [ 'zeros', sub { write_bytes($_[0], 0, "\0" x -s $_[0]) } ],
	  [ 'deleted', sub { unlink $_[0] or die $! } ];
	return @damages;
}

my @tables;
sub make_tables
{
	my ($count) = @_;
	my @new = map { 't' . (@tables + $_) } 0 .. $count - 1;
	push @tables, @new;
	$node->safe_psql('postgres', join "\n", map { "CREATE TABLE $_ AS TABLE data; CREATE INDEX ${_}_v ON $_ USING vhnsw (v);" } @new);
	return @new;
}

# Keys of all indexes by table.
sub keys_of_tables
{
	return map { split /\|/ } split /\n/, $node->safe_psql(
		'postgres', q(
SELECT i.indrelid::regclass, d.oid || '_' || coalesce(nullif(c.reltablespace, 0), d.dattablespace) || '_' || c.relfilenode
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_database d ON d.datname = current_database()
WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'vhnsw')));
}

# Everything sealed, durable and in peace.
sub repaired
{
	my ($what) = @_;
	builder('on');
	return ok(
		wait_until(
			"$what to be repaired",
			sub {
				$node->psql('postgres', 'SELECT vec_checkpoint()');
				my ($code, $out) = $node->psql('postgres',
					"SELECT bool_and(tail_length = 0 AND segments > 0 AND state = 'idle' AND generation = durable_generation) FROM vec_indexes");
				return $code == 0 && $out eq 't';
			},
			120),
		"$what: the builder repairs all");
}

# Checks answers and log after damages to files: [table, file, name]. `lines` finds in the log the files of the
# lines that name one.
sub damage_is_harmless
{
	my ($what, $offset, $lines, @cases) = @_;
	all_exact_everywhere($node, \@tables, "$what: all rows are found at once, each once and in order");
	my %aside;
	ok( wait_until(
			"$what to be set aside",
			sub {
				%aside = map { $_ => 1 } log_since($node, $offset) =~ /$lines/g;
				!grep { !$aside{ $_->[1] } } @cases;
			}),
		"$what: all are set aside");
	ok($aside{ $_->[1] }, "$what, $_->[2]: the log names the file") foreach @cases;
	is(scalar(keys %aside), scalar(@cases), "$what: and no other file");
	all_checks_ok($node, "$what: no findings without them");
	repaired($what);
	all_exact_everywhere($node, \@tables, "$what: all rows are found in what was repaired");
	all_checks_ok($node, "$what: and no findings are left");
	return;
}

sub damage_all
{
	my ($what, @cases) = @_;    # [table, file, name, damage]
	foreach my $case (@cases)
	{
		my (undef, $file, $name, $damage) = @$case;
		my $path = vec_dir($node) . "/$file";
		my $before = slurp_file($path);
		$damage->($path);
		ok(!-e $path || slurp_file($path) ne $before, "$what, $name: damaged");
	}
	note("$what: " . scalar(@cases) . ' files damaged, ' . scalar(grep { $_->[2] =~ /flipped/ } @cases) . ' of them by one byte');
	return;
}

# ---- Durable manifests, of two segments each
make_tables(3);
my ($spared, $one, $other) = @tables;
my $second_part = 'INSERT INTO %s SELECT id + ' . ROWS . ', v FROM data';
$node->safe_psql('postgres', sprintf($second_part, $_)) foreach @tables;
repaired('first manifests');
my %key = keys_of_tables();
my @damages = damages(vec_dir($node) . "/$key{$spared}.ckpt");
my @new = make_tables(scalar @damages);
$node->safe_psql('postgres', join ';', map { sprintf($second_part, $_) } @new);
repaired('manifests');
is($node->safe_psql('postgres', 'SELECT DISTINCT segments FROM vec_indexes'), '2', 'each manifest lists two segments');
%key = keys_of_tables();
my @cases = map { [ $new[$_], "$key{$new[$_]}.ckpt", @{ $damages[$_] } ] } 0 .. $#damages;
push @cases, [ $one, "$key{$one}.ckpt", "another index's", sub { copy(vec_dir($node) . "/$key{$other}.ckpt", $_[0]) or die $! } ];
all_checks_ok($node, 'durable manifests: no findings before');
builder('off');
$node->stop;
damage_all('durable manifests', @cases);
my $offset = log_size($node);
$node->start;
# A deleted manifest is an index that has none.
damage_is_harmless('durable manifests', $offset, qr/vecckpt: setting aside file "vector-ckpt\/([^"]+\.ckpt)"/, grep { $_->[2] ne 'deleted' } @cases);

# ---- Generation manifests
$node->safe_psql('postgres', join ';', map { "DROP TABLE $_" } @tables);
@tables = ();
builder('off');
make_tables(3);
($spared, $one, $other) = @tables;
my $generation = sub {
	my %keys = keys_of_tables();
	my %table = reverse %keys;
	# Of one index there is one, the current.
	return map { /^(\d+_\d+_\d+)\.[0-9a-f]{16}\.gen$/ && $table{$1} ? ($table{$1} => $_) : () } vec_files($node);
};
my %file = $generation->();
@damages = damages(vec_dir($node) . "/$file{$spared}");
@new = make_tables(scalar @damages);
%file = $generation->();
is(scalar(keys %file), scalar(@tables), 'each index has a generation that is not durable');
@cases = map { [ $new[$_], $file{ $new[$_] }, @{ $damages[$_] } ] } 0 .. $#damages;
push @cases, [ $one, $file{$one}, "another index's", sub { copy(vec_dir($node) . "/$file{$other}", $_[0]) or die $! } ];
all_checks_ok($node, 'generation manifests: no findings before');
$offset = log_size($node);
damage_all('generation manifests', @cases);
damage_is_harmless('generation manifests', $offset,
	qr/vecckpt: setting aside the segments of index [\d\/]+: (?:manifest|file) "vector-ckpt\/([^"]+\.gen)"/,
	@cases);

# ---- Generation manifests after a crash: the durable ones count
builder('off');
$node->safe_psql('postgres', join ';', map { "REINDEX INDEX ${_}_v" } @tables[ 0 .. 9 ]);
%file = $generation->();
is(scalar(keys %file), 10, 'generations that are not durable');
kill_server($node);
my @left = @file{ @tables[ 0 .. 9 ] };
flip(vec_dir($node) . "/$_", int(rand(-s vec_dir($node) . "/$_"))) foreach @left[ 0 .. 4 ];
start_again($node);
all_exact_everywhere($node, \@tables, 'after a crash: all rows are found');
repaired('after a crash');
all_checks_ok($node, 'after a crash: no findings');
ok( wait_until(
		'the manifests to be swept',
		sub { my %there = map { $_ => 1 } vec_files($node); !grep { $there{$_} } @left }),
	'after a crash: manifests of nobody are swept, damaged or not');
unlike(log_since($node), qr/PANIC|TRAP:|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
