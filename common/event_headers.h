/* Names that the files of event.h share. Private to event*.c.
 */
#ifndef TIDINGS_EVENT_HEADERS_H
#define TIDINGS_EVENT_HEADERS_H

#define EVENT_HEADER_ID "Tidings-Event-Id"
#define EVENT_HEADER_DIGEST "Tidings-Digest"

#endif
