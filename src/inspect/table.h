/* Tables of text that fit a width.
 *
 * A table has titled columns and rows of cells, all texts in one arena. Columns marked flexible give way when
 * the table is wider than it may be: their cells are cut in the middle (names differ at both ends). Control
 * bytes in cells are shown as '?'. A column is as wide as its widest cell; one code point counts as one
 * column. */
#ifndef IFD_INSPECT_TABLE_H
#define IFD_INSPECT_TABLE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/vec.h"

#include <stdio.h>

typedef struct ifd_column {
  const char *title; /* NULL ends a list of columns */
  bool right;        /* numbers */
  bool flexible;
  bool wraps; /* the last column only: a sentence, continued in further lines */
} ifd_column;

typedef struct ifd_table {
  ifd_error *err;
  ifd_arena *arena;
  const ifd_column *columns;
  int n_columns;
  IFD_VEC(const char **) rows; /* NULL: a rule */
} ifd_table;

void ifd_table_init(ifd_table *table, ifd_error *err, ifd_arena *arena, const ifd_column *columns);
/* One text for each column, borrowed. NULL is what an allocation left: NO_MEMORY. */
ifd_status ifd_table_add(ifd_table *table, const char *const *cells);
ifd_status ifd_table_add_rule(ifd_table *table);
/* width 0: as wide as it gets. */
void ifd_table_print(const ifd_table *table, FILE *to, int width);
void ifd_table_print_markdown(const ifd_table *table, FILE *to);

/* Text with control bytes shown as '?'. */
void ifd_put_clean(FILE *to, const char *text);

/* Texts for cells, in an arena; NULL when out of memory. */
const char *ifd_text_count(ifd_arena *arena, double n); /* 1234567 -> "1,234,567" */
const char *ifd_text_short(ifd_arena *arena, double n); /* 1810000000 -> "1.81 G" */
const char *ifd_text_bytes(ifd_arena *arena, double n); /* 46700000 -> "46.7 MB" */

#endif
