# A backend that gets no more memory: reading, writing and searching sealed
# values fail with an error that says so, wherever the memory ends; the session
# goes on, nothing is half written, and no NULL stands for what did not fit.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'the sanitizer reserves memory of its own' if ($ENV{LD_PRELOAD} // '') =~ /asan/;
plan skip_all => 'prlimit is not installed' if system('prlimit --pid $$ >/dev/null 2>&1') != 0;

my $size = 12_000_000;    # of the value, much more than a step
my $step = 4096;          # kilobytes
my $steps = 40;

my $node = new_server('main');
$node->append_conf('postgresql.conf', "log_statement = none\nfsync = off\nshared_buffers = 16MB\n");
$node->start;
crm_database($node, 'crm', 20);
app($node, 'crm', "UPDATE crm.person SET bio = repeat('een tekst ', $size / 10) WHERE id = 5");
my $small = app($node, 'crm', 'SELECT md5(name || bio) FROM crm.person WHERE id = 7');

my $session;
my $pid;

# A session of app; used: it has keys already.
sub begin
{
	my ($used) = @_;

	$session = open_session($node, 'crm');
	ask($session, q{SET ROLE app; SET gdpr.purpose = 'sales'; SET max_parallel_workers_per_gather = 0});
	ask($session, 'SELECT md5(name || bio) FROM crm.person WHERE id = 7') if $used;
	$pid = ask($session, 'SELECT pg_backend_pid()');
	return;
}

# What it may have: so many kilobytes more than it has; undef: all.
sub limit
{
	my ($more) = @_;
	my $limit = 'unlimited';

	if (defined $more)
	{
		my ($has) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+) kB/m;
		$limit = ($has + $more) * 1024;
	}
	system('prlimit', '--pid', $pid, "--as=$limit:unlimited") == 0 or die "prlimit failed";
	return;
}

# Runs a statement with ever more memory, until it gives its answer.
sub ever_more
{
	my ($name, $statement, $expected, $used, $after) = @_;
	my ($failed, $wrong, $answer) = (0, '', '');

	for my $n (0 .. $steps)
	{
		begin($used);
		limit($n * $step);
		$answer = ask($session, $statement);
		limit(undef);
		$after->($n) if $after && $answer ne $expected;
		my $alive = ask($session, 'SELECT md5(name || bio) FROM crm.person WHERE id = 7');
		close_session($session);
		$wrong .= "step $n: the session: $alive\n" if $alive ne $small;
		last if $answer eq $expected;
		$failed++;
		$wrong .= "step $n: $answer\n" if $answer !~ /^ERROR:  (out of memory|could not map memory for keys)/ || $answer =~ /een tekst/;
	}
	cmp_ok($failed, '>', 2, "$name: memory was short");
	is($wrong, '', "$name: an error each time, and the session goes on");
	is($answer, $expected, "$name: done when there is enough");
	return;
}

my $text = app($node, 'crm', 'SELECT md5(bio) FROM crm.person WHERE id = 5');
for my $used (0, 1)
{
	my $state = $used ? 'with keys' : 'first use';
	ever_more("reading, $state", 'SELECT md5(bio) FROM crm.person WHERE id = 5', $text, $used);
	ever_more("the whole row, $state", 'SELECT md5((p).bio) FROM (SELECT p FROM crm.person p WHERE id = 5 OFFSET 0) s', $text, $used);
}
ever_more('writing', "UPDATE crm.person SET bio = repeat('nog een t ', $size / 10) WHERE id = 6 RETURNING length(bio)", $size, 1,
	sub {
		my ($n) = @_;
		return if app($node, 'crm', 'SELECT length(bio) < 1000 FROM crm.person WHERE id = 6') eq 't';
		fail("writing: nothing is half written at step $n");
	});
is(app($node, 'crm', 'SELECT md5(bio) = md5(repeat(\'nog een t \', ' . $size / 10 . ')) FROM crm.person WHERE id = 6'), 't',
	'what was written in the end is whole');
unlike(slurp_file($node->logfile), qr/een tekst|terminated by signal/, 'no value in the log, and no backend crashed');

$node->stop;
done_testing();
