# Arrays of every form that real[] can take, made at random: each is taken, or refused with the SQLSTATE that its worst
# fault has, by every operator and by an insert; the index then returns exactly what was taken. The same for rows of COPY
# BINARY with damaged bytes, where all that is asked for is that the server goes on and index and table agree.
#
# The same arrays each time, unless VECCKPT_SEED says otherwise.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

use constant { CASES => 1500, DAMAGED => 400, DIMS => 5, MOST_DIMS => 16000 };

my %SQLSTATE = (shape => '2202E', null => '22004', size => '54000', number => '22003', dims => '22000', none => 'taken');

$ENV{VECCKPT_SEED} ||= 1;
seed_random();

sub one_of { return $_[ rand @_ ] }

sub number
{
	return one_of(
		sprintf('%.9g', rand(2) - 1), sprintf('%.9g', (rand(2) - 1) * 10**(int(rand(70)) - 35)),
		'0', '-0', '1', '3.4028235e38', '-3.4028235e38', '1e-45', '-1.1754944e-38');
}

# A number of elements: mostly right, sometimes close to it, sometimes large.
sub size
{
	my $kind = rand;
	return $kind < 0.7 ? DIMS : $kind < 0.9 ? 1 + int(rand(2 * DIMS)) : one_of(0, 127, 1000, 2001);
}

# An SQL expression of type real[], and the word of %SQLSTATE for it.
sub random_array
{
	my $kind = rand;
	if ($kind < 0.05)
	{
		my $size = one_of(MOST_DIMS, MOST_DIMS + 1, 2 * MOST_DIMS, 1_000_000);
		my $fill = one_of('1', "'NaN'", 'NULL');
		my $fault = $fill eq 'NULL' ? 'null' : $size > MOST_DIMS ? 'size' : $fill eq '1' ? 'dims' : 'number';
		return ("array_fill(${fill}::real, ARRAY[$size])", $fault);
	}
	if ($kind < 0.15)
	{
		my ($rows, $columns) = (1 + int(rand(3)), 1 + int(rand(4)));
		my $element = one_of('1', "'NaN'", 'NULL');
		return ("array_fill(${element}::real, ARRAY[$rows, $columns])", 'shape');
	}

	my @elements = map { number() } 1 .. size();
	my $fault    = @elements ? (@elements == DIMS ? 'none' : 'dims') : 'shape';
	if (@elements && rand() < 0.15)
	{
		$elements[ rand @elements ] = one_of('NaN', 'Infinity', '-Infinity', 'inf');
		$fault = 'number';
	}
	if (@elements && rand() < 0.1)
	{
		$elements[ rand @elements ] = 'NULL';
		$fault = 'null';
	}
	my $text = '{' . join(one_of(',', ' , '), @elements) . '}';
	my $size = @elements;
	return ("'$text'::real[]", $fault) if !$size || rand() < 0.4;

	# The same in another form.
	return one_of(
		["'[" . join(':', map { $_ - 3 } 1, $size) . "]=$text'::real[]", $fault],
		["(ARRAY[NULL]::real[] || '$text'::real[])[2:]", $fault],
		["(SELECT array_agg(e ORDER BY i) FROM unnest('$text'::real[]) WITH ORDINALITY AS u (e, i))", $fault],
		["through_a_variable('$text')", $fault],
		["(SELECT v FROM stored WHERE size = $size) || '{}'::real[]", $size == DIMS ? 'none' : 'dims'],
		["(SELECT v FROM stored WHERE size = $size)", $size == DIMS ? 'none' : 'dims'])->@*
	  if $size != 0;
}

my $node = new_node('array_input');
$node->start;
setup_vectors($node);
$node->safe_psql(
	'postgres', q(
-- An expanded array.
CREATE FUNCTION through_a_variable(a real[]) RETURNS real[] LANGUAGE plpgsql AS $$
DECLARE
    b real[] := a;
BEGIN
    b[1] := b[1];
    RETURN b;
END $$;

-- Short, in line, compressed and out of line.
CREATE TABLE stored (size int PRIMARY KEY, v real[]);
INSERT INTO stored SELECT n, array_fill(n::real, ARRAY[n]) FROM generate_series(1, 2001) n;
ALTER TABLE stored ALTER v SET STORAGE EXTERNAL;
UPDATE stored SET v = v || '{}'::real[] WHERE size % 2 = 0;

CREATE TABLE items (id int, v real[]);
CREATE INDEX items_l2 ON items USING vhnsw (v real_l2_ops) WITH (dims = 5);
CREATE INDEX items_l1 ON items USING vhnsw (v real_l1_ops) WITH (dims = 5);
CREATE INDEX items_cosine ON items USING vhnsw (v real_cosine_ops) WITH (dims = 5);

CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE TABLE cases (id int, expression text, by_operators text, by_insert text);
));

my $rows = '';
for my $id (1 .. CASES)
{
	my ($expression, $fault) = random_array();
	my $by_operators = $SQLSTATE{ $fault eq 'dims' ? 'none' : $fault };
	$rows .= join("\t", $id, $expression, $by_operators, $SQLSTATE{$fault}) . "\n";
}
$node->safe_psql('postgres', "COPY cases FROM stdin;\n$rows\\.\n");

# Outcomes that are not the expected ones, as text.
sub surprises
{
	my ($statement, $expected) = @_;
	return $node->safe_psql('postgres',
		"SELECT id, left(expression, 100), outcome($statement), $expected FROM cases"
		  . " WHERE outcome($statement) <> $expected ORDER BY id LIMIT 20");
}

is($node->safe_psql('postgres', 'SELECT count(DISTINCT by_operators), count(DISTINCT by_insert) FROM cases'),
	'5|6', 'every fault was made');
for my $operator ('<->', '<#>', '<=>', '<+>')
{
	is(surprises("format('SELECT %s $operator %1\$s', expression)", 'by_operators'),
		'', "$operator takes what is well formed and names what is wrong with the rest");
}
is( $node->safe_psql(
		'postgres',
		q(SELECT id, left(expression, 100), actual, by_insert FROM (
		    SELECT *, outcome(format('INSERT INTO items VALUES (%s, %s)', id, expression)) AS actual FROM cases) c
		  WHERE actual <> by_insert ORDER BY id LIMIT 20)),
	'', 'so do inserts');
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM items) = (SELECT count(*) FROM cases WHERE by_insert = 'taken')"),
	't', 'what was taken is in the table');

my @agree = map { { operator => $_, probe => 'SELECT ARRAY[1, 2, 3, 4, 5]::real[]' } } '<->', '<+>';
exact_everywhere($node, 'items', "the index returns it in order of $_->{operator}", %$_) for @agree;

# ---- COPY BINARY: ndim, flags, type, size, lower bound, then elements with their lengths; big-endian
sub binary_row
{
	my ($id, $damage) = @_;
	my $array = pack('l>l>l>l>l>', 1, 0, 700, DIMS, 1) . join('', map { pack('l>f>', 4, rand()) } 1 .. DIMS);
	for (1 .. $damage)
	{
		my $at = int(rand(length $array));
		# Mostly within what describes the array.
		$at = int(rand(20)) if rand() < 0.6;
		substr($array, $at, 1) = one_of(chr(int(rand(256))), "\0", "\1", "\2", "\xff");
	}
	$array = substr($array, 0, int(rand(length $array))) if $damage && rand() < 0.1;
	my $row = pack('s>l>l>l>', 2, 4, $id, length $array) . $array;
	return "PGCOPY\n\xff\r\n\0" . pack('l>l>', 0, 0) . $row . pack('s>', -1);
}

my $dir      = PostgreSQL::Test::Utils::tempdir();
my $commands = '';
for my $i (1 .. DAMAGED)
{
	my $file = "$dir/$i";
	open(my $out, '>:raw', $file) or die "cannot write $file: $!";
	print $out binary_row(1_000_000 + $i, $i % 20 ? 1 + $i % 3 : 0);
	close($out) or die "cannot write $file: $!";
	$commands .= "\\copy items FROM '$file' (FORMAT binary)\n";
}
my ($status) = $node->psql('postgres', $commands, on_error_stop => 0, on_error_die => 0);
is($status, 0, 'damaged rows of COPY BINARY are errors of the statement');
my $taken = $node->safe_psql('postgres', 'SELECT count(*) FROM items WHERE id > 1000000');
cmp_ok($taken, '>=', DAMAGED / 20, 'undamaged ones are taken');
cmp_ok($taken, '<',  DAMAGED,      'damaged ones are not');
exact_everywhere($node, 'items', "the index returns them in order of $_->{operator}", %$_) for @agree;

unlike(log_since($node), qr/was terminated by signal|PANIC|internal error/, 'the server never crashed');
$node->stop;
done_testing();
