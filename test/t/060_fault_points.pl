# Every fault point (src/base/fault_point.hpp) is reached, and fails once or takes its process with it: each time the server
# recovers, loses no acknowledged row, answers like an exact scan, makes its next checkpoint, and leaves no file behind.
# And the library that is installed has no fault points. VECCKPT_FAULT_ONLY=REGEX picks some ("crash at Entry"). What does not
# go away by itself, as files and damaged pages, is looked for after every fifth fault; VECCKPT_FAULT_ALL=1: after each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VecTest;
use FaultPoints;
use FaultScenario;

require_fault_points();

# Point, text in its detail, what brings the server there, actions. `error` is left out where nothing can fail any more.
my @table = (
	[ 'FileCreate',  '.seg', 'seal',  'error crash' ],
	[ 'FileCreate',  '.gen', 'seal',  'error crash' ],
	[ 'FileWrite',   '.seg', 'seal',  'error crash' ],
	[ 'FileWrite',   '.gen', 'seal',  'error crash' ],
	[ 'FileWritten', '.seg', 'seal',  'error crash' ],
	[ 'FileWritten', '.gen', 'seal',  'error crash' ],
	[ 'FileSync',    '.seg', 'seal',  'error crash' ],
	[ 'FileSync',    '.gen', 'seal',  'error crash' ],
	[ 'FileSynced',  '.seg', 'seal',  'error crash' ],
	[ 'FileSynced',  '.gen', 'seal',  'error crash' ],
	[ 'FolderSync',   '',     'seal',  'error crash' ],
	[ 'FolderSynced', '',     'seal',  'error crash' ],
	[ 'FileRename',  '.seg.tmp', 'seal',  'error crash' ],
	[ 'FileRename',  '.gen.tmp', 'seal',  'error crash' ],
	[ 'FileRename',  '.ckpt',    'seal',  'error crash' ],
	[ 'FileRenamed', '.seg.tmp', 'seal',  'error crash' ],
	[ 'FileRenamed', '.gen.tmp', 'seal',  'error crash' ],
	[ 'FileRenamed', '.ckpt',    'seal',  'error crash' ],
	[ 'FileRemove',  '.seg',     'sweep', 'error crash' ],
	[ 'FileRemoved', '.seg',     'sweep', 'error crash' ],
	[ 'FolderLock',  'owner',    'restart', 'error crash' ],
	[ 'FileCreate',  '.live', 'live', 'error crash' ],
	[ 'FileWrite',   '.live', 'live', 'error crash' ],
	[ 'FileWritten', '.live', 'live', 'error crash' ],
	[ 'FileRename',  '.live.tmp', 'live',  'error crash' ],
	[ 'FileRenamed', '.live.tmp', 'live',  'error crash' ],
	[ 'FileRemove',  '.live',     'sweep', 'error crash' ],
	[ 'FileRemoved', '.live',     'sweep', 'error crash' ],

	[ 'LogExtended',      '', 'insert', 'error crash' ],
	[ 'LogPrepare',       '', 'first',  'error crash' ],
	[ 'LogPrepared',      '', 'first',  'error crash' ],
	[ 'MapPageMake',      '', 'first',  'error crash' ],
	[ 'MapPageMade',      '', 'first',  'error crash' ],
	[ 'MapPageMake',      '', 'map',    'error crash' ],
	[ 'MapPageMade',      '', 'map',    'error crash' ],
	[ 'ExtentTake',       '', 'insert', 'error crash' ],
	[ 'ExtentTaken',      '', 'insert', 'error crash' ],
	[ 'EntryPartWritten', '', 'long',   'error crash' ],
	[ 'EntryWrite',       '', 'insert', 'error crash' ],
	[ 'EntryWritten',     '', 'insert', 'error crash' ],
	[ 'DeadFlag',         '', 'vacuum', 'error crash' ],
	[ 'DeadFlagged',      '', 'vacuum', 'error crash' ],
	[ 'ExtentFree',       '', 'vacuum', 'error crash' ],
	[ 'ExtentFreed',      '', 'vacuum', 'error crash' ],
	[ 'FirstAdvance',     '', 'vacuum', 'error crash' ],
	[ 'FirstAdvanced',    '', 'vacuum', 'error crash' ],
	[ 'BulkLog',         '', 'reindex', 'error crash' ],
	[ 'BulkPagesLogged', '', 'reindex', 'error crash' ],
	[ 'BulkLogged',      '', 'reindex', 'error crash' ],
	[ 'BuildNote',       '', 'concurrently', 'error crash' ],
	[ 'BuildNoted',      '', 'concurrently', 'error crash' ],

	[ 'GenerationPublish',   '', 'seal', 'error crash' ],
	[ 'GenerationWritten',   '', 'seal', 'error crash' ],
	[ 'GenerationPublished', '', 'seal', 'crash' ],
	[ 'GenerationSetAside',  '', 'lose', 'error crash' ],

	[ 'CheckpointStart',          '', 'seal',    'error crash' ],
	[ 'CheckpointWalFlush',       '', 'seal',    'error crash' ],
	[ 'CheckpointWalFlushed',     '', 'seal',    'error crash' ],
	[ 'CheckpointSegmentsSynced', '', 'seal',    'error crash' ],
	[ 'CheckpointManifestSynced', '', 'seal',    'error crash' ],
	[ 'CheckpointRenamed',        '', 'seal',    'error crash' ],
	[ 'CheckpointDone',           '', 'seal',    'error crash' ],
	[ 'ReloadStart',              '', 'restart', 'error crash' ],
	[ 'ReloadManifest',           '', 'restart', 'error crash' ],
	[ 'SweepStart',               '', 'sweep',   'error crash' ],
	[ 'SweepFile',                '', 'sweep',   'error crash' ],
	[ 'SweepDone',                '', 'sweep',   'error crash' ],
	[ 'Validate',                 '', 'restart', 'error crash' ],
	[ 'ValidateCompare',          '', 'restart', 'error crash' ],
	[ 'Validated',                '', 'restart', 'error crash' ],

	[ 'LauncherRound',        '', 'seal',    'error crash' ],
	[ 'LauncherCheckpoint',   '', 'seal',    'error crash' ],
	[ 'LauncherCheckpointed', '', 'seal',    'error crash' ],
	[ 'BuilderStart',         '', 'restart', 'error crash' ],
	[ 'BuilderVisit',         '', 'seal',    'error crash' ],
	[ 'BuilderVisited',       '', 'seal',    'error crash' ],
	[ 'SealRead',             '', 'seal',    'error crash' ],
	[ 'JobSeal',              '', 'seal',    'error crash' ],
	[ 'JobMerge',             '', 'merge',   'error crash' ],
	[ 'JobGraph',             '', 'graph',   'error crash' ],
	[ 'JobVerify',            '', 'restart', 'error crash' ],
	[ 'FileRead',         '.seg', 'restart', 'crash' ],
	[ 'FileRead',        '.ckpt', 'restart', 'error crash' ],
	[ 'JobDone',              '', 'seal',    'error crash' ],
	[ 'LivenessCount',        '', 'live',    'error crash' ],
	[ 'JobLiveness',          '', 'live',    'error crash' ],
	[ 'LivenessPromote',      '', 'live',    'error crash' ],
	[ 'LivenessPromoted',     '', 'live',    'error crash' ],
	[ 'Promote',              '', 'seal',    'error crash' ],
	[ 'Promoted',             '', 'seal',    'crash' ],

	[ 'CreateIndexLoad',      '', 'reindex', 'error crash' ],
	[ 'CreateIndexLoaded',    '', 'reindex', 'error crash' ],
	[ 'CreateIndexFlat',      '', 'reindex', 'error crash' ],
	[ 'CreateIndexGraph',     '', 'reindex', 'error crash' ],
	[ 'CreateIndexPublish',   '', 'reindex', 'error crash' ],
	[ 'CreateIndexPublished', '', 'reindex', 'error crash' ],

	[ 'Insert',        '', 'insert', 'error crash' ],
	[ 'Inserted',      '', 'insert', 'error crash' ],
	[ 'VacuumExtent',  '', 'vacuum', 'error crash' ],
	[ 'VacuumCleanup', '', 'vacuum', 'error crash' ],
	[ 'ScanMapped',    '', 'search', 'error crash' ],
	[ 'ScanStarted',   '', 'search', 'error crash' ],
	[ 'ScanRerank',    '', 'search', 'error crash' ],
	[ 'ScanEmit',      '', 'search', 'error crash' ],
	[ 'CheckStep',     '', 'check',  'error crash' ],
);

my %listed = map { $_->[0] => 1 } @table;
is_deeply(
	[ sort keys %listed ],
	[ sort { $a cmp $b } fault_names("$ENV{VECCKPT_FAULT_LIB}/vecckpt.so") ],
	'the table names every fault point of the library');

# Without full page images redo has to do with what our own records say.
my $node = fault_node(
	'faults', conf => q(
restart_after_crash = on
wal_level = replica
full_page_writes = off
));
my $installed = $node->config_data('--pkglibdir') . '/vecckpt.so';
is_deeply([ fault_names($installed) ], [], 'the installed library has no fault points');
# But for what debuggers are told of the sources.
my $signs = sub {
	my ($library) = @_;
	my $stripped = PostgreSQL::Test::Utils::tempdir() . '/stripped.so';
	PostgreSQL::Test::Utils::system_or_bail('strip', '-o', $stripped, $library);
	return scalar(() = slurp_file($stripped) =~ /fault_point|FaultPoint|fault point/g);
};
is($signs->($installed), 0, 'nor any sign of them');
cmp_ok($signs->("$ENV{VECCKPT_FAULT_LIB}/vecckpt.so"), '>', 0, 'as the other one has');

my $scenario = FaultScenario->new($node);
is($scenario->problems(whole => 1), '', 'no fault, no problem');
my @cases;
foreach my $case (@table)
{
	my ($point, $text, $trigger, $actions) = @$case;
	push @cases, grep { "$_->[3] at $point" =~ ($ENV{VECCKPT_FAULT_ONLY} || '') } map { [ $point, $text, $trigger, $_ ] } split / /, $actions;
}
my @since;
foreach my $number (1 .. @cases)
{
	my ($point, $text, $trigger, $action) = @{ $cases[ $number - 1 ] };
	my $name   = join ' ', $action, 'at', $point, ($text ne '' ? "($text)" : ()), 'by', $trigger;
	my $whole  = $ENV{VECCKPT_FAULT_ALL} || $number % 5 == 0 || $number == @cases;
	my $offset = log_size($node);
	$scenario->{killed_at_start} = 0;
	set_fault($node, $point, $action, $text);
	my $problems = $scenario->reach($trigger, $point) ? '' : "not reached\n";
	clear_faults($node);
	# Before the postmaster knows of it, it still answers.
	$problems .= "no process was killed\n"
	  if $action eq 'crash' && !$scenario->{killed_at_start} && !wait_log_since($node, $offset, qr/terminated by signal 9/);
	$problems .= $scenario->problems(whole => $whole);
	my $log = log_since($node, $offset);
	$problems .= "\nin the log: $1" if $log =~ /((?:PANIC|TRAP|segmentation|signal (?:6|11)|XX001).*)/;
	push @since, $name;
	is($problems, '', $name) or diag('since the last whole check: ' . join ', ', @since);
	@since = () if $whole;
}
$node->stop;
done_testing();
