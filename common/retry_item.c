#include "common/retry_item.h"

#include "common/proto_arena.h"

#include "retry.pb-c.h"

#define VERSION 1
#define ID_SIZE sizeof(struct event_id)

static bool is_sound(const struct retry_item *item)
{
    return !id_is_zero(&item->id) && item->event_position >= 1 &&
           item->generation <= STATUS_GENERATION_MAX && item->attempt >= 1 &&
           item->attempt <= STATUS_ATTEMPT_MAX && item->due_ms >= 0 &&
           item->instead_of.log <= STATUS_DELIVERY_RETRY &&
           (item->instead_of.log == STATUS_DELIVERY_NONE) == (item->instead_of.position == 0);
}

enum err retry_item_write(const struct retry_item *item, struct buf *out)
{
    if (!is_sound(item))
        return ERR_INVALID;
    struct event_id id = item->id;
    Tidings__Log__RetryItem m;
    tidings__log__retry_item__init(&m);
    m.version = VERSION;
    m.event_id = (ProtobufCBinaryData){.len = ID_SIZE, .data = id.bytes};
    m.event_position = item->event_position;
    m.generation = item->generation;
    m.attempt = item->attempt;
    m.due_ms = item->due_ms;
    m.instead_of_log = item->instead_of.log;
    m.instead_of_position = item->instead_of.position;
    return proto_append(&m.base, out);
}

enum err retry_item_read(struct view bytes, struct retry_item *ret)
{
    _Alignas(max_align_t) char stack[256];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 256);
    const Tidings__Log__RetryItem *m =
        tidings__log__retry_item__unpack(&arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    enum err e = arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    if (m && m->version == VERSION && m->event_id.len == ID_SIZE) {
        struct retry_item item = {
            .event_position = m->event_position,
            .generation = m->generation,
            .attempt = m->attempt,
            .due_ms = m->due_ms,
            .instead_of = {(enum status_delivery_log)m->instead_of_log, m->instead_of_position}};
        memcpy(item.id.bytes, m->event_id.data, ID_SIZE);
        if (is_sound(&item)) {
            *ret = item;
            e = ERR_NONE;
        }
    }
    proto_arena_free(&arena);
    return e;
}
