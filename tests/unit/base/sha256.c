#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Vectors of FIPS 180-4 and of NIST's CAVP (SHA256ShortMsg, SHA256LongMsg's idea of length). */
static const struct {
  const char *message, *digest;
} vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrs"
     "tnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

static void known_answers(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    ifd_sha256 h;
    char text[IFD_SHA256_TEXT];
    ifd_sha256_init(&h);
    ifd_sha256_update(&h, vectors[i].message, strlen(vectors[i].message));
    ifd_sha256_text(&h, text);
    assert_string_equal(text, vectors[i].digest);
  }
}

static void a_million_letters_in_pieces(void **state) {
  (void)state;
  static char letters[1000000];
  memset(letters, 'a', sizeof letters);
  for (size_t piece = 1; piece < 300; piece += 37) {
    ifd_sha256 h;
    char text[IFD_SHA256_TEXT];
    ifd_sha256_init(&h);
    for (size_t at = 0; at < sizeof letters; at += piece)
      ifd_sha256_update(&h, letters + at, at + piece < sizeof letters ? piece : sizeof letters - at);
    ifd_sha256_text(&h, text);
    assert_string_equal(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers),
      cmocka_unit_test(a_million_letters_in_pieces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
