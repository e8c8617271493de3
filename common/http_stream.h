/* Bodies that are read as they arrive, private to http*.c: what http_body_read (http.h) stands on.
 *
 * civetweb's read returns when all that was asked for has come, and does not tell what has come
 * already; so whoever wants each line at once would have to ask for single bytes. Therefore such a
 * body is read from the socket itself, behind what civetweb holds of it in its buffer. How much
 * that is follows from what the kernel says it has handed out, and from the length of all that came
 * before on the connection. Where any of this cannot be found out, civetweb reads, and what arrives
 * slowly is seen late. The connection always ends with the answer.
 */
#ifndef TIDINGS_HTTP_STREAM_H
#define TIDINGS_HTTP_STREAM_H

#include "common/http_internal.h"

/* As http_body_read; the first call makes r->stream. */
must_check enum err http_stream_read(struct http_request *r, int64_t deadline_ms, char *to,
                                     size_t room, size_t *ret, struct err_detail *detail);
/* Behind the answer, which ends the connection: takes what is still coming, until the client closes
 * or the deadline, so that the answer is not lost. Also without r->stream. */
void http_stream_linger(struct http_request *r, int64_t deadline_ms);
/* At the request's end; r->stream may be NULL. */
void http_stream_free(struct http_request *r);

#endif
