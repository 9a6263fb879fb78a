# Clients that know what was acknowledged to them. Each is a psql that works through a script of steps; behind every step
# it says whether that succeeded. So after a crash it is known which rows must be there: those of the steps that
# succeeded; the one step whose end nobody saw was done as a whole or not at all.
#
# Every client changes rows of its own only (ids by client), so the order of its own steps decides.

package AckedLoad;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Tables: name => { dims, rows }: (id int PRIMARY KEY, v real[], n int), `rows` in all that the clients keep them at.
sub new
{
	my ($class, $node, %params) = @_;
	return bless {
		node    => $node,
		tables  => $params{tables},
		clients => $params{clients},
		rows    => { map { $_ => {} } keys %{ $params{tables} } },    # table => id => n
		next_id => {},
		acked   => 0,
		doubts  => 0
	}, $class;
}

# Ids that no other client uses: with the client's number as the remainder.
sub _new_ids
{
	my ($self, $table, $client, $count) = @_;
	my $next = \$self->{next_id}{$table}{$client};
	$$next //= $client;
	my @ids = map { $$next + $_ * $self->{clients} } 0 .. $count - 1;
	$$next += $count * $self->{clients};
	return @ids;
}

sub _in_list { return 'IN (' . join(',', @_) . ')' }

# One statement: SQL, its table and what it changes (id => n, undef where it removes). `planned` holds the client's rows at
# that time, by table: { ids => [...], n => { id => n } }.
sub _statement
{
	my ($self, $client, $planned) = @_;
	my @tables = sort keys %{ $self->{tables} };
	my $table  = $tables[ int(rand(@tables)) ];
	my $own    = $planned->{$table}{ids};
	my ($dims, $most) = @{ $self->{tables}{$table} }{qw(dims rows)};
	my $full = @$own > $most / $self->{clients};
	my $some = 1 + int(rand(60));
	my $what = rand();

	# Mostly inserts until there are enough rows, mostly deletes then, of a run of ids or of scattered ones.
	if (!@$own || $what < ($full ? 0.2 : 0.6))
	{
		my @ids = $self->_new_ids($table, $client, $some);
		return ("INSERT INTO $table SELECT i, random_vector($dims), 0 FROM unnest('{@{[join ',', @ids]}}'::int[]) i",
			$table, { map { $_ => 0 } @ids });
	}
	my $from   = int(rand(@$own));
	my $until  = $from + $some < @$own ? $from + $some : $#$own;
	my %picked = map { $_ => 1 } rand() < 0.5 ? @$own[ $from .. $until ] : map { $own->[ int(rand(@$own)) ] } 1 .. $some;
	my @picked = sort { $a <=> $b } keys %picked;
	return ("DELETE FROM $table WHERE id @{[_in_list(@picked)]}", $table, { map { $_ => undef } @picked })
	  if $what < 0.75;
	return ("UPDATE $table SET v = random_vector($dims), n = n + 1 WHERE id @{[_in_list(@picked)]}",
		$table, { map { $_ => $planned->{$table}{n}{$_} + 1 } @picked });
}

sub _plan
{
	my ($planned, $change) = @_;
	my $gone = 0;
	foreach my $id (sort { $a <=> $b } keys %$change)
	{
		if (!defined $change->{$id}) { delete $planned->{n}{$id}; $gone = 1; next; }
		push @{ $planned->{ids} }, $id unless exists $planned->{n}{$id};
		$planned->{n}{$id} = $change->{$id};
	}
	$planned->{ids} = [ grep { exists $planned->{n}{$_} } @{ $planned->{ids} } ] if $gone;
	return;
}

# The client's rows as they are now.
sub _own_rows
{
	my ($self, $table, $client) = @_;
	my $rows = $self->{rows}{$table};
	my @ids  = sort { $a <=> $b } grep { $_ % $self->{clients} == $client } keys %$rows;
	return { ids => \@ids, n => { map { $_ => $rows->{$_} } @ids } };
}

# A client's script: statements, and transactions of some statements and a savepoint that is rolled back, some of which
# are rolled back as a whole. Returns each step's changes: a list of [table, id => n].
sub _write_script
{
	my ($self, $client, $path, $steps) = @_;
	my %planned = map { $_ => $self->_own_rows($_, $client) } keys %{ $self->{rows} };
	my @effects;
	open(my $file, '>', $path) or die "could not write $path: $!";
	foreach my $number (1 .. $steps)
	{
		my $verdict     = "\\if :ERROR\n\\echo failed $number\n\\quit\n\\endif\n";
		my $transaction = rand() < 0.2;
		my $rollback    = $transaction && rand() < 0.3;
		my (@changes, @sql);
		foreach (1 .. ($transaction ? 3 : 1))
		{
			my ($sql, $table, $change) = $self->_statement($client, \%planned);
			push @sql, $sql;
			next if $rollback;
			push @changes, [ $table, $change ];
			_plan($planned{$table}, $change);
		}
		if ($transaction)
		{
			my ($in_vain) = $self->_statement($client, \%planned);
			# A COMMIT of a failed transaction is no error, so it is asked before.
			print $file join(";\n", 'BEGIN', @sql, 'SAVEPOINT s', $in_vain, 'ROLLBACK TO s', 'SELECT 1 AS fine'),
			  " \\gset\n$verdict", $rollback ? 'ROLLBACK' : 'COMMIT';
		}
		else { print $file $sql[0]; }
		print $file ";\n$verdict\\echo done $number\n";
		push @effects, \@changes;
	}
	close $file or die "could not write $path: $!";
	return \@effects;
}

# Starts all clients, each with so many steps to do.
sub start
{
	my ($self, $steps) = @_;
	$self->{running} = [];
	foreach my $client (0 .. $self->{clients} - 1)
	{
		my $base    = $self->{node}->basedir . "/client$client";
		my $effects = $self->_write_script($client, "$base.sql", $steps);
		unlink "$base.out";
		my $run = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $self->{node}->connstr('postgres'), '-f', "$base.sql" ],
			'<', '/dev/null', '>', "$base.out", '2>', "$base.err");
		push @{ $self->{running} }, { run => $run, base => $base, effects => $effects };
	}
	return;
}

# Takes in what the clients have seen; to be called when their server is gone or their script is done. They end by
# themselves then: one that is killed might not have said all it knows.
sub finish
{
	my ($self) = @_;
	foreach my $client (@{ $self->{running} })
	{
		$client->{run}->finish;
		my $said = slurp_file("$client->{base}.out");
		my ($done) = (0);
		$done = $1 while $said =~ /^done (\d+)$/mg;
		$self->_apply($_) foreach @{ $client->{effects} }[ 0 .. $done - 1 ];
		$self->{acked} += $done;
		# A step that failed while the connection lived is known not to be done; the client has stopped there.
		$client->{doubt} = $client->{effects}[$done] unless $said =~ /^failed/m;
		note('a client stopped: ' . slurp_file("$client->{base}.err")) if $said =~ /^failed/m;
	}
	return;
}

sub _apply
{
	my ($self, $changes) = @_;
	foreach my $change (@$changes)
	{
		my ($table, $by_id) = @$change;
		foreach my $id (keys %$by_id)
		{
			if   (defined $by_id->{$id}) { $self->{rows}{$table}{$id} = $by_id->{$id}; }
			else                         { delete $self->{rows}{$table}{$id}; }
		}
	}
	return;
}

sub _n_of { my ($rows, $id) = @_; return exists $rows->{$id} ? $rows->{$id} : 'none' }

# What is wrong with the tables' rows, in words.
sub problems
{
	my ($self) = @_;
	my %there;
	foreach my $table (keys %{ $self->{rows} })
	{
		my $all = $self->{node}->safe_psql('postgres', "SELECT id, n FROM $table");
		$there{$table} = { map { split /\|/ } split /\n/, $all };
	}
	# A step in doubt is done if the first of its changes that tells is there.
	foreach my $client (@{ $self->{running} })
	{
		my $doubt = delete $client->{doubt} or next;
		my %before = map { $_ => { %{ $self->{rows}{$_} } } } keys %{ $self->{rows} };
		$self->_apply($doubt);
		my $done = 1;
		foreach my $change (@$doubt)
		{
			my ($table, $by_id) = @$change;
			foreach my $id (keys %$by_id)
			{
				my ($new, $old, $now) = map { _n_of($_->{$table}, $id) } ($self->{rows}, \%before, \%there);
				$done = 0 if $new ne $now && $old eq $now;
			}
		}
		$self->{doubts}++ if $done && @$doubt;
		$self->{rows} = \%before unless $done;
	}
	my @problems;
	foreach my $table (sort keys %there)
	{
		my ($rows, $now) = ($self->{rows}{$table}, $there{$table});
		my $lost  = grep { !exists $now->{$_} } keys %$rows;
		my $more  = grep { !exists $rows->{$_} } keys %$now;
		my $other = grep { exists $now->{$_} && $now->{$_} != $rows->{$_} } keys %$rows;
		push @problems, "$table: $lost acknowledged rows lost, $more too many, $other not as acknowledged"
		  if $lost || $more || $other;
	}
	return join "\n", @problems;
}

1;
