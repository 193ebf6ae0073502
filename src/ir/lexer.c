#include "ir/lexer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static void skip_space(ifd_lexer *x) {
  while (x->at < x->end && (is_space(*x->at) || *x->at == '#'))
    if (*x->at == '#')
      while (x->at < x->end && *x->at != '\n') x->at++;
    else
      x->at++;
}

void ifd_lexer_add_place(const ifd_lexer *x) {
  int line = 1, column = 1;
  for (const char *s = x->text; s < x->at; s++)
    if (*s == '\n')
      line++, column = 1;
    else
      column++;
  ifd_error_add(x->err, "line %d, column %d", line, column);
}

bool ifd_lexer_at_end(ifd_lexer *x) {
  skip_space(x);
  return x->at == x->end;
}

char ifd_lexer_peek(ifd_lexer *x) {
  skip_space(x);
  return x->at < x->end ? *x->at : '\0';
}

ifd_str ifd_lexer_peek_identifier(ifd_lexer *x) {
  skip_space(x);
  const char *s = x->at;
  if (s < x->end && is_letter(*s))
    while (s < x->end && (is_letter(*s) || is_digit(*s))) s++;
  return (ifd_str){x->at, (size_t)(s - x->at)};
}

bool ifd_lexer_peek_word(ifd_lexer *x, const char *word) {
  ifd_str id = ifd_lexer_peek_identifier(x);
  return id.len == strlen(word) && memcmp(id.s, word, id.len) == 0;
}

bool ifd_lexer_take(ifd_lexer *x, const char *token) {
  skip_space(x);
  size_t len = strlen(token);
  if ((size_t)(x->end - x->at) < len || memcmp(x->at, token, len) != 0) return false;
  x->at += len;
  return true;
}

ifd_status ifd_lexer_expect(ifd_lexer *x, const char *token) {
  EXPECT_AT(x, ifd_lexer_take(x, token), "'%s' was expected", token);
  return IFD_OK;
}

ifd_status ifd_lexer_identifier(ifd_lexer *x, const char **out) {
  ifd_str id = ifd_lexer_peek_identifier(x);
  EXPECT_AT(x, id.len, "a name was expected");
  ALLOC(x->err, *out, ifd_arena_strndup(x->arena, id.s, id.len));
  x->at += id.len;
  return IFD_OK;
}

static int hex_digit(char c) {
  return is_digit(c)            ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* What follows a backslash at s; returns how many characters it took. */
static size_t unescape(const char *s, const char *end, char *out) {
  if (*s == 'x' && end - s > 2 && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
    *out = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
    return 3;
  }
  *out = *s;
  return 1;
}

ifd_status ifd_lexer_string(ifd_lexer *x, ifd_str *out) {
  EXPECT_AT(x, ifd_lexer_peek(x) == '"', "a string was expected");
  const char *s = x->at + 1, *close = s;
  while (close < x->end && *close != '"') close += *close == '\\' ? 2 : 1;
  EXPECT_AT(x, close < x->end, "a string has no end");
  char *copy;
  ALLOC(x->err, copy, ifd_arena_alloc(x->arena, (size_t)(close - s) + 1));
  size_t len = 0;
  while (s < close)
    if (*s == '\\') {
      s++;
      s += unescape(s, close, &copy[len++]);
    } else {
      copy[len++] = *s++;
    }
  x->at = close + 1;
  *out = (ifd_str){copy, len};
  return IFD_OK;
}

ifd_status ifd_lexer_text(ifd_lexer *x, const char **out) {
  ifd_str s;
  TRY(ifd_lexer_string(x, &s));
  EXPECT_AT(x, !memchr(s.s, '\0', s.len), "a text has a zero byte");
  *out = s.s;
  return IFD_OK;
}

ifd_status ifd_lexer_name(ifd_lexer *x, const char **out) {
  return ifd_lexer_peek(x) == '"' ? ifd_lexer_text(x, out) : ifd_lexer_identifier(x, out);
}

bool ifd_is_identifier(const char *s, size_t len) {
  if (!len || !is_letter(*s)) return false;
  for (size_t i = 1; i < len; i++)
    if (!is_letter(s[i]) && !is_digit(s[i])) return false;
  return true;
}

bool ifd_is_float_word(ifd_str s) {
  static const char *const words[] = {"inf", "infinity", "nan"};
  for (int i = 0; i < 3; i++)
    if (s.len == strlen(words[i]) && strncasecmp(s.s, words[i], s.len) == 0) return true;
  return false;
}

static const char *skip_digits(const char *s, const char *end) {
  while (s < end && is_digit(*s)) s++;
  return s;
}

/* The end of digits ['.' digits] [e [sign] digits] at s. */
static const char *scan_digits(const char *s, const char *end, bool *is_float) {
  s = skip_digits(s, end);
  if (s < end && *s == '.') {
    *is_float = true;
    s = skip_digits(s + 1, end);
  }
  if (s < end && (*s == 'e' || *s == 'E')) {
    *is_float = true;
    s++;
    if (s < end && (*s == '+' || *s == '-')) s++;
    s = skip_digits(s, end);
  }
  return s;
}

ifd_status ifd_lexer_number(ifd_lexer *x, ifd_literal *out) {
  bool minus = ifd_lexer_take(x, "-");
  ifd_str word = ifd_lexer_peek_identifier(x);
  const char *end;
  out->is_float = ifd_is_float_word(word);
  if (out->is_float) {
    end = word.s + word.len;
  } else {
    EXPECT_AT(x, is_digit(ifd_lexer_peek(x)), "a number was expected");
    end = scan_digits(x->at, x->end, &out->is_float);
  }
  EXPECT_AT(x, (size_t)(end - x->at) < sizeof out->text - 1, "a number is too long");
  snprintf(out->text, sizeof out->text, "%s%.*s", minus ? "-" : "", (int)(end - x->at), x->at);
  x->at = end;
  return IFD_OK;
}

ifd_status ifd_lexer_int(ifd_lexer *x, int64_t *out) {
  ifd_literal literal;
  TRY(ifd_lexer_number(x, &literal));
  errno = 0;
  *out = strtoll(literal.text, NULL, 10);
  EXPECT_AT(x, !literal.is_float && !errno, "%s is no integer of 64 bits", literal.text);
  return IFD_OK;
}
