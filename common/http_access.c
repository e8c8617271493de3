/* The access log.
 */
#include "common/http_internal.h"
#include "common/log.h"

#include <civetweb.h>

/* A number from 0 up to, but not including, 1: the same for the same id, everywhere. FNV-1a, whose
 * upper bits hardly change with the last characters, so the finalizer of MurmurHash3 follows. */
static double place_of(struct view id)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.len; i++)
        hash = (hash ^ (unsigned char)id.data[i]) * UINT64_C(1099511628211);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return (double)(hash >> 11) * 0x1p-53;
}

static bool is_wanted(const struct http_request *r, int status)
{
    const struct http_options *o = &r->worker->server->options;

    if (!o->log_errors || !log_enabled(LOG_INFO))
        return false;
    return status >= 400 || (o->log_share > 0 && place_of(http_request_id(r)) < o->log_share);
}

static void write_line(const struct http_request *r, int status, int64_t duration_us)
{
    struct log_field fields[] = {
        LOG_VIEW("method", r->method),
        LOG_VIEW("path", r->path),
        LOG_TEXT("route", r->route ? r->route->pattern : "other"),
        LOG_I64("status", status),
        LOG_U64("request_bytes", r->body_received),
        LOG_U64("response_bytes", r->body_sent),
        LOG_US_AS_MS("duration_ms", duration_us > 0 ? duration_us : 0),
        LOG_TEXT("remote", r->info->remote_addr),
        LOG_VIEW("request_id", http_request_id(r)),
        r->problem ? LOG_TEXT("problem", err_slug(r->problem)) : LOG_LAST,
        LOG_LAST,
    };

    log_write(LOG_INFO, "request", fields);
}

void http_access_log(const struct http_request *r, int status, int64_t duration_us)
{
    if (is_wanted(r, status))
        write_line(r, status, duration_us);
}
