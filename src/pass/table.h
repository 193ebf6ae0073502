/* Large constant tables in fewer bits than floats have, of which Gather picks a few rows: what makes floats
 * of the table may as well make them of the rows. For sessions alone. */
#ifndef IFD_PASS_TABLE_H
#define IFD_PASS_TABLE_H

#include "pass/pass.h"

typedef struct ifd_narrow_table {
  ifd_node *widening; /* Cast or DequantizeLinear of the table */
  int64_t axis;       /* that the Gather picks from */
  int64_t scaled;     /* the axis of scales or blocks; -1: one scale, or none */
  int64_t block;      /* numbers of a block; 0: none */
  bool by_row;        /* a table [rows, numbers] has a scale for each row */
} ifd_narrow_table;

bool ifd_rw_narrow_table(ifd_rewrite *rw, const ifd_node *gather, ifd_narrow_table *out);
/* Whether such a Gather reads v. */
bool ifd_rw_is_narrow_table(ifd_rewrite *rw, const ifd_value *v);

#endif
