/*
 * rewrite_tokens.c
 *		The clauses that rewrite_search.c adds: comparisons of stored columns
 *		with tokens, and when they follow from comparisons of values.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "rewrite_internal.h"

/*
 * The operator by which tokens of the column are compared: values that it
 * finds equal have equal tokens.
 */
static Oid
token_equality(const ColumnMap *column)
{
	Oid			typid = column->basetypid;

	if (typid == VARCHAROID)
		typid = TEXTOID;
	return lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;
}

/*
 * Does it follow from "column <opno> x" that both have one token?  Text
 * compares exactly, which is at least as strict as citext.
 */
bool
rewrite_implies_equal_tokens(Oid opno, Oid inputcollid, const ColumnMap *column)
{
	if (opno != token_equality(column) && opno != TextEqualOperator)
		return false;
	return !OidIsValid(inputcollid) ||
		get_collation_isdeterministic(inputcollid);
}

Expr *
rewrite_token_call(Oid funcid, Node *value, const ColumnMap *column,
				   const char *context)
{
	return (Expr *) makeFuncExpr(funcid, exprType(value),
								 list_make2(copyObject(value),
											rewrite_column_ref(column->id, 0, context)),
								 exprCollation(value), exprCollation(value),
								 COERCE_EXPLICIT_CALL);
}

/*
 * "stored column = token(value)" in the form of op, whose argument at side the
 * column is.  While the table is converted: "stored column = ANY (what stands
 * for value in either form)"; NULL if that cannot be said.
 */
Expr *
rewrite_compare_stored(const OpExpr *op, int side, Node *stored, Node *value,
					   const ColumnMap *column, const char *context)
{
	const GdprOids *oids = datamap_oids();
	Oid			opno = side == 0 ? op->opno : get_commutator(op->opno);
	ScalarArrayOpExpr *any;
	ArrayExpr  *array;

	if (!datamap_in_transition(column->table))
	{
		OpExpr	   *result = copyObject(unconstify(OpExpr *, op));
		Expr	   *token = rewrite_token_call(oids->token, value, column,
												context);

		result->args = side == 0 ? list_make2(stored, token) :
			list_make2(token, stored);
		return (Expr *) result;
	}

	array = makeNode(ArrayExpr);
	array->element_typeid = exprType(value);
	array->array_typeid = get_array_type(array->element_typeid);
	array->array_collid = exprCollation(value);
	array->elements = list_make1(copyObject(value));
	array->location = -1;
	if (!OidIsValid(opno) || !OidIsValid(array->array_typeid))
		return NULL;
	any = makeNode(ScalarArrayOpExpr);
	any->opno = opno;
	any->opfuncid = get_opcode(opno);
	any->useOr = true;
	any->inputcollid = op->inputcollid;
	any->args = list_make2(stored,
						   rewrite_token_call(oids->token_array, (Node *) array,
											  column, context));
	any->location = -1;
	return (Expr *) any;
}

Expr *
rewrite_recheck_call(Node *qual, const ColumnMap *column, const char *context)
{
	return (Expr *) makeFuncExpr(datamap_oids()->recheck, BOOLOID,
								 list_make2(qual,
											rewrite_column_ref(column->id, 0, context)),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

Node *
rewrite_with_recheck(Expr *clause, Node *qual, const ColumnMap *column,
					 const char *context)
{
	return (Node *) makeBoolExpr(AND_EXPR,
								 list_make2(clause,
											rewrite_recheck_call(qual, column, context)), -1);
}

/* Do equal values have equal stored forms in both columns? */
bool
rewrite_same_tokens(const ColumnMap *a, const ColumnMap *b)
{
	Oid			atype = a->basetypid == VARCHAROID ? TEXTOID : a->basetypid;
	Oid			btype = b->basetypid == VARCHAROID ? TEXTOID : b->basetypid;

	/* rows in two forms have two tokens for a value */
	return !datamap_in_transition(a->table) &&
		!datamap_in_transition(b->table) &&
		a->table->form == b->table->form &&
		a->token_domain == b->token_domain &&
		a->token_bytes == b->token_bytes &&
		a->normalize == b->normalize && atype == btype;
}

/*
 * bigint compared with a smaller integer: the same with the latter widened.
 */
OpExpr *
rewrite_widen_integer(OpExpr *op)
{
	Node	   *left = linitial(op->args);
	Node	   *right = lsecond(op->args);
	Oid			opno;
	List	   *args;

	switch (op->opfuncid != InvalidOid ? op->opfuncid : get_opcode(op->opno))
	{
		case F_INT84EQ:
		case F_INT82EQ:
		case F_INT48EQ:
		case F_INT28EQ:
			break;
		default:
			return op;
	}
	opno = lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr;
	left = coerce_to_target_type(NULL, left, exprType(left), INT8OID, -1,
								 COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	right = coerce_to_target_type(NULL, right, exprType(right), INT8OID, -1,
								  COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	args = list_make2(left, right);
	op = (OpExpr *) make_opclause(opno, BOOLOID, false, linitial(args),
								  lsecond(args), InvalidOid, InvalidOid);
	op->opfuncid = get_opcode(opno);
	return op;
}
