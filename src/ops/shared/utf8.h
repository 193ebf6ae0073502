/* UTF-8: white space and changes of case. The tables are utf8proc's (Unicode); built without it, only ASCII
 * has case, and anything else is refused (UNSUPPORTED). */
#ifndef IFD_OPS_SHARED_UTF8_H
#define IFD_OPS_SHARED_UTF8_H

#include "ops/op.h"

/* Bytes of the white space character (Unicode's White_Space) that s begins with, or 0. */
size_t ifd_utf8_space(ifd_str s);

typedef enum ifd_utf8_case {
  IFD_UTF8_AS_IS,
  IFD_UTF8_LOWER, /* character by character: lengths in characters stay */
  IFD_UTF8_UPPER,
  IFD_UTF8_FOLD, /* Unicode's full case folding: equal where texts differ in case alone */
} ifd_utf8_case;

/* s with its case changed, in the arena (s itself where nothing is to be changed). Locales whose language is
 * tr or az have a dotted and a dotless i. BAD_INPUT where s is not UTF-8. */
ifd_status ifd_utf8_map(ifd_error *err, ifd_str *out, ifd_arena *arena, ifd_str s, ifd_utf8_case to,
                        ifd_str locale);

#endif
