# forget() happens as a whole or not at all: rows, tombstone, erasure record and
# keys, whatever rolls back, is killed, or runs at the same time.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 200;
my $node = new_server('main');
$node->append_conf('postgresql.conf', "log_statement = none\nsynchronous_commit = off\nwal_writer_delay = 10s\n");
$node->start;
crm_database($node, 'crm', $persons);
my $revealed = revealed($node, 'crm');
my @number = split /,/, $node->safe_psql('crm', q{SELECT '0,' || string_agg(gdpr.subject_number(gdpr_sealed)::text, ',' ORDER BY id) FROM crm.person});

# Envelopes as they were, to tell whether the keys are gone: in a backup the
# rows are still there.
$node->safe_psql('crm', 'SET gdpr.physical = on; CREATE TABLE public.backup AS SELECT * FROM crm.person');
my $next = -1;

# Two apart: neighbours share a message.
sub another { return $next += 2; }
sub sql { return $node->safe_psql('crm', $_[0]); }
sub forget { return "SELECT gdpr.forget($number[$_[0]])"; }

# What is there of a person: rows that belong to it, erasures, tombstones, keys.
sub state_of
{
	my ($person) = @_;
	my $second = $person + $persons;
	return sql(<<"SQL");
SELECT (SELECT count(*) FROM crm.person WHERE id = $person)
	+ (SELECT count(*) FROM crm.orders WHERE person_id = $person)
	+ (SELECT count(*) FROM crm.order_line WHERE order_id IN ($person, $second))
	+ (SELECT count(*) FROM crm.comment WHERE person_id = $person)
	+ (SELECT count(*) FROM crm.message WHERE sender_id = $person) || ' rows '
	|| (SELECT count(*) FROM gdpr.erasure WHERE subject = $number[$person]) || ' erasures '
	|| (SELECT count(DISTINCT number) FROM gdpr.tombstone WHERE number = $number[$person]) || ' tombstones '
	|| gdpr_test.life($number[$person])
SQL
}
my $there = '7 rows 0 erasures 0 tombstones living';
my $forgotten = '0 rows 1 erasures 1 tombstones forgotten';

# kill -9, and a start when the last of its processes has noticed.
sub killed
{
	my ($then) = @_;
	my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

	$node->kill9;
	$then->() if $then;
	for (1 .. 200)
	{
		last unless kill 0, $pid;
		select undef, undef, undef, 0.05;
	}
	for (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
	}
	BAIL_OUT('the server does not start again');
}

# Everything of everybody: as a whole or not at all.
sub consistent
{
	my ($name) = @_;

	is(sql(<<'SQL'), '', "$name: everybody is there as a whole, or forgotten as a whole");
SELECT string_agg(format('%s: %s rows, %s tombstones, %s', b.id, n.rows, n.tombstones, gdpr_test.life(n.number)), '; ')
FROM public.backup b
CROSS JOIN LATERAL (SELECT gdpr.subject_number(b.gdpr_sealed) AS number,
	(SELECT count(*) FROM crm.person p WHERE p.id = b.id) + (SELECT count(*) FROM crm.orders o WHERE o.person_id = b.id AND o.id <= 400)
		+ (SELECT count(*) FROM crm.order_line l WHERE l.order_id IN (b.id, b.id + 200) AND l.id <= 400)
		+ (SELECT count(*) FROM crm.comment c WHERE c.person_id = b.id) + (SELECT count(*) FROM crm.message m WHERE m.sender_id = b.id) AS rows,
	(SELECT count(DISTINCT t.number) FROM gdpr.tombstone t WHERE t.number = gdpr.subject_number(b.gdpr_sealed)) AS tombstones) n
WHERE (n.rows, n.tombstones, gdpr_test.life(n.number)) NOT IN ((7, 0, 'living'), (0, 1, 'forgotten'))
SQL
	is(sql("SELECT count(*) FROM crm.person p WHERE gdpr_test.life(gdpr.subject_number(p.gdpr_sealed)) = 'forgotten'")
		+ sql("SELECT count(*) FROM crm.orders o WHERE gdpr_test.life(gdpr.subject_number(o.gdpr_sealed)) = 'forgotten'")
		+ sql("SELECT count(*) FROM crm.order_line l WHERE gdpr_test.life(gdpr.subject_number(l.gdpr_sealed)) = 'forgotten'"), 0,
		"$name: no row is under a key that is gone");
	is(app($node, 'crm', 'SELECT (SELECT count(*) FROM crm.person WHERE name IS NULL) + (SELECT count(*) FROM crm.orders WHERE address IS NULL) + (SELECT count(*) FROM crm.invoice WHERE iban IS NULL)'),
		0, "$name: every row is read");
	return;
}

# Transactions

my $one = another();
is(state_of($one), $there, 'control: a person and its rows');
sql('BEGIN; ' . forget($one) . '; ROLLBACK');
is(state_of($one), $there, 'ROLLBACK: everything is there');
my ($two, $three) = (another(), another());
sql('BEGIN; ' . forget($one) . '; SAVEPOINT a; ' . forget($two) . '; ROLLBACK TO a; SAVEPOINT b; ' . forget($three) . '; RELEASE b; COMMIT');
is(state_of($one), $forgotten, 'savepoints: what is before is forgotten');
is(state_of($two), $there, 'savepoints: what is rolled back is there');
is(state_of($three), $forgotten, 'savepoints: what is released is forgotten');
sql(q{DO $$ BEGIN BEGIN PERFORM gdpr.forget(} . $number[$two] . q{); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$});
is(state_of($two), $there, 'an exception block: everything is there');
same_rows(revealed($node, 'crm', ['person']), $revealed, qr/^person (?:$one|$three)$|^(?!person)/, 'the others read what they did');

# Once is enough

my $first = sql(forget($two));
is(state_of($two), $forgotten, 'forgotten');
is(sql(forget($two)), $first, 'again: the same erasure');
is(state_of($two), $forgotten, 'again: nothing changes');
is(sql('BEGIN; ' . forget($two) . '; ROLLBACK; SELECT count(*) FROM gdpr.erasure WHERE id = $$' . $first . '$$') =~ /1$/, 1, 'again and rolled back: the erasure stays');

# Prepared transactions

my ($four, $five, $six) = (another(), another(), another());
sql("BEGIN; " . forget($_) . "; PREPARE TRANSACTION 'p$_'") foreach $four, $five, $six;
is(state_of($_), $there, 'PREPARE TRANSACTION: everything is there') foreach $four, $five, $six;
sql("COMMIT PREPARED 'p$four'");
is(state_of($four), $forgotten, 'COMMIT PREPARED: forgotten');
sql("ROLLBACK PREPARED 'p$five'");
is(state_of($five), $there, 'ROLLBACK PREPARED: everything is there');
killed();
is(state_of($six), $there, 'prepared, killed: everything is there');
sql("COMMIT PREPARED 'p$six'");
is(state_of($six), $forgotten, 'COMMIT PREPARED after that: forgotten');
is(state_of($four), $forgotten, 'and what was committed before stays so');

# The server is killed

my $seven = another();
my $session = open_session($node, 'crm');
ask($session, 'BEGIN; ' . forget($seven));
killed(sub { close_session($session); });
is(state_of($seven), $there, 'killed before the commit: everything is there');

for my $round (1 .. 3)
{
	my $person = another();
	my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	# in one breath, with synchronous_commit = off and a lazy WAL writer
	$node->psql('crm', forget($person) . "\n\\g\n\\! kill -9 $pid\n");
	killed();
	is(state_of($person), $forgotten, "killed right after the commit, synchronous_commit off: forgotten ($round)");
}

# A backend is killed at each write of the keystore

{
	my ($point, $died) = (0, 1);
	my %seen;

	while ($died && $point < 30)
	{
		my $person = another();
		$point++;
		my ($rc) = $node->psql('crm', "SELECT gdpr_test.fault($point, 'die_before'); " . forget($person));
		$died = $rc != 0;
		wait_for($node, 'SELECT 1', '1', 'crm') or BAIL_OUT('the server does not come back');
		my $state = state_of($person);
		$seen{ $state eq $there ? 'there' : $state eq $forgotten ? 'forgotten' : $state } = 1;
	}
	like(join(', ', sort keys %seen), qr/^forgotten(, there)?$/, 'killed at each write of the keystore: before or after, never between');
	ok(!$died && $point > 3, 'killed at each write of the keystore: all reached');
}
consistent('killed');

# Two at once

my $left = open_session($node, 'crm');
my $right = open_session($node, 'crm');
ask($_, "SET gdpr.purpose = 'sales'; SELECT gdpr.grant_purpose('sales', current_user)") foreach $left;
ask($right, "SET gdpr.purpose = 'sales'");

sub waits
{
	my ($name) = @_;
	ok($node->poll_query_until('crm', "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'crm'"), "$name: waits");
	return;
}

my $p = another();
ask($left, 'BEGIN; ' . forget($p));
say_to($right, "INSERT INTO crm.orders VALUES (1001, $p, 'too late', 1)");
waits('an order for somebody who is being forgotten');
ask($left, 'COMMIT');
like(ask($right), qr/ERROR:.*(violates foreign key constraint|was forgotten)/, 'and is refused');
is(state_of($p), $forgotten, 'all is forgotten');

$p = another();
ask($left, 'BEGIN; ' . forget($p));
say_to($right, "INSERT INTO crm.orders VALUES (1002, $p, 'in time', 1)");
waits('an order for somebody who is nearly forgotten');
ask($left, 'ROLLBACK');
is(ask($right), '', 'and is accepted after the rollback');
is(app($node, 'crm', 'SELECT address FROM crm.orders WHERE id = 1002'), 'in time', 'and read');
sql('DELETE FROM crm.orders WHERE id = 1002');

$p = another();
ask($left, "BEGIN; INSERT INTO crm.orders VALUES (1003, $p, 'before', 1)");
say_to($right, forget($p));
waits('forgetting somebody for whom an order is being entered');
ask($left, 'COMMIT');
like(ask($right), qr/^[0-9a-f-]{36}$/, 'it goes on');
is(state_of($p), $forgotten, 'and forgets the order, too');
is(sql('SELECT count(*) FROM crm.orders WHERE id = 1003'), 0, 'which is gone');

$p = another();
my $id = ask($left, 'BEGIN; ' . forget($p));
say_to($right, forget($p));
waits('forgetting somebody who is being forgotten');
ask($left, 'COMMIT');
is(ask($right), $id, 'is the same erasure');
is(state_of($p), $forgotten, 'and done once');
close_session($_) foreach $left, $right;

# Many at once, and the server killed among them

my $script = directory() . '/hammer.sql';
append_to_file($script, <<"SQL");
\\set person random(60, $persons)
\\set what random(1, 10)
\\set id random(10000, 2000000000)
\\if :what > 8
DO \$\$ BEGIN PERFORM gdpr.forget(gdpr.subject('crm.person', ':person')); EXCEPTION WHEN no_data_found OR deadlock_detected THEN NULL; END \$\$;
\\elif :what > 4
DO \$\$ BEGIN INSERT INTO crm.orders VALUES (:id, :person, 'hammer', 1); INSERT INTO crm.order_line VALUES (:id, :id, 'hammer');
	EXCEPTION WHEN foreign_key_violation OR unique_violation OR deadlock_detected THEN NULL; END \$\$;
\\elif :what > 2
DO \$\$ BEGIN UPDATE crm.person SET name = 'hammer' WHERE id = :person; EXCEPTION WHEN deadlock_detected THEN NULL; END \$\$;
\\else
SELECT count(*) FROM crm.person p JOIN crm.orders o ON o.person_id = p.id WHERE p.id = :person AND (name IS NULL OR address IS NULL) \\gset
\\if :count <> 0
SELECT 1/0;
\\endif
\\endif
SQL
$node->command_ok([ 'bash', '-c', 'pgbench -n -c 4 -j 2 -t 60 -f "$1" -d "$2" 2>&1; test $? -eq 0', 'hammer', $script,
		$node->connstr('crm') . " options='-c gdpr.purpose=sales'" ], 'four sessions forget, write and read');
consistent('four sessions');
for my $round (1 .. 2)
{
	my $out = '';
	my $run = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-j', 2, '-T', 20, '-R', 80, '-f', $script,
			$node->connstr('crm') . " options='-c gdpr.purpose=sales'" ], '>', \$out, '2>&1', IPC::Run::timeout(60));
	select undef, undef, undef, 0.7;
	killed(sub { eval { $run->finish; }; });
	consistent("four sessions, killed ($round)");
}
isnt(sql('SELECT count(*) FROM gdpr.erasure'), 0, 'control: some were forgotten');
cmp_ok(sql('SELECT count(*) FROM crm.person'), '>', 40, 'control: some were not');

done_testing();
