# A small CRM with personal data, and what tests ask of it.
#
#	crm.person			the persons
#	crm.orders			of a person; deleted with it
#	crm.order_line		of an order; deleted with it
#	crm.comment			of a person; values erased when it is forgotten
#	crm.invoice			of a person; kept by law
#	crm.message			of its sender; one column is of the recipient
#
# Role app reads and writes for the purpose sales, role nobody has none.
package GdprTest;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(crm_create crm_declare crm_protect crm_database revealed stored
  same_rows rows_of dark number_of app app_fails open_session ask say_to close_session
  comes_true hold_conversion let_conversion_go @TABLES);

our @TABLES = qw(person orders order_line comment invoice message);

my %COLUMNS = (
	person => 'email, name, born, born_at, profile, photo, phones, salary, active, bio, city',
	orders => 'person_id, address, total',
	order_line => 'order_id, remark',
	comment => 'person_id, body',
	invoice => 'person_id, iban, amount',
	message => 'sender_id, recipient_id, body, reply');

# The personal ones among them
my %PERSONAL = (
	person => [qw(email name born born_at profile photo phones salary active bio)],
	orders => [qw(address total)],
	order_line => [qw(remark)],
	comment => [qw(body)],
	invoice => [qw(iban amount)],
	message => [qw(body reply)]);

# Does a condition come true?  Asked every two milliseconds, in one session: what
# is true for a short time only is not missed.
sub comes_true
{
	my ($node, $database, $condition) = @_;

	return $node->psql($database, <<"SQL") == 0;
DO \$\$ BEGIN
	FOR i IN 1 .. 30000 LOOP
		IF $condition THEN RETURN; END IF;
		PERFORM pg_sleep(0.002);
	END LOOP;
	RAISE 'it does not come true';
END \$\$;
SQL
}

# Lets a conversion (protect, unprotect, rotate_tokens) go on until a condition on
# its row of gdpr.conversion holds, and no further, however slow the machine is:
# the next batch waits for ever, before it is written into that row.
sub hold_conversion
{
	my ($node, $database, $condition) = @_;

	$node->safe_psql($database, <<"SQL");
CREATE FUNCTION hold_conversion() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS \$\$ BEGIN
	IF (SELECT $condition FROM (SELECT OLD.*) conversion) THEN
		PERFORM pg_advisory_xact_lock_shared(hashtext('hold_conversion'));
	END IF;
	RETURN coalesce(NEW, OLD);
END \$\$;
CREATE TRIGGER hold_conversion BEFORE UPDATE OR DELETE ON gdpr.conversion FOR EACH ROW EXECUTE FUNCTION hold_conversion();
SQL
	my $holder = open_session($node, $database);
	ask($holder, "SELECT FROM pg_advisory_lock(hashtext('hold_conversion'))");
	return $holder;
}

# Takes what hold_conversion() gave: the conversion goes on, if the server still runs.
sub let_conversion_go
{
	my ($node, $database, $holder) = @_;

	eval { close_session($holder); };
	$node->safe_psql($database, 'DROP TRIGGER hold_conversion ON gdpr.conversion; DROP FUNCTION hold_conversion()');
	return;
}

# The tables with rows of so many persons, nothing declared yet.
sub crm_create
{
	my ($node, $database, $persons) = @_;
	my $people = $persons - 1;

	$node->safe_psql($database, <<"SQL");
DO \$\$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
		CREATE ROLE app LOGIN; CREATE ROLE nobody LOGIN;
	END IF;
END \$\$;
CREATE SCHEMA crm;
CREATE TABLE crm.person (
	id int PRIMARY KEY, email varchar(60), name text NOT NULL, born date CHECK (born > '1800-01-01'),
	born_at timestamptz, profile jsonb, photo bytea, phones text[], salary numeric, active boolean, bio text, city text);
CREATE UNIQUE INDEX person_lower ON crm.person (lower(email));
CREATE TABLE crm.orders (
	id int PRIMARY KEY, person_id int NOT NULL REFERENCES crm.person ON DELETE CASCADE,
	address text, total numeric(12,2));
CREATE TABLE crm.order_line (
	id int PRIMARY KEY, order_id int NOT NULL REFERENCES crm.orders ON DELETE CASCADE, remark text);
CREATE TABLE crm.comment (
	id int PRIMARY KEY, person_id int REFERENCES crm.person ON DELETE SET NULL, body text NOT NULL);
CREATE TABLE crm.invoice (
	id int PRIMARY KEY, person_id int REFERENCES crm.person ON DELETE SET NULL, iban text, amount numeric(12,2));
CREATE TABLE crm.message (
	id int PRIMARY KEY, sender_id int REFERENCES crm.person ON DELETE CASCADE,
	recipient_id int REFERENCES crm.person ON DELETE SET NULL, body text, reply text);
INSERT INTO crm.person
	SELECT i, 'mail-' || i || '\@xample.test', 'Name-' || i || '-Zwart', date '1950-01-01' + i, timestamptz '1950-01-01 10:00+00' + i * interval '1 day',
		jsonb_build_object('hobby', 'hobby-' || i || '-zeilen'), convert_to('photo-' || i || '-zw', 'UTF8'),
		ARRAY['phone-' || i || '-0612', 'phone-' || i || '-0623'], 1000.25 + i, i % 2 = 0,
		(SELECT string_agg(md5(i::text || '-' || k), ' ') FROM generate_series(1, CASE WHEN i % 10 = 0 THEN 400 ELSE 2 END) k),
		'city ' || i % 5
	FROM generate_series(1, $persons) i;
INSERT INTO crm.orders SELECT i, (i - 1) % $persons + 1, 'address-' || i || '-Straat', i * 10 FROM generate_series(1, 2 * $persons) i;
INSERT INTO crm.order_line SELECT i, i, 'remark-' || i || '-deur' FROM generate_series(1, 2 * $persons) i;
INSERT INTO crm.comment SELECT i, i, 'comment-' || i || '-tekst' FROM generate_series(1, $persons) i;
INSERT INTO crm.invoice SELECT i, i, 'NL00BANK' || i, i * 3 FROM generate_series(1, $persons) i;
INSERT INTO crm.message SELECT i, i, i % $persons + 1, 'message-' || i || '-groet', 'reply-' || i || '-dank' FROM generate_series(1, $persons) i;
GRANT USAGE ON SCHEMA crm TO app, nobody;
GRANT ALL ON ALL TABLES IN SCHEMA crm TO app;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO nobody;
SQL
	return;
}

sub crm_declare
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
SELECT gdpr.declare_subject('crm.person', key => 'id');
SELECT gdpr.declare_column('crm.person', 'email', category => 'contact', searchable => true, normalization => 'lower');
SELECT gdpr.declare_column('crm.person', c, category => 'contact') FROM unnest('{name,phones,profile}'::text[]) c;
SELECT gdpr.declare_column('crm.person', c, category => 'private') FROM unnest('{born,born_at,photo,bio,active}'::text[]) c;
SELECT gdpr.declare_column('crm.person', 'salary', category => 'financial');
SELECT gdpr.declare_table('crm.orders', via => 'person_id');
SELECT gdpr.declare_column('crm.orders', 'address', category => 'contact');
SELECT gdpr.declare_column('crm.orders', 'total', category => 'financial');
SELECT gdpr.declare_table('crm.order_line', via => 'order_id');
SELECT gdpr.declare_column('crm.order_line', 'remark', category => 'content');
SELECT gdpr.declare_table('crm.comment', via => 'person_id', on_forget => 'erase');
SELECT gdpr.declare_column('crm.comment', 'body', category => 'content');
SELECT gdpr.declare_table('crm.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law');
SELECT gdpr.declare_column('crm.invoice', 'iban', category => 'financial', searchable => true);
SELECT gdpr.declare_column('crm.invoice', 'amount', category => 'financial');
SELECT gdpr.declare_table('crm.message', via => 'sender_id');
SELECT gdpr.declare_column('crm.message', 'body', category => 'content');
SELECT gdpr.declare_column('crm.message', 'reply', category => 'content', subject_via => 'recipient_id');
SELECT gdpr.create_purpose('sales', legal_basis => 'contract', categories => '{contact,private,financial,content}');
SELECT gdpr.grant_purpose('sales', 'app');
SQL
	return;
}

sub crm_protect
{
	my ($node, $database) = @_;

	$node->safe_psql($database, join('', map { "CALL gdpr.protect('crm.$_');\n" } @TABLES));
	return;
}

# All of it, in a new database with a keystore of its own.
sub crm_database
{
	my ($node, $database, $persons) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	crm_create($node, $database, $persons);
	create_keystore($node, $database);
	crm_declare($node, $database);
	crm_protect($node, $database);
	return;
}

# Reading

# What a statement gives the role app for its purpose.
sub app
{
	my ($node, $database, $sql) = @_;
	return $node->safe_psql($database, "SET ROLE app; SET gdpr.purpose = 'sales'; $sql");
}

# It fails for app; returns the error.
sub app_fails
{
	my ($node, $database, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($database, "SET ROLE app; SET gdpr.purpose = 'sales'; $sql");
	return $rc == 0 ? "no error, but: $out" : $err;
}

sub by_key
{
	my ($text) = @_;
	my %rows;

	for my $line (split /\n/, $text)
	{
		my ($key, $row) = split /=/, $line, 2;
		$rows{$key} = $row;
	}
	return \%rows;
}

# Every value that app reads: { 'table key' => row as text }.
sub revealed
{
	my ($node, $database, $only) = @_;

	return by_key(app($node, $database, join(';', map {
		"SELECT '$_ ' || t.id || '=' || ROW($COLUMNS{$_})::text FROM crm.$_ t ORDER BY t.id"
	} $only ? @$only : @TABLES)));
}

# Every row as it is stored, envelope included.
sub stored
{
	my ($node, $database) = @_;

	return by_key($node->safe_psql($database, 'SET gdpr.physical = on; ' . join(';', map {
		"SELECT '$_ ' || t.id || '=' || md5(ROW($COLUMNS{$_}, gdpr_sealed)::text) FROM crm.$_ t ORDER BY t.id"
	} @TABLES)));
}

# Two of these are the same, except for rows that the pattern names.
sub same_rows
{
	my ($got, $expected, $except, $name) = @_;
	my @bad;
	my $compared = 0;

	for my $key (sort keys %{ { %$got, %$expected } })
	{
		next if defined $except && $key =~ $except;
		$compared++;
		push @bad, $key
		  unless defined $got->{$key} && defined $expected->{$key} && $got->{$key} eq $expected->{$key};
	}
	cmp_ok($compared, '>', 20, "$name: there are rows");
	is("@bad", '', "$name: the same rows")
	  or diag("first: $bad[0]\n got      " . ($got->{ $bad[0] } // '-') . "\n expected " . ($expected->{ $bad[0] } // '-'));
	return;
}

# A pattern for the keys of the rows that hold values of a person.
sub rows_of
{
	my ($person, $persons) = @_;
	my $before = $person == 1 ? $persons : $person - 1;
	my $second = $person + $persons;
	return qr/^(?:person $person|orders (?:$person|$second)|order_line (?:$person|$second)|comment $person|invoice $person|message (?:$person|$before))$/;
}

# How many values of a person's rows are not NULL; kept rows left out.
sub dark
{
	my ($node, $database, $person, $persons) = @_;
	my $before = $person == 1 ? $persons : $person - 1;
	my $second = $person + $persons;
	my %where = (
		person => "id = $person", orders => "id IN ($person, $second)", order_line => "id IN ($person, $second)",
		comment => "id = $person");
	my @queries = map {
		"SELECT num_nonnulls(" . join(', ', @{ $PERSONAL{$_} }) . ") FROM crm.$_ WHERE $where{$_}"
	} sort keys %where;

	push @queries, "SELECT num_nonnulls(body) FROM crm.message WHERE id = $person",
	  "SELECT num_nonnulls(reply) FROM crm.message WHERE id = $before";
	my $sum = 0;
	$sum += $_ for split /\n/, app($node, $database, join(';', @queries));
	return $sum;
}

sub number_of
{
	my ($node, $database, $person) = @_;
	return $node->safe_psql($database, "SELECT gdpr.subject('crm.person', '$person')");
}

# Sessions that stay open

sub open_session
{
	my ($node, $database) = @_;
	my $session = { in => '', out => '', err => '', count => 0 };

	$session->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr($database) ],
		'<', \$session->{in}, '>', \$session->{out}, '2>', \$session->{err},
		IPC::Run::timeout(120));
	return $session;
}

# Sends statements without waiting for their end.
sub say_to
{
	my ($session, $sql) = @_;

	$session->{count}++;
	$session->{out} = '';
	$session->{err} = '';
	$session->{in} .= "$sql\n;\n\\echo done-$session->{count}-\n";
	$session->{run}->pump_nb;
	return;
}

# The answer to the last statements, errors included.
sub answer
{
	my ($session) = @_;

	$session->{run}->pump until $session->{out} =~ /done-$session->{count}-/;
	$session->{run}->pump_nb;
	my ($out) = $session->{out} =~ /^(.*?)\n?done-$session->{count}-/s;
	return $session->{err} eq '' ? $out : "$out$session->{err}";
}

sub ask
{
	my ($session, $sql) = @_;

	say_to($session, $sql) if defined $sql;
	return answer($session);
}

sub close_session
{
	my ($session) = @_;

	$session->{in} .= "\\q\n";
	eval { $session->{run}->finish; };
	return;
}

1;
