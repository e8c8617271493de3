/* Catches what is written to standard output or standard error.
 */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H

#include <stddef.h>

struct capture {
    int descriptor; /* STDOUT_FILENO or STDERR_FILENO */
    int saved, file;
};
void capture_begin(struct capture *c, int descriptor);
/* Puts the descriptor back; what was written stands in `text`, NUL-terminated. Returns its
 * length. */
size_t capture_end(struct capture *c, char *text, size_t size);

#endif
