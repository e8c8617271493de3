/* Memory for one protobuf-c message: an allocator that hands out pieces of a few blocks, freed
 * together.
 *
 * protobuf-c allocates every member on its own and frees it by walking the message; with this
 * allocator a decoded batch of thousands of rows costs two or three allocations and one free.
 *
 * Only the encoders and decoders (status_batch, event_status, event_replay, rpc_health,
 * rpc_reflection) include this. Not thread-safe: an arena belongs to one thread at a time.
 */
#ifndef TIDINGS_PROTO_ARENA_H
#define TIDINGS_PROTO_ARENA_H

#include "common/buf.h"

#include <protobuf-c/protobuf-c.h>

struct proto_block;
struct proto_arena {
    ProtobufCAllocator allocator; /* for protobuf-c's unpack functions */
    struct proto_block *blocks;
    char *next;
    size_t left;
    size_t block_size;
    bool failed; /* an allocation failed: what protobuf-c refused was not the message's fault */
};

/* `first` (may be NULL) is the caller's memory, used before any block is allocated; it must be
 * aligned as malloc's and outlive the arena. Later blocks hold at least `block_size` bytes. The
 * arena must not be moved while its allocator is in use. */
void proto_arena_init(struct proto_arena *arena, void *first, size_t first_size, size_t block_size);
void proto_arena_free(struct proto_arena *arena);

/* Room for count elements, aligned as malloc's, not zeroed; NULL sets `failed`. */
void *proto_arena_alloc(struct proto_arena *arena, size_t count, size_t size);
/* A NUL-terminated copy that is well-formed UTF-8 without NUL and at most max bytes long (cut at a
 * character's border): what isn't well-formed becomes U+FFFD. NULL sets `failed`. */
char *proto_arena_text(struct proto_arena *arena, struct view text, size_t max);

/* Appends a message's encoding to `out`; ERR_MEMORY if it doesn't fit. */
must_check enum err proto_append(const ProtobufCMessage *message, struct buf *out);

#endif
