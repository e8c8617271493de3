/* Percent-encoding of attributes' values in headers (CloudEvents HTTP binding 1.0.2, section
 * 3.1.3.2). Pure, nothing is allocated.
 */
#ifndef TIDINGS_PERCENT_H
#define TIDINGS_PERCENT_H

#include "common/buf.h"

/* How many bytes one byte of a value can become. */
#define PERCENT_GROWTH 3

/* Space, quote, percent sign and all but printable ASCII become %XX. *ret is `value` itself where
 * nothing has to be encoded, else what was written to `to`. False: it does not fit into `room`
 * bytes. */
must_check bool percent_encode(struct view value, char *to, size_t room, struct view *ret);

/* One round of decoding. A percent sign that begins no escape stands for itself. *ret is `value`
 * itself where it has no percent sign, else what was written to `to`; it may be invalid UTF-8.
 * False: it does not fit into `room` bytes. */
must_check bool percent_decode(struct view value, char *to, size_t room, struct view *ret);

#endif
