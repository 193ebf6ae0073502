/* Tokens of ONNX's textual syntax, for text_parse.c alone: a cursor over a text that need not be terminated.
 * White space and comments (# to the end of the line) stand between any two tokens. Strings and identifiers
 * are made in the lexer's arena. */
#ifndef IFD_IR_LEXER_H
#define IFD_IR_LEXER_H

#include "base/arena.h"
#include "base/status.h"
#include "tensor/dtype.h"

typedef struct ifd_lexer {
  ifd_error *err;
  ifd_arena *arena;
  const char *text, *at, *end;
} ifd_lexer;

/* A number as it is written, terminated; which type it becomes is the reader's to say. */
typedef struct ifd_literal {
  bool is_float; /* has a point or an exponent, or is inf or nan */
  char text[120];
} ifd_literal;

/* Failures are BAD_FILE. Where they happened is added once, from the cursor: ifd_lexer_add_place. */
#define EXPECT_AT(lexer, condition, ...) EXPECT((lexer)->err, condition, BAD_FILE, __VA_ARGS__)
/* Adds line and column of the cursor to the error. */
void ifd_lexer_add_place(const ifd_lexer *lexer);

bool ifd_lexer_at_end(ifd_lexer *lexer);
/* The next character that is no space, or 0 at the end. */
char ifd_lexer_peek(ifd_lexer *lexer);
/* Whether the identifier that comes next is this one. */
bool ifd_lexer_peek_word(ifd_lexer *lexer, const char *word);
/* The identifier that comes next, or an empty string. Does not move. */
ifd_str ifd_lexer_peek_identifier(ifd_lexer *lexer);
/* Moves past the token when it comes next. */
bool ifd_lexer_take(ifd_lexer *lexer, const char *token);
ifd_status ifd_lexer_expect(ifd_lexer *lexer, const char *token);
ifd_status ifd_lexer_identifier(ifd_lexer *lexer, const char **out);
/* "…" with \" and \\ for those two, and \xHH for any byte (ours). */
ifd_status ifd_lexer_string(ifd_lexer *lexer, ifd_str *out);
/* A string without zero bytes. */
ifd_status ifd_lexer_text(ifd_lexer *lexer, const char **out);
/* An identifier or a quoted one. */
ifd_status ifd_lexer_name(ifd_lexer *lexer, const char **out);
ifd_status ifd_lexer_number(ifd_lexer *lexer, ifd_literal *out);
ifd_status ifd_lexer_int(ifd_lexer *lexer, int64_t *out);

/* [A-Za-z_][A-Za-z0-9_]* */
bool ifd_is_identifier(const char *s, size_t len);
/* inf, infinity or nan in any case: a number where a value is expected. */
bool ifd_is_float_word(ifd_str s);

#endif
