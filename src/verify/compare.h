/* How far two values are apart. */
#ifndef IFD_VERIFY_COMPARE_H
#define IFD_VERIFY_COMPARE_H

#include "tensor/tensor.h"

typedef struct ifd_difference {
  bool same_form;   /* kinds, element types, shapes, counts agree */
  const char *form; /* what does not: "shapes", "element types" …; NULL when same_form */
  double worst;     /* largest |a - b|; infinity where only one is NaN, or infinite, or texts differ */
  double scale;     /* largest finite |a| */
  int item;         /* of a sequence: where the worst is; -1 for a tensor */
  int64_t at;       /* element where the worst is */
  double a, b;      /* its values; of texts 0 */
  bool is_float;    /* floats were compared: a tolerance makes sense */
  double epsilon;   /* of the coarsest float type in it */
  int64_t n, n_nan; /* elements, and how many are NaN in both */
  int64_t n_beyond; /* elements that differ by more than limit */
  double limit;
} ifd_difference;

/* NaN equals NaN, an infinity the same infinity. wide: b comes from a run in double, so DOUBLE stands for
 * FLOAT. */
void ifd_compare(const ifd_datum *a, const ifd_datum *b, bool wide, ifd_difference *out);
/* How many elements of the same form differ by more than this. */
int64_t ifd_count_beyond(const ifd_datum *a, const ifd_datum *b, double limit);

#endif
