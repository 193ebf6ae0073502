#include "ops/shared/regex.h"

#include <string.h>

#ifdef IFD_WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* ---- from RE2 to PCRE2 ---- */

typedef struct translator {
  ifd_error *err;
  const char *attr; /* that has the pattern, for messages */
  const char *at, *end;
  char *to; /* has room: see MOST_GROWTH */
  bool in_class;
  bool repeated; /* a repetition ends here: another would be possessive or an error */
} translator;

enum { MOST_GROWTH = 40 }; /* characters that one becomes, at most */

static void put(translator *t, const char *s, size_t n) {
  memcpy(t->to, s, n);
  t->to += n;
}
static void put_text(translator *t, const char *s) { put(t, s, strlen(s)); }

static bool next_is(const translator *t, char c) { return t->at < t->end && *t->at == c; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_octal(char c) { return c >= '0' && c <= '7'; }

static ifd_status refuse(const translator *t, const char *what, char c) {
  FAIL(t->err, BAD_MODEL, "attribute %s has %s%c, which RE2's syntax does not have", t->attr, what, c);
}

/* Escapes that mean something else in PCRE2, outside and inside of a class. */
static const struct {
  char c;
  const char *outside, *inside;
} translated[] = {{'v', "\\x0b", "\\x0b"},
                  {'s', "[\\t\\n\\f\\r\\x20]", "\\t\\n\\f\\r\\x20"},
                  {'S', "[^\\t\\n\\f\\r\\x20]", "\\x00-\\x08\\x0b\\x0e-\\x1f\\x21-\\x{10ffff}"}};

/* An octal number of up to three digits. */
static void put_octal(translator *t) {
  static const char hex[] = "0123456789abcdef";
  int code = 0;
  for (int i = 0; i < 3 && t->at < t->end && is_octal(*t->at); i++) code = code * 8 + (*t->at++ - '0');
  const char text[] = {'\\', 'x', '{', hex[code >> 8], hex[code >> 4 & 15], hex[code & 15], '}'};
  put(t, text, sizeof text);
}

/* \Q … \E, or to the end: every character for itself. */
static void put_quoted(translator *t) {
  const char *stop = memmem(t->at, (size_t)(t->end - t->at), "\\E", 2), *last = stop ? stop : t->end;
  for (; t->at < last; t->at++) {
    bool word = (unsigned char)*t->at >= 0x80 || is_digit(*t->at) || (*t->at >= 'a' && *t->at <= 'z') ||
                (*t->at >= 'A' && *t->at <= 'Z');
    if (!word) put_text(t, "\\");
    put(t, t->at, 1);
  }
  if (stop) t->at += 2;
}

static ifd_status translate_escape(translator *t) {
  EXPECT(t->err, t->at < t->end, BAD_MODEL, "attribute %s ends in a backslash", t->attr);
  char c = *t->at;
  bool digit = is_digit(c), letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  if (digit) {
    if (c != '0' && !(is_octal(c) && t->at + 1 < t->end && is_octal(t->at[1]))) return refuse(t, "\\", c);
    put_octal(t);
    return IFD_OK;
  }
  t->at++;
  for (size_t i = 0; i < sizeof translated / sizeof *translated; i++)
    if (translated[i].c == c) {
      put_text(t, t->in_class ? translated[i].inside : translated[i].outside);
      return IFD_OK;
    }
  if (c == 'Q') {
    put_quoted(t);
    return IFD_OK;
  }
  if (letter && !strchr(t->in_class ? "aftnrxpPdDwW" : "aftnrxpPdDwWAbBz", c)) return refuse(t, "\\", c);
  put_text(t, "\\");
  put(t, &c, 1);
  const char *close =
      next_is(t, '{') && c && strchr("xpP", c) ? memchr(t->at, '}', (size_t)(t->end - t->at)) : NULL;
  for (; close && t->at <= close; t->at++) put(t, t->at, 1);
  return IFD_OK;
}

/* After "(": groups are plain, (?:…), (?P<name>…), (?<name>…) or have flags. */
static ifd_status translate_group(translator *t) {
  put_text(t, "(");
  if (next_is(t, '*')) return refuse(t, "(", '*');
  if (!next_is(t, '?')) return IFD_OK;
  t->at++;
  put_text(t, "?");
  EXPECT(t->err, t->at < t->end, BAD_MODEL, "attribute %s ends within a group", t->attr);
  if (next_is(t, 'P')) put(t, t->at++, 1);
  if (next_is(t, '<')) {
    if (t->at + 1 < t->end && (t->at[1] == '=' || t->at[1] == '!')) return refuse(t, "(?<", t->at[1]);
    return IFD_OK;
  }
  while (t->at < t->end && *t->at && strchr("imsU-", *t->at)) put(t, t->at++, 1);
  if (!next_is(t, ':') && !next_is(t, ')')) return refuse(t, "(?", t->at < t->end ? *t->at : ' ');
  put(t, t->at++, 1);
  return IFD_OK;
}

/* Bytes of "{n}", "{n,}" or "{n,m}" here, or 0: then RE2 takes the brace for itself. */
static size_t repetition_len(const translator *t) {
  const char *p = t->at;
  if (p == t->end || !is_digit(*p)) return 0;
  while (p < t->end && is_digit(*p)) p++;
  if (p < t->end && *p == ',')
    for (p++; p < t->end && is_digit(*p);) p++;
  return p < t->end && *p == '}' ? (size_t)(p + 1 - t->at) : 0;
}

/* c is one of *+?{ */
static ifd_status translate_repetition(translator *t, char c) {
  size_t len = c == '{' ? repetition_len(t) : 0;
  if (c == '{' && len == 0) {
    put_text(t, "\\{");
    t->repeated = false;
    return IFD_OK;
  }
  if (t->repeated) return refuse(t, "a repetition before ", c);
  put(t, &c, 1);
  put(t, t->at, len);
  t->at += len;
  if (next_is(t, '?')) put(t, t->at++, 1);
  t->repeated = true;
  return IFD_OK;
}

/* After "[". */
static ifd_status translate_class(translator *t) {
  put_text(t, "[");
  t->in_class = true;
  if (next_is(t, '^')) put(t, t->at++, 1);
  for (bool first = true; t->at < t->end && (first || *t->at != ']'); first = false) {
    if (next_is(t, '\\')) {
      t->at++;
      TRY(translate_escape(t));
    } else if (next_is(t, '[') && t->at + 1 < t->end && t->at[1] == ':') {
      const char *close = memmem(t->at + 2, (size_t)(t->end - t->at - 2), ":]", 2);
      EXPECT(t->err, close, BAD_MODEL, "attribute %s has [: without :]", t->attr);
      put(t, t->at, (size_t)(close + 2 - t->at));
      t->at = close + 2;
    } else if (next_is(t, '[') || (first && next_is(t, ']'))) {
      put_text(t, "\\");
      put(t, t->at++, 1);
    } else
      put(t, t->at++, 1);
  }
  EXPECT(t->err, next_is(t, ']'), BAD_MODEL, "attribute %s has [ without ]", t->attr);
  put(t, t->at++, 1);
  t->in_class = false;
  return IFD_OK;
}

static ifd_status translate(translator *t) {
  while (t->at < t->end) {
    char c = *t->at++;
    if (strchr("*+?{", c) && c) {
      TRY(translate_repetition(t, c));
      continue;
    }
    t->repeated = false;
    if (c == '\\')
      TRY(translate_escape(t));
    else if (c == '(')
      TRY(translate_group(t));
    else if (c == '[')
      TRY(translate_class(t));
    else
      put(t, &c, 1);
  }
  return IFD_OK;
}

/* ---- matching ---- */

struct ifd_regex {
  pcre2_code *code;
  pcre2_match_data *data;
  ifd_arena *scratch;
  int *workspace;
  size_t workspace_len;
  uint64_t work; /* bytes that searches may have gone over in vain */
};

static ifd_status compile(ifd_error *err, ifd_regex *r, ifd_str pattern, const char *attr) {
  translator t = {.err = err, .attr = attr, .at = pattern.s, .end = pattern.s + pattern.len};
  char *text;
  int code;
  PCRE2_SIZE offset;
  ALLOC(err, text, ifd_arena_alloc_array(r->scratch, pattern.len + 1, MOST_GROWTH));
  t.to = text;
  TRY(translate(&t));
  r->code = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)(t.to - text),
                          PCRE2_UTF | PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY, &code, &offset, NULL);
  if (r->code) return IFD_OK;
  PCRE2_UCHAR message[128] = "";
  (void)pcre2_get_error_message(code, message, sizeof message);
  FAIL(err, BAD_MODEL, "attribute %s: %s", attr, (const char *)message);
}

ifd_status ifd_regex_new(ifd_error *err, ifd_regex **out, ifd_arena *scratch, ifd_str pattern,
                         const char *attr) {
  ifd_regex *r;
  *out = NULL;
  ALLOC(err, r, ifd_new(scratch, ifd_regex));
  r->scratch = scratch;
  r->workspace_len = 1024;
  ALLOC(err, r->workspace, ifd_new_array(scratch, int, r->workspace_len));
  TRY(compile(err, r, pattern, attr));
  *out = r;
  ALLOC(err, r->data, pcre2_match_data_create(1, NULL));
  return IFD_OK;
}

void ifd_regex_free(ifd_regex *r) {
  if (!r) return;
  pcre2_match_data_free(r->data);
  pcre2_code_free(r->code);
}

/* The longest match in s[from, to) that begins at from: its end, or a status below 0. The workspace grows
 * until the states of the match fit. */
static ifd_status match(ifd_error *err, ifd_regex *r, ifd_str s, size_t from, size_t to, uint32_t options,
                        int *status, size_t *end) {
  enum { MOST_WORKSPACE = 1 << 24 };
  for (;;) {
    *status = pcre2_dfa_match(r->code, (PCRE2_SPTR)(s.s ? s.s : ""), to, from, options, r->data, NULL,
                              r->workspace, r->workspace_len);
    if (*status >= 0) *end = pcre2_get_ovector_pointer(r->data)[1];
    if (*status >= 0 || *status == PCRE2_ERROR_NOMATCH || *status == PCRE2_ERROR_PARTIAL) return IFD_OK;
    EXPECT(err, *status > PCRE2_ERROR_UTF8_ERR1 || *status < PCRE2_ERROR_UTF8_ERR21, BAD_INPUT,
           "a string is not UTF-8");
    EXPECT(err, *status == PCRE2_ERROR_DFA_WSSIZE && r->workspace_len < MOST_WORKSPACE, LIMIT,
           "the pattern takes too much memory or time to match (PCRE2's code %d)", *status);
    r->workspace_len *= 4;
    ALLOC(err, r->workspace, ifd_new_array(r->scratch, int, r->workspace_len));
  }
}

/* The matcher finds the longest of all matches first: is it the whole string? */
ifd_status ifd_regex_matches(ifd_error *err, ifd_regex *r, ifd_str s, bool *out) {
  int status;
  size_t end = 0;
  TRY(match(err, r, s, 0, s.len, 0, &status, &end));
  *out = status >= 0 && end == s.len;
  return IFD_OK;
}

/* Past the character that stands at `at`. */
static size_t next_character(ifd_str s, size_t at) {
  for (at++; at < s.len && ((unsigned char)s.s[at] & 0xc0) == 0x80;) at++;
  return at;
}

/* A match at `from` is looked for in ever larger windows, so that short ones cost little in a long string,
 * and what all attempts may have cost is known. */
static ifd_status match_at(ifd_error *err, ifd_regex *r, ifd_str s, size_t from, size_t *end, bool *found) {
  enum { FIRST = 64 };
  const uint64_t most_work = 1 << 28;
  int status = PCRE2_ERROR_PARTIAL;
  for (size_t window = FIRST; status == PCRE2_ERROR_PARTIAL; window *= 4) {
    size_t to = window < s.len - from ? next_character(s, from + window - 1) : s.len;
    uint32_t partial = to < s.len ? PCRE2_PARTIAL_HARD : 0;
    r->work += window > FIRST ? to - from : 0;
    EXPECT(err, r->work <= most_work, LIMIT, "the pattern takes too long to find in a string of %zu bytes",
           s.len);
    TRY(match(err, r, s, from, to, PCRE2_NOTEMPTY | partial, &status, end));
  }
  *found = status >= 0;
  return IFD_OK;
}

ifd_status ifd_regex_find(ifd_error *err, ifd_regex *r, ifd_str s, size_t from, size_t *start, size_t *end) {
  bool found = false;
  for (*start = from; *start < s.len; *start = next_character(s, *start)) {
    TRY(match_at(err, r, s, *start, end, &found));
    if (found) return IFD_OK;
  }
  *start = *end = s.len;
  return IFD_OK;
}

#else

ifd_status ifd_regex_new(ifd_error *err, ifd_regex **out, ifd_arena *scratch, ifd_str pattern,
                         const char *attr) {
  (void)scratch, (void)pattern, (void)attr;
  *out = NULL;
  FAIL(err, UNSUPPORTED, "regular expressions need a build with PCRE2");
}
void ifd_regex_free(ifd_regex *r) { (void)r; }
ifd_status ifd_regex_matches(ifd_error *err, ifd_regex *r, ifd_str s, bool *out) {
  (void)err, (void)r, (void)s, (void)out;
  return IFD_OK;
}
ifd_status ifd_regex_find(ifd_error *err, ifd_regex *r, ifd_str s, size_t from, size_t *start, size_t *end) {
  (void)err, (void)r, (void)s, (void)from, (void)start, (void)end;
  return IFD_OK;
}

#endif
