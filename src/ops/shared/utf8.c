#include "ops/shared/utf8.h"

#include <string.h>
#ifdef IFD_WITH_UTF8PROC
#include <utf8proc.h>
#endif

size_t ifd_utf8_space(ifd_str s) {
  static const char *const spaces[] = {
      " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\xc2\x85", "\xc2\xa0", "\u1680",
      "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",   "\u2007",   "\u2008",
      "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  unsigned char first = s.len ? (unsigned char)*s.s : 'x';
  if (first > ' ' && first < 0xc2) return 0;
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
    size_t n = strlen(spaces[i]);
    if (n <= s.len && !memcmp(s.s, spaces[i], n)) return n;
  }
  return 0;
}

static char ascii_case(char c, ifd_utf8_case to) {
  if (to == IFD_UTF8_UPPER) return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_ascii(ifd_str s) {
  for (size_t i = 0; i < s.len; i++)
    if ((unsigned char)s.s[i] >= 0x80) return false;
  return true;
}

static ifd_status map_ascii(ifd_error *err, ifd_str *out, ifd_arena *arena, ifd_str s, ifd_utf8_case to) {
  char *t;
  ALLOC(err, t, ifd_arena_alloc(arena, s.len));
  for (size_t i = 0; i < s.len; i++) t[i] = ascii_case(s.s[i], to);
  *out = (ifd_str){t, s.len};
  return IFD_OK;
}

static bool is_turkic(ifd_str locale) {
  bool named = locale.len >= 2 && (!memcmp(locale.s, "tr", 2) || !memcmp(locale.s, "az", 2));
  return named && (locale.len == 2 || locale.s[2] == '_' || locale.s[2] == '-');
}

#ifdef IFD_WITH_UTF8PROC

enum {
  LATIN_CAPITAL_DOTTED_I = 0x130,
  LATIN_SMALL_DOTLESS_I = 0x131,
  MOST = 4 /* of a folding, and bytes */
};

/* The characters that c becomes: how many. */
static int map_one(utf8proc_int32_t c, utf8proc_int32_t *out, ifd_utf8_case to, bool turkic) {
  int boundary = 0;
  if (to == IFD_UTF8_FOLD) {
    int n = (int)utf8proc_decompose_char(c, out, MOST, UTF8PROC_CASEFOLD, &boundary);
    return n > MOST ? 0 : n;
  }
  *out = to == IFD_UTF8_UPPER ? utf8proc_toupper(c) : utf8proc_tolower(c);
  if (turkic && to == IFD_UTF8_UPPER && c == 'i') *out = LATIN_CAPITAL_DOTTED_I;
  if (turkic && to == IFD_UTF8_LOWER && c == 'I') *out = LATIN_SMALL_DOTLESS_I;
  if (turkic && to == IFD_UTF8_LOWER && c == LATIN_CAPITAL_DOTTED_I) *out = 'i';
  return 1;
}

static ifd_status map_unicode(ifd_error *err, ifd_str *out, ifd_arena *arena, ifd_str s, ifd_utf8_case to,
                              bool turkic) {
  char *t;
  size_t len = 0;
  ALLOC(err, t, ifd_arena_alloc_array(arena, s.len, MOST * MOST));
  for (size_t i = 0; i < s.len;) {
    utf8proc_int32_t c, mapped[MOST];
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)s.s + i, (utf8proc_ssize_t)(s.len - i), &c);
    EXPECT(err, used > 0, BAD_INPUT, "a string is not UTF-8 at byte %zu", i);
    for (int k = 0, n = map_one(c, mapped, to, turkic); k < n; k++)
      len += (size_t)utf8proc_encode_char(mapped[k], (utf8proc_uint8_t *)t + len);
    i += (size_t)used;
  }
  *out = (ifd_str){t, len};
  return IFD_OK;
}

#else

static ifd_status map_unicode(ifd_error *err, ifd_str *out, ifd_arena *arena, ifd_str s, ifd_utf8_case to,
                              bool turkic) {
  (void)out, (void)arena, (void)s, (void)to, (void)turkic;
  FAIL(err, UNSUPPORTED, "upper and lower case beyond ASCII need a build with utf8proc");
}

#endif

ifd_status ifd_utf8_map(ifd_error *err, ifd_str *out, ifd_arena *arena, ifd_str s, ifd_utf8_case to,
                        ifd_str locale) {
  *out = s;
  if (to == IFD_UTF8_AS_IS) return IFD_OK;
  bool turkic = is_turkic(locale);
  return is_ascii(s) && !turkic ? map_ascii(err, out, arena, s, to)
                                : map_unicode(err, out, arena, s, to, turkic);
}
