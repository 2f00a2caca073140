# The same random statements over a protected and an unprotected copy of one
# schema give the same rows, row counts and errors, and leave the same tables.
#
#	GDPR_DIFFERENTIAL_STATEMENTS	how many (3000)
#	GDPR_DIFFERENTIAL_SEED			from which seed (1)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Differential;
use IPC::Run;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $count = $ENV{GDPR_DIFFERENTIAL_STATEMENTS} || 3000;
my $seed = $ENV{GDPR_DIFFERENTIAL_SEED} || 1;
my $node = new_server('main');

$node->append_conf('postgresql.conf', <<'CONF');
fsync = off
autovacuum = off
jit = off
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
CONF
$node->start;
create_keystore($node, 'postgres');

my $citext = $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'");
$node->safe_psql('postgres', ($citext ? 'CREATE EXTENSION citext;' : '') . 'CREATE ROLE differential_app'
	. join('', map { '; CREATE SCHEMA ' . $_ . "; SET search_path = $_;" . differential_schema($citext)
		. "GRANT USAGE ON SCHEMA $_ TO differential_app; GRANT ALL ON ALL TABLES IN SCHEMA $_ TO differential_app" } qw(plain sealed)));
$node->safe_psql('postgres', differential_declare('sealed')
	. "SELECT gdpr.create_purpose('all', legal_basis => 'contract', categories => '{contact,financial,identity}');"
	. "SELECT gdpr.grant_purpose('all', 'differential_app')");
$node->safe_psql('postgres', join('', map { "CALL gdpr.protect('sealed.$_');" } @TABLES));

# ---------- running ----------

my @statements = differential_statements($count, $seed);

sub script
{
	my ($schema) = @_;
	my $text = <<"PSQL";
\\set QUIET on
SET search_path = $schema, public;
SET gdpr.purpose = 'all';
SET gdpr.allow_plaintext_copies = on;
SET client_min_messages = error;
SET ROLE differential_app;
\\pset format unaligned
\\pset fieldsep '\\x1f'
\\pset recordsep '\\x1e'
\\pset null '\\x01'
\\pset footer off
PSQL
	for my $i (0 .. $#statements)
	{
		my $s = $statements[$i];

		if (!$s->{sealed} || $schema eq 'sealed')
		{
			$text .= $s->{sql} . ($s->{copy} ? '' : ";\n");
		}
		# COPY of the first version of psql that is tested sets no row count
		$text .= "\\echo '\\x1d' $i :SQLSTATE :ROW_COUNT\n\\if :ERROR\n\\echo :LAST_ERROR_MESSAGE\n\\endif\n\\echo '\\x1d'\n";
	}
	return $text;
}

sub start
{
	my ($schema) = @_;
	my $run = { in => script($schema), out => '', err => '' };

	$run->{run} = IPC::Run::start([ 'psql', '-XAq', '-d', $node->connstr('postgres') ],
		'<', \$run->{in}, '>', \$run->{out}, '2>', \$run->{err}, IPC::Run::timeout(60 + $count / 10));
	return $run;
}

# One result per statement: [output, state, rows, message]
sub results
{
	my ($run) = @_;
	my @parts = split /\x1d/, $run->{out};
	my @results;

	while (@parts >= 2)
	{
		my ($output, $status) = splice(@parts, 0, 2);
		my ($line, $message) = split /\n/, $status, 2;
		my ($i, $state, $rows) = $line =~ /^ (\d+) (\S+) (\S*)/;
		$output =~ s/^\n// if $i > 0;
		$results[$i] = { output => $output, state => $state, rows => $rows, message => $state eq '00000' ? '' : $message };
	}
	return \@results;
}

# The rows without the envelope, which is the one visible difference
sub rows
{
	my ($statement, $output) = @_;
	my @rows;

	return sort split /\n/, $output if $statement->{kind} eq 'lines';
	$output =~ s/\n\z//;
	# which of 1 and 1.00, which are equal, stands for a group is open
	$output =~ s/(?<=\d)\.(\d*?)0+(?!\d)/$1 eq '' ? '' : ".$1"/ge;
	@rows = map { [ split /\x1f/, $_, -1 ] } split /\x1e/, $output, -1;
	return () unless @rows;
	my @keep = grep { $rows[0][$_] ne 'gdpr_sealed' } 0 .. $#{ $rows[0] };
	@rows = map { my $row = $_; join(' | ', map { $row->[$_] // '' } @keep) } @rows;
	return $statement->{kind} eq 'ordered' ? @rows : sort @rows;
}

my @runs = map { start($_) } qw(plain sealed);
$_->{run}->finish for @runs;
my ($plain, $sealed) = map { results($_) } @runs;

# ---------- comparing ----------

my ($compared, $failed, $with_rows, %states) = (0, 0, 0);
my @different;

for my $i (0 .. $#statements)
{
	my ($s, $p, $q) = ($statements[$i], $plain->[$i], $sealed->[$i]);

	if (!$p || !$q)
	{
		push @different, "statement $i: no result\n$s->{sql}\n$runs[0]{err}\n$runs[1]{err}";
		last;
	}
	if ($s->{sealed})
	{
		push @different, "statement $i: $q->{message}\n$s->{sql}" if $q->{state} ne '00000';
		next;
	}
	my $got = join("\n", $q->{state}, $q->{rows}, $q->{message}, rows($s, $q->{output}));
	my $expected = join("\n", $p->{state}, $p->{rows}, $p->{message}, rows($s, $p->{output}));

	$compared++;
	$states{ $p->{state} }++;
	$with_rows++ if $p->{rows} > 0;
	next if $got eq $expected;
	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	my ($line) = grep { ($got[$_] // '') ne ($expected[$_] // '') } 0 .. ($#got > $#expected ? $#got : $#expected);
	push @different, "statement $i:\n$s->{sql}\n  unprotected: " . ($expected[$line] // '-') . "\n  protected:   " . ($got[$line] // '-');
}
note("seed $seed: $compared statements, $with_rows with rows, errors: "
	  . join(', ', map { "$_ $states{$_}" } grep { $_ ne '00000' } sort keys %states));
is(scalar @different, 0, "seed $seed: $compared statements give the same over protected tables")
  or diag(scalar(@different) . " differ\n" . join("\n\n", grep { defined } @different[ 0 .. 14 ]));
cmp_ok($with_rows, '>', $count / 5, 'statements find and change rows');
cmp_ok($states{'23505'} // 0, '>', $count / 1000, 'some break a UNIQUE constraint');
cmp_ok($states{'23514'} // 0, '>', $count / 1500, 'some break a CHECK constraint');

done_testing();
