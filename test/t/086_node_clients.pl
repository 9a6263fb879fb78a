# Programs in JavaScript against a running server: node-postgres with real[] columns, and the npm package pgvector where its
# extension and vecckpt_pgvector are installed. The scripts are test/clients/*.js; each of their checks is a test.
#
# VECCKPT_NODE_PATH: folders, separated by colons, where node finds the packages pg and pgvector.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $clients = "$FindBin::RealBin/../clients";
$ENV{NODE_PATH} = $ENV{VECCKPT_NODE_PATH} || '/usr/share/nodejs:/usr/lib/nodejs';

# Whether node finds a package.
sub has_package
{
	my ($name) = @_;
	return IPC::Run::run([ 'node', '-e', "require('$name')" ], '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
}

sub has_node { return grep { -x "$_/node" } split /:/, $ENV{PATH}; }

plan skip_all => 'node, or its package pg, is not installed' unless has_node() && has_package('pg');

my $seed = seed_random();
my $node = new_node('node');
$node->start;

# Runs a script against a database of its own; its lines become tests.
sub run_client
{
	my ($script) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $script");
	local $ENV{PGHOST}     = $node->host;
	local $ENV{PGPORT}     = $node->port;
	local $ENV{PGDATABASE} = $script;
	local $ENV{PGUSER}     = $node->safe_psql('postgres', 'SELECT current_user');
	local $ENV{SEED}       = $seed;
	my ($out, $err) = ('', '');
	my $success = IPC::Run::run([ 'node', "$clients/$script.js" ], '<', '/dev/null', '>', \$out, '2>', \$err);
	foreach my $line (split /\n/, $out)
	{
		if ($line =~ /^(not )?ok (.*)/) { ok(!defined $1, "$script: $2"); }
		elsif ($line ne 'done')         { diag($line); }
	}
	like($out, qr/^done$/m, "$script: runs to its end") or diag($err);
	is($success ? 0 : 1, 0, "$script: exits with 0");
	return;
}

run_client('node_postgres');

my $extensions =
  $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name IN ('vector', 'vecckpt_pgvector')");
SKIP:
{
	skip 'extension vector or vecckpt_pgvector is not available', 1 unless $extensions == 2;
	skip 'the npm package pgvector is not installed', 1 unless has_package('pgvector/pg');
	run_client('pgvector');
}

$node->stop;
done_testing();
