/* Values in files of their own, as ONNX's test data has them: a TensorProto, SequenceProto, OptionalProto,
 * MapProto or SparseTensorProto (read as a dense tensor). Which of them a file holds is not written in it: it
 * follows from the declared type. */
#ifndef IFD_IO_TENSOR_PB_H
#define IFD_IO_TENSOR_PB_H

#include "ir/ir.h"

/* A value of the kind that `type` says (unknown: a tensor), which owns its memory. Whether element type and
 * shape are those of the type is not asked. Errors: IO, BAD_FILE, BAD_MODEL (a malformed tensor), BAD_INPUT,
 * NO_MEMORY. */
ifd_status ifd_pb_read_file(ifd_error *err, ifd_datum *out, const char *path, const ifd_type *type,
                            ifd_budget *budget);
/* The value into a file that appears whole or not at all. type says what an empty sequence would hold. */
ifd_status ifd_pb_write_file(ifd_error *err, const char *path, const ifd_datum *value, const ifd_type *type,
                             const char *name);

#endif
