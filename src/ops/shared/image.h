/* Decoders of image files: one for each format, from bytes that nobody has checked to rows of 8-bit RGB. Gray
 * images become three equal channels, transparency is left out, deeper channels are scaled to 8 bits. What
 * cannot be decoded leaves the image empty (rgb NULL) and is no failure, as ONNX's ImageDecoder asks;
 * failures are memory, limits, and a library that the build lacks. */
#ifndef IFD_OPS_SHARED_IMAGE_H
#define IFD_OPS_SHARED_IMAGE_H

#include "base/arena.h"
#include "base/status.h"

typedef struct ifd_image {
  int64_t width, height;
  uint8_t *rgb; /* [height, width, 3] in the arena; NULL: not decoded */
} ifd_image;

/* Zeroed rows for a picture of this size. LIMIT for one of more than 2^27 pixels: a few bytes may ask for it.
 * An image without pixels stays empty. */
ifd_status ifd_image_new(ifd_error *err, ifd_image *out, ifd_arena *arena, int64_t width, int64_t height);
static inline void ifd_image_drop(ifd_image *image) { *image = (ifd_image){0}; }
/* v of [0, most] to [0, 255], rounded. */
static inline uint8_t ifd_image_scale(uint32_t v, uint32_t most) {
  return (uint8_t)(((uint64_t)(v < most ? v : most) * 255 + most / 2) / most);
}

typedef ifd_status ifd_image_decoder(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                     size_t len);
ifd_image_decoder ifd_image_decode_bmp;
ifd_image_decoder ifd_image_decode_pnm; /* PBM, PGM, PPM; plain and raw */
ifd_image_decoder ifd_image_decode_png;
ifd_image_decoder ifd_image_decode_jpeg;
ifd_image_decoder ifd_image_decode_jpeg2000; /* files and codestreams */
ifd_image_decoder ifd_image_decode_tiff;     /* the first picture */
ifd_image_decoder ifd_image_decode_webp;

#endif
