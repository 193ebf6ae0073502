/* .onnx files to models.
 *
 * The file is mapped, not read; its weights stay where they are and the model borrows them (and those of
 * external data files, which are mapped as well) until it is destroyed. Only small tensors that are not
 * aligned in the file, and elements that are not stored as they lie in memory, are copied, once. What infold
 * does not interpret is kept with the model (`origin`), so that writing it again loses nothing.
 *
 * Refused, with the node and field: what breaks the wire format or the ONNX specification in a way that
 * leaves no meaning (names defined twice or never, nodes out of order, tensors whose bytes do not fit their
 * shape, opset imports that contradict each other or are missing, attributes without a type …). Whether nodes
 * fit their operators' schemas is the verifier's to say (ir/verify.h), not asked here. */
#ifndef IFD_IO_ONNX_READ_H
#define IFD_IO_ONNX_READ_H

#include "ir/ir.h"

typedef struct ifd_read_options {
  bool allow_links;      /* external data may lie behind symbolic or hard links */
  const char *directory; /* folder of external data; NULL: that of the file, none for a model in memory */
} ifd_read_options;

/* options may be NULL, as may budget. Errors: IO, BAD_FILE, BAD_MODEL, UNSUPPORTED, LIMIT, NO_MEMORY; they
 * name node and field, not the file. */
ifd_status ifd_onnx_read_file(ifd_error *err, ifd_model **out, const char *path,
                              const ifd_read_options *options, ifd_budget *budget);
/* The i-th file that a model borrows from: itself when it was read from a file, then its external data, in
 * the order of their first use. *location is the name of external data, NULL for the model. False when there
 * are no more. */
bool ifd_onnx_file(const ifd_model *model, int i, const char **location, const void **data, size_t *len);
/* The bytes are borrowed: they must live as long as the model. */
ifd_status ifd_onnx_read_memory(ifd_error *err, ifd_model **out, const void *bytes, size_t len,
                                const ifd_read_options *options, ifd_budget *budget);

#endif
