# Who speaks the protocol himself, or kills the server, and would leave no
# record of what he has seen.
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

my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', 20);
$node->safe_psql('crm', <<'SQL');
CREATE TABLE public.number AS SELECT id, gdpr.subject('crm.person', id::text) AS number FROM crm.person;
CREATE FUNCTION crm.name_of(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM crm.person WHERE id = $1';
SQL

# ---------- a client ----------

# One message: a type, and what is in it.
sub message
{
	my ($type, $body) = @_;
	return $type . pack('N', 4 + length $body) . $body;
}

sub connect_as
{
	my ($actor) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "no connection: $!";
	my $options = "-c role=app -c gdpr.purpose=sales -c gdpr.actor=$actor";
	my $body = pack('N', 3 << 16) . join("\0", user => $node->safe_psql('postgres', 'SELECT session_user'), database => 'crm', options => $options) . "\0\0";

	$socket->autoflush(1);
	print $socket pack('N', 4 + length $body) . $body;
	my $client = { socket => $socket };
	receive($client, 'Z');
	return $client;
}

# What comes until a message of one of these types: [ type, body ], ...
sub receive
{
	my ($client, $until) = @_;
	my @messages;

	while (1)
	{
		my ($head, $body) = ('', '');

		sysread($client->{socket}, $head, 5 - length $head, length $head) or return @messages while length $head < 5;
		my ($type, $length) = unpack('aN', $head);
		sysread($client->{socket}, $body, $length - 4 - length $body, length $body) or return @messages while length $body < $length - 4;
		$client->{pid} = unpack('N', $body) if $type eq 'K';
		push @messages, [ $type, $body ];
		return @messages if index($until, $type) >= 0;
	}
}

# Parse, Bind and Execute, of at most so many rows; 0: all.
sub run_query
{
	my ($sql, $rows) = @_;
	return message('P', "\0$sql\0" . pack('n', 0)) . message('B', "\0\0" . pack('nnn', 0, 0, 0)) . execute($rows);
}

sub execute
{
	my ($rows) = @_;
	return message('E', "\0" . pack('N', $rows));
}

sub flush { return message('H', ''); }

sub sync { return message('S', ''); }

sub send_to
{
	my ($client, @messages) = @_;
	print { $client->{socket} } join('', @messages);
	return;
}

# The rows among messages: of one column.
sub rows
{
	return join(',', map { substr($_->[1], 6) } grep { $_->[0] eq 'D' } @_);
}

# ---------- what was recorded ----------

# When somebody who reads later has his record: command, persons, how it ended.
my $marks = 0;

sub recorded
{
	my ($actor, $reader) = @_;

	$marks++;
	$node->safe_psql('crm', "SET gdpr.actor = 'mark$marks'; SET gdpr.purpose = 'sales'; SET ROLE app; SELECT name FROM crm.person WHERE id = 20");
	$node->poll_query_until('crm', "SELECT EXISTS (SELECT FROM gdpr.audit_log WHERE actor = 'mark$marks')");
	return $node->safe_psql('crm', <<"SQL");
SELECT string_agg(concat_ws(' ', l.command, (SELECT string_agg(n.id::text, ',' ORDER BY n.id) FROM number n WHERE l.subjects \@> n.number),
	coalesce(l.outcome, (SELECT e.outcome FROM gdpr.audit_log e WHERE e.kind = 'end' AND e.transaction = l.transaction))), '; ' ORDER BY l.record)
FROM gdpr.audit_log l WHERE l.actor = '$actor' AND l.kind = 'access'
SQL
}

my @got;
my $client;

# ---------- portals ----------

my $names = 'SELECT name FROM crm.person WHERE id < 10';

$client = connect_as('portal');
send_to($client, run_query($names, 2), flush());
@got = receive($client, 's');
is(rows(@got), 'Name-1-Zwart,Name-2-Zwart', 'two rows of a portal that is not run to its end');
is(recorded('portal'), 'SELECT 1,2', 'they are recorded while it waits');
send_to($client, execute(1), flush());
@got = receive($client, 's');
is(rows(@got), 'Name-3-Zwart', 'another one');
close $client->{socket};
$node->poll_query_until('crm', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $client->{pid})");
is(recorded('portal'), 'SELECT 1,2 rolled back; SELECT 3 rolled back', 'the connection is gone without a Sync: exactly these');

$client = connect_as('pipeline');
send_to($client, run_query('SELECT name FROM crm.person WHERE id = 4', 0), run_query('UPDATE crm.person SET city = city WHERE id = 5', 0),
	run_query('SELECT name FROM crm.person WHERE id = 6', 0), sync());
receive($client, 'Z');
is(recorded('pipeline'), 'SELECT 4 committed; UPDATE 5 committed; SELECT 6 committed', 'statements before one Sync: each has its record');

$client = connect_as('failing');
send_to($client, run_query('SELECT name FROM crm.person WHERE id = 4', 0), run_query('SELECT 1 / 0', 0), sync());
@got = receive($client, 'Z');
is(rows(@got), 'Name-4-Zwart', 'a statement, and one that fails, before one Sync');
is(recorded('failing'), 'SELECT 4 rolled back', 'the first has its record');

$client = connect_as('returning');
send_to($client, run_query('UPDATE crm.person SET city = city WHERE id IN (7, 8) RETURNING name', 1), flush());
@got = receive($client, 's');
is(rows(@got), 'Name-7-Zwart', 'one row of an UPDATE that returns two');
close $client->{socket};
$node->poll_query_until('crm', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $client->{pid})");
is(recorded('returning'), 'UPDATE 7,8 rolled back', 'both were revealed');

# ---------- several statements in one message; calls of functions ----------

$client = connect_as('simple');
send_to($client, message('Q', "SELECT name FROM crm.person WHERE id = 1; SELECT name FROM crm.person WHERE id = 2; ROLLBACK\0"));
receive($client, 'Z');
is(recorded('simple'), 'SELECT 1 rolled back; SELECT 2 rolled back', 'several statements in one message, rolled back');

# F: function, formats of arguments, arguments, format of the result
sub call
{
	my ($oid, @arguments) = @_;
	return message('F', pack('Nnnn', $oid, 1, 0, scalar @arguments) . join('', map { pack('N', length $_) . $_ } @arguments) . pack('n', 0));
}

$client = connect_as('fastpath');
send_to($client, call($node->safe_psql('crm', q{SELECT 'crm.name_of'::regproc::oid}), 3));
@got = receive($client, 'Z');
is(substr((grep { $_->[0] eq 'V' } @got)[0][1], 4), 'Name-3-Zwart', 'a function is called without a statement');
is(recorded('fastpath'), 'SELECT 3 committed', 'what it reads is recorded');
send_to($client, call($node->safe_psql('crm', q{SELECT 'gdpr.reveal'::regproc::oid}), 'AAAA', '1'));
@got = receive($client, 'Z');
is(join('', map { $_->[0] } @got), 'EZ', 'reveal() cannot be called so');

# Cancelled while rows are on their way
$client = connect_as('cancelled');
send_to($client, message('Q', "SELECT name || repeat(' ', 5000), pg_sleep(CASE WHEN id < 4 THEN 0 ELSE 60 END) FROM crm.person WHERE id < 10\0"));
$node->poll_query_until('crm', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')");
$node->safe_psql('crm', "SELECT pg_cancel_backend($client->{pid})");
@got = receive($client, 'Z');
ok((grep { $_->[0] eq 'E' } @got), 'cancelled');
is(recorded('cancelled'), 'SELECT 1,2,3,4 rolled back', 'whom it had come to');

# ---------- keeping the worker from its work ----------

# Nobody reads for long, and checkpoints remove what log they may; then somebody does, and one comes before the worker.
$node->poll_query_until('crm', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%audit%' AND backend_type = 'gdpr worker')});
for my $time (1 .. 3)
{
	$node->safe_psql('crm', "CREATE TABLE long_$time (); SELECT pg_switch_wal()");
	select(undef, undef, undef, 0.3);
	$node->safe_psql('crm', 'CHECKPOINT');
}
$node->safe_psql('crm', q{SET gdpr.actor = 'before'; SET gdpr.purpose = 'sales'; SET ROLE app; SELECT name FROM crm.person WHERE id = 1; RESET ROLE; CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT});
is(recorded('before'), 'SELECT 1 committed', 'a record, and a checkpoint before the worker: it is there');
is($node->safe_psql('crm', q{SELECT count(*) FROM gdpr.audit_log WHERE kind = 'gap'}), 0, 'and nothing is missing');

$client = connect_as('closed');
$node->safe_psql('postgres', 'ALTER DATABASE crm ALLOW_CONNECTIONS false');
send_to($client, message('Q', "SELECT name FROM crm.person WHERE id = 1\0"));
receive($client, 'Z');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'gdpr worker' AND datname = 'crm')});
ok(1, 'nobody else may connect: the worker does');
$node->safe_psql('postgres', 'ALTER DATABASE crm ALLOW_CONNECTIONS true');
is(recorded('closed'), 'SELECT 1 committed', 'and stores the record');

# ---------- kill -9 ----------

$client = connect_as('killed');
send_to($client, message('Q', "BEGIN; SELECT name FROM crm.person WHERE id = 1; ROLLBACK\0"));
receive($client, 'Z');
my $suspended = connect_as('suspended');
send_to($suspended, run_query($names, 2), flush());
is(rows(receive($suspended, 's')), 'Name-1-Zwart,Name-2-Zwart', 'a portal is left as it is');
$node->safe_psql('crm', 'CREATE TABLE flushed ()');	# on disk is what came before a commit
kill 'KILL', $client->{pid};	# the server starts again by itself
receive($suspended, '');
$node->poll_query_until('crm', 'SELECT true');
is(recorded('killed'), 'SELECT 1 rolled back', 'kill -9 after a read that was rolled back');
is(recorded('suspended'), 'SELECT 1,2', 'kill -9 while a portal waits');
is($node->safe_psql('crm', "SELECT count(DISTINCT split_part(transaction, '.', 1)) FROM gdpr.audit_log"), 2, 'names of transactions do not come again');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'the chain holds');

$node->stop;
done_testing();
