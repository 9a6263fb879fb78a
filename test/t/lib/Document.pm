# The Markdown documents for users, cut into what a test can run or look at: fenced blocks with what is said about them,
# tables, inline code, links.
#
# A comment in front of a block says what is special about it:
#   <!-- not run: REASON -->    cannot be run by a test
#   <!-- fails: TEXT -->        ends with an error that contains TEXT
#   <!-- pgvector: SQL -->      runs where extension vecckpt_pgvector is available, in a database of its own prepared by SQL
# A block "text" behind a block "sql" is what that one prints.

package Document;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(blocks_of tables_of inline_code links_of anchors_of);

# The lines of a document outside of its blocks, and its blocks: language, text, line, the comment before it.
sub _split
{
	my ($path) = @_;
	my ($block, @prose, @blocks);
	my ($number, $remark) = (0, '');
	foreach my $line (split /\n/, slurp_file($path))
	{
		$number++;
		if ($line =~ /^\s*```(.*)/)
		{
			if (!defined $block)
			{
				$block = { language => $1, text => '', line => $number, remark => $remark };
			}
			else
			{
				push @blocks, $block;
				undef $block;
			}
			$remark = '';
		}
		elsif (defined $block) { $block->{text} .= "$line\n"; }
		else
		{
			push @prose, $line;
			# A remark holds across empty lines.
			if    ($line =~ /^\s*<!--\s*(.*?)\s*-->\s*$/) { $remark = $1; }
			elsif ($line =~ /\S/)                         { $remark = ''; push @blocks, undef if @blocks; }
		}
	}
	die "$path: the block of line $block->{line} has no end" if defined $block;
	return (\@prose, \@blocks);
}

# The blocks of a document in order: {language, text, line, remark, output}. `output` is the text block right behind.
sub blocks_of
{
	my ($path) = @_;
	my (undef, $pieces) = _split($path);
	my ($before, @blocks);
	foreach my $piece (@$pieces)
	{
		if (!defined $piece) { undef $before; next; }
		if ($piece->{language} eq 'text' && defined $before && $before->{language} eq 'sql')
		{
			$before->{output} = $piece->{text};
			next;
		}
		push @blocks, $piece;
		$before = $piece;
	}
	return @blocks;
}

# The rows of the tables of a document, each a reference to its cells.
sub tables_of
{
	my ($path) = @_;
	my ($prose) = _split($path);
	my @rows;
	foreach my $line (@$prose)
	{
		next unless $line =~ /^\|(.*)\|\s*$/;
		push @rows, [ map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, $1 ];
	}
	return @rows;
}

# What stands between backticks, outside of blocks.
sub inline_code
{
	my ($path) = @_;
	my ($prose) = _split($path);
	return join("\n", @$prose) =~ /`([^`]+)`/g;
}

# The targets of links and pictures.
sub links_of
{
	my ($path) = @_;
	my ($prose) = _split($path);
	return join("\n", @$prose) =~ /\]\(([^)\s]+)\)/g;
}

# The names of a document's headings, as links give them.
sub anchors_of
{
	my ($path) = @_;
	my ($prose) = _split($path);
	return map { lc(s/[^\w\s-]//gr =~ s/\s+/-/gr) } map { /^#+\s+(.*?)\s*$/ ? $1 : () } @$prose;
}

1;
