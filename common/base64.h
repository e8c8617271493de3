/* Base64 with the standard alphabet (RFC 4648, section 4). Pure.
 */
#ifndef TIDINGS_BASE64_H
#define TIDINGS_BASE64_H

#include "common/buf.h"

/* Decodes into `to`, which has room for text.len / 4 * 3 bytes and may be where the text stands.
 * Strict: padding is required, and nothing is allowed besides: no line breaks, no bits set that
 * stand for nothing. False: it is no such text, and `to` holds anything. */
must_check bool base64_decode(struct view text, char *to, size_t *ret_len);

/* Appends the text of the bytes, padded. */
void base64_encode(struct buf *out, struct view bytes);

#endif
