/* What all files of src/io/ share. */
#ifndef IFD_IO_FILE_H
#define IFD_IO_FILE_H

#include "base/os.h"

/* Forwards a failure, saying where it happened. */
#define TRY_IN(err, expression, ...)                                                                         \
  do {                                                                                                       \
    ifd_status try_in_status_ = (expression);                                                                \
    if (try_in_status_ != IFD_OK) {                                                                          \
      ifd_error_add(err, __VA_ARGS__);                                                                       \
      return try_in_status_;                                                                                 \
    }                                                                                                        \
  } while (0)

/* Ends a file of which all was appended with this status: it appears whole, or not at all. */
static inline ifd_status ifd_finish_file(ifd_error *err, ifd_writer *file, ifd_status status) {
  if (status == IFD_OK) return ifd_writer_commit(err, file);
  ifd_writer_abort(file);
  return status;
}

#endif
