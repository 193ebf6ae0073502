#include "ops/op.h"

#include <string.h>

#define X(family) extern const ifd_op ifd_ops_##family[];
#include "ops.inc"
#undef X

static const ifd_op *const families[] = {
#define X(family) ifd_ops_##family,
#include "ops.inc"
#undef X
    NULL};

const ifd_op *ifd_op_at(int index) {
  for (int f = 0; families[f]; f++)
    for (const ifd_op *op = families[f]; op->name; op++)
      if (index-- == 0) return op;
  return NULL;
}

static bool same_domain(const char *row, const char *domain) {
  if (!row) row = "";
  if (strcmp(domain, "ai.onnx") == 0) domain = "";
  return strcmp(row, domain) == 0;
}

/* The newest row not newer than the opset. Most of the hundreds of rows fail at their first letter. */
const ifd_op *ifd_op_find(const char *domain, const char *name, int opset) {
  const ifd_op *best = NULL;
  for (int f = 0; families[f]; f++)
    for (const ifd_op *op = families[f]; op->name; op++)
      if (*op->name == *name && op->since <= opset && (!best || op->since > best->since) &&
          strcmp(op->name, name) == 0 && same_domain(op->domain, domain))
        best = op;
  return best;
}
