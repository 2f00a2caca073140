# A dump carries what was decided: purposes, grants, consents, flags, notices,
# views and policies.  In the restored database every decision is the same, and
# everything goes on from there.
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
my $dumps = directory();
my $node = new_server('main');
$node->start;
crm_database($node, 'crm', $persons);

# Person 1 to 9 decided something each; ids of purposes have gaps.
$node->safe_psql('crm', <<'SQL');
CREATE ROLE mailer; CREATE ROLE caller; CREATE ROLE boss;
SELECT gdpr.create_purpose('gone', 'contract', '{contact}');
SELECT gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true, description => 'We write.', columns => '{crm.person.email,crm.person.name}', max_per_statement => 100);
SELECT gdpr.create_purpose('calls', 'consent', '{contact}', default_basis => 'legitimate_interest', max_per_hour => 1000, requires_actor => true);
SELECT gdpr.create_purpose('claims', 'legal_obligation', '{contact,content}', restricted_ground => 'legal_claims');
SELECT gdpr.drop_purpose('sales'); SELECT gdpr.mark_category_special('private');
SELECT gdpr.create_purpose('sales', 'contract', '{contact,private,financial,content}', special_ground => 'h'), gdpr.grant_purpose('sales', 'app');
SELECT gdpr.alter_purpose('news', description => 'Wij schrijven – é', language => 'nl');
SELECT gdpr.grant_purpose('news', 'mailer', max_per_statement => 50), gdpr.grant_purpose('calls', 'caller', mode => 'mask'), gdpr.grant_purpose('claims', 'boss', override => true), gdpr.grant_purpose('sales', 'boss');
SELECT gdpr.create_purpose('last', 'contract', '{contact}');
CREATE TABLE number AS SELECT id, gdpr.subject('crm.person', id::text) AS subject FROM crm.person;
GRANT SELECT ON number TO PUBLIC;
SET gdpr.actor = 'desk';
SELECT gdpr.give_consent(subject, 'news', source => 'web', notice => 'n1', proof => '{"form": 1}', given_by => 'mother', occurred_at => '2025-01-02 03:04:05.678901+00', expires_at => '2100-01-01') FROM number WHERE id = 1;
SELECT gdpr.give_consent(subject, 'news', 'email', 'events') FROM number WHERE id IN (2, 3);
SELECT gdpr.withdraw_consent(subject, 'news', note => 'by phone') FROM number WHERE id = 3;
SELECT gdpr.refuse_consent(subject, 'calls') FROM number WHERE id = 4;
SELECT gdpr.give_consent(subject, 'news', occurred_at => '2020-01-01') FROM number WHERE id = 5;
SELECT gdpr.restrict(subject, reason => 'wrong address', ground => 'accuracy') FROM number WHERE id = 6;
SELECT gdpr.record_objection(subject), gdpr.give_consent(subject, 'news') FROM number WHERE id = 7;
SELECT gdpr.block_channel(subject, 'phone') FROM number WHERE id = 8;
SELECT gdpr.restrict(subject), gdpr.lift_restriction(subject, informed_at => now(), reason => 'it was right') FROM number WHERE id = 9;
SELECT gdpr.give_consent(subject, 'news', proof => '{"secret": "Zwart-proof"}'), gdpr.forget(subject) FROM number WHERE id = 10;
SELECT gdpr.publish_notice('n1', published_at => '2019-01-01', url => 'https://example.test'), gdpr.publish_notice('n2', '{news}', requires_renewal => true, published_at => '2021-01-01');
CREATE SCHEMA mailing; CREATE SCHEMA "odd ""schema";
SELECT gdpr.create_view('mailing.person', 'crm.person', 'news', channel => 'email', topic => 'events'), gdpr.create_view('"odd ""schema"."a view"', 'crm.person', 'calls', channel => 'ph''one');
GRANT USAGE ON SCHEMA mailing, "odd ""schema" TO PUBLIC;
GRANT SELECT ON mailing.person TO mailer; GRANT SELECT ON "odd ""schema"."a view" TO caller;
SELECT gdpr.filter_rows('crm.comment');
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO mailer, caller, boss; GRANT USAGE ON SCHEMA crm TO mailer, caller, boss;
SELECT gdpr.drop_purpose('last');
SQL
my $token = $node->safe_psql('crm', q{SELECT gdpr.request_consent(subject, 'news', source => 'form') FROM number WHERE id = 11});

# All that can be asked of a database, one answer a line.
my $questions = <<'SQL';
SELECT 'purpose', p.* FROM gdpr.purpose p ORDER BY p.name;
SELECT 'grant', g.* FROM gdpr.purpose_grant g ORDER BY g.purpose, g.role;
SELECT 'notice', n.* FROM gdpr.notice n ORDER BY n.version;
SELECT 'category', c.name, c.special FROM gdpr.category c ORDER BY c.name;
SELECT 'standing', n.id, p.name, c, t, gdpr.standing(n.subject, p.name, c, t) FROM number n, gdpr.purpose p, unnest(ARRAY[NULL, 'email', 'phone']) c, unnest(ARRAY[NULL, 'events']) t ORDER BY n.id, p.name, c, t;
SELECT 'consents', n.id, h.* FROM number n, gdpr.consent_history(n.subject) h ORDER BY n.id, h.recorded_at;
SELECT 'consent at', n.id, h.* FROM number n, gdpr.consent_at(n.subject, '2020-06-01') h ORDER BY n.id, h.purpose;
SELECT 'flags', n.id, h.* FROM number n, gdpr.flag_history(n.subject) h ORDER BY n.id, h.recorded_at;
SELECT 'view', v.view::text COLLATE "C", v.relation, v.purpose, v.channel, v.topic, pg_get_viewdef(v.view), obj_description(v.view), c.reloptions FROM gdpr.purpose_view v JOIN pg_class c ON c.oid = v.view ORDER BY 2;
SELECT 'policy', p.polname, p.polcmd, p.polpermissive, p.polrelid::regclass, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_policy p ORDER BY p.polname;
SELECT 'trigger', c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'gdpr'::regnamespace AND NOT t.tgisinternal ORDER BY c.relname, t.tgname;
SET ROLE mailer; SELECT 'mailer', v.* FROM mailing.person v ORDER BY v.id;
SET gdpr.purpose = 'news'; SELECT 'mailer, rows', c.* FROM crm.comment c ORDER BY c.id; SELECT 'mailer, values', p.id, p.email, p.name, p.phones FROM crm.person p ORDER BY p.id;
SET ROLE caller; SET gdpr.actor = 'ann'; SELECT 'caller', v.id, v.name FROM "odd ""schema"."a view" v ORDER BY v.id;
SET gdpr.purpose = 'calls'; SET gdpr.channel = 'phone'; SELECT 'caller, permitted', n.id, gdpr.permitted(n.subject) FROM number n ORDER BY n.id;
SET ROLE boss; SET gdpr.channel = ''; SET gdpr.purpose = 'claims'; SELECT 'boss', p.id, p.name FROM crm.person p ORDER BY p.id;
SET gdpr.purpose = 'sales'; SELECT 'sales', p.id, p.name, p.bio IS NULL FROM crm.person p ORDER BY p.id;
SQL

sub answers { my ($database) = @_; return $node->safe_psql($database, $questions); }
my $answers = answers('crm');
for my $word ('purpose\|news', 'grant\|claims\|boss', 'standing\|6\|sales\|\|\|restricted', 'standing\|7\|news\|\|\|objected', 'standing\|8\|calls\|phone\|\|blocked', 'standing\|5\|news\|\|\|expired',
	'"given_by": "mother"', 'wrong address', 'by phone', 'view\|mailing.person', 'policy\|gdpr_filter_select', 'mailer\|1\|', 'mailer, rows\|1\|', 'caller\|', 'boss\|6\|Name-6-Zwart', 'sales\|6\|\|t')
{
	like($answers, qr/^.*$word/m, "there is something to compare: $word");
}
my ($highest) = $node->safe_psql('crm', 'SELECT last_value FROM gdpr.purpose_id');

# What a restored database has to be, however it was restored.
sub check
{
	my ($name, $database) = @_;

	$node->safe_psql($database, 'SELECT gdpr.fork_keystore()');
	my @got = split /\n/, answers($database);
	my @expected = split /\n/, $answers;
	my @different = grep { ($got[$_] // '') ne ($expected[$_] // '') } 0 .. (@got > @expected ? $#got : $#expected);

	is(scalar @different, 0, "$name: every decision is the same")
	  or diag(join("\n", map { "got      $got[$_]\nexpected $expected[$_]" } @different[ 0 .. ($#different > 2 ? 2 : $#different) ]));
	for my $change ('UPDATE gdpr.consent_event SET source = NULL', 'DELETE FROM gdpr.flag_event', 'TRUNCATE gdpr.consent_event', 'SET session_replication_role = replica; DELETE FROM gdpr.consent_event')
	{
		my ($rc, $out, $err) = $node->psql($database, $change);
		like($err, qr/is only ever added to/, "$name: $change: refused");
	}
	is($node->safe_psql($database, q{SELECT gdpr.create_purpose('next', 'contract', '{contact}'); SELECT id FROM gdpr.purpose WHERE name = 'next'}),
		"\n" . ($highest + 1), "$name: the ids of purposes go on");
	# the token of before, once; it says nothing of what was asked later
	is($node->safe_psql($database, "SELECT gdpr.confirm_consent('$token') IS NOT NULL; SELECT gdpr.standing(subject, 'news') FROM number WHERE id = 11"), "t\npermitted", "$name: a request that waited is confirmed");
	like(($node->psql($database, "SELECT gdpr.confirm_consent('$token')"))[2], qr/unknown, used or expired/, "$name: once");
	is($node->safe_psql($database, q{SELECT count(*) FROM number, gdpr.withdraw_consent(subject) WHERE id = 1; SET ROLE mailer; SELECT id FROM mailing.person ORDER BY id}),
		"2\n2\n11", "$name: who withdraws is gone");
	is($node->safe_psql($database, q{SELECT gdpr.lift_restriction(subject, informed_at => now()) FROM number WHERE id = 6; SET ROLE boss; SET gdpr.purpose = 'sales'; SELECT name FROM crm.person WHERE id = 6}),
		"1\nName-6-Zwart", "$name: a restriction is lifted");
	is($node->safe_psql($database, q{SELECT gdpr.refresh_view('mailing.person'); DROP VIEW mailing.person; SELECT gdpr.unfilter_rows('crm.comment'); SELECT count(*) FROM gdpr.purpose_view}),
		"{}\n\n1", "$name: views and policies are known");
	return;
}

$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('crm'), '-f', "$dumps/custom" ], 'pg_dump, custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-d', $node->connstr('crm'), '-f', "$dumps/directory" ], 'pg_dump, directory');
$node->command_ok([ 'pg_dump', '-Fp', '-d', $node->connstr('crm'), '-f', "$dumps/plain" ], 'pg_dump, plain');
my $text = slurp_file("$dumps/plain");
for my $secret ($token, 'mother', 'wrong address', 'by phone', 'Zwart-proof', 'it was right')
{
	is(index($text, $secret), -1, 'the dump holds no token, proof or reason' . ($secret eq $token ? '' : ": $secret"));
}

$node->safe_psql('postgres', 'CREATE DATABASE custom; CREATE DATABASE plain; CREATE DATABASE parts');
$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('custom'), "$dumps/custom" ], 'custom: restored by two');
check('custom', 'custom');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('plain'), '-f', "$dumps/plain" ], 'plain: restored');
check('plain', 'plain');
# the schema, then the data without triggers
$node->command_ok([ 'pg_restore', '-e', '-s', '-d', $node->connstr('parts'), "$dumps/directory" ], 'in parts: the schema');
$node->command_ok([ 'pg_restore', '-e', '-a', '-j2', '--disable-triggers', '-d', $node->connstr('parts'), "$dumps/directory" ], 'in parts: the data');
check('in parts', 'parts');

# nothing of that was done to the first
is(answers('crm'), $answers, 'the database that it was taken from is as it was');
$node->stop;

done_testing();
