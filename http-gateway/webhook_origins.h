/* Senders of webhooks that may deliver events here, by the names that they give themselves (HTTP
 * 1.1 Web Hooks for Event Delivery 1.0.2, section 4). Pure.
 */
#ifndef TIDINGS_GATEWAY_WEBHOOK_ORIGINS_H
#define TIDINGS_GATEWAY_WEBHOOK_ORIGINS_H

#include "common/buf.h"

/* A DNS name (RFC 1035, section 2.3): at most 253 characters in labels of 1 to 63 of [A-Za-z0-9_-],
 * none beginning or ending with a hyphen, separated by dots. */
bool webhook_origin_is_valid(struct view origin);
/* Whether the setting has the form that is allowed: "none", "*", or DNS names separated by commas.
 * ERR_INVALID: the detail names the wrong part. */
must_check enum err webhook_origins_check(const char *origins, struct err_detail *detail);
/* Whether a valid origin is one of them; upper and lower case are the same. */
bool webhook_origins_allow(const char *origins, struct view origin);

#endif
