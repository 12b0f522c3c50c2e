/* counter - lets a process under callgrind say when to count: loaded by the process itself, does nothing elsewhere. */
#include <valgrind/callgrind.h>

/* From here on instructions are counted. */
void count_from_here(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

/* Writes what was counted since the last call to callgrind's next file, and counts anew. */
void write_count(void)
{
    CALLGRIND_DUMP_STATS;
}
