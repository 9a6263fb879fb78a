# The mixed load of the fault point tests: small statements that make a server pass every fault point, a model of what
# each of them has acknowledged, and the checks after each fault.
#
# Tables, each (id int, v real[]) with an index <name>_v:
#   t  5,000 rows, a graph; REINDEX            q  a queue: rows come, the oldest go, VACUUM frees their extents
#   e  emptied and filled with its first rows  g  emptied and filled with enough for a graph
#   l  vectors of 16,000 dims, many records    w  so large that loaded segments are verified by a builder

package FaultScenario;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VecDamage;
use VecTest;
use FaultPoints;

my $patience = 120;    # seconds, for what happens in the background
my %dims = (t => 8, q => 8, e => 4, g => 4, l => 16000, w => 2);
my @changing = qw(t q e g l);

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node, next_id => 1, rows => {}, doubts => [] }, $class;
	foreach my $table (sort keys %dims)
	{
		$node->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v real[])");
		$self->{rows}{$table} = {};
	}
	$self->add('t', 5000);
	$self->add('q', 300);
	$self->add('w', 17000);
	foreach my $table (sort keys %dims)
	{
		$node->safe_psql('postgres',
			"CREATE INDEX ${table}_v ON $table USING vhnsw (v) WITH (m = 4, ef_construction = 8)");
	}
	$node->safe_psql('postgres', 'SELECT vec_checkpoint()');
	return $self;
}

# Runs a statement that adds and removes these ids, or fails and does neither. Returns whether it is acknowledged.
sub attempt
{
	my ($self, $table, $sql, $add, $remove) = @_;
	my ($code) = $self->{node}->psql('postgres', $sql);
	my $change = { table => $table, add => $add, remove => $remove };
	if   ($code == 0) { $self->_apply($change); }
	else              { push @{ $self->{doubts} }, $change; }
	return $code == 0;
}

sub _apply
{
	my ($self, $change) = @_;
	my $rows = $self->{rows}{ $change->{table} };
	delete @$rows{ @{ $change->{remove} } };
	@$rows{ @{ $change->{add} } } = (1) x @{ $change->{add} };
	return;
}

# ---- What the faults are waiting for

sub add
{
	my ($self, $table, $count) = @_;
	my $first = $self->{next_id};
	$self->{next_id} += $count;
	my $last   = $self->{next_id} - 1;
	my $vector = $dims{$table} > 100 ? "array_fill((i % 1000)::real, '{$dims{$table}}')" : "random_vector($dims{$table})";
	return $self->attempt($table, "INSERT INTO $table SELECT i, $vector FROM generate_series($first, $last) i",
		[ $first .. $last ], []);
}

sub seal
{
	my ($self, $table) = @_;
	$self->add($table, 70);
	$self->{node}->psql('postgres', 'SELECT vec_checkpoint()');
	return;
}

sub remove_oldest
{
	my ($self, $table, $count) = @_;
	my @ids    = sort { $a <=> $b } keys %{ $self->{rows}{$table} };
	my @oldest = @ids > $count ? @ids[ 0 .. $count - 1 ] : @ids;
	return unless @oldest;
	$self->attempt($table, "DELETE FROM $table WHERE id <= $oldest[-1]", [], \@oldest);
	return;
}

sub vacuum
{
	my ($self, $table) = @_;
	$self->remove_oldest($table, 200);
	$self->{node}->psql('postgres', "VACUUM (INDEX_CLEANUP ON) $table");
	return;
}

sub truncate_table
{
	my ($self, $table) = @_;
	$self->attempt($table, "TRUNCATE $table", [], [ keys %{ $self->{rows}{$table} } ]);
	return;
}

sub restart
{
	my ($self) = @_;
	my $node = $self->{node};
	$node->stop('fast', fail_ok => 1);
	$self->{restarted}       = 1;
	$self->{killed_at_start} = !$node->start(fail_ok => 1);
	return unless $self->{killed_at_start};
	$node->{_pid} = undef;
	start_again($node);
	return;
}

# A search in a new session, which maps and validates.
sub search
{
	my ($self, $table) = @_;
	$self->{node}->psql('postgres', "SET enable_seqscan = off; SELECT id FROM $table ORDER BY v <-> array_fill(0.5::real, '{$dims{$table}}') LIMIT 5");
	return;
}

my %triggers = (
	insert => sub { $_[0]->add('q', 70) },
	map    => sub { $_[0]->add('q', 520) },
	first  => sub { $_[0]->truncate_table('e'); $_[0]->add('e', 3); },
	long   => sub { $_[0]->add('l', 1) },
	vacuum => sub { $_[0]->add('q', 220); $_[0]->vacuum('q'); },
	# Some entries of a graph die, so that searches are to know of it; enough stay for a graph.
	live => sub { $_[0]->remove_oldest('t', 10); $_[0]{node}->psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t'); },
	seal   => sub { $_[0]->seal('q') },
	# Each of them a flat segment, until there are enough to be merged.
	merge => sub { foreach (1 .. 5) { $_[0]->add('q', 15); $_[0]{node}->psql('postgres', "SELECT vec_checkpoint('q_v')"); } },
	graph => sub { $_[0]->truncate_table('g'); $_[0]->add('g', 4200); },
	search  => sub { $_[0]->search('q') },
	check   => sub { $_[0]{node}->psql('postgres', "SELECT * FROM vec_index_check('q_v', true)") },
	reindex => sub { $_[0]{node}->psql('postgres', 'REINDEX INDEX t_v') },
	# What fails leaves an index behind that is not valid.
	concurrently => sub {
		my ($self) = @_;
		$self->{node}->psql('postgres', 'REINDEX INDEX CONCURRENTLY e_v');
		wait_until('e_v_ccnew to be dropped', sub { ($self->{node}->psql('postgres', 'DROP INDEX IF EXISTS e_v_ccnew'))[0] == 0 });
	},
	restart => sub { $_[0]->restart; $_[0]->search('q'); },
	# Files that nobody refers to, and a checkpoint, which brings a sweep.
	sweep => sub {
		append_to_file(vec_dir($_[0]{node}) . "/5_1663_4000000000.00000000000000ff.$_", 'left') foreach qw(seg live);
		$_[0]->seal('q');
	},
	# A segment's file is gone: whoever opens it next sets it aside.
	lose => sub {
		my ($self) = @_;
		my $node = $self->{node};
		$self->seal('q');
		my (undef, $segments) = $node->psql('postgres', "SELECT segment FROM vec_segments WHERE index = 'q_v'::regclass");
		unlink glob(vec_dir($node) . "/*.$_.seg") foreach split /\n/, $segments || '';
		$self->search('q');
	});

# Brings the server to the armed fault point; tries again where the builder did the work before. False: it did not come.
sub reach
{
	my ($self, $trigger, $point) = @_;
	foreach my $try (1 .. 10)
	{
		$triggers{$trigger}->($self);
		# What happens in the background may take a moment.
		return 1 if wait_until("$point", sub { fault_fired($self->{node}, $point) }, 3);
	}
	return 0;
}

# ---- The checks

# Statements whose end nobody saw: done or not, but as a whole. Then every acknowledged row is there, and no other.
sub _check_rows
{
	my ($self, $problems) = @_;
	my $all = $self->{node}
	  ->safe_psql('postgres', join ' UNION ALL ', map { "SELECT '$_', string_agg(id::text, ' ') FROM $_" } @changing);
	foreach my $line (split /\n/, $all)
	{
		my ($table, $ids) = split /\|/, $line;
		my %there = map { $_ => 1 } split / /, $ids || '';
		foreach my $change (grep { $_->{table} eq $table } @{ $self->{doubts} })
		{
			my $added   = grep { $there{$_} } @{ $change->{add} };
			my $removed = grep { !$there{$_} } @{ $change->{remove} };
			next if $added == 0 && $removed == 0;
			if ($added == @{ $change->{add} } && $removed == @{ $change->{remove} }) { $self->_apply($change); }
			else { push @$problems, "a statement on $table was done in part"; }
		}
		my $rows = $self->{rows}{$table};
		my $lost = grep { !$there{$_} } keys %$rows;
		my $more = grep { !$rows->{$_} } keys %there;
		push @$problems, "$table: $lost acknowledged rows lost, $more too many" if $lost || $more;
	}
	$self->{doubts} = [];
	return;
}

sub _check_index
{
	my ($self, $when, $problems) = @_;
	push @$problems, "as $when: $_" foreach all_differences($self->{node}, \@changing);
	return;
}

# Every index sealed and durable, with no complaint; what failed before is tried again after its back-off.
sub _checkpoint
{
	my ($self, $problems) = @_;
	my ($out, $error);
	return
	  if wait_until(
		'a checkpoint',
		sub {
			(my $code, $out, $error) = $self->{node}->psql('postgres',
				"SELECT vec_checkpoint() >= 6, (SELECT count(*) FROM vec_indexes WHERE last_error IS NOT NULL)");
			return $code == 0 && $error eq '' && $out eq 't|0';
		},
		$patience);
	push @$problems, "no clean checkpoint: $out $error";
	return;
}

# The names of the files that durable manifests want to be there: themselves, their segments, as listed by vec_segments, and
# liveness bitmaps; and where these do not say how many entries of an index live.
sub _wanted_files
{
	my ($self) = @_;
	my $lines = $self->{node}->safe_psql(
		'postgres', q(
WITH k AS (SELECT c.oid AS index, c.relname, i.live_entries, i.segments, format('%s_%s_%s', d.oid, d.dattablespace, c.relfilenode) AS key
           FROM pg_class c JOIN vec_indexes i ON c.oid = i.index, pg_database d WHERE d.datname = current_database())
SELECT format('%s.ckpt', key) FROM k WHERE segments > 0 UNION ALL
SELECT format('%s.%s.seg', key, segment) FROM k JOIN vec_segments USING (index) UNION ALL
SELECT concat_ws('|', key, relname, live_entries) FROM k));
	my (@names, @wrong);
	foreach my $line (split /\n/, $lines)
	{
		my ($key, $index, $live) = split /\|/, $line;
		if (!defined $live) { push @names, $line; next; }
		my ($known, @bitmaps) = known_live(vec_dir($self->{node}), $key);
		push @names, @bitmaps;
		# Here VACUUM has succeeded since rows were deleted.
		push @wrong, "$index: $known of $live" if $index =~ /^[tq]_v$/ && $known != $live;
	}
	return (join("\n", sort @names), join(', ', @wrong));
}

# The folder holds the durable manifests, their segments and their bitmaps, and nothing else. Bitmaps say what VACUUM did.
sub _check_files
{
	my ($self, $problems) = @_;
	my $node = $self->{node};
	my ($there, $wanted, $wrong);
	my $end = time() + $patience;
	while (time() < $end)
	{
		# Another generation, so that a checkpoint has something to do, and sweeps.
		$self->add('q', 1);
		$node->psql('postgres', 'SELECT vec_checkpoint()');
		return
		  if wait_until(
			'',
			sub {
				$there = join "\n", vec_files($node);
				# A manifest may be replaced while it is read.
				eval { ($wanted, $wrong) = $self->_wanted_files; } or return 0;
				return $there eq $wanted && $wrong eq '';
			},
			0.5);
	}
	push @$problems, "files:\n$there\nwanted:\n$wanted\nnot what bitmaps say: $wrong";
	return;
}

# Findings of vec_index_check.
sub _check_structure
{
	my ($self, $problems) = @_;
	my $indexes = join ',', map { "${_}_v" } sort keys %dims;
	my $found = $self->{node}->safe_psql('postgres',
		"SELECT i, c FROM unnest('{$indexes}'::regclass[]) i, LATERAL (SELECT vec_index_check(i) AS c) f");
	push @$problems, "vec_index_check: $found" if $found ne '';
	return;
}

# What is wrong after a fault, in words: the server came back, no acknowledged row is lost, answers equal an exact scan, a
# checkpoint succeeds. With `whole`: answers are the same then, VACUUM succeeds, no file stays behind, and vec_index_check
# finds nothing; what a fault has left that these would find, later faults leave there.
sub problems
{
	my ($self, %params) = @_;
	my @problems;
	return 'the server is not back' unless wait_alive($self->{node});
	$self->_check_rows(\@problems);
	$self->_check_index('recovered', \@problems);
	$self->_checkpoint(\@problems);
	# Nobody writes to w; what its segments hold matters where they are read from disk.
	my $differences = $self->{restarted} ? scan_differences($self->{node}, 'w', large => 1) : '';
	push @problems, "w: $differences" if $differences ne '';
	$self->{restarted} = 0;
	return join "\n", @problems unless $params{whole};
	$self->_check_index('sealed', \@problems);
	push @problems, 'q: entries live without a row' unless vacuum_dead($self->{node}, 'q', 'q_v');
	$self->_check_files(\@problems);
	$self->_check_structure(\@problems);
	return join "\n", @problems;
}

1;
