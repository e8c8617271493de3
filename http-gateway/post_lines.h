/* A body of any length with one event a line (application/x-ndjson, https://github.com/ndjson):
 * plain ones, or CloudEvents in their JSON format, as each line tells.
 */
#ifndef TIDINGS_GATEWAY_POST_LINES_H
#define TIDINGS_GATEWAY_POST_LINES_H

#include "http-gateway/content_coding.h"
#include "http-gateway/gateway.h"

/* Reads what arrives, stores the events of all lines that are complete side by side, answers each
 * with a line (store_batch.h), and reads on. Memory is bounded: by the longest line allowed
 * (max_body) and a window of events. The status is 200, sent with the first results. A last line
 * has the counts, and what ended the body before its time, if anything has.
 * ERR_INVALID: there is an Idempotency-Key. ERR_MEMORY. What body_reader_read returns, if it is
 * before the first result. ERR_CANCELLED: the client takes no more results. */
must_check enum err post_lines(struct gateway *g, struct http_request *request,
                               enum content_coding coding, struct http_response *response,
                               struct err_detail *detail);

#endif
