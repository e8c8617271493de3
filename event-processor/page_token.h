/* Tokens of pages: where a list goes on. Opaque to callers, and checked: a token is good for the
 * filter that it was made for, at any processor, and for nothing else. Not a secret: it guards
 * against mistakes. Pure.
 */
#ifndef TIDINGS_PAGE_TOKEN_H
#define TIDINGS_PAGE_TOKEN_H

#include "common/event_query.h"

struct page_token {
    uint64_t next, last; /* positions of the event log: from the one down to the other */
};

#define PAGE_TOKEN_SIZE 52 /* with a NUL */

void page_token_write(const struct page_token *token, const struct event_list_request *request,
                      char ret[PAGE_TOKEN_SIZE]);
/* The request's page_token. False: it is none of this filter. */
must_check bool page_token_read(const struct event_list_request *request, struct page_token *ret);

#endif
