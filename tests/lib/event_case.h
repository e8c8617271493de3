/* What tests of events share: a bus in memory to send them through, and one that has everything.
 */
#ifndef TESTS_EVENT_CASE_H
#define TESTS_EVENT_CASE_H

#include "common/event.h"

#define EVENT_CASE_ID "01890a5d-ac96-774b-bcce-b302099a8057"

/* For cmocka_run_group_tests. */
int event_case_start(void **state);
int event_case_stop(void **state);

/* Stores a message in the log of the namespace "tidings" and reads it back. */
struct bus_record *event_case_pass(const struct bus_message *message);
/* The same for one that the gateway has not made, with the payload "x". */
struct bus_record *event_case_foreign(const char *subject, const struct bus_header *headers,
                                      size_t count);

/* Every member set, but the digest. */
struct event event_case_full(void);

void assert_view(struct view v, const char *expected);
void assert_same_event(const struct event *a, const struct event *b); /* but for the digest */

#endif
