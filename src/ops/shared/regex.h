/* Regular expressions in RE2's syntax, matched by PCRE2's DFA matcher, which like RE2 follows all
 * alternatives at once, so that no pattern takes exponential time. What RE2 lacks (lookaround,
 * back-references, possessive and atomic groups …) is refused, and what the two understand differently is
 * translated. Sources: https://github.com/google/re2/wiki/Syntax, pcre2pattern(3), pcre2matching(3). */
#ifndef IFD_OPS_SHARED_REGEX_H
#define IFD_OPS_SHARED_REGEX_H

#include "ops/op.h"

typedef struct ifd_regex ifd_regex;

/* *out is to be freed in any case (NULL is fine); the rest of it lies in scratch, which must outlive it.
 * Messages name the attribute `attr`. UNSUPPORTED in builds without PCRE2. */
ifd_status ifd_regex_new(ifd_error *err, ifd_regex **out, ifd_arena *scratch, ifd_str pattern,
                         const char *attr);
void ifd_regex_free(ifd_regex *regex);
/* Whether it matches all of s. BAD_INPUT where s is not UTF-8. */
ifd_status ifd_regex_matches(ifd_error *err, ifd_regex *regex, ifd_str s, bool *out);
/* The longest of the leftmost matches that are not empty, from there on: [*start, *end); both are s.len where
 * there is none. */
ifd_status ifd_regex_find(ifd_error *err, ifd_regex *regex, ifd_str s, size_t from, size_t *start,
                          size_t *end);

#endif
