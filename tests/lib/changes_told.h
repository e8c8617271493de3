/* Streams that watch all events, and what is told on them: for tests of WatchEvents. All of them
 * fail the test if something goes wrong.
 */
#ifndef TESTS_CHANGES_TOLD_H
#define TESTS_CHANGES_TOLD_H

#include "tests/lib/served.h"

/* What the smallest ring keeps; watch from now on. */
enum { SMALL = 2 * STATUS_BATCH_MAX, NOW = -1 };

extern const struct status_state processing, retrying, processed, dead;

/* For cmocka: served_begin with the smallest ring, so that much is behind it; and its end. */
int small_begin(void **state);
int small_end(void **state);

/* Opens a stream; after: a position, or NOW. */
struct grpc_stream *watch(struct served *served, unsigned statuses, const char *name,
                          int64_t after);
/* Where a stream begins: its first message, which has no changes. */
uint64_t begins(struct served *served, struct grpc_stream *stream);

/* What a stream has told: words like "processed 3@7" (event position @ position). */
struct told {
    struct buf words;
    size_t count;
    uint64_t position;
};

void receive(struct served *served, struct grpc_stream *stream, struct told *told);
/* Until so many changes have been told; they are these words. */
void tells(struct served *served, struct grpc_stream *stream, size_t count, const char *expected);

uint64_t new_event(struct served *served, const char *name, struct event_id *id);
uint64_t change(struct served *served, const struct event_id *id, uint64_t event_position,
                struct status_state state, uint64_t previous);
/* The next five positions of the status log: order.a (event 1) is processed after a retry, mail
 * (event 2) dies; one change loses. */
void five_changes_from(struct served *served, uint64_t last);
void five_changes(struct served *served);                             /* positions 1 to 5, */
#define ALL_FIVE "processing 1@1 retrying 1@2 dead 2@3 processed 1@5" /* told so */
/* Pushes what was before out of a small ring. Returns the last position. */
uint64_t fill_ring(struct served *served);
void until_folded(struct served *served, uint64_t position);

#endif
