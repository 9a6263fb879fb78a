# Databases of several encodings in one server: an error that names an index in letters beyond ASCII, kept in shared memory,
# is shown whole in its own database and with escapes in others, cut at a character; so is a database's name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;
use FaultPoints;

require_fault_points();

my $node = fault_node('encodings', init => [ extra => [ '--locale=C', '--encoding=UTF8' ] ]);
my $utf = "\xc3\xb6";    # o with two dots
my $latin = "\xf6";

# Nothing in a new database is beyond ASCII, so any encoding is right for it.
$node->safe_psql(
	'postgres', q(
CREATE DATABASE latin;
UPDATE pg_database SET encoding = pg_char_to_encoding('LATIN1') WHERE datname = 'latin'));
$node->safe_psql('latin', "SET client_encoding = 'UTF8'; CREATE DATABASE \"d$utf\"");

# 63 bytes, the most that a name has: with fault points 44 of them fit behind "fault point BuilderVisit ".
my %index = (postgres => 'x' . $utf x 31, latin => 'x' . $utf x 62, "d$latin" => 'plain');
my %sql;
foreach my $database (sort keys %index)
{
	$sql{$database} = $node->background_psql($database);
	is($sql{$database}->query_safe('SHOW server_encoding'), $database eq 'latin' ? 'LATIN1' : 'UTF8', 'an encoding');
	$sql{$database}->query_safe("SET client_encoding = 'UTF8'");
	$sql{$database}->query_safe("CREATE TABLE t (v real[]); CREATE INDEX \"$index{$database}\" ON t USING vhnsw (v)");
}
set_fault($node, 'BuilderVisit', 'fail');
foreach my $database (sort keys %index)
{
	$sql{$database}->query_safe("INSERT INTO t VALUES ('{1,2}')");
	ok( wait_until(
			'an error',
			sub {
				$sql{$database}->query_safe('SELECT count(*) FROM vec_indexes WHERE database = current_database() AND last_error IS NOT NULL') eq '1';
			}),
		'the builder fails');
}

sub errors
{
	my ($database) = @_;
	return $sql{$database}->query_safe(
		"SELECT last_error FROM vec_indexes ORDER BY database = current_database() DESC, last_error LIKE '% plain', last_error");
}
my $start = 'fault point BuilderVisit';
is(errors('postgres'), join("\n", "$start x" . $utf x 21, "$start x" . '\xf6' x 43, "$start plain"), 'seen from UTF8');
is(errors('latin'), join("\n", "$start x" . $utf x 43, "$start x" . '\xc3\xb6' x 21, "$start plain"), 'seen from LATIN1');

# Names of databases.
my $names = "SELECT database FROM vec_indexes WHERE last_error LIKE '% plain'";
is($sql{postgres}->query_safe("SET client_encoding = 'LATIN1'; $names"), 'd\xf6', 'a name that is no UTF8');
is($sql{latin}->query_safe($names), "d$utf", 'the same where it is valid');

# What vec_checkpoint warns of.
my ($code, $out, $err) = $node->psql('postgres', "SET client_encoding = 'UTF8'; SELECT vec_checkpoint()");
is($code, 0, 'vec_checkpoint returns');
like($err, qr/could not be checkpointed: $start x(\\xf6){43}$/m, 'with an escaped warning');
like($err, qr/could not be checkpointed: $start x($utf){21}$/m, 'and one in UTF8');

clear_faults($node);
($code, $out, $err) = $node->psql('postgres', 'SELECT vec_checkpoint()');
is("$code $out", '0 3', 'all are durable in the end');
$_->quit foreach values %sql;
$node->stop;
done_testing();
