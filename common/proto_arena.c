#include "common/proto_arena.h"

#include "common/mem.h"
#include "common/text.h"

#include <stdalign.h>

#define ALIGNMENT alignof(max_align_t)

struct proto_block {
    struct proto_block *older;
    alignas(max_align_t) char bytes[];
};

static void *allocator_alloc(void *arena, size_t size)
{
    return proto_arena_alloc(arena, 1, size);
}

static void allocator_free(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

void proto_arena_init(struct proto_arena *arena, void *first, size_t first_size, size_t block_size)
{
    *arena = (struct proto_arena){
        .allocator = {allocator_alloc, allocator_free, arena},
        .next = first,
        .left = first ? first_size : 0,
        .block_size = block_size,
    };
}

void proto_arena_free(struct proto_arena *arena)
{
    while (arena->blocks) {
        struct proto_block *block = arena->blocks;
        arena->blocks = block->older;
        mem_free(block);
    }
    arena->next = NULL;
    arena->left = 0;
}

static bool add_block(struct proto_arena *arena, size_t needed)
{
    size_t size = needed > arena->block_size ? needed : arena->block_size;
    struct proto_block *block = mem_alloc(sizeof *block + size);
    if (!block)
        return false;
    block->older = arena->blocks;
    arena->blocks = block;
    arena->next = block->bytes;
    arena->left = size;
    arena->block_size = size * 2;
    return true;
}

void *proto_arena_alloc(struct proto_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || total > SIZE_MAX / 4) {
        arena->failed = true;
        return NULL;
    }
    total = (total + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (total == 0)
        total = ALIGNMENT; /* protobuf-c takes NULL for a failure */
    if (total > arena->left && !add_block(arena, total)) {
        arena->failed = true;
        return NULL;
    }
    void *piece = arena->next;
    arena->next += total;
    arena->left -= total;
    return piece;
}

/* Writes what can be kept of `text` in `max` bytes; returns the length. */
static size_t repair(char *to, struct view text, size_t max)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    size_t len = 0;
    while (text.len) {
        size_t in = text.data[0] ? text_utf8_length(text.data, text.len) : 0;
        const char *from = in ? text.data : replacement;
        size_t out = in ? in : sizeof replacement - 1;
        if (len + out > max)
            break;
        memcpy(to + len, from, out);
        len += out;
        in = in ? in : 1;
        text.data += in;
        text.len -= in;
    }
    return len;
}

char *proto_arena_text(struct proto_arena *arena, struct view text, size_t max)
{
    bool sound = text.len <= max &&
                 (text.len == 0 || (!memchr(text.data, '\0', text.len) && view_is_utf8(text)));
    size_t room = sound ? text.len : max;
    if (!sound && text.len <= max / 3)
        room = text.len * 3; /* each byte may become the three of U+FFFD */
    char *copy = proto_arena_alloc(arena, 1, room + 1);
    if (!copy)
        return NULL;
    if (!sound)
        room = repair(copy, text, room);
    else if (room)
        memcpy(copy, text.data, room);
    copy[room] = '\0';
    return copy;
}

enum err proto_append(const ProtobufCMessage *message, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    char *to = buf_reserve(out, size);
    if (!to)
        return ERR_MEMORY;
    buf_advance(out, protobuf_c_message_pack(message, (uint8_t *)to));
    return ERR_NONE;
}
