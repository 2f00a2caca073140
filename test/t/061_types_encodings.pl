# Values in databases of other encodings and in types of contrib modules; what
# is logged and counted about statements; two-phase commit.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main');
$node->start;
my %available = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT name FROM pg_available_extensions');
my $loads = system("test -f \$(pg_config --pkglibdir)/auto_explain.so") == 0 && $available{pg_stat_statements};

if ($loads)
{
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'gdpr, pg_stat_statements, auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = off
auto_explain.log_triggers = on
log_statement = none
log_min_duration_statement = -1
CONF
	$node->restart;
}

# ---------- encodings ----------

sub database
{
	my ($name, $encoding) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	create_keystore($node, $name);
	$node->safe_psql($name, <<'SQL');
SET client_encoding = 'UTF8';
CREATE TYPE mood AS ENUM ('glücklich', 'sad');
CREATE TYPE pair AS (a text, m mood);
CREATE TABLE plain (id int PRIMARY KEY, t text, v varchar(40), c char(30), j json, b jsonb, x xml, m mood, p pair, a text[], y bytea, n name, s tsvector);
INSERT INTO plain VALUES
(1, 'Zoë', 'é', 'Ünï', '{"k": "ñ"}', '{"k": "ø"}', '<ä>ß</ä>', 'glücklich', ('ÿ', 'glücklich'), '{"à b",NULL}', '\xe9ff00', 'naïve', 'Ärger:1'),
(2, '', NULL, ' ', '""', 'null', '', 'sad', ('', NULL), '{}', '', '', '');
CREATE TABLE sealed (LIKE plain INCLUDING ALL);
SELECT gdpr.declare_subject('sealed');
SELECT gdpr.declare_column('sealed', c, 'c', searchable => c IN ('t', 'v', 'c')) FROM unnest('{t,v,c,j,b,x,m,p,a,y,n,s}'::text[]) c;
INSERT INTO sealed SELECT * FROM plain;
SELECT gdpr.create_purpose('p', 'contract', '{c}');
SELECT gdpr.grant_purpose('p', current_user);
SELECT gdpr.protect_now('sealed');
SET gdpr.purpose = 'p';
INSERT INTO sealed SELECT id + 10, t, v, c, j, b, x, m, p, a, y, n, s FROM plain;
SQL
	return;
}

for my $case ([ 'latin1', 'LATIN1' ], [ 'utf8', 'UTF8' ], [ 'ascii', 'SQL_ASCII' ])
{
	my ($name, $encoding) = @$case;

	database($name, $encoding);
	is($node->safe_psql($name, <<'SQL'), '4|t', "$encoding: every value comes back bit by bit");
SET gdpr.purpose = 'p';
SELECT count(*), bool_and(record_image_eq(ROW(p.t, p.v, p.c, p.j, p.b, p.x, p.m, p.p, p.a, p.y, p.n, p.s), ROW(s.t, s.v, s.c, s.j, s.b, s.x, s.m, s.p, s.a, s.y, s.n, s.s)))
FROM plain p JOIN sealed s ON s.id % 10 = p.id
SQL
	is($node->safe_psql($name, "SET client_encoding = 'UTF8'; SET gdpr.purpose = 'p'; SELECT string_agg(id::text, ',' ORDER BY id) FROM sealed WHERE t = 'Zoë' AND v = 'é' AND c = 'Ünï'"),
		'1,11', "$encoding: and is found");
	is($node->safe_psql($name, "SET client_encoding = 'UTF8'; SET gdpr.purpose = 'p'; SELECT t, p, a, j FROM sealed WHERE id = 11"),
		'Zoë|(ÿ,glücklich)|{"à b",NULL}|{"k": "ñ"}', "$encoding: in the client's encoding");
}

# sealed in one encoding, restored into a database of another
{
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/latin1.sql';
	my ($id) = $node->safe_psql('latin1', 'SELECT id FROM gdpr.keystore_status()');

	$node->safe_psql('postgres', "CREATE DATABASE moved ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
	$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('latin1') ], 'a LATIN1 database is dumped');
	$node->safe_psql('postgres', 'DROP DATABASE latin1');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('moved') ], 'and restored as UTF8');
	is($node->safe_psql('moved', <<'SQL'), "4|t", 'values that were sealed as LATIN1 are read in UTF8');
SET gdpr.purpose = 'p';
SELECT count(*), bool_and(record_image_eq(ROW(p.t, p.v, p.c, p.j, p.b, p.x, p.m, p.p, p.a, p.y, p.n, p.s), ROW(s.t, s.v, s.c, s.j, s.b, s.x, s.m, s.p, s.a, s.y, s.n, s.s)))
FROM plain p JOIN sealed s ON s.id % 10 = p.id
SQL
	is($node->safe_psql('moved', "SET gdpr.purpose = 'p'; UPDATE sealed SET v = '🙂' WHERE t = 'Zoë' AND id = 1; SELECT v, t, m FROM sealed WHERE v = '🙂'"),
		'🙂|Zoë|glücklich', 'and found, and changed');
}

# ---------- contrib types ----------

SKIP:
{
	skip 'citext and hstore are not installed', 5 unless $available{citext} && $available{hstore};
	$node->safe_psql('utf8', <<'SQL');
CREATE SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE DOMAIN mail AS ext.citext;
CREATE TABLE c_plain (id int PRIMARY KEY, c ext.citext, cs ext.citext[], m mail, h ext.hstore, hs ext.hstore[]);
INSERT INTO c_plain VALUES (1, 'MiXed', '{Aa,NULL}', 'A@X.nl', 'a=>1, "b c"=>NULL, d=>"x\"y"', ARRAY['a=>1', '']::ext.hstore[]), (2, '', '{}', '', '', '{}'), (3, NULL, NULL, NULL, NULL, NULL), (4, 'ÉÉ', NULL, NULL, NULL, NULL);
CREATE TABLE c_sealed (LIKE c_plain, PRIMARY KEY (id), UNIQUE (c));
INSERT INTO c_sealed SELECT * FROM c_plain;
SELECT gdpr.declare_subject('c_sealed');
SELECT gdpr.declare_column('c_sealed', c, 'c', searchable => c IN ('c', 'm')) FROM unnest('{c,cs,m,h,hs}'::text[]) c;
SELECT gdpr.protect_now('c_sealed');
SQL
	is($node->safe_psql('utf8', <<'SQL'), '4|t', 'citext and hstore, alone, in arrays and domains, come back as they were');
SET gdpr.purpose = 'p';
SET search_path = pg_catalog;
UPDATE public.c_sealed s SET c = p.c, cs = p.cs, m = p.m, h = p.h, hs = p.hs FROM public.c_plain p WHERE p.id = s.id AND p.id = 1;
SELECT count(*), bool_and(record_image_eq(ROW(p.c, p.cs, p.m, p.h, p.hs), ROW(s.c, s.cs, s.m, s.h, s.hs))) FROM public.c_plain p JOIN public.c_sealed s USING (id)
SQL
	is($node->safe_psql('utf8', "SET gdpr.purpose = 'p'; SET search_path = public, ext; SELECT id FROM c_sealed WHERE c = 'mixED' AND m = 'a\@x.NL' AND h -> 'a' = '1'"), '1', 'citext is found in whatever case');
	# an = that somebody else made for the type is nobody's to run
	$node->safe_psql('utf8', <<'SQL');
CREATE SCHEMA trap;
CREATE FUNCTION trap.equal(ext.citext, ext.citext) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trap runs'; END $$;
CREATE OPERATOR trap.= (FUNCTION = trap.equal, LEFTARG = ext.citext, RIGHTARG = ext.citext);
SQL
	is($node->safe_psql('utf8', qq{SET gdpr.purpose = 'p'; SELECT relation, "column" FROM gdpr.find_subjects('mixED')}), 'c_sealed|c', 'find_subjects finds citext in whatever case');
	is($node->safe_psql('utf8', qq{SET gdpr.purpose = 'p'; SELECT relation, "column" FROM gdpr.find_subjects('a\@x.NL')}), 'c_sealed|m', 'and in a domain over it');
	my ($rc, $out, $err) = $node->psql('utf8', "INSERT INTO c_sealed (id, c) VALUES (9, 'MIXED')");
	like($err, qr/duplicate key value violates unique constraint "c_sealed_c_key"/, 'and is unique in whatever case');
}

# ---------- two-phase commit ----------

$node->safe_psql('utf8', "SET gdpr.purpose = 'p'; BEGIN; INSERT INTO sealed (id, t) VALUES (50, 'prepared'); UPDATE sealed SET t = 'prepared too' WHERE id = 1; PREPARE TRANSACTION 'two'");
is($node->safe_psql('utf8', "SET gdpr.purpose = 'p'; SELECT count(*) FROM sealed WHERE t LIKE 'prepared%'"), '0', 'a prepared transaction is not seen');
$node->restart;
$node->safe_psql('utf8', "COMMIT PREPARED 'two'");
is($node->safe_psql('utf8', "SET gdpr.purpose = 'p'; SELECT string_agg(t, ',' ORDER BY id) FROM sealed WHERE t LIKE 'prepared%'"), 'prepared too,prepared', 'and after a restart and COMMIT PREPARED it is');

# ---------- what is logged and counted ----------

SKIP:
{
	skip 'pg_stat_statements and auto_explain are not installed', 4 unless $loads;
	my $offset = -s $node->logfile;

	$node->safe_psql('utf8', <<'SQL');
CREATE EXTENSION pg_stat_statements;
SET gdpr.purpose = 'p';
SELECT t, v, j FROM sealed WHERE id = 11;
SELECT t FROM sealed WHERE x::text LIKE '%nothing%';
UPDATE sealed SET t = t || '!' WHERE id = 11;
PREPARE q AS SELECT id FROM sealed WHERE t = $1;
EXECUTE q ('no value');
INSERT INTO sealed SELECT id + 60, t, v FROM sealed WHERE id = 11;
SQL
	my $log = substr(slurp_file($node->logfile), $offset);

	like($log, qr/Query Text: SELECT t, v, j FROM sealed WHERE id = 11/, 'auto_explain logs plans');
	unlike($log, qr/Zoë|Ünï|glücklich.*ÿ/, 'with no value that is not in the text of a statement');
	cmp_ok($node->safe_psql('utf8', q{SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%FROM sealed%'}), '>', 3, 'pg_stat_statements counts statements');
	is($node->safe_psql('utf8', q{SELECT count(*) FROM pg_stat_statements WHERE query ~ 'Zoë|Ünï|prepared too'}), '0', 'and holds no value');
}

done_testing();
