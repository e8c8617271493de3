#include "event-processor/retry_message_id.h"

#include <inttypes.h>
#include <stdio.h>

void retry_message_id(const char *group, const struct retry_item *item,
                      char text[RETRY_MESSAGE_ID_SIZE])
{
    char id[ID_TEXT_SIZE];
    id_format(&item->id, id);
    snprintf(text, RETRY_MESSAGE_ID_SIZE, "%.32s/%s/%" PRIu64 "/%" PRIu32 "/%" PRIu32, group, id,
             item->event_position, item->generation, item->attempt);
}
