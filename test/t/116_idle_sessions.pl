# Sessions that sit idle let go of segments that are replaced or dropped, without sending anything: the files' space
# comes back. One in a transaction does so at its end, and an open cursor keeps what it reads until then.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $node = new_node('idle', conf => "fsync = off\nvecckpt.checkpoint_timeout = 1d");
$node->start;
setup_vectors($node);
foreach my $t (qw(a b))
{
	$node->safe_psql(
		'postgres', qq(
CREATE TABLE $t AS SELECT i AS id, random_vector(8) AS v FROM generate_series(1, 1000) i;
CREATE INDEX ${t}_v ON $t USING vhnsw (v) WITH (m = 4, ef_construction = 8);
));
}
sub segment_of { my ($t) = @_; return $node->safe_psql('postgres', "SELECT segment FROM vec_segments WHERE index = '${t}_v'::regclass") }

# A session that has mapped both; its pid comes first.
my %query = map { $_ => "SELECT count(*) FROM (SELECT 1 FROM $_ ORDER BY v <-> array_fill(0.5::real, '{8}') LIMIT 3) s" } qw(a b);
my $quick  = 'SET enable_seqscan = off';
my %opened = map { $_ => $node->background_psql('postgres') } qw(idle transaction cursor);
my %pid    = map { $_ => $opened{$_}->query_safe('SELECT pg_backend_pid()') } keys %opened;
$opened{idle}->query_safe("$quick; $query{a}; $query{b}");
$opened{transaction}->query_safe("$quick; BEGIN; $query{a}");
$opened{cursor}->query_safe("$quick; BEGIN; DECLARE c CURSOR FOR SELECT id FROM a ORDER BY v <-> array_fill(0.5::real, '{8}')");
$opened{cursor}->query_safe('FETCH 1 FROM c');

sub has_mapped { my ($who, $segment) = @_; return scalar grep { /\.\Q$segment\E\.seg/ } mappings($pid{$who}) }
my ($of_a, $of_b) = (segment_of('a'), segment_of('b'));
ok(has_mapped($_, $of_a), "$_: the segment of a is mapped") foreach sort keys %opened;
ok(has_mapped('idle', $of_b), 'idle: and that of b');
my $activity = "SELECT state, query, state_change FROM pg_stat_activity WHERE pid = $pid{idle}";
my $before   = $node->safe_psql('postgres', $activity);

# Replaced: what is inserted is merged with what is there.
$node->safe_psql('postgres', "INSERT INTO a SELECT i, random_vector(8) FROM generate_series(1001, 6000) i");
ok( wait_until(
		'another segment',
		sub {
			$node->safe_psql('postgres', "SELECT vec_checkpoint('a_v')");
			return $node->safe_psql('postgres', "SELECT count(*) FROM vec_segments WHERE segment = '$of_a'") eq '0';
		}),
	'the segment of a is replaced');
ok(wait_until('the idle session to let go', sub { !has_mapped('idle', $of_a) }), 'idle: lets go of a replaced segment');
ok(has_mapped('idle', $of_b), 'idle: keeps the one that is current');

# Dropped: no generation follows it.
$node->safe_psql('postgres', "DROP INDEX b_v; CHECKPOINT");
ok(wait_until('the idle session to let go', sub { !has_mapped('idle', $of_b) }), 'idle: lets go of a dropped index\'s segment');
is(scalar(mappings($pid{idle})), 0, 'idle: nothing is left');
is($node->safe_psql('postgres', $activity), $before, 'idle: as far as others see it has slept all the time');

ok(has_mapped($_, $of_a), "$_: keeps it within its transaction") foreach qw(transaction cursor);
is($opened{cursor}->query_safe('SELECT count(*) FROM (SELECT 1) s'), '1', 'cursor: the transaction goes on');
$opened{cursor}->query_safe('MOVE FORWARD ALL FROM c');
$opened{$_}->query_safe('COMMIT') foreach qw(transaction cursor);
ok(!has_mapped($_, $of_a), "$_: lets go at its end") foreach qw(transaction cursor);
is($opened{idle}->query_safe($query{a}), '3', 'idle: goes on searching');
$_->quit foreach values %opened;
$node->stop;
done_testing();
