#include "ops/shared/strings.h"

#include <string.h>

ifd_status ifd_eval_strings(ifd_eval *x, int i, const ifd_shape *shape, const ifd_str *strings) {
  TRY(ifd_shape_check(x->err, shape, sizeof(ifd_str)));
  int64_t n = ifd_shape_count(shape);
  size_t bytes = (size_t)n * sizeof(ifd_str);
  for (int64_t k = 0; k < n; k++)
    EXPECT(x->err, ifd_add_size(&bytes, bytes, strings[k].len), LIMIT, "strings are larger than memory");
  ifd_datum *out = &x->out[i];
  ifd_tensor t = {.dtype = IFD_STRING, .shape = *shape};
  ALLOC(x->err, t.buf, ifd_buf_create(x->budget, bytes));
  t.data = t.buf->data;
  ifd_str *to = t.data;
  char *at = t.buf->data + (size_t)n * sizeof(ifd_str);
  for (int64_t k = 0; k < n; k++) {
    if (strings[k].len) memcpy(at, strings[k].s, strings[k].len);
    to[k] = (ifd_str){at, strings[k].len};
    at += strings[k].len;
  }
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = t};
  return IFD_OK;
}
