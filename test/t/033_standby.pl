# A streaming standby reads what the primary reads, with its own copy of the
# keystore: current, stale or none; while tables are protected and given back,
# while persons are forgotten, in sessions that hold old snapshots.  Promoted,
# it goes on with numbers that nobody had.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 12;
my $primary = new_server('primary', allows_streaming => 1);
$primary->append_conf('postgresql.conf', "wal_log_hints = on\n");
$primary->start;
crm_database($primary, 'crm', $persons);
my $stale = copy_keys($primary);
my $early = number_of($primary, 'crm', 11);
$primary->safe_psql('crm', "SELECT gdpr.forget($early)");
$primary->backup('b');

sub standby
{
	my ($name, $keys, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($primary, 'b', has_streaming => 1);
	$node->{keys} = directory();
	chmod 0700, $node->{keys};
	put_keys($node, $keys) if $keys;
	$node->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$node->{keys}'");
	$node->append_conf('postgresql.conf', "$_ = $options{$_}\n") foreach keys %options;
	$node->append_conf('postgresql.conf', "gdpr.standby_audit = 'off'\n");
	$node->start;
	return $node;
}

sub caught_up
{
	$primary->wait_for_catchup($_) foreach @_;
	return;
}

# Long enough that no old snapshot here is cancelled.  Not for ever: replaying the
# rewrite of pg_statistic and a worker that starts can wait for each other.
my $standby = standby('standby', copy_keys($primary), max_standby_streaming_delay => '60s');
my $other = standby('other', $stale);
my $none = standby('none');
$primary->safe_psql('crm', "SELECT gdpr.put_outbox('mail', " . number_of($primary, 'crm', 7) . ", '\"Name-7-Zwart\"')");
caught_up($standby, $other, $none);
my $revealed = revealed($primary, 'crm');
same_rows(revealed($standby, 'crm'), $revealed, undef, 'standby');
same_rows(revealed($other, 'crm'), $revealed, undef, 'standby with a stale keystore');
is($other->safe_psql('crm', "SELECT gdpr_test.life($early)"), 'forgotten', 'standby with a stale keystore: it was healed');
like(app_fails($none, 'crm', 'SELECT email FROM crm.person'), qr/keystore "[^"]+" does not exist.*HINT/s, 'standby without a keystore: an error');
same_rows(stored($none, 'crm'), stored($primary, 'crm'), undef, 'standby without a keystore: follows');
is($none->safe_psql('crm', 'SET ROLE nobody; SELECT count(email), count(city) FROM crm.person'), '0|11', 'standby without a keystore: what is not personal is read');
is($standby->safe_psql('crm', 'SELECT gdpr.outbox_payload(id) FROM gdpr.outbox'), '"Name-7-Zwart"', 'standby: messages are read');
like(app_fails($standby, 'crm', "INSERT INTO crm.person (id, name) VALUES (500, 'x')"), qr/read-only transaction/, 'standby: nothing is written');
isnt($standby->psql('crm', "CALL gdpr.unprotect('crm.comment')"), 0, 'standby: nor unprotected');

# Sessions on the standby, prepared statements and an old snapshot included
my @session = map { open_session($standby, 'crm') } 1 .. 2;
ask($_, "SET ROLE app; SET gdpr.purpose = 'sales'; SET plan_cache_mode = force_generic_plan; PREPARE c AS SELECT id, body FROM crm.comment WHERE id IN (1, 2) ORDER BY id;"
		. " PREPARE p AS SELECT name, email FROM crm.person WHERE id = \$1") foreach @session;
is(ask($_, 'EXECUTE c'), "1|comment-1-tekst\n2|comment-2-tekst", 'a session on the standby reads') foreach @session;
my $number = number_of($primary, 'crm', 7);
is(ask($session[0], 'BEGIN ISOLATION LEVEL REPEATABLE READ; EXECUTE p(7)'), "Name-7-Zwart|mail-7\@xample.test", 'one keeps its snapshot');
is(ask($session[1], 'EXECUTE p(7)'), "Name-7-Zwart|mail-7\@xample.test", 'the other does not');

# Forgotten meanwhile: the row is in the snapshot, the key is gone.
$primary->safe_psql('crm', "SELECT gdpr.forget($number)");
caught_up($standby, $other);
is(ask($session[0], 'EXECUTE p(7)'), '|', 'the old snapshot: the row is there, dark');
is(ask($session[0], 'SELECT name FROM crm.person WHERE id = 7'), '', 'a new plan: dark, too');
is(ask($session[0], 'EXECUTE p(6)'), "Name-6-Zwart|mail-6\@xample.test", 'others are read in it');
ask($session[0], 'COMMIT');
is(ask($session[0], 'EXECUTE p(7)'), '', 'then it is gone');
is(ask($session[1], 'EXECUTE p(7)'), '', 'and in the other session');
is($standby->safe_psql('crm', 'SELECT count(*) FROM gdpr.outbox'), 0, 'standby: messages to the forgotten are gone');
is($_->safe_psql('crm', "SELECT gdpr_test.life($number)"), 'forgotten', $_->name . ': its own keystore has the hole') foreach $standby, $other;

# One that is behind does not know yet.
$other->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$other->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
my $later = number_of($primary, 'crm', 10);
$primary->safe_psql('crm', "SELECT gdpr.forget($later)");
is(app($other, 'crm', 'SELECT name FROM crm.person WHERE id = 10'), 'Name-10-Zwart', 'a standby that is behind reads the forgotten');
$other->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
caught_up($other);
is(app($other, 'crm', 'SELECT count(*) FROM crm.person WHERE id = 10'), 0, 'until it has caught up');
is($other->safe_psql('crm', "SELECT gdpr_test.life($later)"), 'forgotten', 'and destroyed the keys');

# Unprotected, protected, and a new table, while they follow
$primary->safe_psql('crm', "CALL gdpr.unprotect('crm.comment')");
caught_up($standby, $none);
is(ask($_, 'EXECUTE c'), "1|comment-1-tekst\n2|comment-2-tekst", 'unprotected while following') foreach @session;
is($none->safe_psql('crm', 'SET ROLE app; SELECT body FROM crm.comment WHERE id = 1'), 'comment-1-tekst', 'without a keystore: in the clear, so it is read');
$primary->safe_psql('crm', "CALL gdpr.protect('crm.comment')");
caught_up($standby, $none);
is(ask($_, 'EXECUTE c'), "1|comment-1-tekst\n2|comment-2-tekst", 'protected while following') foreach @session;
is(ask($session[0], 'RESET gdpr.purpose; EXECUTE c'), "1|\n2|", 'without a purpose not');
like(app_fails($none, 'crm', 'SELECT body FROM crm.comment'), qr/does not exist/, 'without a keystore: not any more');
$primary->safe_psql('crm', <<'SQL');
CREATE TABLE crm.note (id int PRIMARY KEY, person_id int REFERENCES crm.person ON DELETE CASCADE, body text);
INSERT INTO crm.note VALUES (1, 1, 'note-1');
GRANT SELECT ON crm.note TO app;
SELECT gdpr.declare_table('crm.note', via => 'person_id');
SELECT gdpr.declare_column('crm.note', 'body', category => 'content', searchable => true);
CALL gdpr.protect('crm.note');
SQL
caught_up($standby);
is(ask($session[1], q{SELECT id FROM crm.note WHERE body = 'note-1'}), 1, 'a table that was declared and protected meanwhile');
is($standby->safe_psql('crm', 'SET gdpr.physical = on; SELECT count(*) FROM crm.note WHERE body = $$note-1$$'), 0, 'is sealed there');

# The purposes follow, too.
$primary->safe_psql('crm', "SELECT gdpr.revoke_purpose('sales', 'app')");
caught_up($standby);
like(ask($session[1], 'EXECUTE p(6)'), qr/is not granted to role/, 'a purpose that was revoked meanwhile');
$primary->safe_psql('crm', "SELECT gdpr.grant_purpose('sales', 'app')");
caught_up($standby);
is(ask($session[1], 'EXECUTE p(6)'), "Name-6-Zwart|mail-6\@xample.test", 'and granted again');
$primary->safe_psql('crm', "SELECT gdpr.rotate_key_encryption_key()");
is(ask($session[1], 'EXECUTE p(6)'), "Name-6-Zwart|mail-6\@xample.test", 'the primary rotates its key: the standby has its own');
close_session($_) foreach @session;

# A base backup taken from the standby
$standby->backup('s');
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init_from_backup($standby, 's', has_streaming => 1);
$second->{keys} = copy_keys($standby);
$second->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$second->{keys}'");
$second->start;
$standby->wait_for_catchup($second, 'replay', $standby->lsn('replay'));
same_rows(revealed($second, 'crm'), revealed($primary, 'crm'), undef, 'cascading standby');
$second->stop;

# Failover with numbers that the standby never heard of: the last moments of
# the old primary, which goes on for a while.
app($primary, 'crm', q{INSERT INTO crm.person (id, name) SELECT i, 'before' FROM generate_series(101, 110) i});
caught_up($standby, $none);
$standby->promote;
$none->promote;
my $insert = q{INSERT INTO crm.person (id, name) SELECT i, 'after' FROM generate_series(201, 220) i};
my %numbers;
for my $node ($primary, $standby)
{
	app($node, 'crm', $insert);
	$numbers{ $node->name } = [ split /\n/, $node->safe_psql('crm', 'SELECT gdpr.subject_number(gdpr_sealed) FROM crm.person WHERE id > 200') ];
}
my %seen;
$seen{$_}++ foreach map { @$_ } values %numbers;
is(scalar(keys %seen), 40, 'promoted, the old primary goes on: no number twice');
is(app($standby, 'crm', q{SELECT count(*) FROM crm.person WHERE name = 'before'}), 10, 'promoted: what was replicated is read');
$number = number_of($standby, 'crm', 3);
$standby->safe_psql('crm', "SELECT gdpr.forget($number)");
is(app($standby, 'crm', 'SELECT count(*) FROM crm.person WHERE id = 3'), 0, 'promoted: forgets');

# Without a keystore it can be promoted, and does nothing that needs one,
# until it gets one.
like(app_fails($none, 'crm', $insert), qr/does not exist/, 'promoted without a keystore: no writing');
isnt($none->psql('crm', "SELECT gdpr.forget($number)"), 0, 'promoted without a keystore: no forgetting');
my $id = $primary->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
system_or_bail('cp', '-a', "$stale/$id.keystore", "$stale/$id.kek.1", $none->{keys});
same_rows(revealed($none, 'crm'), revealed($primary, 'crm'), qr/^person \d\d\d$/, 'put back, without a restart: it reads');
is($none->safe_psql('crm', "SELECT gdpr_test.life($early)"), 'forgotten', 'put back: and heals');
app($none, 'crm', $insert);
$seen{$_}++ foreach split /\n/, $none->safe_psql('crm', 'SELECT gdpr.subject_number(gdpr_sealed) FROM crm.person WHERE id > 200');
is(scalar(keys %seen), 60, 'put back: numbers that no other has');

done_testing();
