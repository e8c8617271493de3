/* The disk of a history's processors: one folder in memory, which all of them share.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include <sys/types.h>

/* Of this (real) process; whoever uses it makes it. */
char *disk_path(void);
/* What that process has left. */
void disk_remove(pid_t pid);

#endif
