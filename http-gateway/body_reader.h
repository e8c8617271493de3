/* A request's body of any length, decoded, as it arrives.
 */
#ifndef TIDINGS_GATEWAY_BODY_READER_H
#define TIDINGS_GATEWAY_BODY_READER_H

#include "http-gateway/content_coding.h"

#define BODY_READER_RAW 16384

/* Belongs to the request's thread. */
struct body_reader {
    struct http_request *request;
    struct decoder *decoder; /* NULL: as it is */
    struct view raw;         /* what has arrived and is not decoded yet, in: */
    char *bytes;
};

/* `free_bytes`: see decoder_new. ERR_MEMORY. */
must_check enum err body_reader_init(struct body_reader *reader, struct http_request *request,
                                     enum content_coding coding, uint64_t free_bytes,
                                     struct err_detail *detail);
void body_reader_free(struct body_reader *reader);
/* As http_body_read, and what decoder_run and decoder_end return. The time is that until something
 * has been decoded, however much arrives. */
must_check enum err body_reader_read(struct body_reader *reader, int64_t timeout_ms, char *to,
                                     size_t room, size_t *ret, struct err_detail *detail);

#endif
