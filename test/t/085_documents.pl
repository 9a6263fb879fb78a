# What README.md and doc/*.md say is so: every command in them runs, every table of settings, options and columns agrees
# with the server, every message they name is in the library, every link leads somewhere.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Document;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;

my $root = "$FindBin::RealBin/../..";
my @documents = ("$root/README.md", sort glob("$root/doc/*.md"));
my %blocks = map { $_ => [ blocks_of($_) ] } @documents;
cmp_ok(scalar(@documents), '>', 1, 'there are documents beside README.md');

sub place { my ($document, $block) = @_; return basename($document) . " line $block->{line}"; }

# ---- A server with the settings that the documents show
my $node = PostgreSQL::Test::Cluster->new('documents');
$node->init(allows_streaming => 1);
my @settings;
foreach my $document (@documents)
{
	foreach my $block (grep { $_->{language} eq 'ini' && $_->{remark} !~ /^not run/ } @{ $blocks{$document} })
	{
		$node->append_conf('postgresql.conf', $block->{text});
		push @settings, place($document, $block);
	}
}
cmp_ok(scalar(@settings), '>', 0, 'documents show settings');
$node->start;
is($node->safe_psql('postgres', 'SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL'), '',
	'the server takes the settings of ' . join(', ', @settings));

ok( wait_until(
		'the launcher', sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vecckpt launcher')) eq '1' }),
	'the launcher is there');

# ---- Blocks, in order; each document has a database of its own, so that it can be read by itself
my %run_help = map { $_ => 1 } `bash $root/run help` =~ /^  (\w+)  /mg;
ok($run_help{demo}, './run help lists commands');

# Runs a block; returns its exit code, output and errors.
sub run_sql
{
	my ($database, $block) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-P', 'footer=off', '-d', $node->connstr($database) ],
		'<', \$block->{text}, '>', \$out, '2>', \$err);
	return ($run ? 0 : 1, $out, $err);
}

sub run_shell
{
	my ($database, $folder, $block) = @_;
	my $text = $block->{text} =~ s/\\\n//gr;
	# ./run works on this folder and on the server that is installed: only its commands are looked up.
	my @unknown = grep { !$run_help{$_} } $text =~ m{^\./run (\w+)}mg;
	return (1, '', './run knows no ' . join(', ', @unknown)) if @unknown;
	$text =~ s{^\./run .*}{:}mg;
	# Waiting for the disk proves nothing here.
	$text =~ s{^(pg_basebackup|pg_dump) }{$1 --no-sync }mg;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = $database;
	local $ENV{PGDATA};
	delete $ENV{PGDATA};
	my ($out, $err) = ('', '');
	my $run = IPC::Run::run([ 'bash', '-euo', 'pipefail', '-c', "cd '$folder'\n$text" ], '<', '/dev/null', '>', \$out, '2>', \$err);
	return ($run ? 0 : 1, $out, $err);
}

# As people compare tables: without blanks at the ends of lines and empty lines.
sub plain { my ($text) = @_; return join "\n", map { s/\s+$//r } grep { /\S/ } split /\n/, $text; }

my $has_pgvector = $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_available_extensions WHERE name IN ('vector', 'vecckpt_pgvector')") == 2;
my ($ran, @not_run) = (0);
foreach my $document (@documents)
{
	my $database = 'doc_' . lc(basename($document, '.md'));
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my $folder = PostgreSQL::Test::Utils::tempdir();
	foreach my $block (@{ $blocks{$document} })
	{
		my $place = place($document, $block);
		if ($block->{remark} =~ /^not run: *(.*)/)
		{
			like($1, qr/\w.*\w/, "$place: there is a reason why it is not run");
			push @not_run, "$place ($1)";
			next;
		}
		next if $block->{language} =~ /^(text|ini)$/;
		my $where = $database;
		if ($block->{remark} =~ /^pgvector: *(.*)/)
		{
			if (!$has_pgvector) { push @not_run, "$place (no pgvector here)"; next; }
			$where = $database . '_pgvector_' . $block->{line};
			$node->safe_psql('postgres', "CREATE DATABASE $where");
			$node->safe_psql($where, "CREATE EXTENSION vecckpt_pgvector CASCADE; $1");
		}
		my @result =
		    $block->{language} eq 'sql' ? run_sql($where, $block)
		  : $block->{language} eq 'sh'  ? run_shell($database, $folder, $block)
		  :                               (1, '', "nobody knows how to run '$block->{language}'");
		my ($code, $out, $err) = @result;
		$ran++;
		if ($block->{remark} =~ /^fails: *(.*)/)
		{
			ok($code != 0 && index($err, $1) >= 0, "$place: fails as it says") or diag("exit code $code\n$err");
			next;
		}
		is($code, 0, "$place: $block->{language} runs") or diag("$block->{text}\n$err");
		is(plain($out), plain($block->{output}), "$place: prints what it says") if defined $block->{output};
	}
}
note("$ran blocks were run, " . scalar(@not_run) . ' not: ' . join(', ', @not_run));
cmp_ok(10 * @not_run, '<=', $ran, 'few blocks cannot be run');

# ---- Settings: the table has them all, with the server's defaults, ranges and contexts
my $units = { '' => 1, kB => 1, MB => 1024, GB => 1024**2, TB => 1024**3, ms => 1 / 1000, s => 1, min => 60, h => 3600, d => 86400 };
sub number
{
	my ($text) = @_;
	return $text =~ /^(-?[0-9.]+) ?(kB|MB|GB|TB|ms|s|min|h|d|)$/ ? $1 * $units->{$2} : $text;
}
my %contexts = (user => 'anyone', sighup => 'reload', postmaster => 'restart');
my %described = map { $_->[0] =~ /^`((?:vhnsw|vecckpt)\.\w+)`$/ ? ($1 => $_) : () } tables_of("$root/README.md");
my @known = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q(
SELECT name, boot_val, coalesce(min_val, ''), coalesce(max_val, ''), context, coalesce(array_to_string(enumvals, ','), ''), vartype
FROM pg_settings WHERE name ~ '^(vhnsw|vecckpt)[.]' ORDER BY name));
cmp_ok(scalar(@known), '>', 0, 'the server has settings');
is(join(' ', sort keys %described), join(' ', map { $_->[0] } @known), 'README.md describes exactly the settings there are');
foreach my $setting (@known)
{
	my ($name, $default, $least, $most, $context, $values, $type) = @$setting;
	my $row = $described{$name} or next;
	my (undef, $said_default, $range, $who) = map { tr/`//dr } @$row;
	is(number($said_default), $default, "$name: default");
	if ($type eq 'enum')
	{
		is(join(',', sort split /, */, $range), join(',', sort split /,/, $values), "$name: values");
	}
	elsif ($type eq 'bool') { is($range, '', "$name: no range"); }
	else
	{
		my ($from, $to) = $range =~ /^(.*?)–(.*)$/;
		my ($unit) = ($to // '') =~ /([a-zA-Z]+)$/;
		$from .= $unit if defined $unit && $from =~ /^[0-9.]+$/;
		is(number($from), $least, "$name: least value");
		# An open range ends where the type does.
		is($to eq '' ? 2**31 - 1 : number($to), $most, "$name: greatest value");
	}
	like($who, qr/^\Q$contexts{$context}\E\b/, "$name: who may set it, and when");
}

# ---- Options of indexes, as the server's refusals name them
$node->safe_psql('postgres', 'CREATE EXTENSION vecckpt; CREATE TABLE options (v real[])');
my @options = grep { $_->[0] =~ /^`(m|ef_construction|dims|quantization)`$/ && @$_ == 4 } tables_of("$root/README.md");
is(scalar(@options), 4, 'README.md describes the options of indexes');
foreach my $row (@options)
{
	my ($name, $default, $range) = map { tr/`//dr } @$row;
	my $bad = $range =~ /,/ ? 'no_such' : '-1';
	my (undef, undef, $err) = $node->psql('postgres', "CREATE INDEX ON options USING vhnsw (v) WITH ($name = '$bad')");
	my @allowed = ($err =~ /DETAIL:(.*)/)[0] =~ /"(\w+)"/g;
	is(join(',', sort split /, *|–/, $range), join(',', sort @allowed), "$name: range");
	$node->safe_psql('postgres', "CREATE INDEX option_$name ON options USING vhnsw (v) WITH ($name = $default)");
}
is($node->safe_psql('postgres', q(
SELECT m, ef_construction, quantization FROM vec_indexes WHERE index = 'option_m'::regclass)),
	join('|', map { my $name = $_; map { $_->[1] =~ tr/`//dr } grep { $_->[0] eq "`$name`" } @options } 'm', 'ef_construction', 'quantization'),
	'the defaults of options are those of an index');

# ---- Views: each column is in its documents, and nothing is called a column that is none
my %code = map { $_ => 1 } map { inline_code($_) } @documents;
my @columns = split /\n/, $node->safe_psql('postgres', q(
SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relkind = 'v' AND c.relname ~ '^vec_' ORDER BY c.relname, a.attnum));
cmp_ok(scalar(@columns), '>', 20, 'there are views');
is(join(' ', grep { !$code{ (split /\./)[1] } } @columns), '', 'every column of the views is described');

# ---- Names: of settings, functions and views
my $objects = $node->safe_psql('postgres', q(
SELECT string_agg(name, ' ') FROM (SELECT name FROM pg_settings UNION ALL SELECT proname FROM pg_proc UNION ALL SELECT relname FROM pg_class) n
WHERE name ~ '^(vhnsw[.]|vecckpt[.]|vec_)'));
my %objects = map { $_ => 1 } split / /, $objects;
my @named = map { /\b((?:vhnsw|vecckpt)\.[a-z]\w+|vec_[a-z]\w+)/g } keys %code;
cmp_ok(scalar(@named), '>', 10, 'documents name settings, functions and views');
is(join(' ', grep { !$objects{$_} && !/^vecckpt\.(so|control)$/ } sort @named), '', 'and these exist');
is(join(' ', grep { !$run_help{$_} } map { m{^\./run (\w+)} } keys %code), '', 'so do the commands of ./run');

# ---- Messages that troubleshooting names are the library's, piece by piece between what a message fills in
my $library = slurp_file($node->config_data('--pkglibdir') . '/vecckpt.so');
my @messages = map { $_->[0] =~ /^`([^`]+)`$/ ? $1 : () } grep { @$_ >= 2 } tables_of("$root/doc/troubleshooting.md");
cmp_ok(scalar(@messages), '>', 30, 'troubleshooting names messages');
foreach my $message (@messages)
{
	my $text = $message =~ s/^(?:ERROR|WARNING|NOTICE|INFO|LOG): *//r;
	my @missing = grep { length($_) > 3 && index($library, $_) < 0 } split / *… */, $text;
	is("@missing", '', "\"$message\" is a message of the library");
}

# ---- Links
foreach my $document (@documents)
{
	my @broken;
	foreach my $link (grep { !/^https?:/ } links_of($document))
	{
		my ($file, $anchor) = $link =~ /^([^#]*)#?(.*)$/;
		my $path = $file eq '' ? $document : dirname($document) . "/$file";
		push @broken, $link
		  unless -e $path && ($anchor eq '' || grep { $_ eq $anchor } anchors_of($path));
	}
	is("@broken", '', 'links of ' . basename($document) . ' lead somewhere');
}

$node->stop;
done_testing();
