/*
 * datamap.h
 *		The data map of the current database, cached per backend.
 *
 * The map lives in tables of schema gdpr and is read with the latest committed
 * snapshot.  A change of it sends a relcache invalidation for the table it
 * concerns, which drops the entry here and every plan that uses the table.
 *
 * A TableMap or ColumnMap stays valid until the end of the current top-level
 * transaction, but may be out of date after the next lookup.
 */
#ifndef GDPR_DATAMAP_H
#define GDPR_DATAMAP_H

#include "postgres.h"

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#define DATAMAP_CATEGORIES	16
#define DATAMAP_MAX_KEYS	32	/* INDEX_MAX_KEYS */

typedef enum NormalizeKind
{
	NORMALIZE_NONE,
	NORMALIZE_LOWER
} NormalizeKind;

typedef enum ForgetAction
{
	FORGET_DELETE,
	FORGET_ERASE,
	FORGET_KEEP
} ForgetAction;

/* A foreign key from a table to the row that says whose a row or column is. */
typedef struct LinkMap
{
	int			via;			/* 0: the row's own subject */
	Oid			parent_relid;	/* as declared; InvalidOid: no link, each row is
								 * a person */
	int			ncolumns;
	AttrNumber	columns[DATAMAP_MAX_KEYS];	/* in this table */
	AttrNumber	parent_columns[DATAMAP_MAX_KEYS];	/* in parent_relid */
	void	   *plans[4];		/* saved plans of subject.c, freed with the map */
} LinkMap;

struct TableMap;

typedef struct ColumnMap
{
	int32		id;				/* column id in envelopes; unique in the database */
	struct TableMap *table;
	AttrNumber	attnum;
	char	   *name;
	Oid			typid;			/* declared type, may be a domain */
	Oid			basetypid;
	int32		typmod;			/* of the base type */
	Oid			collation;
	bool		notnull;		/* NOT NULL of the table (the guard holds it on the value) */
	int			category;
	int			via;			/* its link's number in segments */
	LinkMap    *link;			/* whose value it is */
	bool		searchable;		/* the physical column holds a token, else a placeholder */
	NormalizeKind normalize;
	uint32		token_domain;
	int			token_bytes;	/* width: characters of a text token, else bytes */
	char	   *mask;			/* NULL: none */
	struct Codec *codec;		/* made at first use */
	struct MaskState *mask_state;	/* the same */
} ColumnMap;

/* A CHECK constraint on personal columns, evaluated by the guard. */
typedef struct CheckMap
{
	Oid			relid;			/* the relation that has it */
	char	   *name;
	char	   *expression;		/* SQL text over the table's columns */
} CheckMap;

/* A policy of retention */
typedef struct ExpiryMap
{
	int			category;		/* -1: of those that have none of their own */
	bool		shred;			/* else the others do not matter here */
	AttrNumber	attnum;			/* since; InvalidAttrNumber: it is not there */
	Oid			typid;			/* of it, below domains */
	Interval   *keep;
	struct varlena *time_zone;	/* text */
} ExpiryMap;

/*
 * A declared table is one relation, or a tree of partitions or inheritance
 * children: its members, which share ids and columns, and have attribute
 * numbers of their own.  A member stays one when it is detached.
 */
typedef struct TableMap
{
	int32		id;				/* table id in envelopes */
	Oid			relid;
	struct TableMap *root;		/* of the relation that was declared */
	List	   *member_relids;	/* of a root: the others */
	AttrNumber	sealed_attnum;	/* column gdpr_sealed */
	int			natts;			/* of the relation's descriptor when it was read */
	int			nkeys;			/* row key */
	AttrNumber	keys[DATAMAP_MAX_KEYS];
	struct Codec *key_codecs;	/* made at first use */
	ForgetAction on_forget;
	int			form;			/* token epoch of new rows; 0: not sealed */
	int			other_form;		/* that older rows may have; -1: none */
	bool		has_tokens;		/* is any column searchable? */
	bool		history;		/* are changes kept? */
	int			nlinks;			/* links[0] is the row's own */
	LinkMap    *links;
	int			ncolumns;		/* personal columns, by id */
	ColumnMap  *columns;
	int			nchecks;
	CheckMap   *checks;
	int			nexpiries;
	ExpiryMap  *expiries;
	ColumnMap **by_attnum;		/* natts + 1 entries, NULL where not personal */
	MemoryContext context;		/* holds all of it; modules may hang state below */
	void	   *check_state;	/* prepared CHECK constraints */
	bool		incomplete;		/* a table that it links to does not exist */
	void	   *move_state;		/* prepared partition constraint */
	char	   *missing;		/* a column of the map that does not exist: the
								 * look-ups raise the error */
} TableMap;

/* The server's own trigger functions, of which there are aliases. */
typedef enum DatamapTriggerAlias
{
	ALIAS_SUPPRESS,				/* suppress_redundant_updates_trigger() */
	ALIAS_TSVECTOR,				/* tsvector_update_trigger() */
	ALIAS_TSVECTOR_COLUMN		/* tsvector_update_trigger_column() */
} DatamapTriggerAlias;
#define DATAMAP_TRIGGER_ALIASES	3

/* OIDs of what the planner and the guard put into plans. */
typedef struct GdprOids
{
	Oid			extension;
	Oid			schema;
	Oid			sealed_type;	/* gdpr.sealed */
	Oid			column_ref_type;	/* gdpr.column_ref: no SQL can make a value of it */
	Oid			reveal;			/* reveal(sealed, column_ref, VARIADIC "any" row key) */
	Oid			reveal_stored;	/* reveal_stored(sealed, column_ref, "any" stored, VARIADIC "any" row key) */
	Oid			reveal_row;		/* reveal_row("any" whole row, column_ref) */
	Oid			token;			/* token("any", column_ref) */
	Oid			token_array;	/* token_array("any" array, column_ref) */
	Oid			mark;			/* mark(sealed, bytea column ids (4 bytes each), column_ref) */
	Oid			recheck;		/* recheck(boolean, column_ref): selectivity 1 */
	Oid			require_visible;	/* require_visible(boolean) */
	Oid			row_permitted;	/* row_permitted(sealed, purpose, channel, topic) */
	Oid			trigger_value;	/* trigger_value(record, anyelement) */
	Oid			trigger_row;	/* trigger_row(anyelement) */
	Oid			trigger_aliases[DATAMAP_TRIGGER_ALIASES];	/* by DatamapTriggerAlias */
} GdprOids;

extern void datamap_init(void);

/* Is the extension installed here?  Then its OIDs, else NULL.  Cheap. */
extern const GdprOids *datamap_oids(void);

/* The map of a member of a protected table, NULL if it is not one.  Cheap. */
extern TableMap *datamap_lookup(Oid relid);

/*
 * The maps of all members that hold rows: of a plain table itself, of a
 * partitioned one its partitions, also detached ones.  The list is the
 * caller's.
 */
extern List *datamap_members(const TableMap *map);

/* The attribute number in a member of a column of its root. */
extern AttrNumber datamap_member_attnum(const TableMap *map,
										AttrNumber root_attnum);

/* The owner of a relation, and its name, qualified and quoted. */
extern Oid	datamap_relation_owner(Oid relid);
extern char *datamap_relation_name(Oid relid);

/* The owner of the map's tables, the extension's. */
extern Oid	datamap_owner(void);

/* Is any table protected here?  Cheap. */
extern bool datamap_any_protected(void);

/* The personal column at attnum, or NULL. */
extern ColumnMap *datamap_column_at(const TableMap *map, AttrNumber attnum);

/* The root's, by column id, or NULL. */
extern ColumnMap *datamap_column(int32 column_id);

/*
 * The value of a Const of type gdpr.column_ref: which column (or, for
 * reveal_row and mark, any column id of the table, or the table id negated),
 * how, and for what.
 */
typedef struct PlanColumnRef
{
	int32		vl_len_;
	int32		id;
	int32		flags;
	char		context[FLEXIBLE_ARRAY_MEMBER];
} PlanColumnRef;

#define COLUMN_REF_OWN_INPUT	0x01	/* EXCLUDED: opened whoever asks */
#define COLUMN_REF_RELATION		0x02	/* instead of an id, the OID of the
										 * relation: whole rows of transition
										 * tables do not tell */

/*
 * The context: purpose, channel and topic of the view that is read, each with
 * a '\0' at its end, of which "" is none; or NULL: what the session says.
 */
extern size_t column_context_size(const char *context);
extern Datum column_ref_make(int32 id, int flags, const char *context);

static inline int32
column_ref_id(Datum ref)
{
	return ((const PlanColumnRef *) DatumGetPointer(ref))->id;
}

static inline int
column_ref_flags(Datum ref)
{
	return ((const PlanColumnRef *) DatumGetPointer(ref))->flags;
}

extern const char *column_ref_context(Datum ref);

/* The root's, by table id, or NULL. */
extern TableMap *datamap_table(int32 table_id);

/*
 * All protected tables, as a list of TableMap pointers to their roots; those
 * with a link to parent_relid only, unless it is InvalidOid.  The list is the
 * caller's.
 */
extern List *datamap_tables(Oid parent_relid);

/*
 * Also tables that are declared but not protected yet: for protect().  NULL
 * if relid is not declared.  Not cached.
 */
extern TableMap *datamap_declared(Oid relid);

/* A column of a mapped table was renamed: keep the map's names right. */
extern void datamap_column_renamed(Oid relid, const char *oldname,
								   const char *newname);

/* Something that a TableMap remembers of a relation may have changed. */
extern void datamap_table_altered(Oid relid);

/*
 * Forms.  The form of a row is the token epoch its searchable columns are
 * stored under; 0: the row is not sealed, and its columns hold values.  While
 * protect(), unprotect() or rotate_tokens() converts a table, its rows have
 * two.
 */
static inline bool
datamap_in_transition(const TableMap *map)
{
	return map->other_form >= 0;
}

/* May rows of the table hold values? */
static inline bool
datamap_may_be_open(const TableMap *map)
{
	return map->form == 0 || map->other_form == 0;
}

/* The form of its sealed rows, the newer one if there are two. */
static inline int
datamap_sealed_form(const TableMap *map)
{
	return Max(map->form, map->other_form);
}

/* Moves whenever the map or the purposes may have changed. */
extern uint64 datamap_version(void);

/*
 * Moves whenever a table of ours, always the same one, may have changed; each
 * change of it has to invalidate its relcache entry.  (Callbacks for that are
 * few: modules share one.)
 */
extern uint64 datamap_watch(Oid relid);

#endif							/* GDPR_DATAMAP_H */
