/* The handlers of a processor: which one an event gets, by its name.
 *
 * Immutable once made, so thread-safe.
 */
#ifndef TIDINGS_HANDLERS_H
#define TIDINGS_HANDLERS_H

#include "event-processor/handler.h"

struct handlers;

/* Opens the configured handlers; without any, `log` for all events. `tools` must live on. What an
 * entry doesn't say: 8 attempts with a backoff of 1 s to 5 min and a time limit of 30 s, and as
 * many at once as the process may run.
 * ERR_INVALID: a bad pattern, an unknown kind, or a list that does not end in `>` (an event that
 * nobody handles must not be possible). ERR_MEMORY. */
must_check enum err handlers_open(const struct config_handlers *config,
                                  const struct handler_tools *tools, struct handlers **ret,
                                  struct err_detail *detail);
void handlers_close(struct handlers *handlers);

/* The first whose pattern matches; there always is one. */
struct handler *handlers_find(const struct handlers *handlers, struct view name);

/* All of them, in their order. */
size_t handlers_count(const struct handlers *handlers); /* 1 at least */
struct handler *handlers_at(const struct handlers *handlers, size_t index);

/* Whether a name matches a subject pattern: `*` is any one token, a last `>` any one or more. */
bool handlers_match(const char *pattern, struct view name);

#endif
