# What persons decided binds the next statement where isolation tests do not
# reach: prepared transactions, across a crash too; a hot standby; calls by the
# protocol's fast path, and portals that are executed a few rows at a time.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use IO::Socket::UNIX;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', allows_streaming => 1);
$primary->start;
crm_database($primary, 'crm', 6);
$primary->safe_psql('crm', <<'SQL');
SELECT gdpr.create_purpose('news', 'consent', '{contact}');
SELECT gdpr.grant_purpose('news', 'app');
CREATE TABLE crm.number AS SELECT id, gdpr.subject('crm.person', id::text) AS number FROM crm.person;
SELECT gdpr.give_consent(number, 'news') FROM crm.number;
CREATE VIEW crm.letters AS SELECT id, name FROM crm.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', 'post');
GRANT SELECT ON crm.letters, crm.number TO app;
SQL
my %number = map { split /\|/ } split /\n/, $primary->safe_psql('crm', 'SELECT id, number FROM crm.number');
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->{keys} = copy_keys($primary);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 60s\ngdpr.standby_audit = 'off'");
$standby->start;

# In a transaction, with a plan that is made once and an open cursor; without.
sub reader
{
	my ($node, $level) = @_;
	my $session = open_session($node, 'crm');

	ask($session, "SET ROLE app; SET gdpr.purpose = 'news'; SET plan_cache_mode = force_generic_plan;"
		. " PREPARE p AS SELECT string_agg(coalesce(name, '-'), ' ' ORDER BY id), (SELECT string_agg(id::text, '' ORDER BY id) FROM crm.letters) FROM crm.person WHERE id < 4");
	ask($session, "BEGIN ISOLATION LEVEL $level; EXECUTE p; DECLARE c CURSOR FOR SELECT id, name FROM crm.person; FETCH 1 FROM c") if $level;
	return $session;
}

# What all of them are shown of the persons 1 to 3, and in the view.
sub all_read
{
	my ($sessions, $expected, $name) = @_;

	is(ask($sessions->{$_}, 'EXECUTE p'), $expected, "$name: $_") foreach sort keys %$sessions;
	return;
}

sub readers
{
	return {
		primary => reader($primary, 0), 'primary, old snapshot' => reader($primary, 'REPEATABLE READ'),
		serializable => reader($primary, 'SERIALIZABLE'),
		standby => reader($standby, 0), 'standby, old snapshot' => reader($standby, 'REPEATABLE READ') };
}

sub caught_up
{
	$primary->wait_for_catchup($standby);
	return;
}

my $readers = readers();
my $all = 'Name-1-Zwart Name-2-Zwart Name-3-Zwart|123456';
my $without_2 = 'Name-1-Zwart - Name-3-Zwart|13456';
all_read($readers, $all, 'all consent');

# A standby, where nothing but the commit arrives
$primary->safe_psql('crm', "SELECT gdpr.withdraw_consent($number{2})");
caught_up();
all_read($readers, $without_2, 'withdrawn');
is(ask($readers->{$_}, 'FETCH 1 FROM c'), '2|', "withdrawn: $_: the next FETCH") foreach 'primary, old snapshot', 'serializable', 'standby, old snapshot';
$primary->safe_psql('crm', "SELECT gdpr.give_consent($number{2}, 'news')");
caught_up();
all_read($readers, $all, 'given again');
$primary->safe_psql('crm', "SELECT gdpr.restrict($number{2})");
caught_up();
all_read($readers, $without_2, 'restricted');
$primary->safe_psql('crm', "SELECT gdpr.lift_restriction($number{2}, now())");
caught_up();
all_read($readers, $all, 'lifted');
$primary->safe_psql('crm', "SELECT gdpr.grant_purpose('news', 'app', mode => 'mask')");
caught_up();
all_read($readers, '- - -|123456', 'masked');
$primary->safe_psql('crm', "SELECT gdpr.publish_notice('2', '{news}', requires_renewal => true), gdpr.grant_purpose('news', 'app')");
caught_up();
all_read($readers, '- - -|', 'to be renewed');
$primary->safe_psql('crm', "SELECT gdpr.give_consent(number, 'news', notice => '2') FROM crm.number");
caught_up();
all_read($readers, $all, 'renewed');
close_session($_) foreach values %$readers;

# Prepared transactions: nothing before COMMIT PREPARED, in no session.
my $officer = open_session($primary, 'crm');
ask($officer, "SET gdpr.purpose = 'news'");
my $names = "SELECT string_agg(coalesce(name, '-'), ' ' ORDER BY id) FROM crm.person WHERE id < 4";
$readers = readers();
ask($officer, "BEGIN; SELECT gdpr.withdraw_consent($number{2}); SELECT gdpr.restrict($number{3})");
is(ask($officer, $names), 'Name-1-Zwart - -', 'the session itself sees what it did');
ask($officer, "PREPARE TRANSACTION 'withdraw'");
is(ask($officer, $names), 'Name-1-Zwart Name-2-Zwart Name-3-Zwart', 'and not any more once it is prepared');
all_read($readers, $all, 'prepared');
ask($officer, "COMMIT PREPARED 'withdraw'");
caught_up();
all_read($readers, 'Name-1-Zwart - -|1456', 'committed');
is(ask($officer, $names), 'Name-1-Zwart - -', 'committed: the session itself');
ask($officer, "BEGIN; SELECT gdpr.give_consent($number{2}, 'news'); SELECT gdpr.lift_restriction($number{3}, now()); PREPARE TRANSACTION 'back'; ROLLBACK PREPARED 'back'");
caught_up();
all_read($readers, 'Name-1-Zwart - -|1456', 'rolled back');

# The same of what a purpose covers, and of grants
ask($officer, "BEGIN; SELECT gdpr.revoke_purpose('news', 'app')");
like(ask($officer, $names), qr/not granted/, 'revoked: the session itself');
ask($officer, "ROLLBACK; BEGIN; SELECT gdpr.revoke_purpose('news', 'app'); PREPARE TRANSACTION 'revoke'");
is(ask($officer, $names), 'Name-1-Zwart - -', 'not when it is prepared');
all_read($readers, 'Name-1-Zwart - -|1456', 'revoked and prepared');
ask($officer, "COMMIT PREPARED 'revoke'");
caught_up();
like(ask($readers->{$_}, 'EXECUTE p'), qr/purpose "news" is not granted to role "app"/, "revoked and committed: $_") foreach sort keys %$readers;
close_session($_) foreach values %$readers;
$primary->safe_psql('crm', "SELECT gdpr.grant_purpose('news', 'app')");

# What is prepared survives a crash, undecided.
ask($officer, "BEGIN; SELECT gdpr.give_consent($number{2}, 'news'); SELECT gdpr.restrict($number{1}); PREPARE TRANSACTION 'crash'");
close_session($officer);
$primary->stop('immediate');
$primary->start;
my $read = "SET ROLE app; SET gdpr.purpose = 'news'; $names";
is($primary->safe_psql('crm', $read), 'Name-1-Zwart - -', 'after a crash: not yet');
$primary->safe_psql('crm', "COMMIT PREPARED 'crash'");
is($primary->safe_psql('crm', $read), '- Name-2-Zwart -', 'after a crash: committed');
caught_up();
is($standby->safe_psql('crm', $read), '- Name-2-Zwart -', 'after a crash: the standby');

# The protocol itself

sub send_message
{
	my ($socket, $type, $body) = @_;

	print $socket $type . pack('N', length($body) + 4) . $body;
	$socket->flush;
	return;
}

# What is answered until the server is ready: values of rows, results of functions, errors.
sub answers
{
	my ($socket) = @_;
	my @result;

	while (1)
	{
		my ($head, $body) = ('', '');
		read($socket, $head, 5) == 5 or die 'connection closed';
		my ($type, $len) = unpack('aN', $head);
		read($socket, $body, $len - 4) if $len > 4;
		return "@result" if $type eq 'Z';
		push @result, map { defined $_ ? $_ : '-' } values_of($body) if $type eq 'D';
		push @result, unpack('N', $body) == 0xffffffff ? '-' : substr($body, 4) if $type eq 'V';
		push @result, 'ERROR ' . ($body =~ /\0M([^\0]*)/)[0] if $type eq 'E';
	}
}

sub values_of
{
	my ($body) = @_;
	my $n = unpack('n', $body);
	my $at = 2;
	my @values;

	for (1 .. $n)
	{
		my $len = unpack('N', substr($body, $at, 4));
		push @values, $len == 0xffffffff ? undef : substr($body, $at + 4, $len);
		$at += 4 + ($len == 0xffffffff ? 0 : $len);
	}
	return @values;
}

sub query
{
	my ($socket, $sql) = @_;

	send_message($socket, 'Q', "$sql\0");
	return answers($socket);
}

my $socket = IO::Socket::UNIX->new(Peer => $primary->host . '/.s.PGSQL.' . $primary->port) or die "socket: $!";
my $user = getpwuid($<);
my $startup = pack('N', 196608) . "user\0$user\0database\0crm\0\0";
print $socket pack('N', length($startup) + 4) . $startup;
$socket->flush;
is(answers($socket), '', 'connected');
query($socket, "SET ROLE app; SET gdpr.purpose = 'news'");
$primary->safe_psql('crm', "SELECT gdpr.lift_restriction($number{1}, now()), gdpr.lift_restriction($number{3}, now())");

my $function = $primary->safe_psql('crm', q{SELECT 'gdpr.permitted'::regproc::oid});
# text in all arguments
my $call = pack('N n n', $function, 0, 4) . pack('N/a*', $number{2}) . pack('N/a*', 'news') . pack('N', 0xffffffff) x 2 . pack('n', 0);
query($socket, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
send_message($socket, 'F', $call);
is(answers($socket), 't', 'fast path: permitted');
$primary->safe_psql('crm', "SELECT gdpr.withdraw_consent($number{2})");
send_message($socket, 'F', $call);
is(answers($socket), 'f', 'fast path: withdrawn');
$primary->safe_psql('crm', "SELECT gdpr.give_consent($number{2}, 'news')");
send_message($socket, 'F', $call);
is(answers($socket), 't', 'fast path: given again');

send_message($socket, 'P', "\0SELECT id, name FROM crm.person\0" . pack('n', 0));
send_message($socket, 'B', "portal\0\0" . pack('n n n', 0, 0, 0));
send_message($socket, 'E', "portal\0" . pack('N', 1));
send_message($socket, 'S', '');
is(answers($socket), '1 Name-1-Zwart', 'portal: the first row');
$primary->safe_psql('crm', "SELECT gdpr.withdraw_consent($number{2})");
send_message($socket, 'E', "portal\0" . pack('N', 1));
send_message($socket, 'S', '');
is(answers($socket), '2 -', 'portal: the second, withdrawn meanwhile');
$primary->safe_psql('crm', "SELECT gdpr.revoke_purpose('news', 'app')");
send_message($socket, 'E', "portal\0" . pack('N', 1));
send_message($socket, 'S', '');
is(answers($socket), 'ERROR purpose "news" is not granted to role "app"', 'portal: revoked meanwhile');
close $socket;

$standby->stop;
$primary->stop;
done_testing();
