/* WebP by libwebp. */
#include "ops/shared/image.h"

#ifdef IFD_WITH_WEBP
#include <webp/decode.h>

ifd_status ifd_image_decode_webp(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  int width, height;
  if (!WebPGetInfo(data, len, &width, &height)) return IFD_OK;
  TRY(ifd_image_new(err, out, arena, width, height));
  size_t bytes = (size_t)(out->width * out->height * 3);
  if (out->rgb && !WebPDecodeRGBInto(data, len, out->rgb, bytes, width * 3)) ifd_image_drop(out);
  return IFD_OK;
}

#else

ifd_status ifd_image_decode_webp(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  (void)out, (void)arena, (void)data, (void)len;
  FAIL(err, UNSUPPORTED, "WebP images need a build with libwebp");
}

#endif
