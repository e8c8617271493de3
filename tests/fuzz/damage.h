/* Sound bytes with damage that a fuzzer chooses: what is far from sound is refused at once and
 * finds little.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include "common/buf.h"

#include <string.h>

/* Each three bytes of `recipe` change one byte of b: where (two bytes), and to what. A rest of one
 * byte cuts b. */
static inline void damage(struct buf *b, const uint8_t *recipe, size_t size)
{
    for (; size >= 3; recipe += 3, size -= 3) {
        size_t at = (size_t)recipe[0] | (size_t)recipe[1] << 8;
        if (b->len)
            b->data[at % b->len] = (char)recipe[2];
    }
    if (size == 1 && b->len)
        b->len = recipe[0] % b->len;
}

#endif
