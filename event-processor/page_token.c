#include "event-processor/page_token.h"

#include <stdio.h>

/* "1" for this form, then the positions and a digest of all that the token is good for. */
#define FORM "1%016llx%016llx%016llx"

static unsigned long long digest_of(const struct page_token *token,
                                    const struct event_list_request *request)
{
    char text[160];
    struct event_id digest;
    int len =
        snprintf(text, sizeof text, "%llu %llu %u %lld %lld", (unsigned long long)token->next,
                 (unsigned long long)token->last, request->statuses,
                 (long long)request->accepted_since_ms, (long long)request->accepted_until_ms);
    struct view numbers = {text, (size_t)len};
    id_of_producer(request->name.len > 0 ? request->name : VIEW(">"), numbers, &digest);
    return id_hash(&digest);
}

void page_token_write(const struct page_token *token, const struct event_list_request *request,
                      char ret[PAGE_TOKEN_SIZE])
{
    snprintf(ret, PAGE_TOKEN_SIZE, FORM, (unsigned long long)token->next,
             (unsigned long long)token->last, digest_of(token, request));
}

static bool read_hex(const char *text, uint64_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    *ret = value;
    return true;
}

bool page_token_read(const struct event_list_request *request, struct page_token *ret)
{
    struct view text = request->page_token;
    struct page_token token;
    uint64_t digest;
    if (text.len != 1 + 3 * 16 || text.data[0] != '1' || !read_hex(text.data + 1, &token.next) ||
        !read_hex(text.data + 17, &token.last) || !read_hex(text.data + 33, &digest) ||
        token.last == 0 || token.next < token.last || digest != digest_of(&token, request))
        return false;
    *ret = token;
    return true;
}
