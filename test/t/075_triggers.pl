# Triggers of the application: what a function in C is given; conditions that
# go through a dump; rows that are restored or replicated while triggers fire,
# with a keystore and without.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $main = new_server('main', allows_streaming => 'logical');
$main->start;
my $dumps = directory();

sub tables
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
CREATE SCHEMA app;
CREATE TABLE app.person (id int PRIMARY KEY, email text, name text NOT NULL, visits int DEFAULT 0);
CREATE TABLE app.seen (n serial, line text);
CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO app.seen (line) VALUES (concat_ws(' ', TG_NAME, TG_OP, NEW.id, coalesce(NEW.email, 'nothing'), OLD.email));
	RETURN NEW;
END $$;
CREATE TRIGGER b_before BEFORE INSERT OR UPDATE ON app.person FOR EACH ROW EXECUTE FUNCTION app.see();
CREATE TRIGGER c_after AFTER INSERT OR UPDATE ON app.person FOR EACH ROW EXECUTE FUNCTION app.see();
CREATE TRIGGER d_when AFTER INSERT OR UPDATE ON app.person FOR EACH ROW WHEN (NEW.email LIKE '%.test') EXECUTE FUNCTION app.see();
CREATE TRIGGER e_changed BEFORE UPDATE ON app.person FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.* AND OLD.email <> NEW.email) EXECUTE FUNCTION app.see();
CREATE TRIGGER z_suppress BEFORE UPDATE ON app.person FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SQL
	return;
}

sub seen
{
	my ($node, $database) = @_;
	my $lines = $node->safe_psql($database, 'SELECT line FROM app.seen ORDER BY n');

	$node->safe_psql($database, 'TRUNCATE app.seen');
	return $lines;
}

$main->safe_psql('postgres', 'CREATE DATABASE app');
create_keystore($main, 'app');
tables($main, 'app');
$main->safe_psql('app', <<'SQL');
SELECT gdpr.declare_subject('app.person');
SELECT gdpr.declare_column('app.person', c, 'contact') FROM unnest('{email,name}'::text[]) c;
CALL gdpr.protect('app.person');
SELECT gdpr.create_purpose('work', 'contract', '{contact}');
SELECT gdpr.grant_purpose('work', current_user);
ALTER DATABASE app SET gdpr.purpose = 'work';
SET gdpr.purpose = 'work';
INSERT INTO app.person VALUES (1, 'ann@x.test', 'Ann'), (2, 'ben@x.org', 'Ben');
UPDATE app.person SET email = 'ann@y.test' WHERE id = 1;
UPDATE app.person SET name = 'Ann';
SQL
is(seen($main, 'app'), <<'END' =~ s/\n$//r, 'what triggers saw');
b_before INSERT 1 ann@x.test
b_before INSERT 2 ben@x.org
c_after INSERT 1 ann@x.test
d_when INSERT 1 ann@x.test
c_after INSERT 2 ben@x.org
b_before UPDATE 1 ann@y.test ann@x.test
e_changed UPDATE 1 ann@y.test ann@x.test
c_after UPDATE 1 ann@y.test ann@x.test
d_when UPDATE 1 ann@y.test ann@x.test
b_before UPDATE 2 ben@x.org ben@x.org
b_before UPDATE 1 ann@y.test ann@y.test
c_after UPDATE 2 ben@x.org ben@x.org
END

# A function in C reads tuples, slots, and transition tables by itself.
sub noted
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $main->psql('app', $sql);

	is($rc, 0, $sql);
	return join(', ', $err =~ /NOTICE:  (.*)/g);
}

$main->safe_psql('app', <<'SQL');
CREATE TRIGGER f_row BEFORE INSERT OR UPDATE OR DELETE ON app.person FOR EACH ROW EXECUTE FUNCTION gdpr_test.show_rows('email');
CREATE TRIGGER f_rows AFTER UPDATE ON app.person REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION gdpr_test.show_rows('email');
CREATE TRIGGER f_each AFTER DELETE ON app.person REFERENCING OLD TABLE AS o FOR EACH ROW EXECUTE FUNCTION gdpr_test.show_rows('email');
SQL
is(noted("INSERT INTO app.person VALUES (3, 'cas\@x.org', 'Cas')"), 'tuple: cas@x.org, slot: cas@x.org', 'in C: INSERT');
is(noted("UPDATE app.person SET email = 'cas\@y.org' WHERE id = 3"),
	'tuple: cas@x.org, slot: cas@x.org, new tuple: cas@y.org, new slot: cas@y.org, old table: cas@x.org, new table: cas@y.org', 'in C: UPDATE');
is(noted("SET gdpr.purpose = ''; UPDATE app.person SET visits = 1 WHERE id = 3"),
	'tuple: NULL, slot: NULL, new tuple: NULL, new slot: NULL, old table: NULL, new table: NULL', 'in C: without a purpose');
is($main->safe_psql('app', 'SELECT email, visits FROM app.person WHERE id = 3'), 'cas@y.org|1', 'in C: nothing was lost');
is(noted('DELETE FROM app.person WHERE id = 3'), 'tuple: cas@y.org, slot: cas@y.org, tuple: cas@y.org, slot: cas@y.org, old table: cas@y.org', 'in C: DELETE');
$main->safe_psql('app', 'DROP TRIGGER f_row ON app.person; DROP TRIGGER f_rows ON app.person; DROP TRIGGER f_each ON app.person');
seen($main, 'app');

# A dump has the conditions as they are, and they come back.
my $definitions = q{SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'app.person'::regclass ORDER BY 1};
my $definition = $main->safe_psql('app', $definitions);
like($definition, qr/gdpr\.trigger_value.*gdpr\.suppress_redundant/s, 'conditions and functions are translated');
for my $options ([ 'full', '-Fc' ], [ 'schema', '-Fc', '--schema-only' ], [ 'data', '-Fc', '--data-only' ])
{
	my ($name, @options) = @$options;
	$main->command_ok([ 'pg_dump', '-d', $main->connstr('app'), @options, '-f', "$dumps/$name" ], "pg_dump ($name)");
}
my $keys = copy_keys($main);
my $other = new_server('other');
$other->start;
my $restore = sub {
	my ($database, @files) = @_;
	$other->safe_psql('postgres', "CREATE DATABASE $database");
	$other->safe_psql('postgres', "ALTER DATABASE $database SET gdpr.purpose = 'work'");
	$other->command_ok([ 'pg_restore', '-e', '-d', $other->connstr($database), "$dumps/$_" ], "pg_restore ($_)") for @files;
};
$restore->('whole', 'full');
is($other->safe_psql('whole', $definitions), $definition, 'a restored dump has the same triggers');

# Data alone, in two steps, into tables whose triggers fire: no keystore is
# needed, though there is a purpose.  Nothing can be read, so nothing is shown.
$other->command_ok([ 'pg_restore', '-e', '-f', "$dumps/map.sql", '--schema=gdpr', "$dumps/data" ], 'the data map alone');
$other->command_ok([ 'pg_restore', '-e', '-f', "$dumps/person.sql", '-t', 'person', "$dumps/data" ], 'the rows alone');
$restore->('steps', 'schema');
$other->safe_psql('steps', slurp_file("$dumps/map.sql"));
my $person = slurp_file("$dumps/person.sql");
$person =~ s/-- Data for.*?\n//g;
is($other->psql('steps', $person), 0, 'rows are restored without a keystore, while triggers fire');
is(seen($other, 'steps'), "b_before INSERT 1 nothing\nb_before INSERT 2 nothing\nc_after INSERT 1 nothing\nc_after INSERT 2 nothing", 'which are shown nothing');
fails_with($other, 'UPDATE app.person SET visits = 2', qr/keystore .* does not exist/, undef, 'nothing else works', 'steps');
put_keys($other, $keys);
$other->safe_psql('postgres', 'DROP DATABASE whole');
is($other->safe_psql('steps', 'SELECT email, name FROM app.person ORDER BY id'), "ann\@y.test|Ann\nben\@x.org|Ann", 'with the keystore the rows are whole');
$other->safe_psql('steps', 'UPDATE app.person SET visits = 2 WHERE id = 1');
is(seen($other, 'steps'), "b_before UPDATE 1 ann\@y.test ann\@y.test\nc_after UPDATE 1 ann\@y.test ann\@y.test\nd_when UPDATE 1 ann\@y.test ann\@y.test", 'and triggers see them');
$other->safe_psql('steps', 'DELETE FROM app.person');
is($other->psql('steps', $person), 0, 'restored once more');
is(seen($other, 'steps'), <<'END' =~ s/\n$//r, 'triggers see what arrives sealed');
b_before INSERT 1 ann@y.test
b_before INSERT 2 ben@x.org
c_after INSERT 1 ann@y.test
d_when INSERT 1 ann@y.test
c_after INSERT 2 ben@x.org
END
is($other->safe_psql('steps', 'SET gdpr.physical = on; SELECT gdpr_sealed FROM app.person ORDER BY id'),
	$main->safe_psql('app', 'SET gdpr.physical = on; SELECT gdpr_sealed FROM app.person ORDER BY id'), 'which is stored as it came');

# A subscriber's triggers, in the worker that applies.
$main->safe_psql('app', 'CREATE PUBLICATION people FOR TABLE app.person');
$other->safe_psql('steps', 'ALTER TABLE app.person ENABLE ALWAYS TRIGGER b_before, ENABLE REPLICA TRIGGER c_after; DELETE FROM app.person; TRUNCATE app.seen');
my $connection = $main->connstr('app') =~ s{'}{''}gr;
$other->safe_psql('steps', "CREATE SUBSCRIPTION people CONNECTION '$connection' PUBLICATION people WITH (copy_data = off)");
$main->safe_psql('app', q{INSERT INTO app.person VALUES (4, 'dirk@x.test', 'Dirk'); UPDATE app.person SET email = 'dirk@y.test' WHERE id = 4});
$main->wait_for_catchup('people');
is($other->safe_psql('steps', 'SELECT email FROM app.person WHERE id = 4'), 'dirk@y.test', 'replicated');
is(seen($other, 'steps'), <<'END' =~ s/\n$//r, 'triggers of a subscriber see values, if its role has a purpose');
b_before INSERT 4 dirk@x.test
c_after INSERT 4 dirk@x.test
b_before UPDATE 4 dirk@y.test dirk@x.test
c_after UPDATE 4 dirk@y.test dirk@x.test
END
$other->safe_psql('steps', 'DROP SUBSCRIPTION people');

# Given back
$main->safe_psql('app', q{CALL gdpr.unprotect('app.person')});
tables($main, 'postgres');
is($main->safe_psql('app', $definitions), $main->safe_psql('postgres', $definitions), 'unprotect gives triggers back as they were');
is($main->safe_psql('app', q{SELECT count(*) FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND refobjid IN
	('gdpr.trigger_value'::regproc, 'gdpr.trigger_row'::regproc, 'gdpr.suppress_redundant_updates_trigger'::regproc)}), 0, 'and nothing depends on the extension');
done_testing();
