/* SHA-256 (FIPS 180-4), to name files by what is in them. */
#ifndef IFD_BASE_SHA256_H
#define IFD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { IFD_SHA256_BYTES = 32, IFD_SHA256_TEXT = 2 * IFD_SHA256_BYTES + 1 };

typedef struct ifd_sha256 {
  uint32_t state[8];
  uint64_t n; /* bytes taken so far */
  uint8_t block[64];
} ifd_sha256;

void ifd_sha256_init(ifd_sha256 *h);
void ifd_sha256_update(ifd_sha256 *h, const void *p, size_t len);
/* The digest as 64 lower-case hexadecimal digits, terminated. The state is used up. */
void ifd_sha256_text(ifd_sha256 *h, char text[IFD_SHA256_TEXT]);

#endif
