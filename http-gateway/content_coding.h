/* Content codings of request bodies (RFC 9110, section 8.4): gzip (RFC 1952) by zlib and zstd
 * (RFC 8878) by libzstd, decoded piece by piece, so that what it grows to is bounded while it
 * grows.
 *
 * Only content_coding.c knows the two libraries. A decoder belongs to one thread.
 */
#ifndef TIDINGS_GATEWAY_CONTENT_CODING_H
#define TIDINGS_GATEWAY_CONTENT_CODING_H

#include "common/http.h"

enum content_coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD };

/* The header Accept-Encoding of a 415 (section 12.5.3). */
#define CONTENT_CODINGS "gzip, zstd, identity"

/* The request's. ERR_MEDIA_TYPE: an unknown one, or several; then the answer gets Accept-Encoding.
 */
must_check enum err content_coding_of(const struct http_request *request,
                                      struct http_response *response, enum content_coding *ret,
                                      struct err_detail *detail);

struct decoder;

/* How many bytes one of the coded ones may become, on the whole, beyond the first `free_bytes` of
 * them: gzip reaches 1,032, zstd some 30,000, events sent on purpose some 30. */
#define DECODER_RATIO_MAX 200

/* `coding` is not identity. ERR_MEMORY: some 40 KiB. */
must_check enum err decoder_new(enum content_coding coding, uint64_t free_bytes,
                                struct decoder **ret);
void decoder_free(struct decoder *d);
/* Decodes as much of *in as there is room for, and takes it off *in. Nothing decoded (*ret is 0)
 * means that all of *in has been taken and more is needed.
 * ERR_MALFORMED: it is not in this coding. ERR_TOO_LARGE: it grows beyond DECODER_RATIO_MAX.
 * ERR_MEMORY: zstd takes up to 8 MiB more, as the sender asks (RFC 9659 allows no more). */
must_check enum err decoder_run(struct decoder *d, struct view *in, char *to, size_t room,
                                size_t *ret, struct err_detail *detail);
/* Whether it may end here. ERR_MALFORMED: something is missing. */
must_check enum err decoder_end(const struct decoder *d, struct err_detail *detail);

/* Decodes a whole body and appends it to `out`. ERR_TOO_LARGE: it is longer than out->limit allows.
 * ERR_MALFORMED, ERR_MEMORY. */
must_check enum err content_decode(enum content_coding coding, struct view body, struct buf *out,
                                   struct err_detail *detail);

#endif
