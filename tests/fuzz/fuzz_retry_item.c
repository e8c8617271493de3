/* Any bytes, and damaged items: retry_item_read refuses them, or what it gives can be written
 * again. */
#include "common/retry_item.h"
#include "tests/fuzz/damage.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_read(struct view bytes)
{
    struct retry_item item, again;
    struct buf b;
    if (retry_item_read(bytes, &item) != ERR_NONE)
        return;
    buf_init(&b, 1 << 10);
    if (retry_item_write(&item, &b) != ERR_NONE ||
        retry_item_read(buf_view(&b), &again) != ERR_NONE || !id_equal(&item.id, &again.id) ||
        item.event_position != again.event_position || item.generation != again.generation ||
        item.attempt != again.attempt || item.due_ms != again.due_ms ||
        item.instead_of.log != again.instead_of.log ||
        item.instead_of.position != again.instead_of.position)
        abort();
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b;
    struct retry_item item = {.id = {{1}},
                              .event_position = 300,
                              .attempt = 2,
                              .due_ms = 1700000000000,
                              .instead_of = {STATUS_DELIVERY_RETRY, 9}};
    buf_init(&b, 1 << 16);
    if (retry_item_write(&item, &b) != ERR_NONE)
        abort();
    damage(&b, data, size);
    try_read(buf_view(&b));
    buf_free(&b);
    try_read((struct view){(const char *)data, size});
    return 0;
}
