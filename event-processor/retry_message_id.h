/* The message id of an attempt to come: whoever publishes it, the bus keeps it once. Pure.
 */
#ifndef TIDINGS_RETRY_MESSAGE_ID_H
#define TIDINGS_RETRY_MESSAGE_ID_H

#include "common/retry_item.h"

/* <group>/<id>/<position>/<generation>/<attempt>: after a loss of the event log an event may be
 * stored anew elsewhere, and what was to come at its old position isn't what comes now */
#define RETRY_MESSAGE_ID_SIZE (33 + ID_TEXT_SIZE + 22 + 2 * 12)

void retry_message_id(const char *group, const struct retry_item *item,
                      char text[RETRY_MESSAGE_ID_SIZE]);

#endif
