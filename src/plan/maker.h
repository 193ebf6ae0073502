/* A plan in the making: what the files that make one share; for src/plan/ alone.
 *
 * Nodes become drafts (draft.c): their types are inferred for the inputs at hand, and what inference knows,
 * or what only looks at an input, becomes none. Drafts are cut into slices of the batch (slice.c) and lowered
 * to steps (plan.c). Then values get their memory (place.c). Plans are kept by the shapes they are for
 * (cache.c). */
#ifndef IFD_PLAN_MAKER_H
#define IFD_PLAN_MAKER_H

#include "plan/program_priv.h"
#include "plan/slice.h"

/* Arrays are by slot. */
typedef struct ifd_maker {
  ifd_error *err;
  ifd_arena scratch;
  ifd_program *program;
  ifd_program_priv *priv;
  ifd_plan *plan;
  ifd_inference inf;
  ifd_slot *slots;
  bool *is_output;
  int *last_read; /* by root slot: the last step that reads it; -1 none */
  int *within;    /* what a slot was made an alias of */
  ifd_draft *drafts;
  int n_drafts;
  ifd_slicing slicing;
  ifd_step *steps;
  const ifd_draft **draft_of; /* by step */
  int n_steps;
} ifd_maker;

/* ---- draft.c ---- */

/* Constants, inputs and captures into their slots. */
ifd_status ifd_plan_begin(ifd_maker *m, const ifd_datum *inputs, const ifd_datum *const *captures);
/* Types of a node's outputs; a draft unless they are known or a view. */
ifd_status ifd_plan_draft(ifd_maker *m, const ifd_program_node *n);

/* ---- place.c ---- */

/* Where a slot's memory begins: its alias becomes that of the root. */
int ifd_slot_root(ifd_maker *m, int slot);
/* Puts a slot into the memory of another, from `offset` on. */
void ifd_slot_alias(ifd_maker *m, int slot, int of, size_t offset);
/* Whether it has memory of its own that others may lie in. */
bool ifd_slot_is_memory(const ifd_slot *s);
/* Lifetimes, then the memory of every value: in that of another where it can be, else in the slab or in a
 * lane; the borders of regions, and what each step is the last to need. */
ifd_status ifd_plan_place(ifd_maker *m);

/* ---- plan.c ---- */

ifd_status ifd_plan_make(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                         const ifd_datum *const *captures);

#endif
