-- The schemas of exports, as they are in doc/export.schema.json and doc/export.xsd.

CREATE FUNCTION gdpr.export_schema(format text DEFAULT 'json') RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF format IS NULL THEN
        RAISE EXCEPTION 'format is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF format NOT IN ('json', 'xml') THEN
        RAISE EXCEPTION 'there is no schema of format "%"', format
            USING ERRCODE = 'invalid_parameter_value', HINT = 'There is one of ''json'' (JSON Schema) and of ''xml'' (XML Schema).';
    END IF;
    RETURN CASE format WHEN 'json' THEN $json${
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$id": "urn:gdpr:export:1",
  "title": "Export of a person's data (Art. 15 and 20 GDPR), version 1",
  "type": "object",
  "required": ["@context", "@type", "version", "right", "created", "subject", "controllers", "tables", "rights", "warnings"],
  "additionalProperties": false,
  "properties": {
    "@context": {"type": "object"},
    "@type": {"type": "array", "items": {"type": "string"}},
    "version": {"const": 1},
    "right": {"enum": ["eu-gdpr:A15", "eu-gdpr:A20"]},
    "created": {"$ref": "#/$defs/time"},
    "subject": {
      "type": "object",
      "required": ["@type", "number", "forgotten"],
      "additionalProperties": false,
      "properties": {
        "@type": {"const": "dpv:DataSubject"},
        "number": {"type": "integer"},
        "forgotten": {"type": "boolean"}
      }
    },
    "controllers": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["name", "address", "contact", "dpo", "authority", "withdrawal_url"],
        "additionalProperties": false,
        "properties": {
          "name": {"type": "string"},
          "address": {"$ref": "#/$defs/text"},
          "contact": {"$ref": "#/$defs/text"},
          "dpo": {"$ref": "#/$defs/text"},
          "authority": {"$ref": "#/$defs/text"},
          "withdrawal_url": {"$ref": "#/$defs/text"}
        }
      }
    },
    "tables": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["name", "description", "key", "retention", "policies", "columns", "rows", "rows_seen", "rows_of_others"],
        "additionalProperties": false,
        "properties": {
          "name": {"type": "string"},
          "description": {"$ref": "#/$defs/text"},
          "key": {"type": "array", "items": {"type": "string"}},
          "retention": {
            "type": ["object", "null"],
            "required": ["ground", "keep_until"],
            "additionalProperties": false,
            "properties": {
              "ground": {"type": "string"},
              "keep_until": {"$ref": "#/$defs/text"}
            }
          },
          "policies": {
            "type": "array",
            "items": {
              "type": "object",
              "required": ["category", "purpose", "keep", "since", "action", "ground"],
              "additionalProperties": false,
              "properties": {
                "category": {"$ref": "#/$defs/text"},
                "purpose": {"$ref": "#/$defs/text"},
                "keep": {"type": "string"},
                "since": {"$ref": "#/$defs/text"},
                "action": {"enum": ["delete", "erase", "shred"]},
                "ground": {"$ref": "#/$defs/text"}
              }
            }
          },
          "columns": {
            "type": "array",
            "items": {
              "type": "object",
              "required": ["name", "type", "description", "category", "special", "inferred", "purposes"],
              "additionalProperties": false,
              "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "description": {"$ref": "#/$defs/text"},
                "category": {"$ref": "#/$defs/text"},
                "special": {"type": "boolean"},
                "inferred": {"type": "boolean"},
                "purposes": {"type": "array", "items": {"type": "string"}}
              }
            }
          },
          "rows": {"type": "array", "items": {"type": "object"}},
          "rows_seen": {"type": "array", "items": {"type": "object"}},
          "rows_of_others": {"type": "array", "items": {"type": "object"}}
        }
      }
    },
    "purposes": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["name", "description", "legal_basis", "article", "special_ground", "standing", "since", "source", "categories", "direct_marketing", "profiling", "retention", "controller"],
        "additionalProperties": false,
        "properties": {
          "name": {"type": "string"},
          "description": {"$ref": "#/$defs/text"},
          "legal_basis": {"enum": ["consent", "contract", "legal_obligation", "vital_interest", "public_task", "legitimate_interest"]},
          "article": {"type": "string", "pattern": "^eu-gdpr:A6-1-[a-f]$"},
          "special_ground": {"type": ["string", "null"], "pattern": "^eu-gdpr:A9-2-[a-j]$"},
          "standing": {"enum": ["permitted", "restricted", "objected", "blocked", "refused", "expired", "no consent", "forgotten"]},
          "since": {"$ref": "#/$defs/time_or_null"},
          "source": {"$ref": "#/$defs/text"},
          "categories": {"type": ["array", "null"], "items": {"type": "string"}},
          "direct_marketing": {"type": "boolean"},
          "profiling": {"type": "boolean"},
          "retention": {"$ref": "#/$defs/text"},
          "controller": {"$ref": "#/$defs/text"}
        }
      }
    },
    "recipients": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["recipient", "categories", "purpose", "ground", "country", "safeguard", "disclosed_at"],
        "additionalProperties": false,
        "properties": {
          "recipient": {"type": "string"},
          "categories": {"type": ["array", "null"], "items": {"type": "string"}},
          "purpose": {"$ref": "#/$defs/text"},
          "ground": {"$ref": "#/$defs/text"},
          "country": {"$ref": "#/$defs/text"},
          "safeguard": {"$ref": "#/$defs/text"},
          "disclosed_at": {"$ref": "#/$defs/time_or_null"}
        }
      }
    },
    "sources": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["entered_at", "how", "source", "role", "actor", "application"],
        "additionalProperties": false,
        "properties": {
          "entered_at": {"$ref": "#/$defs/time"},
          "how": {"enum": ["entered", "protected", "separated"]},
          "source": {"$ref": "#/$defs/text"},
          "role": {"$ref": "#/$defs/text"},
          "actor": {"$ref": "#/$defs/text"},
          "application": {"$ref": "#/$defs/text"}
        }
      }
    },
    "consents": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["record", "purpose", "channel", "topic", "status", "occurred_at", "expires_at", "source", "notice", "recorded_at", "recorded_by", "actor", "details"],
        "additionalProperties": false,
        "properties": {
          "record": {"type": "string"},
          "purpose": {"type": "string"},
          "channel": {"$ref": "#/$defs/text"},
          "topic": {"$ref": "#/$defs/text"},
          "status": {"enum": ["requested", "given", "renewed", "refused", "withdrawn", "expired", "invalidated"]},
          "occurred_at": {"$ref": "#/$defs/time"},
          "expires_at": {"$ref": "#/$defs/time_or_null"},
          "source": {"$ref": "#/$defs/text"},
          "notice": {"$ref": "#/$defs/text"},
          "recorded_at": {"$ref": "#/$defs/time"},
          "recorded_by": {"type": "string"},
          "actor": {"$ref": "#/$defs/text"},
          "details": {"type": ["object", "null"]}
        }
      }
    },
    "flags": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["flag", "kind", "status", "in_force", "purpose", "channel", "ground", "occurred_at", "informed_at", "source", "recorded_at", "recorded_by", "actor", "details"],
        "additionalProperties": false,
        "properties": {
          "flag": {"type": "string"},
          "kind": {"enum": ["restriction", "objection", "channel_block"]},
          "status": {"enum": ["restricted", "lifted", "received", "upheld", "rejected", "withdrawn", "blocked", "unblocked"]},
          "in_force": {"type": "boolean"},
          "purpose": {"$ref": "#/$defs/text"},
          "channel": {"$ref": "#/$defs/text"},
          "ground": {"$ref": "#/$defs/text"},
          "occurred_at": {"$ref": "#/$defs/time"},
          "informed_at": {"$ref": "#/$defs/time_or_null"},
          "source": {"$ref": "#/$defs/text"},
          "recorded_at": {"$ref": "#/$defs/time"},
          "recorded_by": {"type": "string"},
          "actor": {"$ref": "#/$defs/text"},
          "details": {"type": ["object", "null"]}
        }
      }
    },
    "accesses": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["at", "role", "actor", "purpose", "relation", "columns", "actions", "failed"],
        "additionalProperties": false,
        "properties": {
          "at": {"$ref": "#/$defs/time"},
          "role": {"$ref": "#/$defs/text"},
          "actor": {"$ref": "#/$defs/text"},
          "purpose": {"$ref": "#/$defs/text"},
          "relation": {"$ref": "#/$defs/text"},
          "columns": {"type": "array", "items": {"type": "string"}},
          "actions": {"type": "array", "items": {"enum": ["reveal", "mask", "write", "override", "export"]}},
          "failed": {"type": "boolean"}
        }
      }
    },
    "changes": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["at", "role", "actor", "purpose", "command", "relation", "column", "before", "after", "outcome"],
        "additionalProperties": false,
        "properties": {
          "at": {"$ref": "#/$defs/time"},
          "role": {"$ref": "#/$defs/text"},
          "actor": {"$ref": "#/$defs/text"},
          "purpose": {"$ref": "#/$defs/text"},
          "command": {"$ref": "#/$defs/text"},
          "relation": {"$ref": "#/$defs/text"},
          "column": {"$ref": "#/$defs/text"},
          "before": {"$ref": "#/$defs/text"},
          "after": {"$ref": "#/$defs/text"},
          "outcome": {"$ref": "#/$defs/text"}
        }
      }
    },
    "rights": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["right", "name", "description"],
        "additionalProperties": false,
        "properties": {
          "right": {"type": "string", "pattern": "^eu-gdpr:A[0-9]+(-[0-9]+)?$"},
          "name": {"type": "string"},
          "description": {"type": "string"}
        }
      }
    },
    "warnings": {"type": "array", "items": {"type": "string"}}
  },
  "$defs": {
    "text": {"type": ["string", "null"]},
    "time": {"type": "string", "pattern": "^(-?infinity|[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?[+]00:00( BC)?)$"},
    "time_or_null": {"type": ["string", "null"], "pattern": "^(-?infinity|[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?[+]00:00( BC)?)$"}
  }
}$json$
    ELSE $xml$<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:gdpr:export:1" targetNamespace="urn:gdpr:export:1" elementFormDefault="qualified">
  <xs:element name="export">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="table" type="table" minOccurs="0" maxOccurs="unbounded"/>
        <xs:element name="information" type="information" minOccurs="0" maxOccurs="unbounded"/>
      </xs:sequence>
      <xs:attribute name="version" type="xs:integer" fixed="1" use="required"/>
      <xs:attribute name="right" use="required">
        <xs:simpleType>
          <xs:restriction base="xs:string">
            <xs:enumeration value="A15"/>
            <xs:enumeration value="A20"/>
          </xs:restriction>
        </xs:simpleType>
      </xs:attribute>
      <xs:attribute name="created" type="xs:dateTime" use="required"/>
      <xs:attribute name="subject" type="xs:long" use="required"/>
      <xs:attribute name="forgotten" type="xs:boolean" use="required"/>
    </xs:complexType>
  </xs:element>
  <xs:complexType name="table">
    <xs:sequence>
      <xs:element name="retention" minOccurs="0">
        <xs:complexType>
          <xs:attribute name="ground" type="xs:string" use="required"/>
          <xs:attribute name="until" type="xs:string"/>
        </xs:complexType>
      </xs:element>
      <xs:element name="policy" minOccurs="0" maxOccurs="unbounded">
        <xs:complexType>
          <xs:attribute name="category" type="xs:string"/>
          <xs:attribute name="purpose" type="xs:string"/>
          <xs:attribute name="keep" type="xs:string" use="required"/>
          <xs:attribute name="since" type="xs:string"/>
          <xs:attribute name="action" type="xs:string" use="required"/>
          <xs:attribute name="ground" type="xs:string"/>
        </xs:complexType>
      </xs:element>
      <xs:element name="column" type="column" maxOccurs="unbounded"/>
      <xs:element name="rows" type="records"/>
      <xs:element name="rows-seen" type="records"/>
      <xs:element name="rows-of-others" type="records"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="description" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="column">
    <xs:sequence>
      <xs:element name="purpose" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="type" type="xs:string" use="required"/>
    <xs:attribute name="category" type="xs:string"/>
    <xs:attribute name="inferred" type="xs:boolean"/>
    <xs:attribute name="description" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="records">
    <xs:sequence>
      <xs:element name="record" type="record" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="information">
    <xs:complexContent>
      <xs:extension base="records">
        <xs:attribute name="name" use="required">
          <xs:simpleType>
            <xs:restriction base="xs:string">
              <xs:enumeration value="controllers"/>
              <xs:enumeration value="purposes"/>
              <xs:enumeration value="recipients"/>
              <xs:enumeration value="sources"/>
              <xs:enumeration value="consents"/>
              <xs:enumeration value="flags"/>
              <xs:enumeration value="accesses"/>
              <xs:enumeration value="changes"/>
              <xs:enumeration value="rights"/>
              <xs:enumeration value="warnings"/>
            </xs:restriction>
          </xs:simpleType>
        </xs:attribute>
      </xs:extension>
    </xs:complexContent>
  </xs:complexType>
  <xs:complexType name="record">
    <xs:sequence>
      <xs:element name="value" minOccurs="0" maxOccurs="unbounded">
        <xs:complexType>
          <xs:simpleContent>
            <xs:extension base="xs:string">
              <xs:attribute name="name" type="xs:string" use="required"/>
              <xs:attribute name="null" type="xs:boolean"/>
              <xs:attribute name="encoding">
                <xs:simpleType>
                  <xs:restriction base="xs:string">
                    <xs:enumeration value="base64"/>
                  </xs:restriction>
                </xs:simpleType>
              </xs:attribute>
            </xs:extension>
          </xs:simpleContent>
        </xs:complexType>
      </xs:element>
    </xs:sequence>
  </xs:complexType>
</xs:schema>$xml$ END;
END $function$;
COMMENT ON FUNCTION gdpr.export_schema(text) IS 'what exports look like: a JSON Schema (json) or an XML Schema (xml)';
