/* Views and buffers. A view is (pointer, length) and owns nothing; a buffer owns its bytes.
 *
 * Invariant of a buffer: data[len] is always '\0' (after buf_init too, when nothing is allocated:
 * data is then a shared empty string that nobody writes), len <= limit, and a failed append leaves
 * it as it was and marks it `failed`; later appends do nothing. So a document can be written
 * without checking each step: check buf_failed once at the end. Not thread-safe: a buffer belongs
 * to one thread at a time.
 */
#ifndef TIDINGS_BUF_H
#define TIDINGS_BUF_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
    const char *data; /* not NUL-terminated; may be NULL only if len is 0 */
    size_t len;
};

#define VIEW(literal) ((struct view){(literal), sizeof(literal) - 1})
static inline struct view view_of(const char *text)
{
    return (struct view){text, text ? strlen(text) : 0};
}
static inline bool view_equal(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
bool view_equal_nocase(struct view a, struct view b); /* ASCII only */
bool view_is_utf8(struct view v); /* well-formed by RFC 3629: no surrogates, no overlongs */
bool view_parse_u64(struct view v, uint64_t *ret); /* digits only, no sign, no overflow */

struct buf {
    char *data;
    size_t len;
    size_t capacity; /* allocated bytes, the NUL's included; 0: data is not ours */
    size_t limit;    /* bytes it may hold at most; an append beyond it fails */
    bool failed;
};

void buf_init(struct buf *b, size_t limit); /* allocates nothing yet */
void buf_free(struct buf *b);               /* back to the state after buf_init */
/* Back to an earlier length (<= len); leaves `failed`. */
void buf_cut(struct buf *b, size_t len);
void buf_clear(struct buf *b); /* empties it and clears `failed`, keeps the memory */
/* What is appended must not lie in the buffer itself. */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_text(struct buf *b, const char *text);
void buf_add_view(struct buf *b, struct view v);
void buf_add_format(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes, escaped by RFC 8259; each byte of invalid UTF-8 becomes U+FFFD. */
void buf_add_json(struct buf *b, struct view v);
/* Room for at least n more bytes beyond len; NULL marks it failed. Fill it, then tell with
 * buf_advance how many of the n were filled. */
char *buf_reserve(struct buf *b, size_t n);
void buf_advance(struct buf *b, size_t filled);
must_check bool buf_failed(const struct buf *b);
static inline struct view buf_view(const struct buf *b)
{
    return (struct view){b->data ? b->data : "", b->len};
}

#endif
