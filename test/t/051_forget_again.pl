# A restored database beside a newer keystore: rows with several owners, a
# category that was forgotten, somebody who cannot be forgotten again.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dumps = directory();
my $node = new_server('main');
$node->start;
create_keystore($node);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE paper (id int PRIMARY KEY, title text, review text);
CREATE TABLE author (paper_id int REFERENCES paper, person_id int REFERENCES person, remark text, PRIMARY KEY (paper_id, person_id));
INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 9) i;
INSERT INTO paper SELECT i, 'title ' || i, 'review ' || i FROM generate_series(1, 4) i;
INSERT INTO author SELECT p, i, 'remark ' || i FROM (VALUES (1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (4, 6)) a(p, i);
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
SELECT gdpr.declare_subject('person'), gdpr.declare_column('person', 'name', 'identity'),
	gdpr.declare_table('author', via => 'person_id'), gdpr.declare_column('author', 'remark', 'content'),
	gdpr.declare_table('paper', owned_through => 'author'), gdpr.declare_column('paper', 'title', 'content'), gdpr.declare_column('paper', 'review', 'identity');
SELECT gdpr.create_purpose('sales', 'contract', '{identity,content}'), gdpr.grant_purpose('sales', 'app');
SELECT gdpr.protect_now('person'), gdpr.protect_now('author'), gdpr.protect_now('paper');
CREATE TABLE number AS SELECT id, gdpr.subject('person', id::text) AS subject FROM person;
SQL
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dumps/before" ], 'a dump');
# of paper 1, one owner goes, and the other's content: so does the paper's; of paper 2, both go; 5 and 7 go
my $forget = q{SELECT gdpr.forget(subject) FROM number WHERE id IN (1, 3, 4, 5, 7) ORDER BY id;
	SELECT gdpr.forget(subject, category => 'content') FROM number WHERE id = 2};
$node->safe_psql('postgres', $forget);
my $look = q{SELECT (SELECT string_agg(id || coalesce(name, '-'), ' ' ORDER BY id) FROM person WHERE id IN (2, 5, 6, 7, 8)),
	(SELECT string_agg(id || coalesce(title, '-') || coalesce(review, '-'), ' ' ORDER BY id) FROM paper WHERE id IN (1, 3, 4))};
my $state = app($node, 'postgres', $look);
like($state, qr/^2name 2 6name 6 8name 8\|1-review 1 4title 4review 4$/, 'what is left');

$node->safe_psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
$node->safe_psql('template1', 'CREATE DATABASE postgres');
my ($out, $err) = run_command([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$dumps/before" ]);
is($err, '', 'it is restored');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.dark_rows()'), '>', 5, 'rows of the forgotten are back');
# one who cannot be forgotten
$node->safe_psql('postgres', q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
	CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON person FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION refuse()});
($out, $out, $err) = $node->psql('postgres', 'SELECT gdpr.forget_again()');
like($err, qr/person \d+ could not be forgotten again: SQLSTATE P0001\nHINT:  SELECT \* FROM gdpr\.forget_preview\(\d+/, 'one who cannot be forgotten again is named');
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.dark_rows() d JOIN number n USING (subject) WHERE n.id <> 7'), 0, 'all others are');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON person');
is($node->safe_psql('postgres', 'SELECT gdpr.forget_again()'), 1, 'then this one is, too');
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.dark_rows()'), 0, 'nobody is left');
is(app($node, 'postgres', $look), $state, 'as it was before the restore');
is($node->safe_psql('postgres', 'SELECT gdpr.forget_again()'), 0, 'and nothing is to be forgotten again');

$node->stop;
done_testing();
