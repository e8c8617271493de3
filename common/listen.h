/* Why an address cannot be listened on, in words that help.
 */
#ifndef TIDINGS_LISTEN_H
#define TIDINGS_LISTEN_H

#include "common/err.h"

/* Call it after listening on `address` (host:port) has failed: tries the address by itself and
 * fills the detail: it is taken, by which process (where /proc lets us see that), it is none of
 * this machine's, or it takes more rights. `otherwise` is said where all this finds nothing.
 * Always returns ERR_UNAVAILABLE. May block on name resolution. */
enum err listen_explain(const char *address, const char *otherwise, struct err_detail *detail);

#endif
