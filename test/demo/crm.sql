-- A small CRM, filled with people who do not exist: 10,000 of them, the same
-- ones every time.  Ordinary tables, as an application would have them.

CREATE SCHEMA crm;

CREATE TABLE crm.company (
	id		integer PRIMARY KEY,
	name	text NOT NULL,
	country	char(2) NOT NULL
);

CREATE TABLE crm.contact (
	id			integer PRIMARY KEY,
	company_id	integer REFERENCES crm.company,
	first_name	varchar(40) NOT NULL,
	last_name	varchar(60) NOT NULL,
	email		text NOT NULL UNIQUE,
	phone		varchar(30),
	born		date,
	iban		varchar(34),
	notes		text,
	created_at	timestamptz NOT NULL
);

CREATE TABLE crm.orders (
	id			integer PRIMARY KEY,
	contact_id	integer NOT NULL REFERENCES crm.contact,
	ordered_on	date NOT NULL,
	status		text NOT NULL,
	deliver_to	text
);
CREATE INDEX ON crm.orders (contact_id);

CREATE TABLE crm.order_line (
	id			integer PRIMARY KEY,
	order_id	integer NOT NULL REFERENCES crm.orders,
	product		text NOT NULL,
	quantity	integer NOT NULL,
	price		numeric(10,2) NOT NULL,
	engraving	text
);
CREATE INDEX ON crm.order_line (order_id);

CREATE TABLE crm.message (
	id			integer PRIMARY KEY,
	contact_id	integer NOT NULL REFERENCES crm.contact,
	sent_at		timestamptz NOT NULL,
	subject		text,
	body		text
);
CREATE INDEX ON crm.message (contact_id);

-- ---------------------------------------------------------------------------
-- Deterministic make-believe: everything follows from a number and a word.
-- ---------------------------------------------------------------------------

CREATE FUNCTION pg_temp.dice(seed text, sides int) RETURNS int
LANGUAGE sql IMMUTABLE AS
$$ SELECT (('x' || left(md5(seed), 7))::bit(28)::int % sides) $$;

CREATE FUNCTION pg_temp.pick(seed text, choices text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT choices[1 + pg_temp.dice(seed, cardinality(choices))] $$;

CREATE FUNCTION pg_temp.digits(seed text, n int) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT left(translate(md5(seed) || md5(seed || '+'), 'abcdef', '123456'), n) $$;

CREATE FUNCTION pg_temp.ascii(name text) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT regexp_replace(translate(lower(name),
	'áàâäãåąčćçďéèêëęěíìîïłńñňóòôöõøőřśšťúùûüůűýžźżßæ',
	'aaaaaaacccdeeeeeeiiiilnnnooooooorsstuuuuuuyzzzsa'),
	'[^a-z]', '', 'g') $$;

-- With check digits that add up (ISO 7064), for countries whose account
-- numbers have no letters.
CREATE FUNCTION pg_temp.iban(seed text, country text, n int) RETURNS text
LANGUAGE sql IMMUTABLE AS
$$ SELECT country
	|| lpad((98 - (account || (ascii(left(country, 1)) - 55)
		|| (ascii(right(country, 1)) - 55) || '00')::numeric % 97)::text, 2, '0')
	|| account
   FROM (SELECT pg_temp.digits(seed, n)) AS a(account) $$;

CREATE TEMP TABLE land (
	nr int, country char(2), dial text, digits int, first text[], last text[], streets text[], towns text[]
);
INSERT INTO land VALUES
(0, 'DE', '+49', 18, '{Jürgen,Käthe,Björn,Sabine,Uwe,Anneliese,Götz,Franziska,Matthias,Ulrike,Jörg,Heike}',
	'{Müller,Schröder,Weiß,Krüger,Fößel,Schäfer,Böhm,Lindner,Groß,von der Heide,Hübner,Zöllner,Bäcker,Wolff}',
	'{Lindenstraße,Am Mühlbach,Schillerplatz,Königsallee}', '{Köln,München,Görlitz,Lübeck}'),
(1, 'FR', '+33', 23, '{Éloïse,François,Maëlle,Gaël,Hélène,Loïc,Zoé,Benoît,Anaïs,Cédric,Noémie,Théo}',
	'{Lefèvre,d''Aubigné,Béranger,Moreau,Le Goff,Châtelain,Prévost,Bourgeois,Delacroix,Hervé,Guérin,L''Hermite}',
	'{rue des Fontaines,allée du Château,quai Saint-Michel,boulevard de l''Europe}', '{Orléans,Besançon,Saint-Étienne,Nîmes}'),
(2, 'ES', '+34', 20, '{Íñigo,María José,Joaquín,Núria,Andrés,Begoña,Óscar,Lucía,Álvaro,Concepción,Martín,Inés}',
	'{Núñez,García Ibáñez,Peña,Muñoz,Ordóñez,Sáenz,Zúñiga,Castaño,Vázquez,Jiménez,Ibarra,Echeverría}',
	'{calle Mayor,avenida de la Constitución,plaza del Sol,paseo de Gracia}', '{Málaga,Córdoba,León,Cádiz}'),
(3, 'PL', '+48', 24, '{Łukasz,Małgorzata,Paweł,Agnieszka,Grzegorz,Zofia,Wojciech,Bożena,Michał,Jadwiga,Sławomir,Elżbieta}',
	'{Wójcik,Dąbrowska,Żukowski,Kaczmarek,Śliwińska,Piątek,Jabłoński,Gałązka,Zając,Ostrowski,Błaszczyk,Źródlak}',
	'{ulica Długa,aleja Róż,plac Wolności,ulica Świętojańska}', '{Łódź,Kraków,Gdańsk,Wrocław}'),
(4, 'SE', '+46', 20, '{Åsa,Göran,Märta,Björn,Örjan,Linnéa,Håkan,Ingegärd,Sören,Ebba,Anders,Frida}',
	'{Åkerlund,Öberg,Lindström,Sjögren,Björklund,Hägg,Nordström,af Ekström,Löfgren,Ström,Ängström,Dahl}',
	'{Storgatan,Åsgatan,Kungsvägen,Skeppsbron}', '{Malmö,Göteborg,Umeå,Örebro}'),
(5, 'PT', '+351', 21, '{João,Conceição,Simão,Inês,António,Lúcia,Sérgio,Mónica,Tomé,Graça,Rúben,Glória}',
	'{Gonçalves,Magalhães,Simões,Araújo,Leão,de Sá,Brandão,Galvão,Conceição,Falcão,Antunes,Lourenço}',
	'{rua da Conceição,avenida da Liberdade,largo do Paço,travessa do Pão}', '{Évora,Braga,Guimarães,Setúbal}'),
(6, 'CZ', '+420', 20, '{Jiří,Božena,Ondřej,Kateřina,Zdeněk,Růžena,Tomáš,Šárka,Václav,Alžběta,Luděk,Hana}',
	'{Dvořák,Nováková,Říha,Kříž,Žižka,Černý,Procházková,Šťastný,Hájek,Vlček,Bartoš,Čapek}',
	'{Dlouhá,Na Příkopě,Husova,Žižkovo náměstí}', '{Plzeň,Brno,České Budějovice,Třebíč}'),
(7, 'HU', '+36', 24, '{László,Erzsébet,György,Ágnes,Zoltán,Tünde,Bálint,Éva,Gergő,Ildikó,Lőrinc,Zsófia}',
	'{Szabó,Kovács,Tóth,Horváth,Kőszegi,Földvári,Győri,Bíró,Fehér,Lukács,Szűcs,Ördög}',
	'{Fő utca,Petőfi tér,Kossuth út,Rózsa utca}', '{Győr,Szeged,Pécs,Miskolc}'),
(8, 'DK', '+45', 14, '{Søren,Bodil,Jørgen,Åse,Bjørn,Kirstine,Rasmus,Astrid,Mogens,Inger,Frederik,Line}',
	'{Sørensen,Ågård,Nørgaard,Bødker,Møller,Kjær,Østergaard,Lærke,Højgaard,Vestergaard,Skov,Brøndum}',
	'{Nørregade,Østergade,Strandvejen,Kirkestræde}', '{Århus,Helsingør,Køge,Tønder}');

INSERT INTO crm.company
SELECT i,
	pg_temp.pick(i || 'a', '{Nord,Alpha,Meridian,Blau,Costa,Vita,Terra,Luna,Delta,Aurora,Ponte,Fjord,Sól,Orion}')
	|| pg_temp.pick(i || 'b', '{werk,soft,logistik,haus,trade,media,bygg,química,print,énergie,med,textil}')
	|| ' ' || pg_temp.pick(i || 'c', '{GmbH,SARL,SL,AB,Lda,ApS,Kft,SE}') || ' ' || i,
	pg_temp.pick(i || 'd', '{DE,FR,ES,PL,SE,PT,CZ,HU,DK}')
FROM generate_series(1, 500) AS i;

INSERT INTO crm.contact
SELECT i,
	CASE WHEN pg_temp.dice(i || 'works', 5) > 0 THEN 1 + pg_temp.dice(i || 'company', 500) END,
	first_name, last_name,
	pg_temp.ascii(first_name) || '.' || pg_temp.ascii(last_name) || i || '@' || lower(country) || '.example',
	CASE WHEN pg_temp.dice(i || 'called', 10) > 0 THEN dial || ' ' || pg_temp.digits(i || 'phone', 9) END,
	date '1940-01-01' + pg_temp.dice(i || 'born', 24000),
	CASE WHEN pg_temp.dice(i || 'paid', 4) > 0 THEN pg_temp.iban(i || 'iban', country, digits) END,
	CASE pg_temp.dice(i || 'note', 4)
		WHEN 0 THEN 'Prefers to be called after ' || 9 + pg_temp.dice(i || 'hour', 8) || ' o''clock.'
		WHEN 1 THEN first_name || ' asked for a catalogue in ' || pg_temp.pick(i || 'language', '{German,French,Spanish,Polish,Swedish,Czech}') || '.'
		WHEN 2 THEN 'Allergic to ' || pg_temp.pick(i || 'allergy', '{nickel,latex,nuts,wool}') || ': no samples.'
	END,
	timestamptz '2019-01-01 08:00+00' + pg_temp.dice(i || 'created', 2500) * interval '1 day' + i * interval '1 second'
FROM (SELECT i, l.*, pg_temp.pick(i || 'first', first) AS first_name, pg_temp.pick(i || 'last', last) AS last_name
	FROM generate_series(1, 10000) AS i
	JOIN land AS l ON l.nr = pg_temp.dice(i || 'land', 9)) AS people;

INSERT INTO crm.orders
SELECT row_number() OVER (ORDER BY day, id, n), id, day,
	pg_temp.pick(id || 'status' || n, '{paid,paid,paid,shipped,open,cancelled}'),
	street || ' ' || 1 + pg_temp.dice(id || 'number', 140) || ', ' || town
FROM (SELECT c.id, n, date '2021-01-01' + pg_temp.dice(c.id || 'order' || n, 1800) AS day,
		pg_temp.pick(c.id || 'street', l.streets) AS street, pg_temp.pick(c.id || 'town', l.towns) AS town
	FROM crm.contact AS c
	JOIN land AS l ON l.nr = pg_temp.dice(c.id || 'land', 9)
	CROSS JOIN LATERAL generate_series(1, pg_temp.dice(c.id || 'orders', 7)) AS n) AS o;

INSERT INTO crm.order_line
SELECT row_number() OVER (ORDER BY o.id, n), o.id,
	pg_temp.pick(o.id || 'product' || n, '{pen,notebook,lamp,mug,bag,scarf,clock,frame}'),
	1 + pg_temp.dice(o.id || 'quantity' || n, 5),
	(150 + pg_temp.dice(o.id || 'price' || n, 9000)) / 100.0,
	CASE WHEN pg_temp.dice(o.id || 'engraved' || n, 8) = 0
		THEN pg_temp.pick(o.id || 'wish' || n, '{For my dear,Happy birthday,In memory of,Thank you}') || ' ' || c.first_name END
FROM crm.orders AS o
JOIN crm.contact AS c ON c.id = o.contact_id
CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.dice(o.id || 'lines', 3)) AS n;

INSERT INTO crm.message
SELECT row_number() OVER (ORDER BY c.id, n), c.id,
	c.created_at + (1 + pg_temp.dice(c.id || 'sent' || n, 900)) * interval '1 hour',
	pg_temp.pick(c.id || 'subject' || n, '{Where is my order?,Invoice,Change of address,Thank you,A question}'),
	'Dear Sir or Madam, ' || pg_temp.pick(c.id || 'body' || n,
		'{my parcel has not arrived yet,I have moved: please note my new address,the lamp was broken,could you call me back}')
	|| '. ' || c.first_name || ' ' || c.last_name || ', ' || c.email
FROM crm.contact AS c
CROSS JOIN LATERAL generate_series(1, pg_temp.dice(c.id || 'messages', 4)) AS n;

-- The application's role, one of somebody who has no business with people, and two that have some.
CREATE ROLE crm_app LOGIN;
CREATE ROLE crm_stock LOGIN;
CREATE ROLE crm_support LOGIN;
CREATE ROLE crm_marketing LOGIN;
GRANT USAGE ON SCHEMA crm TO crm_app, crm_stock, crm_support, crm_marketing;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA crm TO crm_app;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO crm_stock;

VACUUM ANALYZE crm.company, crm.contact, crm.orders, crm.order_line, crm.message;
