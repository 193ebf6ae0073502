/* Statuses and the error record.
 * A function that can fail returns an ifd_status and takes, directly or in its context, an ifd_error: the
 * first failure writes it, callers only add where it happened. Nothing is ever printed here. */
#ifndef IFD_BASE_STATUS_H
#define IFD_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, exit code of the command, text) */
#define IFD_STATUS_LIST(X)                                                                                   \
  X(OK, 0, "ok")                                                                                             \
  X(DIFFERS, 1, "a check found a difference")                                                                \
  X(USAGE, 2, "wrong usage")                                                                                 \
  X(BAD_INPUT, 2, "an input does not fit the model")                                                         \
  X(IO, 3, "a file cannot be read or written")                                                               \
  X(BAD_FILE, 3, "the file is malformed")                                                                    \
  X(BAD_MODEL, 3, "the model breaks the ONNX specification")                                                 \
  X(UNSUPPORTED, 4, "not supported")                                                                         \
  X(LIMIT, 5, "a resource limit was reached")                                                                \
  X(NO_MEMORY, 5, "out of memory")

typedef enum ifd_status {
#define X(name, exit_code, text) IFD_##name,
  IFD_STATUS_LIST(X)
#undef X
} ifd_status;

typedef struct ifd_error {
  ifd_status code; /* IFD_OK while nothing failed */
  char where[512]; /* node, pass, field: prefixes added by callers, outermost first */
  char text[1024]; /* what is wrong and what was expected; one line, no control bytes */
} ifd_error;

/* Records the first failure and returns its code; later calls leave the record alone. */
ifd_status ifd_error_set(ifd_error *err, ifd_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
/* Puts "format: " before what `where` already says. Keeps the code. */
void ifd_error_add(ifd_error *err, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
void ifd_error_clear(ifd_error *err);
const char *ifd_status_text(ifd_status code);
int ifd_status_exit_code(ifd_status code);

#define FAIL(err, code, ...)                                                                                 \
  do {                                                                                                       \
    (void)ifd_error_set(err, IFD_##code, __VA_ARGS__);                                                       \
    return IFD_##code; /* a constant, so that compilers see that it is no success */                         \
  } while (0)
#define TRY(expression)                                                                                      \
  do {                                                                                                       \
    ifd_status try_status_ = (expression);                                                                   \
    if (try_status_ != IFD_OK) return try_status_;                                                           \
  } while (0)
/* Fails with `code` unless the condition holds. */
#define EXPECT(err, condition, code, ...)                                                                    \
  do {                                                                                                       \
    if (!(condition)) FAIL(err, code, __VA_ARGS__);                                                          \
  } while (0)
/* p = an allocation that may fail. */
#define ALLOC(err, p, allocation)                                                                            \
  do {                                                                                                       \
    if (!((p) = (allocation))) FAIL(err, NO_MEMORY, "out of memory");                                        \
  } while (0)

#endif
