/* Decodes the strings of a JSON text that the scanner (json_scan.h) has accepted.
 */
#ifndef TIDINGS_JSON_STRING_H
#define TIDINGS_JSON_STRING_H

#include "common/buf.h"

/* What a text may take between its quotes: each byte may come as an escape of six. */
#define JSON_STRING_RAW_MAX(bytes) (6 * (size_t)(bytes))

static inline bool json_string_has_escapes(struct view raw)
{
    return raw.len > 0 && memchr(raw.data, '\\', raw.len);
}

/* `raw` is what stands between the quotes, which must be there in memory too. *ret is `raw` itself
 * where it has no escape, else the decoded text, appended to `out`; it is never longer than `raw`.
 * Earlier views of `out` stay valid if the caller has reserved enough. Thread-safe.
 * ERR_MEMORY. */
must_check enum err json_string_decode(struct view raw, struct buf *out, struct view *ret,
                                       struct err_detail *detail);

#endif
