/* Numbers as text, the same under every locale. */
#ifndef IFD_OPS_SHARED_TEXT_H
#define IFD_OPS_SHARED_TEXT_H

#include "base/arena.h"
#include "tensor/dtype.h"

/* Element i of an array of numbers as text in the arena; empty with s NULL when out of memory. Floats have
 * the fewest digits that read back as the same element, in plain notation from 1e-4 to 1e16; NaN, INF and
 * -INF are spelled so, bool True and False. */
ifd_str ifd_number_text(ifd_arena *arena, ifd_dtype t, const void *data, int64_t i);
/* Text (ASCII space around it allowed) to element i of an array; false when it is no number. Floats: plain or
 * scientific decimals, [+-]INF and NaN in any case. Integers: also decimals, truncated. bool: also True and
 * False in any case. */
bool ifd_number_parse(ifd_str text, ifd_dtype t, void *data, int64_t i);

#endif
