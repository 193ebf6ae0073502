#include "ops/shared/image.h"

ifd_status ifd_image_new(ifd_error *err, ifd_image *out, ifd_arena *arena, int64_t width, int64_t height) {
  static const int64_t most_pixels = (int64_t)1 << 27;
  *out = (ifd_image){0};
  if (width <= 0 || height <= 0) return IFD_OK;
  EXPECT(err, width <= most_pixels / height, LIMIT,
         "an image of %lld x %lld pixels; at most %lld are decoded", (long long)width, (long long)height,
         (long long)most_pixels);
  ALLOC(err, out->rgb, ifd_arena_alloc_array(arena, (size_t)(width * height), 3));
  out->width = width;
  out->height = height;
  return IFD_OK;
}
