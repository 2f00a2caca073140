/*
 * rewrite_functions.h
 *		Keeps the planner from inlining set-returning SQL functions that read
 *		protected tables.
 */
#ifndef GDPR_REWRITE_FUNCTIONS_H
#define GDPR_REWRITE_FUNCTIONS_H

extern void rewrite_functions_init(void);

#endif							/* GDPR_REWRITE_FUNCTIONS_H */
