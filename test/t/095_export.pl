# Exports are what their published schemas say, in every format the same; they
# go into another database, and what they need survives a dump.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use JSON::PP;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 8;
my $top = "$FindBin::RealBin/../..";
my $files = directory();
my $json = JSON::PP->new->allow_nonref;
my $node = new_server('main');
$node->start;
crm_database($node, 'crm', $persons);

# Everything that an export can tell of a person
$node->safe_psql('crm', <<'SQL');
CREATE TABLE number AS SELECT id, gdpr.subject('crm.person', id::text) AS subject FROM crm.person;
COMMENT ON TABLE crm.person IS 'Who you are <b>';
COMMENT ON COLUMN crm.person.email IS 'your "first" address';
SELECT gdpr.keep_history('crm.person');
SELECT gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true, description => 'We <write>', retention => '18 months', profiling => true);
SELECT gdpr.set_controller('CRM BV & Co', address => 'Weg 1', contact => 'privacy@crm.test', dpo => 'dpo@crm.test', authority => 'AP, Den Haag', withdrawal_url => 'https://crm.test/stop');
SELECT gdpr.set_controller('Other');
SELECT gdpr.mark_column_inferred('crm.person', 'salary');
SELECT gdpr.set_retention('crm.person', '3 years', 'last activity', ground => 'a "law"');
SET gdpr.actor = 'desk "1"';
SELECT gdpr.give_consent(subject, 'news', channel => 'email', topic => 'events', source => 'web', notice => 'n1', proof => '{"form": [1, null]}', expires_at => '2100-01-01', note => E'a\nb') FROM number WHERE id <= 2;
SELECT gdpr.give_consent(subject, 'news', expires_at => 'infinity') FROM number WHERE id = 1;
SELECT gdpr.withdraw_consent(subject, 'news', channel => 'email') FROM number WHERE id = 1;
SELECT gdpr.restrict(subject, ground => 'accuracy', reason => 'wrong'), gdpr.lift_restriction(subject, informed_at => now()), gdpr.record_objection(subject), gdpr.block_channel(subject, 'phone') FROM number WHERE id = 1;
SQL
app($node, 'crm', q{UPDATE crm.person SET name = 'Name-1-Wit', phones = NULL WHERE id = 1});
app($node, 'crm', q{UPDATE crm.comment SET body = E'\x01 \x0B <i> ]]> & "q" \u202E' WHERE id = 1});
app($node, 'crm', q{SELECT name FROM crm.person});
$node->safe_psql('crm', 'SELECT gdpr.forget(subject) FROM number WHERE id IN (3, 4)');
$node->safe_psql('crm', 'DELETE FROM crm.invoice WHERE person_id = 4 OR id = 4');
$node->poll_query_until('crm', "SELECT EXISTS (SELECT FROM gdpr.audit_log WHERE kind = 'change')");

sub export
{
	my ($id, $format, $right, $database) = @_;
	my $result = $node->safe_psql($database // 'crm', "SELECT gdpr.export(gdpr.person(subject), '$format', '$right', name_staff => $id = 1) FROM number WHERE id = $id");
	utf8::decode($result) unless utf8::is_utf8($result);
	return $result;
}

sub document { return $json->decode(export(@_)) }

# ---------- a checker of JSON Schema, as far as ours goes ----------

sub type_of
{
	my ($value) = @_;
	return 'null' unless defined $value;
	return 'boolean' if JSON::PP::is_bool($value);
	return { HASH => 'object', ARRAY => 'array' }->{ ref $value } if ref $value;
	return $json->encode($value) =~ /^-?[0-9]+$/ ? 'integer' : $json->encode($value) =~ /^"/ ? 'string' : 'number';
}

# What breaks the schema
sub breaks
{
	my ($schema, $value, $root, $where) = @_;
	my $type = type_of($value);
	my @bad;

	if (my $ref = $schema->{'$ref'})
	{
		die "unknown reference $ref" unless $ref =~ m{^#/\$defs/(\w+)$} && $root->{'$defs'}{$1};
		return breaks($root->{'$defs'}{$1}, $value, $root, $where);
	}
	for my $key (keys %$schema)
	{
		die "unknown keyword $key" unless $key =~ /^(\$schema|\$id|\$defs|title|type|required|additionalProperties|properties|items|const|enum|pattern)$/;
	}
	if (my $types = $schema->{type})
	{
		push @bad, "$where is $type" unless grep { $_ eq $type } ref $types ? @$types : $types;
	}
	push @bad, "$where is not as it must be" if exists $schema->{const} && $json->encode($value) ne $json->encode($schema->{const});
	push @bad, "$where is $value" if $schema->{enum} && !grep { $_ eq $value } @{ $schema->{enum} };
	push @bad, "$where is $value" if $schema->{pattern} && $type eq 'string' && $value !~ /$schema->{pattern}/;
	if ($type eq 'object')
	{
		push @bad, map { "$where lacks $_" } grep { !exists $value->{$_} } @{ $schema->{required} // [] };
		for my $key (sort keys %$value)
		{
			if (my $inner = $schema->{properties}{$key}) { push @bad, breaks($inner, $value->{$key}, $root, "$where.$key"); }
			elsif (exists $schema->{additionalProperties}) { push @bad, "$where has $key"; }
		}
	}
	if ($type eq 'array' && $schema->{items})
	{
		push @bad, breaks($schema->{items}, $value->[$_], $root, "$where\[$_]") for 0 .. $#$value;
	}
	return @bad;
}

# ---------- the schemas ----------

for my $file ([ 'json', 'export.schema.json' ], [ 'xml', 'export.xsd' ])
{
	my $published = slurp_file("$top/doc/$file->[1]");
	$published =~ s/\n\z//;
	is($node->safe_psql('crm', "SELECT gdpr.export_schema('$file->[0]')"), $published, "$file->[1] is what the function returns");
}
my $schema = $json->decode($node->safe_psql('crm', 'SELECT gdpr.export_schema()'));
my %full = %{ document(1, 'json', 'A15') };
for my $case ([ 1, 'A15' ], [ 1, 'A20' ], [ 2, 'A15' ], [ 2, 'A20' ], [ 3, 'A15' ], [ 5, 'A15' ])
{
	is(join("\n", breaks($schema, document($case->[0], 'json', $case->[1]), $schema, '')), '', "JSON of person $case->[0], right $case->[1], is as the schema says");
}
is(join(' ', grep { ref $full{$_} eq 'ARRAY' && !@{ $full{$_} } } sort keys %full), 'recipients warnings', 'there is something in every other part');
ok(scalar(breaks($schema, { %full, extra => 1 }, $schema, '')), 'the schema refuses what it does not know');
ok(scalar(breaks($schema, { %full, created => 'today' }, $schema, '')), 'and what has another form');
{
	my %less = %full;
	delete $less{tables};
	ok(scalar(breaks($schema, \%less, $schema, '')), 'and what is not whole');
}
is_deeply([ sort map { $_->{name} } @{ document(3, 'json', 'A15')->{tables} } ], ['crm.invoice'], 'of the forgotten there is what the law keeps');
my ($rc, undef, $error) = $node->psql('crm', 'SELECT gdpr.export(subject) FROM number WHERE id = 4');
like($error, qr/was forgotten, and nothing of it is kept/, 'of others nothing');

# Every term of the context is a published one.
{
	my %terms = map { $_ => 1 } grep { !/^#/ } map { split /\n/, slurp_file("$top/test/data/$_.txt") } "dpv-terms", "dpv-terms-export";
	my $context = $full{'@context'};
	my @used = map { ref $_ ? ($_->{'@id'}, $_->{'@type'}) : $_ } values %$context;
	push @used, @{ $full{'@type'} }, map { $_->{right} } @{ $full{rights} };
	push @used, 'dpv:DataSubject', map { "eu-gdpr:A6-1-$_" } 'a' .. 'f';
	my @unknown;
	for my $term (@used)
	{
		next unless $term =~ /^([a-z-]+):([^\/].*)$/;
		push @unknown, $term unless $terms{ $context->{$1} . $2 };
	}
	is("@unknown", '', 'terms are those of DPV');
}

# ---------- XML ----------

SKIP:
{
	skip 'xmllint is not installed', 7 if system('which xmllint >/dev/null 2>&1');
	for my $case ([ 1, 'A15' ], [ 1, 'A20' ], [ 2, 'A15' ], [ 3, 'A15' ], [ 5, 'A15' ])
	{
		my $name = "$files/$case->[0]-$case->[1].xml";
		my $xml = export($case->[0], 'xml', $case->[1]);
		utf8::encode($xml);
		append_to_file($name, $xml);
		$node->command_ok([ 'xmllint', '--noout', '--schema', "$top/doc/export.xsd", $name ], "XML of person $case->[0], right $case->[1], is as the schema says");
	}
	append_to_file("$files/bad.xml", '<export xmlns="urn:gdpr:export:1" version="1" right="A17" created="2026-01-01T00:00:00Z" subject="1" forgotten="false"/>');
	$node->command_fails([ 'xmllint', '--noout', '--schema', "$top/doc/export.xsd", "$files/bad.xml" ], 'the schema refuses another right');
	my $value = $node->safe_psql('crm', q{SELECT convert_from(decode((xpath('//e:value[@encoding="base64"]/text()', xmlparse(DOCUMENT gdpr.export(subject, 'xml')), ARRAY[ARRAY['e', 'urn:gdpr:export:1']]))[1]::text, 'base64'), 'UTF8') = (SELECT t -> 'rows' -> 0 ->> 'body' FROM json_array_elements(gdpr.export(subject)::json -> 'tables') t WHERE t ->> 'name' = 'crm.comment') FROM number WHERE id = 1});
	is($value, 't', 'what XML cannot hold comes back whole');
}

# ---------- the same in all formats ----------

# CSV as RFC 4180 has it: NULL is an empty cell without quotation marks.
sub csv
{
	my ($text) = @_;
	my (@rows, @row);

	$text =~ s/[\r\n]*\z/\r\n/;
	while ($text =~ /\G(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)
	{
		my ($quoted, $plain, $end) = ($1, $2, $3);
		$quoted =~ s/""/"/g if defined $quoted;
		push @row, defined $quoted ? $quoted : $plain eq '' ? undef : $plain;
		next if $end eq ',';
		push @rows, [@row];
		@row = ();
	}
	return @rows;
}

for my $right ('A15', 'A20')
{
	my $document = document(2, 'json', $right);
	my @rows = csv(export(2, 'csv', $right));
	my $head = shift @rows;
	is("@$head", 'part kind record field value', "$right: head of the CSV");
	is(scalar(grep { @$_ != 5 } @rows), 0, "$right: every line has as many cells");
	my ($values, $same) = (0, 0);
	for my $table (@{ $document->{tables} })
	{
		for my $kind ([ 'rows', 'row' ], [ 'rows_of_others', 'row_of_another' ])
		{
			my $n = 0;
			for my $row (@{ $table->{ $kind->[0] } })
			{
				$n++;
				for my $field (keys %$row)
				{
					my ($cell) = map { $_->[4] } grep { $_->[0] eq $table->{name} && $_->[1] eq $kind->[1] && $_->[2] == $n && $_->[3] eq $field } @rows;
					my $value = $row->{$field};
					$values++;
					# numbers may have zeros at their end
					$same++ if !defined $value || !defined $cell ? !defined $value && !defined $cell : ref $value || $cell eq $value || $cell eq "'$value" ||
					  ($cell =~ /^-?[0-9.]+$/ && $cell == $value);
				}
			}
		}
	}
	cmp_ok($values, '>', 10, "$right: there are values");
	is($same, $values, "$right: all values of the JSON are in the CSV");
	my $cells = () = export(2, 'xml', $right) =~ /<value /g;
	# there are more accesses at each export
	is($cells, scalar(@rows), "$right: XML has as many") if $right eq 'A20';
}

# ---------- the page ----------

{
	my $page = export(1, 'html', 'A15');
	my (@open, @headings, %ids, @bad);
	my %void = map { $_ => 1 } qw(meta br);

	(my $body = $page) =~ s{<style>.*?</style>}{}s;
	while ($body =~ /<(\/?)([a-zA-Z][a-z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*>|(<)/g)
	{
		my ($close, $tag, $attributes, $stray) = ($1, $2, $3, $4);
		if (defined $stray) { push @bad, 'stray < at ' . substr($body, pos($body) - 1, 40) unless substr($body, pos($body) - 1, 9) eq '<!DOCTYPE'; next; }
		if ($close) { push @bad, "</$tag> closes " . ($open[-1] // 'nothing') if ($open[-1] // '') ne $tag; pop @open; next; }
		push @bad, "<$tag> is not expected" if $tag =~ /^(script|iframe|img|link|object|embed|form|base)$/;
		push @bad, "attribute of $tag" if $attributes =~ /\son[a-z]+=|javascript:/i;
		push @bad, "two ids $1" if $attributes =~ /\sid="([^"]*)"/ && $ids{$1}++;
		push @bad, "<$tag> without scope" if $tag eq 'th' && $attributes !~ /scope="(col|row)"/;
		push @headings, $1 if $tag =~ /^h([1-6])$/;
		push @open, $tag unless $void{$tag};
	}
	is("@bad @open", ' ', 'the page is well-formed, and has nothing that runs or loads');
	is($headings[0], 1, 'headings begin with the first');
	is(scalar(grep { $_ == 1 } @headings), 1, 'of which there is one');
	is(scalar(grep { $headings[$_] > $headings[ $_ - 1 ] + 1 } 1 .. $#headings), 0, 'none is left out');
	my ($tables, $captions) = (scalar(() = $page =~ /<table/g), scalar(() = $page =~ /<caption>[^<]/g));
	is($captions, $tables, 'every table has a caption');
	is(join(' ', grep { !$ids{$_} } $page =~ /href="#([^"]*)"/g), '', 'every link leads somewhere');
	like($page, qr/<html lang="en">/, 'its language is told');
	like($page, qr/&lt;i&gt; \]\]&gt; &amp; &quot;q&quot;/, 'values are escaped');
	unlike($page, qr/[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]/, 'there are no control characters');

	# contrast of the colours, as WCAG computes it
	my $light = sub {
		my @rgb = map { my $c = hex($_) / 255; $c <= 0.03928 ? $c / 12.92 : (($c + 0.055) / 1.055)**2.4 } map { $_ =~ /^#(..)(..)(..)$/ } @_;
		return 0.2126 * $rgb[0] + 0.7152 * $rgb[1] + 0.0722 * $rgb[2];
	};
	for my $pair ([ '#1b1f24', '#ffffff' ], [ '#0b5a8a', '#ffffff' ], [ '#4b5560', '#eef1f4' ], [ '#5b646e', '#f8fafb' ], [ '#1b1f24', '#eef4f8' ], [ '#1b1f24', '#fff4e5' ], [ '#4b5560', '#ffffff' ])
	{
		my ($dark, $bright) = sort { $a <=> $b } $light->($pair->[0]), $light->($pair->[1]);
		cmp_ok(($bright + 0.05) / ($dark + 0.05), '>=', 4.5, "contrast of $pair->[0] on $pair->[1]");
		for my $colour (@$pair)
		{
			my $short = $colour eq '#ffffff' ? '#fff' : $colour;
			like($page, qr/\Q$short\E/, "$short is a colour of the page") if $pair->[0] eq '#1b1f24';
		}
	}
	append_to_file("$files/page.html", do { my $bytes = $page; utf8::encode($bytes); $bytes });
}

# ---------- elsewhere ----------

crm_database($node, 'other', 0);
for my $id (1, 2)
{
	# rows of a table that refers to itself, or to persons who stay, find nobody: here messages go to the next
	my $export = export($id, 'json', 'A15');
	append_to_file("$files/$id.json", do { utf8::encode($export); $export });
}
is(join(' ', sort split /\n/, $node->safe_psql('other', qq{
\\set file `cat $files/2.json`
INSERT INTO crm.person (id, name) VALUES (3, 'there');
SELECT * FROM gdpr.import_export(:'file'::json);
})), "crm.comment|1 crm.invoice|1 crm.message|1 crm.order_line|2 crm.orders|2 crm.person|1", 'one statement loads an export');
$node->safe_psql('other', q{CREATE TABLE number AS SELECT id, gdpr.subject('crm.person', id::text) AS subject FROM crm.person});
{
	my %rows = map { $_->{name} => $_->{rows} } @{ document(2, 'json', 'A15')->{tables} };
	my %there = map { $_->{name} => $_->{rows} } @{ document(2, 'json', 'A15', 'other')->{tables} };
	# masks of others are loaded as what they are
	delete $_->{'crm.message'} for \%rows, \%there;
	is_deeply(\%there, \%rows, 'and exports again what it was');
}
is($node->safe_psql('other', 'SET gdpr.physical = on; SELECT count(*) FROM crm.person WHERE name LIKE \'Name%\''), '0', 'sealed there');

# ---------- a dump ----------

$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('crm'), '-f', "$files/dump" ], 'pg_dump');
my $before = document(2, 'json', 'A20');
$node->safe_psql('postgres', 'DROP DATABASE crm');
$node->safe_psql('postgres', 'CREATE DATABASE crm');
$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('crm'), "$files/dump" ], 'restored');
my $after = document(2, 'json', 'A20');
is_deeply($after->{$_}, $before->{$_}, "restored: $_ are the same") for qw(tables controllers rights warnings);
ok(!grep({ $_->{name} eq 'salary' } map { @{ $_->{columns} } } @{ $after->{tables} }), 'what was inferred is left out');

$node->stop;
done_testing();
