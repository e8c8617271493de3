/* Errors: one vocabulary for the whole program.
 *
 * A function that can fail returns an enum err, ERR_NONE being success, and leaves its outputs
 * untouched on failure. Where a person needs to know more than the kind, it takes a struct
 * err_detail and writes one sentence into it: what was wrong and what is allowed.
 *
 * Errors meet the outside in two places: http_problem (problem documents, RFC 9457) and the rpc
 * module
 * (gRPC statuses). Both read the table below.
 */
#ifndef TIDINGS_ERR_H
#define TIDINGS_ERR_H

#include <stddef.h>

/* X(code, slug, title, HTTP status, gRPC status)
 * slug: the last part of the problem type's URI; title: the problem's title, constant for its type.
 * gRPC statuses: https://grpc.io/docs/guides/status-codes/ */
#define ERR_LIST(X)                                                                             \
    X(ERR_NONE, "none", "No error", 200, 0)                                                     \
    X(ERR_MALFORMED, "malformed", "The request is malformed", 400, 3)                           \
    X(ERR_OUT_OF_RANGE, "out-of-range", "The position is beyond the log's end", 400, 11)        \
    X(ERR_NOT_FOUND, "not-found", "Not found", 404, 5)                                          \
    X(ERR_METHOD, "method-not-allowed", "The method is not allowed here", 405, 12)              \
    X(ERR_NOT_ACCEPTABLE, "not-acceptable", "No acceptable representation", 406, 3)             \
    X(ERR_SLOW, "request-timeout", "The request took too long to arrive", 408, 4)               \
    X(ERR_ID_REUSED, "id-reused", "The id belongs to another event", 409, 6)                    \
    X(ERR_NOT_ENDED, "not-ended", "The event has not ended yet", 409, 9)                        \
    X(ERR_LENGTH_REQUIRED, "length-required", "A length is required", 411, 3)                   \
    X(ERR_TOO_LARGE, "too-large", "The request is too large", 413, 8)                           \
    X(ERR_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported", 415, 3)      \
    X(ERR_INVALID, "invalid", "The request is well-formed but invalid", 422, 3)                 \
    X(ERR_KEY_REUSED, "idempotency-key-reused", "The Idempotency-Key belongs to another event", \
      422, 6)                                                                                   \
    X(ERR_BUSY, "too-many-requests", "Too many requests at once", 429, 8)                       \
    X(ERR_CANCELLED, "cancelled", "The caller gave up", 499, 1)                                 \
    X(ERR_INTERNAL, "internal", "Internal error", 500, 13)                                      \
    X(ERR_MEMORY, "out-of-memory", "Out of memory", 503, 8)                                     \
    X(ERR_UNAVAILABLE, "unavailable", "Temporarily unavailable", 503, 14)                       \
    X(ERR_DEADLINE, "deadline", "No answer in time", 504, 4)                                    \
    X(ERR_UNKNOWN_OUTCOME, "unknown-outcome", "It is unknown whether the request took effect",  \
      504, 2)                                                                                   \
    X(ERR_FULL, "log-full", "The event log is full", 507, 8)                                    \
    X(ERR_STALE, "stale", "The log is not the one that was followed", 500, 13)                  \
    X(ERR_UNIMPLEMENTED, "unimplemented", "Not implemented", 501, 12)                           \
    X(ERR_HEADER_TOO_LARGE, "header-too-large", "The request's header is too large", 431, 8)    \
    X(ERR_HTTP_VERSION, "http-version", "The HTTP version is not supported", 505, 12)

enum err {
#define X(code, slug, title, http, grpc) code,
    ERR_LIST(X)
#undef X
};

#define must_check __attribute__((warn_unused_result))

struct err_detail {
    /* one sentence, NUL-terminated, cut at a character's border if too long; "" if none */
    char text[512];
};

const char *err_slug(enum err e);
const char *err_title(enum err e);
int err_http_status(enum err e);
int err_grpc_status(enum err e);

/* Fills detail (may be NULL) and returns e, so that failing is one line:
 *     return err_set(detail, ERR_INVALID, "name is %zu characters, at most 128 are allowed", n);
 * Text that came from outside must be passed through "%s"; control characters and bytes of invalid
 * UTF-8 are replaced by '?', so a detail is always safe to print. */
enum err err_set(struct err_detail *detail, enum err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
