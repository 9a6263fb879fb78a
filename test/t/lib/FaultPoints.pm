# Servers built with fault points (src/base/fault_point.hpp), and the files that control them.
#
# VECCKPT_FAULT_LIB names the folder that holds vecckpt.so with fault points. PostgreSQL 15 finds extensions in its own
# folder only, so the extension is created with the installed library; then its functions are made to look for
# theirs along dynamic_library_path.

package FaultPoints;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

our @EXPORT = qw(
  require_fault_points fault_names fault_node
  set_fault fault_fired wait_fired wait_waiting let_go clear_faults
  start_trace trace_lines);

# Skips the whole file where there is no such library.
sub require_fault_points
{
	plan skip_all => 'no library with fault points; ./run test builds one'
	  unless $ENV{VECCKPT_FAULT_LIB} && -r "$ENV{VECCKPT_FAULT_LIB}/vecckpt.so";
	return;
}

# The names that a library has; none where it was built without.
sub fault_names
{
	my ($path) = @_;
	my $bytes = slurp_file($path);
	return $bytes =~ /fault points: ([\w ]+)/ ? split(/ /, $1) : ();
}

# A server with fault points and the extension, started; parameters as for new_node.
sub fault_node
{
	my ($name, %params) = @_;
	my $node = new_node($name, %params);
	$node->start;
	foreach my $database ('template1', 'postgres')
	{
		setup_vectors($node, $database);
		$node->safe_psql($database, q(UPDATE pg_proc SET probin = 'vecckpt' WHERE probin = '$libdir/vecckpt'));
	}
	$node->stop;
	# With fsync off, as in other tests, nobody passes the points around it.
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$ENV{VECCKPT_FAULT_LIB}:\$libdir'\nfsync = on\n");
	mkdir _folder($node) or die "could not create the folder for fault points: $!";
	$node->start;
	return $node;
}

sub _folder { my ($node) = @_; return $node->data_dir . '/fault_points'; }

# See fault_point.hpp for actions; `text` must occur in the place's detail. The file appears as a whole.
sub set_fault
{
	my ($node, $point, $action, $text) = @_;
	my $path = _folder($node) . "/$point";
	append_to_file("$path.new", $action . (defined $text && $text ne '' ? " $text" : '') . "\n");
	rename("$path.new", $path) or die "could not set $path: $!";
	return;
}

sub fault_fired { my ($node, $point) = @_; return !-e _folder($node) . "/$point"; }

sub wait_fired
{
	my ($node, $point, $seconds) = @_;
	return wait_until("fault point $point to be reached", sub { fault_fired($node, $point) }, $seconds);
}

# For the action `wait`: until somebody waits there; and letting it go on.
sub wait_waiting
{
	my ($node, $point, $seconds) = @_;
	return wait_until("somebody to wait at $point", sub { -e _folder($node) . "/$point.waiting" }, $seconds);
}

sub let_go
{
	my ($node, $point) = @_;
	return unlink _folder($node) . "/$point.waiting";
}

sub clear_faults
{
	my ($node) = @_;
	unlink grep { !m{/trace$} } glob(_folder($node) . '/*');
	return;
}

# What is passed from now on.
sub start_trace
{
	my ($node) = @_;
	my $path = _folder($node) . '/trace';
	unlink $path;
	append_to_file($path, '');
	return;
}

sub trace_lines
{
	my ($node) = @_;
	return split /\n/, slurp_file(_folder($node) . '/trace');
}

1;
